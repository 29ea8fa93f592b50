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

/// Whether the web chat is open to strangers.
pub const WEB_GUESTS: Setting<bool> = Setting {
    name: "WEB_GUESTS",
    default: "false",
    about: "Whether anybody may open a web chat of their own at /chat/new. Who has no route there is a stranger: what \
            becomes of them, ONBOARDING_POLICY says.",
    expects: "true or false",
    parse: parse::flag,
};

/// The settings that webd reads.
pub const SETTINGS: &[&dyn AnySetting] = &[&ASSISTANT_NAME, &WEBD_MAX_STREAMS, &WEB_GUESTS];

fn streams(text: &str) -> Option<usize> {
    parse::number(text).filter(|n| (1..=100_000).contains(n))
}
