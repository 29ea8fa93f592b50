//! onbod through its public interface, before a real routd and a small chat adapter.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, with the reason"
)]

mod breaks;
mod house;
mod invites;
mod pairing;
mod queue;
mod strangers;
