//! Files as sources.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod bad_input;
mod directory;
mod dotenv;
mod kubelet;
mod path_values;
mod poll;
mod torn;
