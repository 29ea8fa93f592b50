//! Whether a daemon can do its work, by part.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// What a daemon still waits for, and what is wrong with it.
///
/// Ready is a door that opens once: `waiting` keeps it shut until every need has been met for the
/// first time. Trouble after that is `degraded`, because one pod's 503 would take the whole edge
/// away with it.
#[derive(Clone, Debug)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    ready: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<u64, String>,
    next: u64,
    sealed: bool,
    degraded: BTreeMap<String, String>,
}

/// Something without which a daemon cannot begin its work.
#[derive(Debug)]
pub struct Unmet {
    health: Health,
    id: u64,
}

impl Default for Health {
    fn default() -> Self {
        let (ready, _) = watch::channel(false);
        Self(Arc::new(Inner { state: Mutex::default(), ready }))
    }
}

impl Health {
    /// Says that the daemon cannot begin without `what`. Drop or [`Unmet::met`] takes it back.
    pub fn needs(&self, what: impl Into<String>) -> Unmet {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        state.waiting.insert(id, what.into());
        Unmet { health: self.clone(), id }
    }

    /// Says that `part` has trouble, or with `None` that it has no more.
    pub fn degraded(&self, part: &str, trouble: Option<String>) {
        let mut state = self.state();
        match trouble {
            Some(trouble) => state.degraded.insert(part.to_owned(), trouble),
            None => state.degraded.remove(part),
        };
    }

    /// Says that every need has been named. Without it a daemon is never ready.
    pub fn seal(&self) {
        let mut state = self.state();
        state.sealed = true;
        self.open(&state);
    }

    /// Whether the daemon can do its work, or once could.
    pub fn is_ready(&self) -> bool {
        *self.0.ready.borrow()
    }

    /// Waits until the daemon can do its work.
    pub async fn ready(&self) {
        // An error would mean that the sender is gone, which `self` holds.
        let _held = self.0.ready.subscribe().wait_for(|ready| *ready).await.is_ok();
    }

    /// What the daemon waits for.
    pub fn waiting_for(&self) -> Vec<String> {
        self.state().waiting.values().cloned().collect()
    }

    /// What is wrong, as `part: trouble`.
    pub fn troubles(&self) -> Vec<String> {
        let state = self.state();
        state.degraded.iter().map(|(part, trouble)| format!("{part}: {trouble}")).collect()
    }

    /// The parts that have trouble.
    pub(crate) fn troubled(&self) -> Vec<String> {
        self.state().degraded.keys().cloned().collect()
    }

    fn open(&self, state: &State) {
        if state.sealed && state.waiting.is_empty() {
            self.0.ready.send_replace(true);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unmet {
    /// The daemon has it now.
    pub fn met(self) {
        drop(self);
    }

    /// Says more exactly what is waited for.
    pub fn says(&self, what: impl Into<String>) {
        self.health.state().waiting.insert(self.id, what.into());
    }
}

impl Drop for Unmet {
    fn drop(&mut self) {
        let mut state = self.health.state();
        state.waiting.remove(&self.id);
        self.health.open(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_opens_when_every_need_was_met_once_and_stays_open() {
        let health = Health::default();
        let token = health.needs("a token");
        let database = health.needs("the database");
        token.met();
        health.seal();
        assert!(!health.is_ready());
        assert_eq!(health.waiting_for(), ["the database"]);
        database.met();
        assert!(health.is_ready());
        health.degraded("outbox", Some("telegram is down".into()));
        drop(health.needs("something later"));
        assert!(health.is_ready(), "later trouble is degraded, not unready");
        assert_eq!(health.troubles(), ["outbox: telegram is down"]);
        health.degraded("outbox", None);
        assert!(health.troubles().is_empty());
    }

    #[test]
    fn a_daemon_that_has_not_named_its_needs_is_not_ready() {
        let health = Health::default();
        health.needs("a token").met();
        assert!(!health.is_ready());
    }
}
