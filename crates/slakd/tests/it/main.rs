//! Stories of slakd between a Slack workspace on loopback and a real routd.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, with the reason"
)]

mod inbound;
mod outbound;
mod rig;
mod rotation;
mod sockets;
