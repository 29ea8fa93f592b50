//! Random names: of turns, messages, homes, links and what goes out.

use proto::Opaque;
use rand::Rng;

/// A new id, such as `t-5f0c…`: 64 random bits, so that none comes twice, in this instance or in a copy of it.
pub(crate) fn fresh(prefix: &str) -> String {
    format!("{prefix}-{:016x}", rand::rng().random::<u64>())
}

/// The same, as it crosses a process boundary.
pub(crate) fn opaque(text: &str) -> Result<Opaque, crate::fault::Fault> {
    text.parse().map_err(|_| crate::fault::Fault::Defect(format!("`{text}` is no id")))
}
