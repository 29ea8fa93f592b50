//! The only reader of sources.
//!
//! Each source of the chain has a task of its own, so a slow one delays no other, and at most one
//! read in flight. A hint, a poll and a request all lead to the same thing: one read of every name
//! that somebody needs from that source, told to every bundle that is bound to it or looks for its
//! source.

mod live;
mod reading;
mod report;
mod search;
mod site;
mod state;

pub(crate) use live::{AnyLive, Core, Live};
pub(crate) use reading::{Set, currents, differing, questions, reading, values};
pub(crate) use site::Site;
pub(crate) use state::{Search, State, Trouble, Verdict, search};

use crate::{Event, Name, Policy, SecretSource, Secrets, SourceError, handle::Daemon};
use live::{Effects, Look};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::broadcast,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// Looks at one source begin at least this far apart, whatever asks for them; only a bundle that has no value yet does
/// not wait, since a daemon starts with one after the other, and there are as many as there are.
pub const LOOK_SPACING: Duration = Duration::from_millis(50);

/// After a failed read, the next waits this long, twice that after the next, and so on, each within
/// a half and the whole of it.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// The longest wait after a failed read; the poll interval, if that is shorter.
pub const BACKOFF_LONGEST: Duration = Duration::from_secs(60);

/// Events that a slow reader may be behind before it loses the oldest.
const EVENTS_KEPT: usize = 256;

/// Why a bundle could not be watched. Each says what to do; none is worth trying again without
/// doing it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// No source has it.
    #[error(
        "{daemon} needs {names} and no source has it all. Asked: {}. Put it into one of them, or name another source in SECRETS_SOURCES, and start again",
        asked.join("; ")
    )]
    Missing {
        /// Which daemon needs it.
        daemon: String,
        /// Each required secret, with what it is for.
        names: String,
        /// Each source that was asked, with its answer.
        asked: Vec<String>,
    },
    /// The source has it, and it will not do.
    #[error("{names} in {place} cannot be used: {reason}. Put it right there and start again")]
    Unusable {
        /// Which secrets.
        names: String,
        /// Where.
        place: String,
        /// Why, without the value.
        reason: String,
    },
    /// A source must not be read as it is, so whether it has the secret is not known.
    #[error("{names} cannot be read: {reason}")]
    SourceRefused {
        /// Which secrets.
        names: String,
        /// Which source, why, and what to do.
        reason: String,
    },
    /// The keeper has stopped.
    #[error("the keeper of secrets has stopped")]
    Stopped,
}

/// Reads sources and publishes what it finds. One for each process; drive it with [`Keeper::run`].
#[derive(Debug)]
pub struct Keeper {
    inner: Arc<Inner>,
}

/// Where the daemons of a process get their view of the secrets.
#[derive(Clone, Debug)]
pub struct KeeperHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) policy: Policy,
    pub(crate) sites: Vec<Site>,
    daemons: Mutex<Vec<Arc<Daemon>>>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) stopped: CancellationToken,
}

impl Keeper {
    /// A keeper of the sources in `chain`, in the order in which a secret is looked for in them.
    #[must_use]
    pub fn new(chain: Vec<Arc<dyn SecretSource>>, policy: Policy) -> (Self, KeeperHandle) {
        let inner = Arc::new(Inner {
            policy,
            sites: chain.into_iter().map(Site::new).collect(),
            daemons: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_KEPT),
            stopped: CancellationToken::new(),
        });
        (Self { inner: inner.clone() }, KeeperHandle { inner })
    }

    /// Reads until `stop`. Needs a tokio runtime; dropping the future stops as well.
    ///
    /// A source whose task panics (a defect in a provider) is started again after a backoff.
    pub async fn run(self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for index in 0..self.inner.sites.len() {
            tasks.spawn(keep_watching(self.inner.clone(), index));
        }
        stop.cancelled().await;
        tasks.shutdown().await;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.inner.stopped.cancel();
    }
}

impl KeeperHandle {
    /// The view of the daemon of that name. The same name gives the same view.
    #[must_use]
    pub fn for_daemon(&self, name: &str) -> Secrets {
        let mut daemons = lock(&self.inner.daemons);
        let known = daemons.iter().find(|daemon| daemon.name == name).cloned();
        let daemon = known.unwrap_or_else(|| {
            let daemon = Arc::new(Daemon::new(name));
            daemons.push(daemon.clone());
            daemon
        });
        Secrets::new(self.inner.clone(), daemon)
    }

    /// What happens to the secrets of all daemons.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Reads all sources again, and waits until that is done or their time is up.
    pub async fn refresh(&self, by: &str) {
        self.inner.refresh(by).await;
    }
}

/// A mutex that is never poisoned: what it guards is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one source's task, again if it panics.
async fn keep_watching(inner: Arc<Inner>, index: usize) {
    loop {
        let mut one = JoinSet::new();
        one.spawn(watch_site(inner.clone(), index));
        match one.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(index, "the reading of a source failed; this is a defect");
                tokio::time::sleep(BACKOFF_FIRST).await;
            }
            _ => return,
        }
    }
}

async fn watch_site(inner: Arc<Inner>, index: usize) {
    let Some(site) = inner.sites.get(index) else { return };
    // Also after a panic: whatever was asked for then has not been answered.
    let mut due = Some(Instant::now());
    loop {
        let why = tokio::select! {
            () = site.wake.notified() => "request",
            () = site.source.changed() => "hint",
            () = at(due) => "poll",
        };
        if why == "request" && site.is_served() {
            continue;
        }
        let (ticket, by) = site.begin(why);
        let began = Instant::now();
        let failures = inner.look(index, &by).await;
        site.serve(ticket);
        due = inner.next_look(site, failures);
        site.pause(began + LOOK_SPACING).await;
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Inner {
    /// One read of one source. Answers how many have failed in a row.
    async fn look(&self, index: usize, by: &str) -> u32 {
        let Some(site) = self.sites.get(index) else { return 0 };
        let bundles = self.bundles_for(index);
        let needs = bundles.iter().flat_map(|(_, bundle)| bundle.core().needs);
        let names: BTreeSet<Name> = needs.map(|need| need.name.clone()).collect();
        if names.is_empty() {
            return 0;
        }
        let told = self.read(site, &names).await;
        let failures = self.note(site, told.as_ref().err());
        let place = site.described();
        let look = Look {
            index,
            kind: site.source.kind(),
            place: &place,
            by,
            now: Instant::now(),
            wall: self.policy.clock.now(),
            overlap: self.policy.overlap,
        };
        let mut changed: Vec<Arc<Daemon>> = Vec::new();
        for (daemon, bundle) in bundles {
            let effects = bundle.apply(told.as_ref(), &look);
            if effects.loaded {
                daemon.loaded();
            }
            if effects.changed && !changed.iter().any(|known| Arc::ptr_eq(known, &daemon)) {
                daemon.changed();
                changed.push(daemon);
            }
            self.spread(effects);
        }
        failures
    }

    async fn read(
        &self,
        site: &Site,
        names: &BTreeSet<Name>,
    ) -> Result<reading::Reading, SourceError> {
        let failed = |cause: &str| SourceError::Unreachable {
            place: site.source.place(),
            cause: cause.into(),
        };
        let asked = questions(names);
        let limit = self.policy.read_timeout;
        let answers = timeout(limit, site.source.read(&asked))
            .await
            .map_err(|_| failed(&format!("no answer within {limit:?}")))??;
        reading(names, answers)
            .ok_or_else(|| failed("it did not answer for every name; this is a defect"))
    }

    /// Remembers how a read went, and logs when that is news.
    fn note(&self, site: &Site, error: Option<&SourceError>) -> u32 {
        let now = Instant::now();
        let wall = self.policy.clock.now();
        let said = error.map(SourceError::chain);
        let mut state = lock(&site.state);
        state.first_asked.get_or_insert(now);
        state.last_checked = Some(wall);
        match &said {
            None => {
                state.last_ok = Some((now, wall));
                if state.failures > 0 {
                    tracing::info!(source = %site.described(), "the source answers again");
                }
                state.failures = 0;
            }
            Some(said) => {
                if state.error.as_ref() != Some(said) {
                    tracing::warn!(
                        source = %site.described(), error = %said,
                        "the source cannot be read; the last good values stay",
                    );
                }
                state.failures = state.failures.saturating_add(1);
            }
        }
        state.said_no = match error {
            Some(SourceError::Denied { .. } | SourceError::Refused { .. }) => true,
            Some(SourceError::Unreachable { .. }) | None => false,
        };
        state.error = said;
        state.failures
    }

    /// When to look without being asked.
    fn next_look(&self, site: &Site, failures: u32) -> Option<Instant> {
        let interval = self.policy.poll_interval;
        let wait = if failures > 0 {
            let longest = BACKOFF_LONGEST.min(interval.max(BACKOFF_FIRST));
            let doubled = BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(6));
            doubled.min(longest).mul_f64(rand::random_range(0.5..1.0))
        } else if site.source.is_static() {
            return None;
        } else if site.source.is_remote() {
            interval.mul_f64(rand::random_range(0.75..1.0))
        } else {
            interval.mul_f64(rand::random_range(0.9..1.1))
        };
        Some(Instant::now() + wait)
    }

    /// The bundles that a look at that source concerns, each with its daemon.
    fn bundles_for(&self, index: usize) -> Vec<(Arc<Daemon>, Arc<dyn AnyLive>)> {
        let daemons = lock(&self.daemons).clone();
        let mut found = Vec::new();
        for daemon in daemons {
            for bundle in daemon.bundles() {
                if lock(&bundle.core().state).wants(index) {
                    found.push((daemon.clone(), bundle));
                }
            }
        }
        found
    }

    /// Tells the others what a bundle did.
    pub(crate) fn spread(&self, effects: Effects) {
        if let Some(site) = effects.next.and_then(|next| self.sites.get(next)) {
            site.ask_first();
        }
        for event in effects.events {
            event.log();
            // An error means that nobody listens, which is nobody's fault.
            self.events.send(event).ok();
        }
    }

    pub(crate) async fn refresh(&self, by: &str) {
        let deadline = Instant::now() + self.policy.read_timeout + LOOK_SPACING * 2;
        let tickets: Vec<_> = self.sites.iter().map(|site| (site, site.ask(by))).collect();
        for (site, ticket) in tickets {
            if !site.served(ticket, deadline).await {
                tracing::warn!(source = %site.described(), "the source did not answer a refresh in time");
            }
        }
    }

    /// The error for a bundle that no source has.
    pub(crate) fn missing(&self, core: &Core, state: &State) -> WatchError {
        let required = core.needs.iter().filter(|need| need.required);
        let named = required.map(|need| format!("{} ({})", need.name, need.about));
        let answers = self.sites.iter().zip(&state.verdicts);
        let mut asked: Vec<String> = answers
            .map(|(site, verdict)| format!("{}: {}", site.described(), verdict.said()))
            .collect();
        if asked.is_empty() {
            asked.push("nobody, as no source is configured".into());
        }
        WatchError::Missing {
            daemon: core.daemon.name.clone(),
            names: named.collect::<Vec<_>>().join(", "),
            asked,
        }
    }

    /// Begins to look for the source of a new bundle.
    pub(crate) fn begin(&self, daemon: &Daemon, bundle: Weak<dyn AnyLive>) {
        daemon.add(bundle);
        if let Some(first) = self.sites.first() {
            first.ask_first();
        }
    }
}
