//! Servers that keep secrets, for tests: each real where it can be had, with a proxy in front that makes trouble and
//! counts calls. Where a server's program is not there, a test says so and verifies nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "only tests use this"
)]

pub mod bao;
pub mod gcp;
pub mod log;
pub mod moto;
pub mod provider;
pub mod proxy;
pub mod reading;
pub mod tools;

use std::time::Duration;

/// How long anything may take before a test gives up. A bound, never a measurement.
pub const LIMIT: Duration = Duration::from_secs(60);
