//! What to do when a credential is refused: the fastest news of a rotation.
//!
//! A presenter whose credential was refused, and a checker that was shown one it does not know,
//! both look at the source again before they give up. The looks are limited, so that a peer that
//! refuses everything, or a stranger who guesses, cannot make us hammer a source: one at a time,
//! at most one a second for each source, one at once for each version of a bundle, and further ones
//! for the same version after 1 s, 2 s, 4 s and so on up to 30 s.

use crate::{Watched, keeper::differing, watched::Accepted};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout_at};

/// How long a refused request waits for the next look that the limits permit.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long such a look may take before the request goes on without it.
pub const LOOK_PATIENCE: Duration = Duration::from_secs(3);

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_LONGEST: Duration = Duration::from_secs(30);

/// After this long without a refusal, the backoff begins anew.
const BACKOFF_FORGOTTEN: Duration = Duration::from_secs(60);

/// When a bundle looked because of a refusal. Behind a lock that is held during the look.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    generation: u64,
    /// Looks for this generation that brought nothing new.
    fruitless: u32,
    began: Option<Instant>,
    next: Option<Instant>,
}

/// What looking again came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// There is a newer value now.
    Newer,
    /// There is not, as far as the limits let us see.
    Unchanged,
}

/// How a peer took what was presented to it.
#[derive(Debug)]
pub enum Attempt<R, E> {
    /// It accepted the credential, and this is the answer.
    Done(R),
    /// It said that the credential is not good.
    Refused(E),
    /// It failed for another reason, which no other credential would change.
    Failed(E),
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// A peer refused the value of generation `seen`: looks again, within the limits.
    pub async fn refused(&self, seen: u64) -> Again {
        let arrived = Instant::now();
        let begin_by = arrived + PATIENCE;
        let deadline = begin_by + LOOK_PATIENCE;
        let core = &self.live.core;
        let Ok(mut refusals) = timeout_at(deadline, core.refusals.lock()).await else {
            return self.again(seen);
        };
        // What was under way when this caller came may have brought it what it needs.
        if self.generation() > seen || refusals.began > Some(arrived) {
            return self.again(seen);
        }
        let mut sites = core.bound_sites();
        // What never changes need not be looked at, and nobody waits for it.
        sites.retain(|site| !site.source.is_static());
        if sites.is_empty() {
            return Again::Unchanged;
        }
        let Some(begin) = refusals.permit(seen, arrived, begin_by) else {
            return Again::Unchanged;
        };
        sleep_until(begin).await;
        for site in sites {
            site.look_for_refused(arrived, begin_by, deadline).await;
        }
        self.again(seen)
    }

    fn again(&self, seen: u64) -> Again {
        if self.generation() > seen { Again::Newer } else { Again::Unchanged }
    }

    /// Presents the current value. Where it is refused, looks again and presents the new one, if
    /// there is one, and then those before it that are accepted here, newest first.
    ///
    /// More than the one before it, because a bundle may have changed in a part that is not
    /// presented, so that the value before shows the same again.
    ///
    /// # Errors
    /// With the last attempt's error. Where that is a refusal, it is also shown as degraded: an
    /// operator must replace the credential.
    pub async fn present<R, E, F>(&self, attempt: impl Fn(Arc<T>) -> F) -> Result<R, E>
    where
        F: Future<Output = Attempt<R, E>>,
    {
        let (seen, first) = self.versioned();
        let mut refusal = match attempt(first.clone()).await {
            Attempt::Done(answer) => return Ok(self.taken(answer)),
            Attempt::Failed(error) => return Err(error),
            Attempt::Refused(error) => error,
        };
        self.refused(seen).await;
        let others: Vec<Arc<T>> =
            self.accepted().filter(|value| !Arc::ptr_eq(value, &first)).collect();
        for other in others {
            refusal = match attempt(other).await {
                Attempt::Done(answer) => return Ok(self.taken(answer)),
                Attempt::Failed(error) => return Err(error),
                Attempt::Refused(error) => error,
            };
        }
        self.live.core.refused.store(self.generation(), Ordering::Relaxed);
        Err(refusal)
    }

    /// Notes that the peer took a value.
    fn taken<R>(&self, answer: R) -> R {
        if self.live.core.refused.load(Ordering::Relaxed) != 0 {
            self.live.core.refused.store(0, Ordering::Relaxed);
        }
        answer
    }

    /// Checks what a peer presented: asks `accepts` for each accepted value, and, where none will
    /// do, looks again once and asks for each again. `None`: it is not to be believed.
    ///
    /// A use of an earlier value is counted in `arizuko_secret_previous_used_total`.
    pub async fn check<R>(&self, accepts: impl Fn(&T) -> Option<R>) -> Option<R> {
        let accepted = self.accepted();
        let seen = accepted.generation();
        if let Some(answer) = self.first_accepting(accepted, &accepts) {
            return Some(answer);
        }
        // Asked again also where nothing is newer: a previous value may have come to light.
        self.refused(seen).await;
        self.first_accepting(self.accepted(), &accepts)
    }

    fn first_accepting<R>(
        &self,
        mut accepted: Accepted<T>,
        accepts: &impl Fn(&T) -> Option<R>,
    ) -> Option<R> {
        while let Some(entry) = accepted.next_entry() {
            let Some(answer) = accepts(&entry.value) else { continue };
            if entry.until.is_some() {
                let set = entry.set.clone();
                for name in differing(&set, accepted.current_set()) {
                    self.live.core.daemon.metrics.previous_used(&name);
                }
            }
            return Some(answer);
        }
        None
    }
}

impl Refusals {
    /// When the next look for a refusal of generation `seen` may begin, if that is early enough.
    fn permit(&mut self, seen: u64, now: Instant, begin_by: Instant) -> Option<Instant> {
        let quiet = self.began.is_some_and(|began| now - began > BACKOFF_FORGOTTEN);
        if self.generation != seen || quiet {
            *self = Self { generation: seen, began: self.began, ..Self::default() };
        }
        let begin = self.next.map_or(now, |next| next.max(now));
        if begin > begin_by {
            return None;
        }
        let wait = BACKOFF_FIRST.saturating_mul(1 << self.fruitless.min(5)).min(BACKOFF_LONGEST);
        self.fruitless += 1;
        self.began = Some(begin);
        self.next = Some(begin + wait);
        Some(begin)
    }
}
