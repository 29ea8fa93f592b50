//! What an adapter counts.

use kit::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The figures of an adapter.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    handed: Family<Outcome, Counter>,
    delivered: Family<Outcome, Counter>,
    /// Events that wait for routd.
    pub(crate) waiting: Gauge,
    /// Events that were set aside.
    pub(crate) aside: Gauge,
}

impl Figures {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        Self {
            handed: metrics.counter_family(
                "adapter_orders",
                "What routd asked the adapter for, by what became of it",
            ),
            delivered: metrics
                .counter_family("adapter_events", "Events of the platform, by what became of them"),
            waiting: metrics.gauge("adapter_events_waiting", "Events that wait for routd"),
            aside: metrics.gauge("adapter_events_aside", "Events that were set aside"),
        }
    }

    pub(crate) fn handed(&self, outcome: &'static str) {
        self.handed.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn delivered(&self, outcome: &'static str) {
        self.delivered.get_or_create(&Outcome { outcome }).inc();
    }
}
