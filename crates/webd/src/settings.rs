//! What an operator may set.

use kit::{ASSISTANT_NAME, AnySetting, Setting, parse};

/// How many streams of events webd holds open.
pub const WEBD_MAX_STREAMS: Setting<usize> = Setting {
    name: "WEBD_MAX_STREAMS",
    default: "1024",
    about: "How many chat streams webd holds open at once; further ones are asked to come back.",
    expects: "a number from 1 to 100000",
    parse: streams,
};

/// The settings that webd reads.
pub const SETTINGS: &[&dyn AnySetting] = &[&ASSISTANT_NAME, &WEBD_MAX_STREAMS];

fn streams(text: &str) -> Option<usize> {
    parse::number(text).filter(|n| (1..=100_000).contains(n))
}
