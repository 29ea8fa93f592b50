//! The keeper, through its public interface, on a paused clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod chain;
mod outage;
mod overlap;
mod refused;
mod rotation;
mod stage;
mod status;
mod trouble;
