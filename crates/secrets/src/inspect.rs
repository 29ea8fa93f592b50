//! What operators are told of a daemon's secrets: their state, what is waited for, what needs
//! attention. Never a value.

use crate::{
    Name, Need, SecretStatus, Secrets,
    keeper::{AnyLive, Site, State, Trouble, Verdict, lock},
    metrics::Readings,
    status::{self, rfc3339_millis, rfc3339_text},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};
use tokio::time::Instant;

impl Secrets {
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
            let taken = held.and(state.since.get(name).copied());
            let age = known_since.or(taken);
            let age = age.map(|at| wall.duration_since(at).unwrap_or_default());
            let fingerprint = fingerprint_key.as_ref().zip(held);
            SecretStatus {
                name: name.clone(),
                source: held.and(site).map(|site| site.source.kind().to_owned()),
                version: held.map(|held| held.id.clone()),
                generation,
                fingerprint: fingerprint
                    .map(|(key, held)| status::fingerprint(key, name, &held.current)),
                age_seconds: age.map(|age| age.as_secs()),
                changed_at: known_since.map(rfc3339_millis),
                taken_at: taken.map(rfc3339_millis),
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
                Verdict::NotHere { said, lacking } if lacking.contains(&need.name) => {
                    return Some(format!("{}: {said}", site.described()));
                }
                Verdict::NotHere { .. } => {}
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
            let any_required = core.needs.iter().any(|need| need.required);
            for need in core.needs.iter().filter(|need| need.required || !any_required) {
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
                    "{}: the peer refuses it and the value before it; replace it with `arizuko secrets set` or `rotate`",
                    names.join(", ")
                ));
            }
            lines.extend(site.and_then(|site| self.trouble_of(site, now)));
        }
        lines.sort();
        lines.dedup();
        lines
    }

    /// What is wrong with a source as a whole: at once where it said no, and where it is silent
    /// once that has lasted.
    fn trouble_of(&self, site: &Site, now: Instant) -> Option<String> {
        let state = lock(&site.state).clone();
        let error = state.error?;
        if state.said_no {
            return Some(format!("{error}; the last good values stay in use"));
        }
        let since = state.last_ok.map(|(at, _)| at).or(state.first_asked)?;
        let silent = now - since;
        (silent > self.keeper.policy.max_staleness).then(|| {
            let minutes = silent.as_secs() / 60;
            format!("{} has not answered for {minutes} min: {error}", site.described())
        })
    }

    /// The gauges: each name with its generation and age, and each source in use with its last
    /// good answer.
    pub(crate) fn gauges(&self) -> Readings {
        let statuses = self.status();
        let bundles = self.daemon.bundles();
        let in_use: BTreeSet<usize> =
            bundles.iter().filter_map(|bundle| lock(&bundle.core().state).bound).collect();
        let sites = self.keeper.sites.iter().enumerate();
        let answered = sites.filter_map(|(index, site)| {
            // One that is read once, or from which nothing comes, is not asked again: its silence says nothing.
            if site.source.is_static() || !in_use.contains(&index) {
                return None;
            }
            let (_, wall) = lock(&site.state).last_ok?;
            Some((site.source.kind(), site.source.place(), wall))
        });
        Readings { statuses, sources: answered.collect() }
    }
}
