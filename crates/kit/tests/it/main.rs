//! A daemon built with kit, called by a peer built with kit, over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

mod endpoints;
mod gate;
mod life;
mod sockets;
mod tokens;
