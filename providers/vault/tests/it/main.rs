//! An entry of a KV engine as a source, against a real OpenBao.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests"
)]

mod bao;
mod contract;
mod faults;
mod logins;
mod shared;
mod states;
mod writes;
