//! The gate: where the keys come from, how often, and what that costs those who call.

use async_trait::async_trait;
use auth::{Jwks, scopes};
use http::{HeaderMap, HeaderValue, header};
use kit::{Clock, Gate, KeySource, Metrics, testing};
use proto::{Daemon, kit::SECRETS};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// An authd that changes its only key, that goes away, and that takes its time to.
#[derive(Debug)]
struct Stand {
    first: testing::TestAuthority,
    second: testing::TestAuthority,
    changed: AtomicBool,
    away: AtomicBool,
    fetches: AtomicU64,
}

#[async_trait]
impl KeySource for Stand {
    async fn keys(&self) -> Result<Jwks, String> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            return Err("it is away".into());
        }
        let of = if self.changed.load(Ordering::SeqCst) { &self.second } else { &self.first };
        of.keys().await
    }
}

fn stand(clock: &Clock) -> (Arc<Stand>, Gate) {
    testing::install_crypto();
    let stand = Arc::new(Stand {
        first: testing::TestAuthority::new(clock.clone()),
        second: testing::TestAuthority::new(clock.clone()),
        changed: AtomicBool::new(false),
        away: AtomicBool::new(false),
        fetches: AtomicU64::new(0),
    });
    let gate = Gate::new(Daemon::Routd, testing::INSTANCE, clock.clone(), &Metrics::default());
    gate.use_keys(stand.clone());
    (stand, gate)
}

/// The status with which the bearer of an operator's token of `authority` is answered.
async fn status(gate: &Gate, authority: &testing::TestAuthority) -> u16 {
    let mut headers = HeaderMap::new();
    let bearer = format!("Bearer {}", authority.operator());
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&bearer).unwrap());
    match gate.admit(&headers, SECRETS.route).await {
        Ok(caller) => {
            assert!(caller.may(scopes::SECRETS_READ));
            200
        }
        Err(failure) => failure.status().as_u16(),
    }
}

#[tokio::test]
async fn a_key_that_began_to_sign_right_after_the_last_fetch_is_believed() {
    let (stand, gate) = stand(&Clock::real());
    assert_eq!(status(&gate, &stand.first).await, 200);
    stand.changed.store(true, Ordering::SeqCst);
    assert_eq!(status(&gate, &stand.second).await, 200, "no request fails for a new key");
    assert_eq!(status(&gate, &stand.first).await, 401, "the key that is gone is not believed");
    let fetches = stand.fetches.load(Ordering::SeqCst);
    assert!(fetches <= 3, "one for the start, and one for each key that was not known: {fetches}");
}

#[tokio::test]
async fn while_authd_is_away_nobody_waits_in_a_queue_for_keys_that_do_not_come() {
    let clock = Clock::manual(Clock::real().now());
    let (stand, gate) = stand(&clock);
    assert_eq!(status(&gate, &stand.first).await, 200);
    stand.away.store(true, Ordering::SeqCst);
    clock.advance(Duration::from_secs(6 * 60));
    let all = (0..50).map(|_| status(&gate, &stand.first));
    let answers = futures::future::join_all(all).await;
    assert!(answers.iter().all(|status| *status == 200), "old keys are good: {answers:?}");
    assert_eq!(stand.fetches.load(Ordering::SeqCst), 2, "one fetch failed for all of them");

    stand.away.store(false, Ordering::SeqCst);
    stand.changed.store(true, Ordering::SeqCst);
    let back = tokio::time::timeout(Duration::from_secs(20), async {
        while status(&gate, &stand.second).await != 200 {}
    });
    back.await.expect("it is asked again once it is back");
}

#[tokio::test]
async fn before_the_first_keys_a_caller_is_told_to_wait_and_many_do_not_queue() {
    let (stand, gate) = stand(&Clock::real());
    stand.away.store(true, Ordering::SeqCst);
    let all = (0..50).map(|_| status(&gate, &stand.first));
    let answers = futures::future::join_all(all).await;
    assert!(answers.iter().all(|status| *status == 503), "nothing is known yet: {answers:?}");
    let fetches = stand.fetches.load(Ordering::SeqCst);
    assert_eq!(fetches, 1, "one failed for all that waited");
    stand.away.store(false, Ordering::SeqCst);
    assert_eq!(status(&gate, &stand.first).await, 200, "and the next one asks at once");
}
