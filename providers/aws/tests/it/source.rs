//! Sources for a test, and what may not be said.

use provider_aws::{Ambient, Aws};
use secrets::{Answer, SecretSource, Versions};
use std::time::Duration;
use stores::{
    LIMIT, log,
    moto::Moto,
    proxy::Proxy,
    reading::{CANARY, OVERLAP, name},
};
use tokio::time::{Instant, sleep};

/// The secret key of the test's own account.
pub const KEY: &str = "canary-secret-access-key-4c1d";

/// `auth=static` with a key that moto believes as long as it checks none.
pub fn key(moto: &Moto) -> String {
    let file = moto.credentials_file("credentials", "AKIATEST", KEY);
    format!("auth=static&credentials_file={}", file.display())
}

/// A source at another address, such as a proxy's.
pub fn at(base: &str, place: &str, query: &str) -> Aws {
    with(base, place, query, &Ambient::default())
}

/// As [`at`], in a pod.
pub fn with(base: &str, place: &str, query: &str, ambient: &Ambient) -> Aws {
    let url = format!("aws-sm://eu-west-1/{place}?endpoint={base}&{query}");
    Aws::new(&url, ambient, OVERLAP).unwrap()
}

/// A source with a key.
pub fn source(moto: &Moto, place: &str) -> Aws {
    at(&moto.base(), place, &key(moto))
}

/// A source with a key that goes through a proxy.
pub fn through(proxy: &Proxy, moto: &Moto, place: &str) -> Aws {
    at(&proxy.base(), place, &key(moto))
}

/// How many calls of that operation the proxy has seen.
pub fn calls(proxy: &Proxy, operation: &str) -> usize {
    proxy.count(&format!("secretsmanager.{operation}"))
}

/// Neither a value nor a key, nor one of `more`, stands in what was logged.
pub fn assert_unsaid(more: &[&str]) {
    let secrets: Vec<&str> = [CANARY, KEY].iter().chain(more).copied().collect();
    // The libraries say little, which is the provider's doing: that they would be heard is shown by this.
    tracing::trace!("somebody listens, down to the finest level");
    log::assert_unsaid("somebody listens", &secrets);
}

/// What is under one name.
pub async fn found(source: &Aws, of: &str) -> Versions {
    match source.read(&[name(of)]).await.unwrap().pop() {
        Some(Answer::Found(versions)) => versions,
        other => panic!("{of} is {other:?}"),
    }
}

/// Waits until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
