//! How much one client may ask for. Memory is bounded whatever the clients do.

use crate::client_address::ClientKey;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::DashMapStateStore,
};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Clients that are told apart; beyond that, new ones share buckets.
const CLIENTS_MAX: usize = 100_000;
/// The buckets that they share then.
const SHARED_BUCKETS: u64 = 4096;
/// How often the number of clients is looked at, in requests.
const LOOK_EVERY: u32 = 1024;
/// Most clients that are held back for guessing at once.
const HELD_MAX: usize = 65_536;

type Keyed = RateLimiter<ClientKey, DashMapStateStore<ClientKey>, DefaultClock>;

/// The limits of all clients.
#[derive(Debug)]
pub struct Limits {
    requests: Keyed,
    guesses: Keyed,
    clock: DefaultClock,
    /// Who guessed too often, and until when nothing more is tried for them.
    held: Mutex<HashMap<ClientKey, Instant>>,
    since_look: AtomicU32,
    crowded: AtomicBool,
    fold: RandomState,
}

impl Limits {
    /// `rate` requests a second with a burst of `burst`, and `guesses` failing capabilities a
    /// minute, for each client.
    pub fn new(rate: NonZeroU32, burst: NonZeroU32, guesses: NonZeroU32) -> Self {
        Self {
            requests: RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst)),
            guesses: RateLimiter::keyed(Quota::per_minute(guesses)),
            clock: DefaultClock::default(),
            held: Mutex::default(),
            since_look: AtomicU32::new(0),
            crowded: AtomicBool::new(false),
            fold: RandomState::new(),
        }
    }

    /// Counts one request. An error says how long to wait.
    pub fn admit(&self, client: ClientKey) -> Result<(), Duration> {
        if self.since_look.fetch_add(1, Ordering::Relaxed) % LOOK_EVERY == LOOK_EVERY - 1 {
            self.tidy();
        }
        let refused = self.requests.check_key(&self.bucket(client)).err();
        refused.map_or(Ok(()), |until| Err(until.wait_time_from(self.clock.now())))
    }

    /// Whether the client may try a capability now. An error says how long to wait.
    pub fn may_try(&self, client: ClientKey) -> Result<(), Duration> {
        let mut held = self.held();
        let Some(until) = held.get(&client).copied() else { return Ok(()) };
        let wait = until.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            held.remove(&client);
            return Ok(());
        }
        Err(wait)
    }

    /// Counts one capability that did not exist.
    pub fn guessed(&self, client: ClientKey) {
        let Err(until) = self.guesses.check_key(&self.bucket(client)) else { return };
        let now = Instant::now();
        let until = now + until.wait_time_from(self.clock.now());
        let mut held = self.held();
        if held.len() >= HELD_MAX {
            held.retain(|_, until| *until > now);
        }
        // Still full: so many guess at once that each gets their few a minute and no more anyway.
        if held.len() < HELD_MAX {
            held.insert(client, until);
        }
    }

    /// Forgets clients that have been quiet for long enough to have their whole burst again.
    fn tidy(&self) {
        self.guesses.retain_recent();
        if self.requests.len() > CLIENTS_MAX / 2 {
            self.requests.retain_recent();
        }
        let crowded = self.requests.len().max(self.guesses.len()) > CLIENTS_MAX;
        if crowded && !self.crowded.swap(crowded, Ordering::Relaxed) {
            tracing::warn!("more clients than can be told apart; new ones share their limits");
        } else if !crowded {
            self.crowded.store(false, Ordering::Relaxed);
        }
    }

    fn bucket(&self, client: ClientKey) -> ClientKey {
        if !self.crowded.load(Ordering::Relaxed) {
            return client;
        }
        // The range 0.0.0.0/16 is nobody's address.
        let shared = self.fold.hash_one(client) % SHARED_BUCKETS;
        let address = Ipv4Addr::from_bits(u32::try_from(shared).unwrap_or_default());
        ClientKey::of(IpAddr::V4(address))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<ClientKey, Instant>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many connections each address holds open.
#[derive(Debug, Default)]
pub struct Connections(Mutex<HashMap<ClientKey, usize>>);

impl Connections {
    /// One more connection of `client`, if that is at most `max`.
    pub fn enter(self: &Arc<Self>, client: ClientKey, max: usize) -> Option<Connection> {
        let mut open = self.open();
        let count = open.entry(client).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Connection { all: self.clone(), client })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ClientKey, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub struct Connection {
    all: Arc<Connections>,
    client: ClientKey,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.all.open();
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> ClientKey {
        ClientKey::of(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)))
    }

    fn limits(rate: u32, burst: u32, guesses: u32) -> Limits {
        let n = |n| NonZeroU32::new(n).unwrap();
        Limits::new(n(rate), n(burst), n(guesses))
    }

    #[test]
    fn one_client_s_burst_is_not_another_s() {
        let limits = limits(1, 3, 10);
        for _ in 0..3 {
            assert_eq!(limits.admit(key(1)), Ok(()));
        }
        let wait = limits.admit(key(1)).unwrap_err();
        assert!(wait <= Duration::from_secs(1) && !wait.is_zero(), "{wait:?}");
        assert_eq!(limits.admit(key(2)), Ok(()));
    }

    #[test]
    fn who_guesses_too_often_may_not_try_for_a_while() {
        let limits = limits(100, 100, 3);
        for _ in 0..3 {
            limits.guessed(key(1));
            assert_eq!(limits.may_try(key(1)), Ok(()), "a few mistakes are human");
        }
        limits.guessed(key(1));
        let wait = limits.may_try(key(1)).unwrap_err();
        assert!(wait <= Duration::from_secs(20) && wait > Duration::from_secs(15), "{wait:?}");
        assert_eq!(limits.may_try(key(2)), Ok(()), "others are not concerned");
    }

    #[test]
    fn a_crowd_of_clients_shares_a_bounded_number_of_buckets() {
        let limits = limits(1, 1, 1);
        let crowd = u32::try_from(CLIENTS_MAX).unwrap() * 3 / 2;
        for n in 0..crowd {
            // Whether each is admitted does not matter here, only what is remembered.
            limits.admit(key(n)).ok();
        }
        let bound =
            CLIENTS_MAX + usize::try_from(SHARED_BUCKETS).unwrap() + 2 * LOOK_EVERY as usize;
        assert!(limits.requests.len() <= bound, "{} clients", limits.requests.len());
    }

    #[test]
    fn connections_are_counted_until_they_end() {
        let all = Arc::new(Connections::default());
        let first = all.enter(key(1), 2).unwrap();
        let _second = all.enter(key(1), 2).unwrap();
        assert!(all.enter(key(1), 2).is_none());
        assert!(all.enter(key(2), 2).is_some());
        drop(first);
        assert!(all.enter(key(1), 2).is_some());
        assert_eq!(all.open().len(), 1, "nothing is kept of those who left");
    }
}
