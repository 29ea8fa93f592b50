//! However many ask, one call is made.

use crate::source::{assert_unsaid, calls, through};
use secrets::{SecretSource, testing};
use serde_json::json;
use std::sync::Arc;
use stores::{
    moto::Moto,
    proxy::Proxy,
    reading::{A, CANARY, name},
};
use tokio::task::JoinSet;

/// A thousand readers who have all arrived before one of them gets an answer.
async fn a_thousand_read(source: Arc<dyn SecretSource>) {
    let mut readers = JoinSet::new();
    let gate = Arc::new(tokio::sync::Barrier::new(1_000));
    for _ in 0..1_000 {
        let (source, gate) = (source.clone(), gate.clone());
        readers.spawn(async move {
            gate.wait().await;
            source.read(&[name("A")]).await.unwrap().len()
        });
    }
    assert_eq!(readers.join_all().await.into_iter().sum::<usize>(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cold_readers_are_one_exchange_and_one_read() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let role = moto.role("reader", &json!([{"Effect": "Allow", "Action": "*", "Resource": "*"}]));
    let token = moto.file("token", "canary-web-identity-token");
    let proxy = Proxy::before(moto.port()).await;
    let query = format!("role={role}&token_file={}&sts_endpoint={}", token.display(), proxy.base());
    let source = Arc::new(crate::source::at(&proxy.base(), "az", &query));
    a_thousand_read(source).await;
    assert_eq!(calls(&proxy, "GetSecretValue"), 1, "{:?}", proxy.requests());
    assert!(calls(&proxy, "DescribeSecret") <= 2, "{:?}", proxy.requests());
    assert_eq!(proxy.count("AssumeRoleWithWebIdentity"), 1);
    assert_unsaid(&["canary-web-identity-token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cold_readers_of_a_prefix_are_one_batch() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az/A", CANARY);
    let proxy = Proxy::before(moto.port()).await;
    a_thousand_read(Arc::new(through(&proxy, &moto, "az/*"))).await;
    assert!(calls(&proxy, "BatchGetSecretValue") <= 2, "{:?}", proxy.requests());
    assert_eq!(calls(&proxy, "GetSecretValue"), 1, "the version before, once");
    assert_unsaid(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_bundles_of_a_cold_keeper_share_one_read_of_the_value() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let proxy = Proxy::before(moto.port()).await;
    let source = Arc::new(through(&proxy, &moto, "az"));
    let keeper = testing::keep(vec![source], testing::policy());
    let mut watching = JoinSet::new();
    for daemon in 0..1_000 {
        let secrets = keeper.for_daemon(&format!("d{daemon}"));
        watching.spawn(async move {
            let watched = secrets.watch(&A).await.unwrap();
            assert_eq!(watched.current().as_str(), CANARY);
        });
    }
    watching.join_all().await;
    assert_eq!(calls(&proxy, "GetSecretValue"), 1, "{:?}", proxy.requests());
    assert_unsaid(&[]);
}

#[tokio::test]
async fn a_poll_asks_for_the_versions_and_reads_no_value() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let proxy = Proxy::before(moto.port()).await;
    let source = Arc::new(through(&proxy, &moto, "az"));
    let keeper = testing::keep(vec![source], testing::policy());
    let watched = keeper.for_daemon("d").watch(&A).await.unwrap();
    let before = calls(&proxy, "DescribeSecret");
    for _ in 0..3 {
        keeper.refresh("test").await;
    }
    assert_eq!(calls(&proxy, "DescribeSecret"), before + 3);
    assert_eq!(proxy.requests().len(), before + 4, "and one value: {:?}", proxy.requests());
    assert_eq!(watched.current().as_str(), CANARY);
    assert_unsaid(&[]);
}
