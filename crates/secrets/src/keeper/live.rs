//! One bundle in use: searched for in the chain, then bound to one source for life.

use super::{
    Daemon, Inner, WatchError, lock,
    reading::{self, Held, Reading, Set, Told},
    state::{self, State},
};
use crate::{
    Event, Malformed, Name, Need, Outcome, SourceError, Values,
    watched::{EARLIER_MAX, Entry, Published, Slot},
};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock, atomic::AtomicU64},
    time::{Duration, SystemTime},
};
use tokio::{sync::watch, time::Instant};

/// One look at one source, as a bundle is told of it.
#[derive(Debug)]
pub(crate) struct Look<'a> {
    pub(crate) index: usize,
    pub(crate) kind: &'static str,
    pub(crate) place: &'a str,
    pub(crate) by: &'a str,
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
    pub(crate) overlap: Duration,
}

impl Look<'_> {
    /// When the overlap of a value ends that was replaced at `changed_at`: it runs from the later
    /// of that time and now. A source whose clock is ahead gains one overlap at most.
    fn overlap_ends(&self, changed_at: Option<SystemTime>) -> Instant {
        let ahead = changed_at.and_then(|at| at.duration_since(self.wall).ok()).unwrap_or_default();
        self.now + ahead.min(self.overlap) + self.overlap
    }
}

/// What a look did to one bundle.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// It has a first value now.
    pub(crate) loaded: bool,
    /// It has another value now.
    pub(crate) changed: bool,
    /// The next source of the chain is to be asked.
    pub(crate) next: Option<usize>,
    /// A vanished name was let go; its source is to confirm that it is not there.
    pub(crate) released: bool,
    pub(crate) events: Vec<Event>,
}

/// What a bundle has, whatever it parses to.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) keeper: Arc<Inner>,
    pub(crate) daemon: Arc<Daemon>,
    pub(crate) needs: &'static [Need],
    /// Never an error that it is not there, and never waited for.
    pub(crate) optional: bool,
    pub(crate) state: Mutex<State>,
    pub(crate) outcome: watch::Sender<Option<Result<(), WatchError>>>,
    pub(crate) refusals: tokio::sync::Mutex<crate::refused::Refusals>,
    /// The generation that a peer refused for good, with the value before it; 0 for none.
    pub(crate) refused: AtomicU64,
}

/// A bundle, its parsed type erased.
pub(crate) trait AnyLive: Send + Sync {
    fn core(&self) -> &Core;
    /// Takes note of a look at the source that it is bound to, or may become bound to.
    fn apply(&self, told: Result<&Reading, &SourceError>, look: &Look<'_>) -> Effects;
    /// Ends the overlap of `name`, and lets go of a value whose source has it no more.
    fn forget(&self, name: &Name, by: &str) -> Effects;
    /// The generation, and until when an earlier value of each name is accepted.
    fn accepted_until(&self, now: Instant) -> Option<(u64, BTreeMap<Name, Instant>)>;
}

type Parse<T> = Box<dyn Fn(&Values<'_>) -> Result<T, Malformed> + Send + Sync>;

/// A bundle that parses to `T`.
pub(crate) struct Live<T> {
    pub(crate) core: Core,
    pub(crate) parse: Parse<T>,
    /// What it is when no source has it; `None` when that is an error.
    pub(crate) absent: Option<Box<dyn Fn() -> Result<T, Malformed> + Send + Sync>>,
    pub(crate) slot: OnceLock<Arc<Slot<T>>>,
}

impl<T: Send + Sync + 'static> AnyLive for Live<T> {
    fn core(&self) -> &Core {
        &self.core
    }

    fn apply(&self, told: Result<&Reading, &SourceError>, look: &Look<'_>) -> Effects {
        let mut state = lock(&self.core.state);
        let mut effects = Effects::default();
        match state.bound {
            Some(bound) if bound == look.index => {
                if let Ok(reading) = told {
                    self.renew(&mut state, reading, look, &mut effects);
                }
                self.wipe_expired(look.now);
            }
            None if state.wants(look.index) => {
                self.search(&mut state, told, look, &mut effects);
            }
            _ => {}
        }
        effects
    }

    fn forget(&self, name: &Name, by: &str) -> Effects {
        let mut state = lock(&self.core.state);
        let mut effects = Effects::default();
        let Some(slot) = self.slot.get() else { return effects };
        if !self.core.needs.iter().any(|need| need.name == *name) {
            return effects;
        }
        let published = slot.published.load_full();
        let mut earlier: Vec<Entry<T>> = Vec::new();
        let mut ended = false;
        for entry in &published.earlier {
            let now = published.current.set.get(name);
            let then = entry.set.get(name);
            match (then, now) {
                (Some(then), Some(now)) if then.same_as(now) => earlier.push(entry.clone()),
                (None, None) => earlier.push(entry.clone()),
                (then, now) => {
                    ended = true;
                    state.remember_forgotten(name, then);
                    earlier.extend(self.without(entry, name, now, &published.current.set));
                }
            }
        }
        state.end_previous(name);
        effects.released = state.release_vanished(name, self.core.needs, self.core.optional);
        if ended {
            slot.put(published.generation, published.current.clone(), earlier);
            effects.events.push(self.event(&state, name, by, None, Outcome::Forgotten));
        }
        effects
    }

    fn accepted_until(&self, now: Instant) -> Option<(u64, BTreeMap<Name, Instant>)> {
        let published = self.slot.get()?.published.load();
        let mut until = BTreeMap::new();
        for entry in published.earlier.iter().filter(|entry| entry.until > Some(now)) {
            for name in reading::differing(&entry.set, &published.current.set) {
                if entry.set.contains_key(&name) {
                    let end = until.entry(name).or_insert(now);
                    *end = (*end).max(entry.until.unwrap_or(now));
                }
            }
        }
        Some((published.generation, until))
    }
}

impl<T: Send + Sync + 'static> Live<T> {
    /// The source that it is bound to was read.
    fn renew(&self, state: &mut State, reading: &Reading, look: &Look<'_>, effects: &mut Effects) {
        let gathered = state::gather(self.core.needs, &state.held, &state.released, reading);
        self.note_trouble(state, gathered.trouble, look, effects);
        let Some(mut held) = gathered.held else { return };
        state::carry_over(&state.held, &mut held);
        let set = reading::currents(&held);
        let Some(slot) = self.slot.get() else { return };
        if reading::same(&slot.published.load().current.set, &set) {
            // The same values, perhaps under another version id or with another previous value.
            state.held = held;
            state.rejection = None;
        } else if set.is_empty() && self.core.optional {
            self.let_go(state, look, effects);
        } else {
            match self.parsed(&set) {
                Ok(value) => self.publish(state, held, set, value, look, effects),
                Err(reason) => return self.reject(state, set, reason, look, effects),
            }
        }
        self.admit_previous(state, look);
    }

    pub(super) fn parsed(&self, set: &Set) -> Result<T, Malformed> {
        // A parser that panics must not take the reading of all other secrets with it.
        catch_unwind(AssertUnwindSafe(|| (self.parse)(&reading::values(set))))
            .unwrap_or_else(|_| Err(Malformed::because("its parser failed; this is a defect")))
    }

    /// Makes `value` the current one. The only place where a bundle changes.
    pub(super) fn publish(
        &self,
        state: &mut State,
        held: BTreeMap<Name, Arc<Held>>,
        set: Set,
        value: T,
        look: &Look<'_>,
        effects: &mut Effects,
    ) {
        let current = Entry { value: Arc::new(value), set: Arc::new(set), until: None };
        let before = self.slot.get().map(|slot| slot.published.load_full());
        let old = before.as_ref().map(|published| published.current.set.clone());
        let changed = reading::differing(old.as_deref().unwrap_or(&Set::new()), &current.set);
        let versions_before = std::mem::replace(&mut state.held, held);
        state.rejection = None;
        for name in &changed {
            state.unforget(name, current.set.get(name));
            if current.set.contains_key(name) {
                state.released.remove(name);
            }
            state.since.insert(name.clone(), look.wall);
        }
        let generation = match (self.slot.get(), before) {
            (Some(slot), Some(before)) => {
                let generation = before.generation + 1;
                let at = changed.iter().filter_map(|n| state.held.get(n)?.changed_at).max();
                let earlier = succeed(&before, &current, look.overlap_ends(at), look.now);
                slot.put(generation, current, earlier);
                effects.changed = true;
                generation
            }
            _ => {
                // Nobody else sets it: this runs under the lock of `state`.
                self.slot.get_or_init(|| Arc::new(Slot::new(current)));
                effects.loaded = true;
                1
            }
        };
        for name in &changed {
            let to = state.held.get(name);
            if generation > 1 {
                self.core.daemon.metrics.propagated(name, to.and_then(|h| h.changed_at), look.wall);
            }
            let from = versions_before.get(name).map(|held| held.id.clone());
            let outcome = if from.is_none() { Outcome::Loaded } else { Outcome::Published };
            effects.events.push(self.event(state, name, look.by, from, outcome));
        }
        self.core.outcome.send_replace(Some(Ok(())));
    }

    /// Accepts what the source calls the previous value, for one overlap.
    pub(super) fn admit_previous(&self, state: &mut State, look: &Look<'_>) {
        let Some(slot) = self.slot.get() else { return };
        state.date_previous(look.now, |changed_at| look.overlap_ends(changed_at));
        let published = slot.published.load_full();
        let mut earlier = published.earlier.clone();
        for (set, until) in state.previous_views(&published.current.set, look.now) {
            let known = earlier.iter().any(|entry| reading::same(&entry.set, &set));
            if known || earlier.len() >= EARLIER_MAX {
                continue;
            }
            match self.parsed(&set) {
                Ok(value) => earlier.push(Entry {
                    value: Arc::new(value),
                    set: Arc::new(set),
                    until: Some(until),
                }),
                // Not a rejection: nobody asked for that combination to be used.
                Err(reason) => tracing::warn!(
                    daemon = %self.core.daemon.name, %reason,
                    "the previous value in the source cannot be used",
                ),
            }
        }
        if earlier.len() != published.earlier.len() {
            slot.put(published.generation, published.current.clone(), earlier);
        }
    }

    /// A bundle that may be absent is absent again, because somebody asked to forget it.
    fn let_go(&self, state: &mut State, look: &Look<'_>, effects: &mut Effects) {
        let Some(Ok(value)) = self.absent.as_ref().map(|absent| absent()) else { return };
        self.publish(state, BTreeMap::new(), Set::new(), value, look, effects);
        if let Some(slot) = self.slot.get() {
            let published = slot.published.load_full();
            slot.put(published.generation, published.current.clone(), Vec::new());
        }
        state.unbind();
    }

    /// `entry` with `name` as it is now, unless that leaves nothing earlier in it.
    fn without(
        &self,
        entry: &Entry<T>,
        name: &Name,
        now: Option<&Arc<crate::Secret>>,
        current: &Set,
    ) -> Option<Entry<T>> {
        let mut set = (*entry.set).clone();
        match now {
            Some(secret) => set.insert(name.clone(), secret.clone()),
            None => set.remove(name),
        };
        if reading::same(&set, current) {
            return None;
        }
        let value = self.parsed(&set).ok()?;
        Some(Entry { value: Arc::new(value), set: Arc::new(set), until: entry.until })
    }

    /// Drops, and so wipes, what is accepted no more.
    fn wipe_expired(&self, now: Instant) {
        let Some(slot) = self.slot.get() else { return };
        let published = slot.published.load_full();
        if published.earlier.iter().any(|entry| entry.until <= Some(now)) {
            let mut earlier = published.earlier.clone();
            earlier.retain(|entry| entry.until > Some(now));
            slot.put(published.generation, published.current.clone(), earlier);
        }
    }
}

/// What is still accepted once `current` has replaced what `before` had.
fn succeed<T>(
    before: &Published<T>,
    current: &Entry<T>,
    until: Instant,
    now: Instant,
) -> Vec<Entry<T>> {
    let mut earlier = Vec::with_capacity(EARLIER_MAX);
    // Where names only came in addition, the old set has nothing that the new one has not.
    if !reading::contained(&before.current.set, &current.set) {
        earlier.push(Entry { until: Some(until), ..before.current.clone() });
    }
    let still = |entry: &&Entry<T>| {
        entry.until > Some(now)
            && !reading::same(&entry.set, &current.set)
            && !reading::same(&entry.set, &before.current.set)
    };
    earlier.extend(before.earlier.iter().filter(still).cloned());
    earlier.truncate(EARLIER_MAX);
    earlier
}

/// What a name's own answer means for the bundle that needs it.
pub(crate) fn usable(told: Option<&Told>) -> Option<&Arc<Held>> {
    match told {
        Some(Told::Found(held)) => Some(held),
        _ => None,
    }
}
