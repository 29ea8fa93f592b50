//! Telling what happened to a bundle: once, by log, metric and event.

use super::{
    live::{Effects, Live, Look},
    reading::{self, Set},
    state::{self, State},
};
use crate::{Event, Malformed, Name, Outcome};
use std::collections::BTreeMap;

impl<T: Send + Sync + 'static> Live<T> {
    /// What the source has now does not parse: the whole last good generation stays.
    pub(super) fn reject(
        &self,
        state: &mut State,
        set: Set,
        reason: Malformed,
        look: &Look<'_>,
        effects: &mut Effects,
    ) {
        let reason = reason.to_string();
        let known = state.rejection.as_ref();
        if known.is_some_and(|(seen, said)| reading::same(seen, &set) && *said == reason) {
            return;
        }
        let names = set.keys().map(Name::as_str).collect::<Vec<_>>().join(", ");
        state.rejection = Some((set, reason.clone()));
        self.count_rejection(&names, &reason, look, effects);
    }

    pub(super) fn count_rejection(
        &self,
        names: &str,
        reason: &str,
        look: &Look<'_>,
        effects: &mut Effects,
    ) {
        tracing::error!(
            daemon = %self.core.daemon.name, names, source = look.place, reason,
            "what the source has now cannot be used; the last good value stays",
        );
        for need in
            self.core.needs.iter().filter(|n| names.split(", ").any(|x| x == n.name.as_str()))
        {
            self.core.daemon.metrics.rejected(&need.name, look.kind);
            effects.events.push(Event {
                at: look.wall,
                daemon: self.core.daemon.name.clone(),
                name: need.name.clone(),
                source: Some(look.kind.to_owned()),
                from: None,
                to: None,
                generation: self.slot.get().map_or(0, |slot| slot.published.load().generation),
                asked_by: look.by.to_owned(),
                outcome: Outcome::Rejected(reason.to_owned()),
            });
        }
    }

    /// Logs and reports what is newly wrong with single names, and remembers what is wrong now.
    pub(super) fn note_trouble(
        &self,
        state: &mut State,
        trouble: BTreeMap<Name, state::Trouble>,
        look: &Look<'_>,
        effects: &mut Effects,
    ) {
        let before = std::mem::replace(&mut state.trouble, trouble);
        for (name, trouble) in &state.trouble {
            if before.get(name) == Some(trouble) {
                continue;
            }
            match trouble {
                state::Trouble::Rejected(reason) => {
                    self.count_rejection(name.as_str(), reason, look, effects);
                }
                state::Trouble::Vanished => {
                    tracing::error!(
                        daemon = %self.core.daemon.name, %name, source = look.place,
                        "the source has this secret no more; its last value stays in use",
                    );
                    let event = self.event(state, name, look.by, None, Outcome::Vanished);
                    effects.events.push(event);
                }
                state::Trouble::Blank => {}
            }
        }
    }

    /// What happened to `name`, as the audit trail has it.
    pub(super) fn event(
        &self,
        state: &State,
        name: &Name,
        by: &str,
        from: Option<String>,
        outcome: Outcome,
    ) -> Event {
        let site = state.bound.and_then(|index| self.core.keeper.sites.get(index));
        Event {
            at: self.core.keeper.policy.clock.now(),
            daemon: self.core.daemon.name.clone(),
            name: name.clone(),
            source: site.map(|site| site.source.kind().to_owned()),
            from,
            to: state.held.get(name).map(|held| held.id.clone()),
            generation: self.slot.get().map_or(0, |slot| slot.published.load().generation),
            asked_by: by.to_owned(),
            outcome,
        }
    }
}
