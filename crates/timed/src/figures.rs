//! What timed counts.

use kit::Metrics;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

/// The figures. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Firings that were dealt with.
    pub(crate) fired: Counter,
    /// Seconds since 1970 when the next firing is due; 0 for none.
    pub(crate) next: Gauge,
}

impl Figures {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            fired: metrics.counter("fired", "Firings that were dealt with"),
            next: metrics
                .gauge("next_due_seconds", "When the next firing is due, since 1970; 0 for none"),
        }
    }
}
