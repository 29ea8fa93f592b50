//! One daemon's view of the secrets: its bundles, its generation, its status.

use crate::{
    Bundle, Event, Malformed, Name, Need, Outcome, SecretStatus, WatchError, Watched,
    keeper::{AnyLive, Core, Inner, Live, Site, State, Trouble, Verdict, lock},
    metrics::Metrics,
    status::{self, rfc3339_text},
};
use aws_lc_rs::hmac;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};
use zeroize::Zeroizing;

/// A daemon's handle to the keeper. Cheap to clone; holds no secret.
#[derive(Clone)]
pub struct Secrets {
    keeper: Arc<Inner>,
    daemon: Arc<Daemon>,
}

/// What the keeper knows of one daemon.
pub(crate) struct Daemon {
    pub(crate) name: String,
    /// Weak, so that a bundle that nobody watches any more is read no more.
    bundles: Mutex<Vec<Weak<dyn AnyLive>>>,
    generation: AtomicU64,
    fingerprint_key: Mutex<Option<hmac::Key>>,
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

    /// The state of every secret that this daemon needs. Never a value.
    #[must_use]
    pub fn status(&self) -> Vec<SecretStatus> {
        let now = Instant::now();
        let mut by_name: BTreeMap<Name, SecretStatus> = BTreeMap::new();
        for bundle in self.daemon.bundles() {
            for status in self.bundle_status(&*bundle, now) {
                let known = by_name.get(&status.name);
                if known.is_none_or(|known| known.version.is_none() && status.version.is_some()) {
                    by_name.insert(status.name.clone(), status);
                }
            }
        }
        by_name.into_values().collect()
    }

    fn bundle_status(&self, bundle: &dyn AnyLive, now: Instant) -> Vec<SecretStatus> {
        let (generation, until) = bundle.accepted_until(now).unwrap_or_default();
        let core = bundle.core();
        let state = lock(&core.state);
        let wall = self.keeper.policy.clock.now();
        let fingerprint_key = lock(&self.daemon.fingerprint_key);
        let site = state.bound.and_then(|index| self.keeper.sites.get(index));
        let checked = site.and_then(|site| lock(&site.state).last_checked);
        let is_static = |name: &Name| site.is_some_and(|site| site.source.is_static_for(name));
        let status = |need: &Need| {
            let name = &need.name;
            let held = state.held.get(name);
            let known_since = held.and_then(|held| held.changed_at);
            let age = known_since.or_else(|| state.since.get(name).copied());
            let age = held.and(age).map(|at| wall.duration_since(at).unwrap_or_default());
            let fingerprint = fingerprint_key.as_ref().zip(held);
            SecretStatus {
                name: name.clone(),
                source: held.and(site).map(|site| site.source.kind().to_owned()),
                version: held.map(|held| held.id.clone()),
                generation,
                fingerprint: fingerprint
                    .map(|(key, held)| status::fingerprint(key, name, &held.current)),
                age_seconds: age.map(|age| age.as_secs()),
                previous_accepted_until: until
                    .get(name)
                    .map(|end| rfc3339_text(wall + (*end - now))),
                last_checked: checked.map(rfc3339_text),
                is_static: held.is_some() && is_static(name),
                required: need.required && !core.optional,
                error: self.error_of(&state, need, site, generation),
            }
        };
        core.needs.iter().map(status).collect()
    }

    /// What is wrong with one name now, in words.
    fn error_of(
        &self,
        state: &State,
        need: &Need,
        site: Option<&Site>,
        generation: u64,
    ) -> Option<String> {
        let name = &need.name;
        let kept = "the last good value stays in use";
        let place = site.map(Site::described).unwrap_or_default();
        match state.trouble.get(name) {
            Some(Trouble::Vanished) => return Some(format!("{place} has it no more; {kept}")),
            Some(Trouble::Rejected(reason)) => return Some(format!("{place}: {reason}; {kept}")),
            Some(Trouble::Blank) => return Some(format!("{place}: it is empty, taken for absent")),
            None => {}
        }
        if let Some((set, reason)) = &state.rejection
            && set.contains_key(name)
        {
            return Some(format!("{place}: {reason}; {kept}"));
        }
        match site {
            Some(site) => lock(&site.state).error.clone(),
            None => self.search_error(state, need, generation),
        }
    }

    /// Why a bundle that is bound to no source has none.
    fn search_error(&self, state: &State, need: &Need, generation: u64) -> Option<String> {
        let answers = self.keeper.sites.iter().zip(&state.verdicts);
        for (site, verdict) in answers {
            match verdict {
                Verdict::Unusable(names, _)
                    if !names.split(", ").any(|n| n == need.name.as_str()) =>
                {
                    return None;
                }
                Verdict::Waiting(said) | Verdict::Refused(said) | Verdict::Unusable(_, said) => {
                    return Some(format!("{}: {said}", site.described()));
                }
                Verdict::NotHere(_) => {}
                Verdict::NotAsked => return (generation == 0).then(|| "not read yet".to_owned()),
            }
        }
        None
    }

    /// What waits for a source before its first value, with the reason: why the daemon is not
    /// ready. Empty once every [`Secrets::watch`] has resolved.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for bundle in self.daemon.bundles() {
            let core = bundle.core();
            if core.outcome.borrow().is_some() {
                continue;
            }
            let state = lock(&core.state);
            for need in core.needs.iter().filter(|need| need.required || core.needs.len() == 1) {
                let why = self.search_error(&state, need, 0);
                let why = why.unwrap_or_else(|| "its source is being asked".to_owned());
                lines.push(format!("{}: {why}", need.name));
            }
        }
        lines
    }

    /// What works and needs an operator's attention all the same, one line each.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        let now = Instant::now();
        let mut lines = Vec::new();
        for bundle in self.daemon.bundles() {
            let core = bundle.core();
            if core.outcome.borrow().is_none() {
                continue;
            }
            let (generation, _) = bundle.accepted_until(now).unwrap_or_default();
            let state = lock(&core.state);
            let site = state.bound.and_then(|index| self.keeper.sites.get(index));
            for need in core.needs {
                // A source's silence is told once, for the source, and only when it has lasted.
                let silent = site.is_some_and(|site| lock(&site.state).error.is_some());
                let own = state.trouble.contains_key(&need.name) || state.rejection.is_some();
                if let Some(error) = self.error_of(&state, need, site, generation)
                    && (own || !silent)
                {
                    lines.push(format!("{}: {error}", need.name));
                }
            }
            for name in state.left_behind(now) {
                let place = site.map(Site::described).unwrap_or_default();
                lines.push(format!("{name} in {place} has served its overlap; remove it there"));
            }
            if generation > 0 && core.refused.load(Ordering::Relaxed) == generation {
                let names = core.needs.iter().map(|n| n.name.as_str()).collect::<Vec<_>>();
                lines.push(format!(
                    "{}: the peer refuses it and the value before it; replace it with `arizuko secrets set`",
                    names.join(", ")
                ));
            }
            lines.extend(site.and_then(|site| self.stale(site, now)));
        }
        lines.sort();
        lines.dedup();
        lines
    }

    fn stale(&self, site: &Site, now: Instant) -> Option<String> {
        let state = lock(&site.state).clone();
        let error = state.error?;
        let since = state.last_ok.map(|(at, _)| at).or(state.first_asked)?;
        let silent = now - since;
        (silent > self.keeper.policy.max_staleness).then(|| {
            let minutes = silent.as_secs() / 60;
            format!("{} has not answered for {minutes} min: {error}", site.described())
        })
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
        for bundle in self.daemon.bundles() {
            self.keeper.spread(bundle.forget(name, who));
        }
        // What was let go is gone once its source has confirmed that it is not there.
        self.keeper.refresh(who).await;
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

    /// The gauges: each name with its generation and age, and each source in use with its last
    /// good answer.
    pub(crate) fn gauges(&self) -> crate::metrics::Readings {
        let statuses = self.status();
        let sites = self.keeper.sites.iter();
        let answered = sites.filter_map(|site| {
            let (_, wall) = lock(&site.state).last_ok?;
            Some((site.source.kind(), site.source.place(), wall))
        });
        crate::metrics::Readings { statuses, sources: answered.collect() }
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
