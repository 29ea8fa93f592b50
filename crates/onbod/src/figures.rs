//! What onbod counts.

use kit::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

/// How knocks are told apart.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct KnockLabels {
    pub(crate) answer: &'static str,
}

/// The figures. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) knocks: Family<KnockLabels, Counter>,
    pub(crate) admitted: Counter,
    pub(crate) waiting: Gauge,
    pub(crate) unsaid: Gauge,
}

impl Figures {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            knocks: metrics
                .counter_family("knocks", "Messages of strangers, by what became of them"),
            admitted: metrics.counter("admitted", "People and chats that were let in"),
            waiting: metrics.gauge("newcomers_waiting", "Newcomers in the queue"),
            unsaid: metrics
                .gauge("notices_pending", "Lines to newcomers that routd has not taken yet"),
        }
    }
}
