//! Tokens through the public interface.
#![allow(clippy::unwrap_used, clippy::panic)]

mod arbitrary;
mod tokens;
