//! Figures of what `/ready` and the disk say, looked at when somebody asks for them.

use crate::{Context, Health, Stores};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};
use secrets::Secrets;
use std::{fmt, path::PathBuf};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPart {
    part: String,
}

/// Where the figures come from.
#[derive(Debug)]
pub(crate) struct Condition {
    health: Health,
    secrets: Secrets,
    stores: Stores,
    data_dir: PathBuf,
}

impl Condition {
    pub(crate) fn of(context: &Context) -> Self {
        Self {
            health: context.health.clone(),
            secrets: context.secrets.clone(),
            stores: context.stores.clone(),
            data_dir: context.data_dir.clone(),
        }
    }

    /// How many troubles each part has. None is told of a part that has none.
    fn troubles(&self) -> Vec<(String, u64)> {
        let mut found: Vec<(String, u64)> =
            self.health.troubled().into_iter().map(|part| (part, 1)).collect();
        let secrets = self.secrets.degraded().len() as u64;
        if secrets > 0 {
            found.push(("secrets".to_owned(), secrets));
        }
        found.extend(self.stores.troubled().into_iter().map(|name| (name.to_owned(), 1)));
        found
    }
}

impl Collector for Condition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let ready = encoder.encode_descriptor(
            "arizuko_ready",
            "1 from when the daemon can first do its work, 0 before",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::from(self.health.is_ready())).encode(ready)?;
        let mut degraded = encoder.encode_descriptor(
            "arizuko_degraded",
            "Troubles that a part of the daemon has now; /ready has them in words",
            None,
            MetricType::Gauge,
        )?;
        for (part, troubles) in self.troubles() {
            let labels = ByPart { part };
            ConstGauge::new(troubles).encode(degraded.encode_family(&labels)?)?;
        }
        // A daemon without a store may not even see the data directory.
        if self.stores.is_empty() {
            return Ok(());
        }
        let Ok(disk) = rustix::fs::statvfs(&self.data_dir) else { return Ok(()) };
        let free = encoder.encode_descriptor(
            "arizuko_data_free_bytes",
            "Room that is left on the file system of the data directory",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(disk.f_bavail.saturating_mul(disk.f_frsize)).encode(free)?;
        let size = encoder.encode_descriptor(
            "arizuko_data_size_bytes",
            "The size of the file system of the data directory",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(disk.f_blocks.saturating_mul(disk.f_frsize)).encode(size)
    }
}
