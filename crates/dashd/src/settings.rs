//! What an operator may set.

use kit::{AnySetting, Setting, parse};

/// How many pages dashd keeps up to date at once.
pub const DASHD_MAX_STREAMS: Setting<usize> = Setting {
    name: "DASHD_MAX_STREAMS",
    default: "64",
    about: "How many pages dashd keeps up to date at once; further ones are up to date as of their load.",
    expects: "a number from 1 to 10000",
    parse: streams,
};

/// The settings that dashd reads.
pub const SETTINGS: &[&dyn AnySetting] = &[&DASHD_MAX_STREAMS];

fn streams(text: &str) -> Option<usize> {
    parse::number(text).filter(|n| (1..=10_000).contains(n))
}
