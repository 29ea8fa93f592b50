//! Figures for Prometheus. Each daemon has a registry of its own, so that several share a process.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::{
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The figures of one daemon. Names get the prefix `arizuko_`, except those that somebody registers
/// whole with [`Metrics::registry`].
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Registry::default())))
    }
}

impl Metrics {
    /// A count that only grows; `_total` is added to its name.
    pub fn counter(&self, name: &str, about: &str) -> Counter {
        let counter = Counter::default();
        self.registry().register(prefixed(name), about, counter.clone());
        counter
    }

    /// A count for each set of labels.
    pub fn counter_family<L>(&self, name: &str, about: &str) -> Family<L, Counter>
    where
        L: Clone + Hash + Eq + EncodeLabelSet + fmt::Debug + Send + Sync + 'static,
    {
        let family = Family::<L, Counter>::default();
        self.registry().register(prefixed(name), about, family.clone());
        family
    }

    /// A value that goes up and down.
    pub fn gauge(&self, name: &str, about: &str) -> Gauge {
        let gauge = Gauge::<i64>::default();
        self.registry().register(prefixed(name), about, gauge.clone());
        gauge
    }

    /// A distribution of seconds, from a millisecond to about a minute.
    pub fn histogram(&self, name: &str, about: &str) -> Histogram {
        let histogram = Histogram::new(exponential_buckets(0.001, 2.0, 17));
        self.registry().register(prefixed(name), about, histogram.clone());
        histogram
    }

    /// The registry itself, for those who bring their own figures.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text that Prometheus reads (OpenMetrics 1.0).
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry())?;
        Ok(text)
    }
}

fn prefixed(name: &str) -> String {
    format!("arizuko_{name}")
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
