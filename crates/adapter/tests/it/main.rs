//! Stories of an adapter: a platform that does as it is told, and a routd that is one or is not there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

mod inbound;
mod outbound;
mod stage;
