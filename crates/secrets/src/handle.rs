//! One daemon's view of the secrets: its bundles, its generation, its status.

use crate::{
    Bundle, Event, Malformed, Name, Need, Outcome, WatchError, Watched,
    keeper::{AnyLive, Core, Inner, Live, Site, State, lock},
    metrics::Metrics,
};
use aws_lc_rs::hmac;
use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{broadcast, watch};
use zeroize::Zeroizing;

/// A daemon's handle to the keeper. Cheap to clone; holds no secret.
#[derive(Clone)]
pub struct Secrets {
    pub(crate) keeper: Arc<Inner>,
    pub(crate) daemon: Arc<Daemon>,
}

/// What the keeper knows of one daemon.
pub(crate) struct Daemon {
    pub(crate) name: String,
    /// Weak, so that a bundle that nobody watches any more is read no more.
    bundles: Mutex<Vec<Weak<dyn AnyLive>>>,
    generation: AtomicU64,
    pub(crate) fingerprint_key: Mutex<Option<hmac::Key>>,
    pub(crate) metrics: Metrics,
}

impl Secrets {
    pub(crate) fn new(keeper: Arc<Inner>, daemon: Arc<Daemon>) -> Self {
        Self { keeper, daemon }
    }

    /// The daemon whose view this is.
    #[must_use]
    pub fn daemon(&self) -> &str {
        &self.daemon.name
    }

    /// Watches a bundle. Resolves with its first value, and waits for that while a source that may
    /// have it cannot be read (the reason is in [`Secrets::waiting`] and [`Secrets::status`]).
    ///
    /// A bundle that requires nothing and that no source has resolves with what its parser makes
    /// of no values; what appears later is published then.
    ///
    /// # Errors
    /// When a required secret is nowhere, or what is there cannot be used.
    pub async fn watch<T: Send + Sync + 'static>(
        &self,
        bundle: &'static Bundle<T>,
    ) -> Result<Watched<T>, WatchError> {
        let dispensable = bundle.needs.iter().all(|need| !need.required);
        let parse = bundle.parse;
        let absent = move || parse(&crate::Values::default());
        let live = Live {
            core: self.core(bundle.needs, false),
            parse: Box::new(parse),
            absent: dispensable.then(|| Box::new(absent) as _),
            slot: OnceLock::new(),
        };
        self.first(live).await
    }

    /// Watches a bundle that may be absent: `None` until a source has it, without a restart.
    ///
    /// # Errors
    /// Only when the keeper has stopped. What is there and cannot be used counts as absent, and is
    /// shown as degraded.
    pub async fn watch_optional<T: Send + Sync + 'static>(
        &self,
        bundle: &'static Bundle<T>,
    ) -> Result<Watched<Option<T>>, WatchError> {
        let parse = bundle.parse;
        let live = Live {
            core: self.core(bundle.needs, true),
            parse: Box::new(move |values| parse(values).map(Some)),
            absent: Some(Box::new(|| Ok::<_, Malformed>(None))),
            slot: OnceLock::new(),
        };
        self.first(live).await
    }

    fn core(&self, needs: &'static [Need], optional: bool) -> Core {
        Core {
            keeper: self.keeper.clone(),
            daemon: self.daemon.clone(),
            needs,
            optional,
            state: Mutex::new(State::new(self.keeper.sites.len())),
            outcome: watch::Sender::new(None),
            refusals: tokio::sync::Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    async fn first<T: Send + Sync + 'static>(
        &self,
        live: Live<T>,
    ) -> Result<Watched<T>, WatchError> {
        let mut outcome = live.core.outcome.subscribe();
        let live = Arc::new(live);
        if self.keeper.sites.is_empty() {
            let state = lock(&live.core.state);
            return Err(self.keeper.missing(&live.core, &state));
        }
        let weak: Weak<Live<T>> = Arc::downgrade(&live);
        self.keeper.begin(&self.daemon, weak);
        let outcome = tokio::select! {
            outcome = outcome.wait_for(Option::is_some) => outcome.ok().and_then(|o| o.clone()),
            () = self.keeper.stopped.cancelled() => None,
        };
        outcome.ok_or(WatchError::Stopped)??;
        let slot = live.slot.get().cloned().ok_or(WatchError::Stopped)?;
        Ok(Watched::new(slot, live))
    }

    /// Counts the looks that changed something for this daemon; 1 once it has a first value.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.daemon.generation.load(Ordering::SeqCst)
    }

    /// Reads all sources again, and waits until that is done or their time is up.
    pub async fn refresh(&self) {
        self.refresh_for("refresh").await;
    }

    /// As [`Secrets::refresh`], for someone whose id the audit trail shall show.
    pub async fn refresh_for(&self, who: &str) {
        self.keeper.refresh(who).await;
    }

    /// Ends the overlap of `name` at once, in this daemon: only its current value is accepted, and
    /// an earlier one that its source still shows stays refused. A value that its source has no
    /// more is let go, where the daemon can do without it.
    pub async fn forget(&self, name: &Name) {
        self.forget_for(name, "forget").await;
    }

    /// As [`Secrets::forget`], for someone whose id the audit trail shall show.
    pub async fn forget_for(&self, name: &Name, who: &str) {
        let mut released = false;
        for bundle in self.daemon.bundles() {
            let effects = bundle.forget(name, who);
            released |= effects.released;
            self.keeper.spread(effects);
        }
        if released {
            // What was let go is gone once its source has confirmed that it is not there.
            self.keeper.refresh(who).await;
        }
    }

    /// What happens to the secrets of this process, this daemon's among them
    /// ([`Event::daemon`] tells). A slow reader loses the oldest.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.keeper.events.subscribe()
    }

    /// Gives fingerprints their key; before, there are none. Daemons with the same key can be
    /// compared.
    pub fn set_fingerprint_key(&self, key: [u8; 32]) {
        let key = Zeroizing::new(key);
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
        *lock(&self.daemon.fingerprint_key) = Some(key);
    }

    /// Registers this daemon's `arizuko_secret_*` metrics, under these whole names, so `registry`
    /// should add no prefix.
    pub fn register_metrics(&self, registry: &mut prometheus_client::registry::Registry) {
        self.daemon.metrics.register(registry);
        registry.register_collector(Box::new(crate::metrics::Gauges(self.clone())));
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({}, generation {})", self.daemon.name, self.generation())
    }
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Daemon({})", self.name)
    }
}

impl Daemon {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            bundles: Mutex::default(),
            generation: AtomicU64::new(0),
            fingerprint_key: Mutex::default(),
            metrics: Metrics::default(),
        }
    }

    pub(crate) fn add(&self, bundle: Weak<dyn AnyLive>) {
        lock(&self.bundles).push(bundle);
    }

    /// The bundles that somebody still watches.
    pub(crate) fn bundles(&self) -> Vec<Arc<dyn AnyLive>> {
        let mut bundles = lock(&self.bundles);
        bundles.retain(|bundle| bundle.strong_count() > 0);
        bundles.iter().filter_map(Weak::upgrade).collect()
    }

    /// A bundle has its first value.
    pub(crate) fn loaded(&self) {
        self.generation.fetch_max(1, Ordering::SeqCst);
    }

    /// A look changed one or more bundles.
    pub(crate) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

impl Core {
    /// The source that the bundle is bound to, or all, while it is bound to none.
    pub(crate) fn bound_sites(&self) -> Vec<&Site> {
        let bound = lock(&self.state).bound;
        match bound {
            Some(index) => self.keeper.sites.get(index).into_iter().collect(),
            None => self.keeper.sites.iter().collect(),
        }
    }
}

impl Event {
    /// The audit line.
    pub(crate) fn log(&self) {
        let (from, to) = (self.from.as_deref(), self.to.as_deref());
        let outcome = match &self.outcome {
            Outcome::Loaded => "loaded",
            Outcome::Published => "published",
            Outcome::Rejected(_) => "rejected",
            Outcome::Vanished => "vanished",
            Outcome::Forgotten => "forgotten",
        };
        tracing::info!(
            target: "arizuko::audit",
            daemon = self.daemon, name = %self.name, source = self.source.as_deref(), from, to,
            generation = self.generation, asked_by = self.asked_by, outcome, "secret",
        );
    }
}
