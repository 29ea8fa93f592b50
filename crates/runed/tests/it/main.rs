//! runed, tested through its public interface: every backend against one suite, and the daemon over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, with the reason"
)]

mod conformance;
mod daemon;
#[cfg(feature = "docker")]
mod docker;
#[cfg(all(feature = "docker", feature = "kubernetes"))]
mod kubernetes;
mod process;
mod waiting;
