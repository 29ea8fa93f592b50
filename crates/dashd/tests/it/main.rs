//! dashd before a real routd, with an authd that hands out people's tokens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, with the reason"
)]

mod forms;
mod lists;
mod live;
mod newcomers;
mod pages;
mod rig;
mod tenants;
