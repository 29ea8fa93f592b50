//! What one look at a source told, ready to be compared: pure, no clock, no source.

use crate::{Answer, Malformed, Name, Secret, Values};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

/// One name as its source has it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) current: Arc<Secret>,
    pub(crate) previous: Option<Previous>,
    pub(crate) id: String,
    pub(crate) changed_at: Option<SystemTime>,
}

/// The value before, and how it is known.
#[derive(Debug, Clone)]
pub(crate) struct Previous {
    pub(crate) secret: Arc<Secret>,
    /// It stands in the source as `NAME_PREVIOUS`, so that somebody can and should remove it.
    pub(crate) by_name: bool,
}

/// What a source told of one name.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Found(Arc<Held>),
    Missing,
    Rejected(Malformed),
}

/// What a source told of all the names that were asked for.
pub(crate) type Reading = BTreeMap<Name, Told>;

/// The current values of one bundle.
pub(crate) type Set = BTreeMap<Name, Arc<Secret>>;

/// `names` and the `NAME_PREVIOUS` of each: what the source is asked for.
pub(crate) fn questions(names: &BTreeSet<Name>) -> Vec<Name> {
    names.iter().flat_map(|name| [name.clone(), name.previous()]).collect()
}

/// Puts the answers to [`questions`] together again. `None` when there are not as many answers.
pub(crate) fn reading(names: &BTreeSet<Name>, answers: Vec<Answer>) -> Option<Reading> {
    if answers.len() != names.len() * 2 {
        return None;
    }
    let mut answers = answers.into_iter();
    let mut reading = Reading::new();
    for name in names {
        let told = told(name, answers.next()?, answers.next()?);
        reading.insert(name.clone(), told);
    }
    Some(reading)
}

fn told(name: &Name, current: Answer, previous: Answer) -> Told {
    let versions = match current {
        Answer::Missing => return Told::Missing,
        Answer::Rejected(reason) => return Told::Rejected(reason),
        Answer::Found(versions) => versions,
    };
    let by_name = match previous {
        Answer::Found(previous) => Some(previous.current),
        Answer::Missing => None,
        Answer::Rejected(reason) => {
            // Not a reason to refuse the value itself; whoever counts on the overlap must know.
            tracing::warn!(name = %name.previous(), %reason, "a previous value cannot be used");
            None
        }
    };
    let previous = match by_name {
        Some(secret) => Some(Previous { secret: Arc::new(secret), by_name: true }),
        None => {
            versions.previous.map(|secret| Previous { secret: Arc::new(secret), by_name: false })
        }
    };
    let current = Arc::new(versions.current);
    // While a rotation is being written, both names briefly hold the same value.
    let previous = previous.filter(|previous| !previous.secret.same_as(&current));
    let (id, changed_at) = (versions.id, versions.changed_at);
    Told::Found(Arc::new(Held { current, previous, id, changed_at }))
}

/// Whether two sets have the same names and values.
pub(crate) fn same(a: &Set, b: &Set) -> bool {
    a.len() == b.len() && differing(a, b).is_empty()
}

/// The names whose value is not the same in both.
pub(crate) fn differing(a: &Set, b: &Set) -> Vec<Name> {
    let names: BTreeSet<&Name> = a.keys().chain(b.keys()).collect();
    let differs = |name: &&Name| match (a.get(*name), b.get(*name)) {
        (Some(one), Some(other)) => !one.same_as(other),
        _ => true,
    };
    names.into_iter().filter(differs).cloned().collect()
}

/// Whether everything in `old` is also in `new`, so that nothing of `old` needs to be remembered.
pub(crate) fn contained(old: &Set, new: &Set) -> bool {
    old.iter().all(|(name, secret)| new.get(name).is_some_and(|other| other.same_as(secret)))
}

/// The set as a parser sees it.
pub(crate) fn values(set: &Set) -> Values<'_> {
    Values::new(set.iter())
}

/// The current values of what is held.
pub(crate) fn currents(held: &BTreeMap<Name, Arc<Held>>) -> Set {
    held.iter().map(|(name, held)| (name.clone(), held.current.clone())).collect()
}
