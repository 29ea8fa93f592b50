//! Ids and wire types, whatever they are given.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod arbitrary;
