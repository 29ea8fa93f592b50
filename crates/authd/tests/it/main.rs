//! authd through its public interface: a real router on a real socket over a real database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, with the reason"
)]

mod access;
mod admin;
mod browser;
mod github;
mod keys;
mod leaks;
mod login;
mod people;
mod programs;
mod provider;
mod rig;
mod secrets_key;
mod service_token;
mod user_token;
