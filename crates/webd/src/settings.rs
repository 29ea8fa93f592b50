//! What an operator may set.

use kit::{AnySetting, Setting, parse};

/// The agent's name on the chat page.
pub const ASSISTANT_NAME: Setting<String> = Setting {
    name: "ASSISTANT_NAME",
    default: "Arizuko",
    about: "The agent's name, as people see it.",
    expects: "a name of 1 to 40 characters",
    parse: name,
};

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

fn name(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = (1..=40).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn streams(text: &str) -> Option<usize> {
    parse::number(text).filter(|n| (1..=100_000).contains(n))
}
