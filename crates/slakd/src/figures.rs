//! What slakd counts.

use kit::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

/// What became of something that Slack told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is on its way to routd.
    New,
    /// It had been told before.
    Repeated,
    /// It means nothing to routd.
    Nothing,
    /// It was not signed as Slack signs.
    Unsigned,
    /// It could not be kept.
    Lost,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Told {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct By {
    secret: &'static str,
}

/// The figures. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    told: Family<Told, Counter>,
    verified: Family<By, Counter>,
    retried: Counter,
    pub(crate) sockets: Gauge,
}

impl Figures {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        Self {
            told: metrics.counter_family("slack_told", "What Slack told, by what became of it"),
            verified: metrics.counter_family(
                "slack_verified",
                "Requests of Slack's by the signing secret that verified them",
            ),
            retried: metrics.counter("slack_retried", "Requests that Slack said are repeats"),
            sockets: metrics.gauge("slack_sockets", "Sockets of Slack's that are open"),
        }
    }

    pub(crate) fn heard(&self, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::New => "new",
            Outcome::Repeated => "repeated",
            Outcome::Nothing => "nothing",
            Outcome::Unsigned => "unsigned",
            Outcome::Lost => "lost",
        };
        self.told.get_or_create(&Told { outcome }).inc();
    }

    /// A signature was good under the current signing secret, or under one before it.
    pub(crate) fn verified(&self, by_current: bool) {
        let secret = if by_current { "current" } else { "previous" };
        self.verified.get_or_create(&By { secret }).inc();
    }

    pub(crate) fn retried(&self) {
        self.retried.inc();
    }
}
