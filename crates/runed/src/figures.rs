//! What runed counts.

use crate::store::{Counts, end_name};
use kit::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};
use proto::runed::RunEnd;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ending {
    end: &'static str,
}

/// The figures of runs.
#[derive(Debug)]
pub(crate) struct Figures {
    ended: Family<Ending, Counter>,
    pending: Gauge,
    running: Gauge,
    paused: Gauge,
    /// Seconds from the order to the agent.
    pub(crate) start_seconds: Histogram,
}

impl Figures {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        Self {
            ended: metrics.counter_family("runs_ended", "Agent runs that have ended, by how"),
            pending: metrics.gauge("runs_pending", "Agent runs that wait for a place"),
            running: metrics.gauge("runs_running", "Agent runs in progress"),
            paused: metrics.gauge(
                "breakers_open",
                "Folders in which no run is started for a while, since the last starts failed",
            ),
            start_seconds: metrics.histogram(
                "run_start_seconds",
                "Seconds from taking up a run to its agent running",
            ),
        }
    }

    pub(crate) fn ended(&self, end: RunEnd) {
        self.ended.get_or_create(&Ending { end: end_name(end) }).inc();
    }

    pub(crate) fn show(&self, counts: Counts) {
        self.pending.set(counts.pending);
        self.running.set(counts.running);
    }

    pub(crate) fn show_paused(&self, folders: i64) {
        self.paused.set(folders);
    }
}
