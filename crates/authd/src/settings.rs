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

/// The keeper's own setting, read here for one purpose more: how long the key of authd.db stays
/// wrapped under the `SECRETS_KEY` before this one.
pub(crate) const SECRETS_OVERLAP: Setting<Duration> = Setting {
    name: "SECRETS_OVERLAP",
    default: "5m",
    about: "How long a secret's earlier value is accepted after it was replaced.",
    expects: "a duration such as 5m",
    parse: parse::duration,
};
