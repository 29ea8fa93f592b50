//! What is known of one bundle, and what a reading means for it: pure, no clock, no source.

use super::{
    live::usable,
    reading::{Held, Reading, Set, Told},
};
use crate::{Malformed, Name, Need, Secret, SourceError};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};
use tokio::time::Instant;

/// Most forgotten values remembered for one name, so that none comes back as a previous one.
const FORGOTTEN_MAX: usize = 4;

/// What a source of the chain answered while the bundle was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its turn has not come.
    NotAsked,
    /// A definite no. The only one that passes on to the next source.
    NotHere {
        /// In words.
        said: String,
        /// What is missing, where it has the rest: somebody meant it to be whole.
        lacking: Vec<Name>,
    },
    /// It could not say; it is asked again.
    Waiting(String),
    /// It has something (under these names) that will not do.
    Unusable(String, String),
    /// It may not be read as it is.
    Refused(String),
}

impl Verdict {
    pub(crate) fn of_error(error: &SourceError) -> Self {
        match error {
            SourceError::Refused { .. } => Self::Refused(error.chain()),
            SourceError::Denied { .. } | SourceError::Unreachable { .. } => {
                Self::Waiting(error.chain())
            }
        }
    }

    /// In words, for an operator.
    pub(crate) fn said(&self) -> String {
        match self {
            Self::NotAsked => "not asked".into(),
            Self::NotHere { said, .. } | Self::Waiting(said) | Self::Refused(said) => said.clone(),
            Self::Unusable(names, reason) => format!("{names}: {reason}"),
        }
    }
}

/// What is wrong with one name at its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    Vanished,
    Rejected(String),
    /// Optional, never had, and there as an empty value: taken for absent.
    Blank,
}

/// A previous value that the source showed, and until when it counts.
#[derive(Debug)]
pub(crate) struct Dated {
    pub(crate) secret: Arc<Secret>,
    pub(crate) until: Instant,
}

/// The state of one bundle.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) bound: Option<usize>,
    /// The search has ended with an error.
    pub(crate) closed: bool,
    /// The last good values.
    pub(crate) held: BTreeMap<Name, Arc<Held>>,
    /// When this daemon took each value.
    pub(crate) since: BTreeMap<Name, SystemTime>,
    pub(crate) previous: BTreeMap<Name, Dated>,
    pub(crate) trouble: BTreeMap<Name, Trouble>,
    /// What the parser refused last, and why.
    pub(crate) rejection: Option<(Set, String)>,
    /// Vanished names that an operator let go of.
    pub(crate) released: BTreeSet<Name>,
    forgotten: BTreeMap<Name, Vec<Arc<Secret>>>,
}

impl State {
    pub(crate) fn new(sources: usize) -> Self {
        Self { verdicts: vec![Verdict::NotAsked; sources], ..Self::default() }
    }

    /// Whether a look at this source is of interest.
    pub(crate) fn wants(&self, index: usize) -> bool {
        if self.closed {
            return false;
        }
        match self.bound {
            Some(bound) => bound == index,
            None => self
                .verdicts
                .iter()
                .take(index)
                .all(|verdict| matches!(verdict, Verdict::NotHere { .. })),
        }
    }

    pub(crate) fn unbind(&mut self) {
        self.bound = None;
        self.verdicts.fill(Verdict::NotAsked);
    }

    /// Gives each previous value that the source shows its end, once: one that is seen again, or
    /// was forgotten, gets no more time. One that has ended and is shown no more is wiped.
    pub(crate) fn date_previous(
        &mut self,
        now: Instant,
        ends: impl Fn(Option<SystemTime>) -> Instant,
    ) {
        let held = &self.held;
        let shown = |name: &Name| held.get(name).is_some_and(|held| held.previous.is_some());
        self.previous.retain(|name, dated| dated.until > now || shown(name));
        for (name, held) in &self.held {
            let Some(previous) = &held.previous else { continue };
            let known = self.previous.get(name);
            if known.is_some_and(|known| known.secret.same_as(&previous.secret)) {
                continue;
            }
            if is_among(&self.forgotten, name, &previous.secret) {
                continue;
            }
            let until = ends(held.changed_at);
            self.previous.insert(name.clone(), Dated { secret: previous.secret.clone(), until });
        }
    }

    /// The sets to accept because of previous values in the source. Where several names have one,
    /// each set lasts until the first of those in it ends.
    pub(crate) fn previous_views(&self, current: &Set, now: Instant) -> Vec<(Set, Instant)> {
        let shown = |name: &Name, dated: &Dated| {
            let previous = self.held.get(name).and_then(|held| held.previous.as_ref());
            previous.is_some_and(|previous| previous.secret.same_as(&dated.secret))
        };
        let live: Vec<(&Name, &Dated)> = self
            .previous
            .iter()
            .filter(|(name, dated)| dated.until > now && shown(name, dated))
            .collect();
        let ends: BTreeSet<Instant> = live.iter().map(|(_, dated)| dated.until).collect();
        let view = |end: Instant| {
            let mut set = current.clone();
            for (name, dated) in live.iter().filter(|(_, dated)| dated.until >= end) {
                set.insert((*name).clone(), dated.secret.clone());
            }
            (set, end)
        };
        ends.into_iter().map(view).collect()
    }

    /// The names whose `NAME_PREVIOUS` has served its overlap and is still in the source.
    pub(crate) fn left_behind(&self, now: Instant) -> Vec<Name> {
        let by_name = |name: &Name| {
            let previous = self.held.get(name).and_then(|held| held.previous.as_ref());
            previous.is_some_and(|previous| previous.by_name)
        };
        let ended =
            self.previous.iter().filter(|(name, dated)| dated.until <= now && by_name(name));
        ended.map(|(name, _)| name.previous()).collect()
    }

    pub(crate) fn remember_forgotten(&mut self, name: &Name, secret: Option<&Arc<Secret>>) {
        let Some(secret) = secret else { return };
        if is_among(&self.forgotten, name, secret) {
            return;
        }
        let kept = self.forgotten.entry(name.clone()).or_default();
        if kept.len() >= FORGOTTEN_MAX {
            kept.remove(0);
        }
        kept.push(secret.clone());
    }

    /// A value that is current again is a good value again.
    pub(crate) fn unforget(&mut self, name: &Name, secret: Option<&Arc<Secret>>) {
        if let (Some(kept), Some(secret)) = (self.forgotten.get_mut(name), secret) {
            kept.retain(|old| !old.same_as(secret));
        }
    }

    /// The source's previous value of `name` counts no more.
    pub(crate) fn end_previous(&mut self, name: &Name) {
        let shown = self.held.get(name).and_then(|held| held.previous.as_ref());
        let secrets: Vec<_> = shown
            .map(|previous| previous.secret.clone())
            .into_iter()
            .chain(self.previous.remove(name).map(|dated| dated.secret))
            .collect();
        for secret in secrets {
            self.remember_forgotten(name, Some(&secret));
        }
    }

    /// Lets go of a name that its source has no more, where the bundle can do without it.
    pub(crate) fn release_vanished(&mut self, name: &Name, needs: &[Need], optional: bool) -> bool {
        let dispensable = optional || needs.iter().any(|need| need.name == *name && !need.required);
        let vanished = self.trouble.get(name) == Some(&Trouble::Vanished);
        dispensable && vanished && self.released.insert(name.clone())
    }
}

fn is_among(kept: &BTreeMap<Name, Vec<Arc<Secret>>>, name: &Name, secret: &Secret) -> bool {
    kept.get(name).is_some_and(|kept| kept.iter().any(|old| old.same_as(secret)))
}

/// What a reading means for a bundle that is bound to that source.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// What to publish if it differs and parses; `None`: the last good generation stays whole.
    pub(crate) held: Option<BTreeMap<Name, Arc<Held>>>,
    pub(crate) trouble: BTreeMap<Name, Trouble>,
}

/// Compares a reading with what the bundle holds.
///
/// A required name that has vanished, and any that is rejected, keeps the whole last good
/// generation. An optional one that has vanished keeps its own last value and lets others move.
pub(crate) fn gather(
    needs: &[Need],
    held: &BTreeMap<Name, Arc<Held>>,
    released: &BTreeSet<Name>,
    reading: &Reading,
) -> Gathered {
    let mut trouble = BTreeMap::new();
    let mut next = BTreeMap::new();
    let mut whole = true;
    for need in needs {
        let name = &need.name;
        let last = held.get(name);
        match reading.get(name) {
            Some(Told::Found(found)) => {
                next.insert(name.clone(), found.clone());
            }
            Some(Told::Rejected(reason)) if blank(need, reason) && last.is_none() => {
                trouble.insert(name.clone(), Trouble::Blank);
            }
            Some(Told::Rejected(reason)) => {
                trouble.insert(name.clone(), Trouble::Rejected(reason.to_string()));
                whole = false;
            }
            Some(Told::Missing) | None => {
                let Some(last) = last else { continue };
                if released.contains(name) {
                    continue;
                }
                trouble.insert(name.clone(), Trouble::Vanished);
                whole &= !need.required;
                next.insert(name.clone(), last.clone());
            }
        }
    }
    Gathered { held: whole.then_some(next), trouble }
}

/// Lets a value that is the same as before stay where it is in memory, so that there is one copy of
/// it, and keep its date: where many values share a file, the source dates all of them anew whenever
/// one changes.
pub(crate) fn carry_over(last: &BTreeMap<Name, Arc<Held>>, next: &mut BTreeMap<Name, Arc<Held>>) {
    for (name, held) in next {
        let Some(last) = last.get(name) else { continue };
        if last.current.same_as(&held.current) {
            let current = last.current.clone();
            let changed_at = last.changed_at.min(held.changed_at);
            *held = Arc::new(Held { current, changed_at, ..(**held).clone() });
        }
    }
}

/// What a source that may become the bundle's own has of it.
#[derive(Debug)]
pub(crate) enum Search {
    Has(BTreeMap<Name, Arc<Held>>),
    NotHere { said: String, lacking: Vec<Name> },
    Unusable(String, Malformed),
}

/// Looks for a whole bundle in one reading: all that is required, or, where nothing is required,
/// anything at all.
pub(crate) fn search(needs: &[Need], reading: &Reading) -> Search {
    let mut held = BTreeMap::new();
    let mut missing = Vec::new();
    for need in needs {
        match reading.get(&need.name) {
            Some(Told::Rejected(reason)) if !blank(need, reason) => {
                return Search::Unusable(need.name.to_string(), reason.clone());
            }
            told => match usable(told) {
                Some(found) => {
                    held.insert(need.name.clone(), found.clone());
                }
                None if need.required => missing.push(need.name.clone()),
                None => {}
            },
        }
    }
    if missing.is_empty() && !held.is_empty() {
        return Search::Has(held);
    }
    let found = held.keys().map(Name::as_str).collect::<Vec<_>>().join(", ");
    let absent = missing.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    let said = match (found.is_empty(), absent.is_empty()) {
        (true, true) => "it has none of them".into(),
        (true, false) => format!("it has no {absent}"),
        (false, _) => format!("it has {found}, but no {absent}"),
    };
    let lacking = if held.is_empty() { Vec::new() } else { missing };
    Search::NotHere { said, lacking }
}

/// The optional names that the source has as empty values.
pub(crate) fn blanks(needs: &[Need], reading: &Reading) -> BTreeMap<Name, Trouble> {
    let is_blank = |need: &&Need| match reading.get(&need.name) {
        Some(Told::Rejected(reason)) => blank(need, reason),
        _ => false,
    };
    needs.iter().filter(is_blank).map(|need| (need.name.clone(), Trouble::Blank)).collect()
}

/// An optional name with an empty value (`NAME=`) is one that was never filled in.
fn blank(need: &Need, reason: &Malformed) -> bool {
    !need.required && reason.is_empty_value()
}

/// The names that the bundle cannot do without, or else all of them, for a message.
pub(crate) fn required_names(needs: &[Need]) -> String {
    let any_required = needs.iter().any(|need| need.required);
    let names = needs.iter().filter(|need| need.required || !any_required);
    names.map(|need| need.name.as_str()).collect::<Vec<_>>().join(", ")
}
