//! What a look found in one secret. Pure.

use crate::version::Version;
use secrets::{
    Answer, Name, Versions,
    remote::{Values, copy},
};
use std::time::SystemTime;

/// A version with its values, and the one before it where that still counts.
pub(crate) struct Entry {
    values: Values,
    previous: Values,
    /// The version's number.
    id: String,
    changed_at: Option<SystemTime>,
    /// When the version before was added.
    before_at: Option<SystemTime>,
}

impl Entry {
    pub(crate) fn new(current: &Version, values: Values) -> Self {
        Self {
            values,
            previous: Values::new(),
            id: current.number.to_string(),
            changed_at: current.created,
            before_at: None,
        }
    }

    /// With what the version before it holds.
    pub(crate) fn after(mut self, before: &Version, previous: Values) -> Self {
        self.previous = previous;
        self.before_at = before.created;
        self
    }

    /// Keeps nothing of the version before any longer.
    pub(crate) fn forget_previous(&mut self) {
        self.previous.clear();
    }

    /// The answer for one name.
    pub(crate) fn answer(&self, name: &Name) -> Answer {
        let current = match self.values.get(name) {
            None => return Answer::Missing,
            Some(Err(reason)) => return Answer::Rejected(reason.clone()),
            Some(Ok(current)) => current,
        };
        let before = self.previous.get(name).and_then(|before| before.as_ref().ok());
        let is_same = before.is_some_and(|before| before.same_as(current));
        let copied = copy(current)
            .and_then(|current| Ok((current, before.filter(|_| !is_same).map(copy).transpose()?)));
        match copied {
            Err(reason) => Answer::Rejected(reason),
            Ok((current, previous)) => Answer::Found(Versions {
                current,
                previous,
                id: self.id.clone(),
                // Where one name changes, there is a new version of all of them.
                changed_at: if is_same { self.before_at } else { self.changed_at },
            }),
        }
    }
}
