//! routd: the conversation plane.
#![allow(dead_code)]
mod prompt;
mod route;
mod turn;
