//! Files that tools want of agents' homes, while they are waited for.
//!
//! A tool asks here, the agent's side hears of it on its socket and brings the file there. It is the one who opens it:
//! routd follows no path that an agent laid out. What is asked for is lost with routd, as the call is that asked.

use crate::{attempt::Attempt, files::Stored};
use proto::turn::WantedFile;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// Files that one answer tells of.
const PAGE: usize = 16;
/// Numbers that one start of routd gives out, so that those of the next are greater.
const OF_START: i64 = 1 << 32;

/// What became of a file that was wanted: it is stored, or why it cannot be had, for the agent.
pub(crate) type Brought = Result<Stored, String>;

/// Who brings it, and what is taken.
#[derive(Debug)]
struct Ticket {
    attempt: (Arc<str>, u32),
    path: String,
    max_bytes: u64,
    tell: oneshot::Sender<Brought>,
}

/// What is wanted at the moment.
#[derive(Debug)]
pub(crate) struct Desk {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: i64,
    open: BTreeMap<i64, Ticket>,
}

/// A file that is waited for. Nobody brings it any more once this is gone.
pub(crate) struct Awaited<'a> {
    desk: &'a Desk,
    id: i64,
    told: oneshot::Receiver<Brought>,
}

/// A file that is being brought.
pub(crate) struct Bringing {
    pub(crate) max_bytes: u64,
    tell: oneshot::Sender<Brought>,
}

impl Desk {
    /// The desk of the start of routd with this number.
    pub(crate) fn new(epoch: i64) -> Self {
        let state = State { last: epoch.saturating_mul(OF_START), open: BTreeMap::new() };
        Self { state: Mutex::new(state) }
    }

    /// Asks this attempt's agent for a file.
    pub(crate) fn want(&self, attempt: &Attempt, path: &str, max_bytes: u64) -> Awaited<'_> {
        let (tell, told) = oneshot::channel();
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        let attempt = (attempt.turn_id.clone(), attempt.number);
        state.open.insert(id, Ticket { attempt, path: path.to_owned(), max_bytes, tell });
        Awaited { desk: self, id, told }
    }

    /// What this attempt's agent is asked for, after the one with this number.
    pub(crate) fn wanted(&self, attempt: &Attempt, after: i64) -> Vec<WantedFile> {
        let state = self.state();
        let own = state.open.iter().filter(|(id, one)| **id > after && one.is_of(attempt));
        let shown = own.take(PAGE).map(|(id, one)| WantedFile {
            id: *id,
            path: one.path.clone(),
            max_bytes: one.max_bytes,
        });
        shown.collect()
    }

    /// Takes up what is to be brought, once. `None` where nobody waits for it.
    pub(crate) fn take(&self, attempt: &Attempt, id: i64) -> Option<Bringing> {
        let mut state = self.state();
        state.open.get(&id).filter(|one| one.is_of(attempt))?;
        let Ticket { max_bytes, tell, .. } = state.open.remove(&id)?;
        Some(Bringing { max_bytes, tell })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    fn is_of(&self, attempt: &Attempt) -> bool {
        *self.attempt.0 == *attempt.turn_id && self.attempt.1 == attempt.number
    }
}

impl Awaited<'_> {
    /// Waits for what becomes of it. `None`: whoever was bringing it went away.
    pub(crate) async fn brought(&mut self) -> Option<Brought> {
        (&mut self.told).await.ok()
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.desk.state().open.remove(&self.id);
    }
}

impl Bringing {
    /// Tells whoever waits. What nobody waits for any more goes again.
    pub(crate) fn tell(self, brought: Brought) {
        drop(self.tell.send(brought));
    }
}
