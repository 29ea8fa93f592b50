//! Secrets of AWS as a source, against moto.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests"
)]

mod agent;
mod contract;
mod faults;
mod identity;
mod prefix;
mod push;
mod shared;
mod source;
mod states;
mod writes;
