//! What a look found. Pure: what the time is, is given.

use secrets::{
    Answer, Malformed, Name, Secret, Versions, Zeroizing,
    remote::{Values, copy, values},
};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

const NOT_TEXT: &str = "it is not a text in the JSON object; write it as a string";

/// What is under each name.
#[derive(Clone, Default)]
pub(crate) struct Entry {
    items: BTreeMap<Name, Arc<Item>>,
    /// The names that were looked for; `None` where all were.
    asked: Option<BTreeSet<Name>>,
}

/// What is under one name.
pub(crate) struct Item {
    current: Result<Secret, Malformed>,
    previous: Option<Secret>,
    /// The `VersionId` of what it stands in.
    pub(crate) id: String,
    changed_at: Option<SystemTime>,
}

/// A version as it was read: its id, when it came to be, and its bytes.
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) created: Option<SystemTime>,
    pub(crate) value: Zeroizing<Vec<u8>>,
}

/// The keys of a JSON object; `None` where it is not one.
pub(crate) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    // The reason is dropped on purpose, as it would quote what it tripped over.
    serde_json::from_slice(bytes).ok()
}

impl Entry {
    /// One version of a JSON object, which came to be `changed_at`, and the one before it where that still counts;
    /// `None` where it is no object.
    pub(crate) fn object(
        current: &Version,
        changed_at: Option<SystemTime>,
        before: Option<&Version>,
    ) -> Option<Self> {
        let now: Values = values(object(&current.value)?, NOT_TEXT);
        // What stood there before may have been something else.
        let before_at = before.and_then(|before| before.created);
        let before = before.and_then(|before| object(&before.value));
        let mut before = before.map(|map| values(map, NOT_TEXT)).unwrap_or_default();
        let items = now.into_iter().map(|(name, current_value)| {
            let previous = before.remove(&name).and_then(Result::ok);
            let is_same = match (&current_value, &previous) {
                (Ok(current), Some(previous)) => previous.same_as(current),
                _ => false,
            };
            let item = Item {
                current: current_value,
                previous: previous.filter(|_| !is_same),
                id: current.id.clone(),
                // A write of one key makes a new version of all of them.
                changed_at: if is_same { before_at } else { changed_at },
            };
            (name, Arc::new(item))
        });
        Some(Self { items: items.collect(), asked: None })
    }

    /// What each of `asked` has, where it has anything.
    pub(crate) const fn of(items: BTreeMap<Name, Arc<Item>>, asked: BTreeSet<Name>) -> Self {
        Self { items, asked: Some(asked) }
    }

    /// The same, without what was before.
    pub(crate) fn without_previous(&self) -> Self {
        let items = self.items.iter().map(|(name, item)| (name.clone(), item.without_previous()));
        Self { items: items.collect(), asked: self.asked.clone() }
    }

    /// Whether all of `names` were looked for.
    pub(crate) fn covers(&self, names: &[Name]) -> bool {
        self.asked.as_ref().is_none_or(|asked| names.iter().all(|name| asked.contains(name)))
    }

    /// Whether these and no others were looked for.
    pub(crate) fn is_of(&self, names: &BTreeSet<Name>) -> bool {
        self.asked.as_ref() == Some(names)
    }

    /// The answer for one name.
    pub(crate) fn answer(&self, name: &Name) -> Answer {
        self.items.get(name).map_or(Answer::Missing, |item| item.answer())
    }
}

impl Item {
    /// One version of a secret that is a value as it stands.
    pub(crate) fn new(
        current: Version,
        changed_at: Option<SystemTime>,
        before: Option<Version>,
    ) -> Self {
        let value = Secret::new(current.value);
        let previous = before.and_then(|before| Secret::new(before.value).ok());
        let previous = previous.filter(|previous| match &value {
            Ok(value) => !previous.same_as(value),
            Err(_) => true,
        });
        Self { current: value, previous, id: current.id, changed_at }
    }

    /// A secret that holds nothing.
    pub(crate) const fn empty(id: String, reason: &'static str) -> Self {
        Self { current: Err(Malformed::because(reason)), previous: None, id, changed_at: None }
    }

    /// The same, without what was before.
    pub(crate) fn without_previous(self: &Arc<Self>) -> Arc<Self> {
        if self.previous.is_none() {
            return self.clone();
        }
        let current = self.current.as_ref().map_err(Clone::clone).and_then(copy);
        Arc::new(Self { current, previous: None, id: self.id.clone(), changed_at: self.changed_at })
    }

    fn answer(&self) -> Answer {
        let copied = self.current.as_ref().map_err(Clone::clone).and_then(|current| {
            Ok((copy(current)?, self.previous.as_ref().map(copy).transpose()?))
        });
        match copied {
            Err(reason) => Answer::Rejected(reason),
            Ok((current, previous)) => Answer::Found(Versions {
                current,
                previous,
                id: self.id.clone(),
                changed_at: self.changed_at,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn version(id: &str, at: u64, text: &str) -> Version {
        let created = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(at));
        Version { id: id.into(), created, value: Zeroizing::new(text.as_bytes().to_vec()) }
    }

    #[test]
    fn what_differs_in_the_version_before_is_a_previous_value_and_its_time_is_that_of_the_change() {
        let now = version("two", 20, r#"{"MOVES":"b","STAYS":"s","BAD":7,"lower":"x"}"#);
        let before = version("one", 10, r#"{"MOVES":"a","STAYS":"s"}"#);
        let entry = Entry::object(&now, now.created, Some(&before)).unwrap();
        let Answer::Found(moves) = entry.answer(&Name::literal("MOVES")) else { panic!() };
        assert_eq!(moves.previous.unwrap().expose(), b"a");
        let Answer::Found(stays) = entry.answer(&Name::literal("STAYS")) else { panic!() };
        assert!(stays.previous.is_none() && stays.id == "two");
        assert!(stays.changed_at < moves.changed_at);
        let Answer::Rejected(reason) = entry.answer(&Name::literal("BAD")) else { panic!() };
        assert!(reason.to_string().contains("not a text"));
        assert!(matches!(entry.answer(&Name::literal("NONE")), Answer::Missing));
        let later = entry.without_previous();
        let Answer::Found(moves) = later.answer(&Name::literal("MOVES")) else { panic!() };
        assert!(moves.previous.is_none() && moves.current.expose() == b"b");
    }

    #[test]
    fn what_is_no_object_is_no_entry_and_never_anybodys_previous_value() {
        for text in ["", "hunter2", "[1]", "{\"A\":", "\"A\""] {
            assert!(Entry::object(&version("one", 1, text), None, None).is_none(), "{text}");
        }
        let now = version("two", 2, r#"{"A":"a"}"#);
        let entry = Entry::object(&now, None, Some(&version("one", 1, "hunter2"))).unwrap();
        let Answer::Found(found) = entry.answer(&Name::literal("A")) else { panic!() };
        assert!(found.previous.is_none());
    }

    #[test]
    fn who_asks_for_a_name_that_nobody_looked_for_is_not_answered_by_that_look() {
        let asked = BTreeSet::from([Name::literal("A")]);
        let item = Item::new(version("one", 1, "a\u{fc}"), None, Some(version("zero", 0, "b")));
        let entry = Entry::of(BTreeMap::from([(Name::literal("A"), Arc::new(item))]), asked);
        assert!(entry.covers(&[Name::literal("A")]));
        assert!(!entry.covers(&[Name::literal("A"), Name::literal("B")]));
        assert!(Entry::default().covers(&[Name::literal("B")]));
        let Answer::Found(found) = entry.answer(&Name::literal("A")) else { panic!() };
        assert_eq!(found.previous.unwrap().expose(), b"b");
    }
}
