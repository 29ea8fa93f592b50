//! What an operator may set of authd.

use crate::signing_key::SHORTEST_ROTATION;
use kit::{Setting, parse};
use std::time::Duration;

/// How long a signing key signs.
pub const KEY_ROTATION_INTERVAL: Setting<Duration> = Setting {
    name: "KEY_ROTATION_INTERVAL",
    default: "30d",
    about: "How long a key signs tokens before the next one takes over.",
    expects: "a duration of at least 1h, such as 30d",
    parse: |text| parse::duration(text).filter(|interval| *interval >= SHORTEST_ROTATION),
};
