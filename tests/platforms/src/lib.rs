//! Servers of chat platforms, and of one by which people log in, for tests: each on loopback, each able to lie as the real one can, and each proven right
//! with a client that was written for the real one.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "only tests use this"
)]

pub mod github;
pub mod slack;
pub mod telegram;
pub mod tools;
