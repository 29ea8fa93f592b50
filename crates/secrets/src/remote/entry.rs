//! Entries that are one JSON object, whose keys are names. Pure.

use crate::{Change, Malformed, Name, Secret, Zeroizing};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

/// What an entry has under each name.
pub type Values = BTreeMap<Name, Result<Secret, Malformed>>;

/// The keys that can be names, each with its value. One that is no text is refused as `not_text`, such as `it is not a
/// text in the KV entry`.
#[must_use]
pub fn values(map: Map<String, Value>, not_text: &'static str) -> Values {
    let named = map.into_iter().filter_map(|(key, value)| Some((key.parse().ok()?, value)));
    let secret = |value| match value {
        Value::String(text) => Secret::new(Zeroizing::new(text.into_bytes())),
        _ => Err(Malformed::because(not_text)),
    };
    named.map(|(name, value): (Name, Value)| (name, secret(value))).collect()
}

/// The same secret once more, for a reader of its own.
///
/// # Errors
/// There is no memory that can be locked for it.
pub fn copy(secret: &Secret) -> Result<Secret, Malformed> {
    Secret::new(Zeroizing::new(secret.expose().to_vec()))
}

/// Whether both have the same names with the same values.
#[must_use]
pub fn same(one: &Values, other: &Values) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|((name, value), (other_name, other_value))| {
            name == other_name
                && match (value, other_value) {
                    (Ok(value), Ok(other)) => value.same_as(other),
                    (Err(reason), Err(other)) => reason == other,
                    _ => false,
                }
        })
}

/// Whether what a version replaced still counts, `overlap` after it was written. Where either time is not known, it
/// does: the keeper counts for itself.
#[must_use]
pub fn counts(created: Option<SystemTime>, now: Option<SystemTime>, overlap: Duration) -> bool {
    match (created, now) {
        (Some(created), Some(now)) => {
            now.duration_since(created).is_ok_and(|age| age <= overlap) || now < created
        }
        _ => true,
    }
}

/// A value is not UTF-8, and the entry holds text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of {0} is not UTF-8 text, and the entry holds text")]
pub struct NotText(pub Name);

/// The whole entry after `changes`: one is always written whole.
///
/// # Errors
/// A new value is not text.
pub fn changed(
    before: &Map<String, Value>,
    changes: &[Change<'_>],
) -> Result<Map<String, Value>, NotText> {
    let mut map = before.clone();
    for change in changes {
        match change {
            Change::Set(name, value) => {
                let text = value.text().map_err(|_| NotText((*name).clone()))?.to_owned();
                map.insert(name.to_string(), Value::String(text));
            }
            Change::Remove(name) => {
                map.remove(name.as_str());
            }
        }
    }
    Ok(map)
}

/// Whether a name gets a new value and the one before it is not to be kept anywhere: the source's own version before
/// must not hold it either, since that counts for one overlap.
#[must_use]
pub fn drops_previous(changes: &[Change<'_>]) -> bool {
    changes.iter().any(|change| {
        let Change::Set(name, _) = change else { return false };
        let previous = name.previous();
        changes.iter().any(|other| matches!(other, Change::Remove(gone) if **gone == previous))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    #[test]
    fn an_entry_is_its_keys_that_are_names_and_is_changed_whole() {
        let before = object(json!({"A": "one", "B": 7, "lower": "no name", "KEEP": "k"}));
        let read = values(before.clone(), "it is not a text here");
        let names: Vec<&str> = read.keys().map(Name::as_str).collect();
        assert_eq!(names, ["A", "B", "KEEP"]);
        let reason = read[&Name::literal("B")].as_ref().unwrap_err().to_string();
        assert!(reason.contains("not a text here"), "{reason}");

        let (a, gone) = (Name::literal("A"), Name::literal("A_PREVIOUS"));
        let new = Secret::new(Zeroizing::new(b"two".to_vec())).unwrap();
        let after = changed(&before, &[Change::Set(&a, &new), Change::Remove(&gone)]).unwrap();
        assert_eq!(after, object(json!({"A": "two", "B": 7, "lower": "no name", "KEEP": "k"})));
        assert!(!same(&read, &values(after, "it is not a text here")));
        let bytes = Secret::new(Zeroizing::new(vec![0xff, 0xfe])).unwrap();
        assert_eq!(changed(&before, &[Change::Set(&a, &bytes)]), Err(NotText(a.clone())));

        assert!(drops_previous(&[Change::Remove(&gone), Change::Set(&a, &new)]));
        assert!(!drops_previous(&[Change::Set(&gone, &new), Change::Set(&a, &new)]));
        assert!(!drops_previous(&[Change::Remove(&gone)]), "nothing new is set");
    }

    #[test]
    fn what_was_replaced_counts_for_one_overlap() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let overlap = Duration::from_secs(60);
        assert!(counts(at(1_000), at(1_060), overlap));
        assert!(!counts(at(1_000), at(1_061), overlap));
        assert!(counts(at(1_000), at(900), overlap), "a clock that is behind takes nothing away");
        assert!(counts(None, at(1), overlap) && counts(at(1), None, overlap));
    }
}
