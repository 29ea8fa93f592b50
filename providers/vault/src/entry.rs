//! What a look found. Pure: what the time is, is given.

use crate::answers::VersionMetadata;
use secrets::{
    Answer, Name, Versions,
    remote::{Values, copy, same},
};
use std::time::SystemTime;

/// An entry as it was at one moment.
#[derive(Default)]
pub(crate) struct Entry {
    values: Values,
    previous: Values,
    /// The source's own version; empty where nothing is there.
    pub(crate) id: String,
    changed_at: Option<SystemTime>,
    /// When the version before was written.
    before_at: Option<SystemTime>,
}

/// By what a version is known again: the number alone begins anew where an entry is deleted with all
/// its versions, and a version before may be deleted by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) number: u64,
    pub(crate) current: VersionMetadata,
    pub(crate) before: Option<VersionMetadata>,
}

impl Entry {
    /// One version, with the one before it where that still counts.
    pub(crate) fn versioned(mark: &Mark, values: Values, previous: Values) -> Self {
        Self {
            values,
            previous,
            id: mark.number.to_string(),
            changed_at: mark.current.created(),
            before_at: mark.before.as_ref().and_then(VersionMetadata::created),
        }
    }

    /// An entry of an engine without versions: the source has no version, so looks at which
    /// something was different are counted.
    pub(crate) fn unversioned(values: Values, before: Option<&Self>, looks: &mut u64) -> Self {
        if before.is_none_or(|before| !same(&before.values, &values)) {
            *looks += 1;
        }
        Self { values, id: format!("unversioned-{looks}"), ..Self::default() }
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
                // A write of one key makes a new version of all of them.
                changed_at: if is_same { self.before_at } else { self.changed_at },
            }),
        }
    }
}
