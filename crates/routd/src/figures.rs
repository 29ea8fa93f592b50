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

/// How requests to models are told apart. Not by model: its name is the agent's to choose.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct ModelLabels {
    pub(crate) vendor: &'static str,
    pub(crate) outcome: &'static str,
}

/// How the tokens of models are told apart.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct TokenLabels {
    pub(crate) vendor: &'static str,
    pub(crate) kind: &'static str,
}

/// The figures. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) messages: Family<MessageLabels, Counter>,
    pub(crate) turns: Family<TurnLabels, Counter>,
    pub(crate) turns_repeated: Counter,
    pub(crate) outbox: Family<OutboxLabels, Counter>,
    pub(crate) outbox_pending: Gauge,
    /// In seconds since 1970; 0 for none.
    pub(crate) outbox_oldest: Gauge,
    pub(crate) outbox_ambiguous: Gauge,
    pub(crate) model_requests: Family<ModelLabels, Counter>,
    pub(crate) model_tokens: Family<TokenLabels, Counter>,
}

impl Figures {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            messages: metrics.counter_family("messages", "Messages that were committed"),
            turns: metrics.counter_family("turns", "Turns that ended"),
            turns_repeated: metrics.counter("turns_repeated", "Attempts that are repeated"),
            outbox: metrics.counter_family("outbox", "What became of what adapters were handed"),
            outbox_pending: metrics.gauge("outbox_pending", "Replies that wait to be sent"),
            outbox_oldest: metrics.gauge(
                "outbox_oldest_timestamp_seconds",
                "When the oldest reply that waits to be sent was written; 0 where none waits",
            ),
            outbox_ambiguous: metrics.gauge("outbox_ambiguous", "Replies whose fate is unknown"),
            model_requests: metrics
                .counter_family("model_requests", "Requests to models that ended"),
            model_tokens: metrics.counter_family("model_tokens", "Tokens of models that were used"),
        }
    }
}
