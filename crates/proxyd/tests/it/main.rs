//! The edge between real clients and real daemons, over TCP and TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod forwarding;
mod limits;
mod log;
mod paths;
mod rig;
mod streams;
mod tls;
