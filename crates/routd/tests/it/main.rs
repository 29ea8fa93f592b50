//! routd through its public interface: the real router and the real database, with a runed that the test plays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, with the reason"
)]

mod adapter;
mod agent;
mod approvals;
mod channels;
mod conversations;
mod files;
mod gateway;
mod ingest;
mod links;
mod mend;
mod model;
mod restart;
mod rights;
mod routing;
mod runed;
mod schedules;
mod secrets;
mod stage;
mod start;
mod steering;
mod tenant_secrets;
mod tools;
mod turns;
