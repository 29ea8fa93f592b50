//! Stories of the servers themselves.
#![allow(missing_docs, clippy::panic, reason = "these are tests")]

mod slack;
