//! Secrets of Google Cloud Secret Manager as a source, against a server that Google's own client proves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests"
)]

mod contract;
mod each;
mod faults;
mod google;
mod logins;
mod push;
mod shared;
mod states;
mod writes;

use provider_gcp::SecretManagerSource;
use secrets::{Answer, SecretSource, Versions};
use std::time::{Duration, Instant};
use stores::{
    LIMIT,
    gcp::Gcp,
    reading::{OVERLAP, name},
};

/// A source for `NAME` or `PREFIX-*` of that server, with more parameters.
fn source(gcp: &Gcp, secret: &str, more: &str) -> SecretManagerSource {
    at(&gcp.url(secret, more))
}

fn at(url: &str) -> SecretManagerSource {
    SecretManagerSource::new(url, OVERLAP).unwrap()
}

/// All that is said of one name.
async fn versions(source: &dyn SecretSource, of: &str) -> Versions {
    let answers = source.read(&[name(of)]).await.unwrap();
    match answers.into_iter().next().unwrap() {
        Answer::Found(versions) => versions,
        other => panic!("{other:?}"),
    }
}

/// The value before the current one, where one is told.
fn previous(versions: &Versions) -> Option<&str> {
    versions.previous.as_ref().map(|previous| previous.text().unwrap())
}

/// Waits until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
