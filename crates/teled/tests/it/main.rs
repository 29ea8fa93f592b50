//! Stories of teled: a Telegram on loopback that lies, and a real routd.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    missing_docs,
    reason = "tests"
)]

mod credentials;
mod doubt;
mod files;
mod inbound;
mod outbound;
mod proof;
mod stage;
mod webhook;
