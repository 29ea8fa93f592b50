//! The suite's own rules, and the stories that cross daemons.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and starts processes with an environment of its own"
)]

mod access;
mod architecture;
mod deploy;
mod flows;
mod harness;
mod tidy;
