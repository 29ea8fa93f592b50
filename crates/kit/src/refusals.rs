//! The audit of refusals: a log line, and a row in the database of a daemon that has one.
//!
//! A request only adds to a table in memory. What is to be written is handed over by a task, as one
//! transaction for all that waits.

use crate::{
    Clock, Gate, Health,
    ledger::{Ledger, Line, Refused},
};
use arc_swap::ArcSwapOption;
use futures::future::BoxFuture;
use proto::{Daemon, routd::Act};
use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often windows that are over are looked for, and a database that failed is tried again.
const LOOK: Duration = Duration::from_secs(1);
/// Rows that wait for a database at most. What is beyond is in the log alone.
const WAITING_MAX: usize = 4096;

type Keep = dyn Fn(Vec<Act>) -> BoxFuture<'static, Result<(), String>> + Send + Sync;

/// The refusals of a daemon. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Refusals(Arc<Inner>);

struct Inner {
    daemon: Daemon,
    clock: Clock,
    ledger: Mutex<Ledger>,
    waiting: Mutex<Vec<Act>>,
    /// Held while rows are handed over, so that they stay in order.
    handing: tokio::sync::Mutex<()>,
    keep: ArcSwapOption<Box<Keep>>,
    wake: Notify,
}

/// Who is refused, as far as it is known where the refusal is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Why {
    /// Why, where the problem's own code is not exact enough.
    pub(crate) reason: Option<Cow<'static, str>>,
    /// Who, where that is proved though the request is refused.
    pub(crate) subject: Option<String>,
    /// For whom or what was asked.
    pub(crate) about: Option<String>,
}

/// A call that was refused within an answer that does not show it by its status, such as that of a tool.
#[derive(Clone, Debug)]
pub struct RefusedCall {
    /// Who called, as far as it is proved.
    pub subject: String,
    /// Where from: the socket's name.
    pub from: &'static str,
    /// What was called, by a name that the caller did not choose.
    pub target: Cow<'static, str>,
    /// The HTTP status that would say the same.
    pub status: u16,
    /// Why, in a word.
    pub reason: &'static str,
    /// For whom or what; empty where that is not known.
    pub about: String,
}

impl Gate {
    /// Counts a refused call behind the route `path` and notes it for the audit, as refused requests are.
    pub fn refuse_call(&self, path: &'static str, call: RefusedCall) {
        let RefusedCall { subject, from, target, status, reason, about } = call;
        let (subject, from, reason) = (subject.into(), from.to_owned(), reason.into());
        self.refuse(path, Refused { subject, from, route: target, status, reason, about });
    }
}

impl Refusals {
    pub(crate) fn new(daemon: Daemon, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            daemon,
            ledger: Mutex::new(Ledger::new(clock.now())),
            clock,
            waiting: Mutex::default(),
            handing: tokio::sync::Mutex::default(),
            keep: ArcSwapOption::empty(),
            wake: Notify::new(),
        }))
    }

    /// Has the rows kept by `keep`, which answers once they are on the disk.
    pub(crate) fn keep_with(&self, keep: Box<Keep>) {
        self.0.keep.store(Some(Arc::new(keep)));
        self.0.wake.notify_one();
    }

    /// Notes a refusal.
    pub(crate) fn note(&self, refused: Refused) {
        let line = lock(&self.0.ledger).note(self.0.clock.now(), refused);
        self.write(line);
    }

    fn write(&self, lines: impl IntoIterator<Item = Line>) {
        let mut waiting = lock(&self.0.waiting);
        for line in lines {
            let Line { refused, times, .. } = &line;
            let Refused { subject, from, route, status, reason, about } = refused;
            tracing::warn!(
                target: "arizuko::audit",
                daemon = self.0.daemon.name(),
                %subject,
                %from,
                %route,
                status,
                %reason,
                %about,
                times,
                "a request was refused"
            );
            if waiting.len() < WAITING_MAX {
                waiting.push(line.act());
            }
        }
        if !waiting.is_empty() {
            self.0.wake.notify_one();
        }
    }

    /// Writes what is due until `stop`, and then the rest.
    pub(crate) async fn follow(self, health: Health, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => break,
            }
            let due = lock(&self.0.ledger).due(self.0.clock.now());
            self.write(due);
            if !self.hand_over(health.is_ready()).await {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
        self.settle().await;
    }

    /// Writes all that was counted so far, before the database is closed.
    pub(crate) async fn settle(&self) {
        let rest = lock(&self.0.ledger).rest(self.0.clock.now());
        self.write(rest);
        self.hand_over(true).await;
    }

    /// Hands over what waits; false when that did not go well. A daemon that has started and named
    /// no place for it has none.
    async fn hand_over(&self, started: bool) -> bool {
        let _one_at_a_time = self.0.handing.lock().await;
        let keep = self.0.keep.load_full();
        if keep.is_none() && !started {
            return true;
        }
        let acts = std::mem::take(&mut *lock(&self.0.waiting));
        let Some(keep) = keep.filter(|_| !acts.is_empty()) else { return true };
        let Err(error) = keep(acts.clone()).await else { return true };
        tracing::error!(error, rows = acts.len(), "refusals are not in the audit log yet");
        let mut waiting = lock(&self.0.waiting);
        let newer = std::mem::replace(&mut *waiting, acts);
        waiting.extend(newer);
        waiting.truncate(WAITING_MAX);
        false
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refusals({})", self.0.daemon)
    }
}
