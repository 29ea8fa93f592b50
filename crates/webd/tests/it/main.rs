//! webd against a routd that is real on the wire: chat, webhooks, streams.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod chat;
mod fake_routd;
mod guest;
mod hook;
mod mcp;
mod page;
mod rig;
mod sse;
mod stream;
mod wire;
