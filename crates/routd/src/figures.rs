//! What routd counts.

use kit::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

/// How messages are told apart.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct MessageLabels {
    pub(crate) platform: String,
    pub(crate) effect: &'static str,
}

/// How ended turns are told apart.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct TurnLabels {
    pub(crate) outcome: &'static str,
}

/// How what was handed to adapters is told apart.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct OutboxLabels {
    pub(crate) platform: String,
    pub(crate) fate: &'static str,
}

/// The figures. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) messages: Family<MessageLabels, Counter>,
    pub(crate) turns: Family<TurnLabels, Counter>,
    pub(crate) turns_repeated: Counter,
    pub(crate) outbox: Family<OutboxLabels, Counter>,
    pub(crate) outbox_pending: Gauge,
    pub(crate) outbox_ambiguous: Gauge,
}

impl Figures {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            messages: metrics.counter_family("messages", "Messages that were committed"),
            turns: metrics.counter_family("turns", "Turns that ended"),
            turns_repeated: metrics.counter("turns_repeated", "Attempts that are repeated"),
            outbox: metrics.counter_family("outbox", "What became of what adapters were handed"),
            outbox_pending: metrics.gauge("outbox_pending", "Replies that wait to be sent"),
            outbox_ambiguous: metrics.gauge("outbox_ambiguous", "Replies whose fate is unknown"),
        }
    }
}
