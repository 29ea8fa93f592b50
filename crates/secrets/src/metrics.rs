//! The `arizuko_secret_*` metrics of one daemon. Labels are names and kinds, never values.

use crate::{Name, SecretStatus, Secrets};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram,
    },
    registry::Registry,
};
use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// Seconds from a change at the source to its use: a second or two for files, up to a poll for
/// remote sources, more where one was silent.
const PROPAGATION_BUCKETS: [f64; 9] = [0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 45.0, 300.0, 3600.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByName {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByNameAndSource {
    name: String,
    source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySource {
    source: String,
    place: String,
}

/// What is counted as it happens.
#[derive(Debug)]
pub(crate) struct Metrics {
    rejected: Family<ByNameAndSource, Counter>,
    previous_used: Family<ByName, Counter>,
    propagation: Family<ByName, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(PROPAGATION_BUCKETS);
        Self {
            rejected: Family::default(),
            previous_used: Family::default(),
            propagation: Family::new_with_constructor(histogram),
        }
    }
}

impl Metrics {
    pub(crate) fn rejected(&self, name: &Name, source: &str) {
        let labels = ByNameAndSource { name: name.to_string(), source: source.to_owned() };
        self.rejected.get_or_create(&labels).inc();
    }

    pub(crate) fn previous_used(&self, name: &Name) {
        self.previous_used.get_or_create(&ByName { name: name.to_string() }).inc();
    }

    /// A change was published; `changed_at` where the source tells when it was made.
    pub(crate) fn propagated(&self, name: &Name, changed_at: Option<SystemTime>, now: SystemTime) {
        let Some(took) = changed_at.and_then(|at| now.duration_since(at).ok()) else { return };
        let labels = ByName { name: name.to_string() };
        self.propagation.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            // The registry adds `_total`.
            "arizuko_secret_rejected",
            "Values that a source had and that could not be used",
            self.rejected.clone(),
        );
        registry.register(
            "arizuko_secret_previous_used",
            "Credentials that were checked and found to be an earlier value",
            self.previous_used.clone(),
        );
        registry.register(
            "arizuko_secret_propagation_seconds",
            "From a change at the source to its use here",
            self.propagation.clone(),
        );
    }
}

/// What is read when somebody asks.
pub(crate) struct Readings {
    pub(crate) statuses: Vec<SecretStatus>,
    pub(crate) sources: Vec<(&'static str, String, SystemTime)>,
}

/// The gauges of one daemon.
#[derive(Debug)]
pub(crate) struct Gauges(pub(crate) Secrets);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let readings = self.0.gauges();
        let mut generations = encoder.encode_descriptor(
            "arizuko_secret_generation",
            "The generation of the bundle that a secret belongs to",
            None,
            MetricType::Gauge,
        )?;
        for status in readings.statuses.iter().filter(|status| status.version.is_some()) {
            let labels = ByName { name: status.name.to_string() };
            let generation = i64::try_from(status.generation).unwrap_or(i64::MAX);
            ConstGauge::new(generation).encode(generations.encode_family(&labels)?)?;
        }
        let mut ages = encoder.encode_descriptor(
            "arizuko_secret_age_seconds",
            "Since the value came to be at its source, or was taken from it",
            None,
            MetricType::Gauge,
        )?;
        for status in &readings.statuses {
            let Some(age) = status.age_seconds else { continue };
            let labels = ByName { name: status.name.to_string() };
            let age = i64::try_from(age).unwrap_or(i64::MAX);
            ConstGauge::new(age).encode(ages.encode_family(&labels)?)?;
        }
        let mut errors = encoder.encode_descriptor(
            "arizuko_secret_error",
            "1 where something is wrong with a secret now, else 0; `arizuko secrets status` says what",
            None,
            MetricType::Gauge,
        )?;
        for status in &readings.statuses {
            let labels = ByName { name: status.name.to_string() };
            let error = i64::from(status.error.is_some());
            ConstGauge::new(error).encode(errors.encode_family(&labels)?)?;
        }
        let mut answered = encoder.encode_descriptor(
            "arizuko_secret_source_last_ok_timestamp_seconds",
            "When a source that is asked again and again last answered",
            None,
            MetricType::Gauge,
        )?;
        for (kind, place, at) in readings.sources {
            let labels = BySource { source: kind.to_owned(), place };
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            ConstGauge::new(at.as_secs_f64()).encode(answered.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
