//! Turns from end to end: the agent's side for real, against a routd that is played by an HTTP
//! server and a Model Context Protocol server on a Unix socket, and that can die at any instant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
// A test asks where the CLI is.
#![allow(clippy::disallowed_methods)]

mod builtin;
mod claude;
mod command;
mod files;
mod giving_up;
mod model;
mod offline;
mod process;
mod restart;
mod routd;
