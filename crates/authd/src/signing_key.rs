//! The life of a signing key: pending, active, retired, deleted. Pure: the time is an argument.
//!
//! A key is published before it signs, so that no verifier is shown a token whose key it could not
//! know, and served after it has signed, until the last token it signed has ended. The sweep reads
//! everything and says what to do; it keeps nothing between two calls, so a missed or repeated one
//! does no harm.

use proto::Timestamp;
use std::{fmt, time::Duration};

/// How long verifiers keep the published keys, and so how long a key is published before it signs.
pub const CACHE_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// The shortest interval of rotation: a key must have been published, and must sign for a while.
pub const SHORTEST_ROTATION: Duration = Duration::from_secs(60 * 60);

/// Where a key is in its life. After `Retired` it is deleted, and there is no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Published, does not sign yet.
    Pending,
    /// Signs.
    Active,
    /// Signs no more; tokens that it signed are still good.
    Retired,
}

impl State {
    /// Its name in the database and for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Retired].into_iter().find(|s| s.name() == name)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the sweep needs to know of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id, as in the header of tokens.
    pub kid: String,
    /// Where it is in its life.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
}

/// How long the parts of a key's life are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a key signs. At least [`SHORTEST_ROTATION`].
    pub rotate_every: Duration,
    /// How long a key is published before it signs.
    pub publish_before: Duration,
    /// How long a key is served after it signed last: the longest token, and the leeway of
    /// verifiers.
    pub serve_after: Duration,
}

/// One thing to do, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// What to do.
    pub what: What,
    /// Why, for the audit log.
    pub why: &'static str,
}

/// What to do with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Make a new one, which begins in this state.
    Create(State),
    /// The pending key of this id begins to sign.
    Activate(String),
    /// The active key of this id signs no more.
    Retire(String),
    /// The key of this id, which is not active, is gone.
    Delete(String),
}

/// What to do now, in order, in one transaction. Doing it and asking again at the same time gives
/// nothing more to do.
///
/// Afterwards exactly one key is active, at most one is pending, and no key was deleted whose tokens
/// may still be good.
pub fn sweep(keys: &[Key], policy: &Policy, now: Timestamp) -> Vec<Op> {
    let mut ops = Vec::new();
    let in_state = |state| {
        let mut found: Vec<&Key> = keys.iter().filter(|key| key.state == state).collect();
        // Oldest first; the id decides between equals, so that the answer is always the same.
        found.sort_by(|a, b| (a.since, &a.kid).cmp(&(b.since, &b.kid)));
        found
    };
    let mut do_it = |what, why| ops.push(Op { what, why });
    let (pending, active) = (in_state(State::Pending), in_state(State::Active));

    for key in in_state(State::Retired) {
        if age(key, now) >= policy.serve_after {
            do_it(What::Delete(key.kid.clone()), "the last token it signed has ended");
        }
    }
    // Only a defect or a hand in the database makes a second one; it may have signed, so it retires.
    let (current, others) = match active.split_last() {
        Some((newest, others)) => (Some(*newest), others),
        None => (None, [].as_slice()),
    };
    for key in others {
        do_it(What::Retire(key.kid.clone()), "a newer key is active");
    }
    let next = pending.first().copied();
    for key in pending.iter().skip(1) {
        do_it(What::Delete(key.kid.clone()), "another key is pending, and this one never signed");
    }
    match (current, next) {
        (None, None) => do_it(What::Create(State::Active), "there is no key, so it signs at once"),
        (None, Some(next)) => {
            do_it(What::Activate(next.kid.clone()), "no other key can sign");
        }
        (Some(current), Some(next)) if age(next, now) >= policy.publish_before => {
            do_it(What::Retire(current.kid.clone()), "the next key begins to sign");
            do_it(What::Activate(next.kid.clone()), "it was published for a cache lifetime");
        }
        (Some(current), None)
            if age(current, now) >= policy.rotate_every.saturating_sub(policy.publish_before) =>
        {
            do_it(What::Create(State::Pending), "the active key is due for rotation");
        }
        (Some(_), _) => {}
    }
    ops
}

/// How long the key has been in its state; nothing for one from the future, whose clock was ahead.
fn age(key: &Key, now: Timestamp) -> Duration {
    Duration::from_millis(now.0.saturating_sub(key.since.0).try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests;
