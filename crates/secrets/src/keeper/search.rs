//! Finding the source of a bundle: the first of the chain that has it whole.

use super::{
    WatchError,
    live::{Effects, Live, Look},
    reading::{self, Reading, Set},
    state::{self, Search, State, Verdict},
};
use crate::{Name, SourceError};
use std::collections::BTreeMap;

impl<T: Send + Sync + 'static> Live<T> {
    /// It is bound to no source yet, and it is this one's turn.
    pub(super) fn search(
        &self,
        state: &mut State,
        told: Result<&Reading, &SourceError>,
        look: &Look<'_>,
        effects: &mut Effects,
    ) {
        let verdict = match told {
            Err(error) => Verdict::of_error(error),
            Ok(reading) => match state::search(self.core.needs, reading) {
                Search::NotHere { said, lacking } => Verdict::NotHere { said, lacking },
                Search::Unusable(name, reason) => Verdict::Unusable(name, reason.to_string()),
                Search::Has(held) => {
                    let set = reading::currents(&held);
                    match self.parsed(&set) {
                        Ok(value) => {
                            state.bound = Some(look.index);
                            state.trouble = state::blanks(self.core.needs, reading);
                            self.publish(state, held, set, value, look, effects);
                            self.admit_previous(state, look);
                            return;
                        }
                        Err(reason) => {
                            let names = set.keys().map(Name::as_str).collect::<Vec<_>>();
                            Verdict::Unusable(names.join(", "), reason.to_string())
                        }
                    }
                }
            },
        };
        let is_last = look.index + 1 == state.verdicts.len();
        let Some(known) = state.verdicts.get_mut(look.index) else { return };
        let was = std::mem::replace(known, verdict.clone());
        match &verdict {
            Verdict::NotHere { .. } if !is_last => effects.next = Some(look.index + 1),
            Verdict::NotHere { .. } => self.conclude_absent(state, look, effects),
            Verdict::Waiting(_) if self.core.optional => self.conclude_absent(state, look, effects),
            Verdict::Waiting(_) | Verdict::NotAsked => {}
            Verdict::Unusable(names, reason) => {
                let (names, reason) = (names.clone(), reason.clone());
                if was != verdict {
                    self.count_rejection(&names, &reason, look, effects);
                }
                if self.slot.get().is_some() {
                    return;
                }
                if self.core.optional {
                    self.conclude_absent(state, look, effects);
                } else {
                    let place = look.place.to_owned();
                    self.fail(state, WatchError::Unusable { names, place, reason });
                }
            }
            Verdict::Refused(reason) => {
                if self.core.optional {
                    self.conclude_absent(state, look, effects);
                } else if self.slot.get().is_none() {
                    let names = state::required_names(self.core.needs);
                    let reason = reason.clone();
                    self.fail(state, WatchError::SourceRefused { names, reason });
                }
            }
        }
    }

    /// No source has it.
    fn conclude_absent(&self, state: &mut State, look: &Look<'_>, effects: &mut Effects) {
        if self.slot.get().is_some() {
            return;
        }
        let Some(absent) = &self.absent else {
            let error = self.core.keeper.missing(&self.core, state);
            return self.fail(state, error);
        };
        match absent() {
            Ok(value) => {
                self.publish(state, BTreeMap::new(), Set::new(), value, look, effects);
            }
            Err(reason) => {
                let names = self.core.needs.iter().map(|n| n.name.as_str()).collect::<Vec<_>>();
                let names = names.join(", ");
                let place = "the configured sources".to_owned();
                self.fail(state, WatchError::Unusable { names, place, reason: reason.to_string() });
            }
        }
    }

    /// The first `watch` ends with this error.
    fn fail(&self, state: &mut State, error: WatchError) {
        state.closed = true;
        self.core.outcome.send_replace(Some(Err(error)));
    }
}
