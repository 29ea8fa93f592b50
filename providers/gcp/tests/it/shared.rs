//! However many ask, one call is made.

use crate::{at, source};
use secrets::{SecretSource, testing};
use serde_json::json;
use std::sync::Arc;
use stores::{
    gcp::Gcp,
    proxy::Proxy,
    reading::{A, CANARY, name},
};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cold_readers_are_one_login_and_one_access_of_each_secret() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY, "B": CANARY}));
    gcp.add("az-A", CANARY.as_bytes());
    gcp.add("az-B", CANARY.as_bytes());
    for (secret, accesses) in [("az", 1), ("az-*", 2)] {
        let proxy = Proxy::before(gcp.port()).await;
        let source = Arc::new(at(&gcp.url_at(&proxy.base(), secret, "")));
        let mut readers = JoinSet::new();
        // All of them have arrived before one of them gets an answer.
        let gate = Arc::new(tokio::sync::Barrier::new(1_000));
        for _ in 0..1_000 {
            let (source, gate) = (source.clone(), gate.clone());
            readers.spawn(async move {
                gate.wait().await;
                source.read(&[name("A"), name("B")]).await.unwrap().len()
            });
        }
        assert_eq!(readers.join_all().await, vec![2; 1_000]);
        assert_eq!(proxy.count(":access"), accesses, "{:?}", proxy.requests());
        assert_eq!(proxy.count("/token"), 1);
        assert!(proxy.count("/versions/latest") <= 2 * accesses, "{:?}", proxy.requests());
    }
    gcp.assert_unsaid(&[CANARY]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_bundles_of_a_cold_keeper_share_one_access_and_polls_make_none() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    let source = Arc::new(source(&gcp, "az", ""));
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
    for _ in 0..3 {
        keeper.refresh("test").await;
    }
    assert_eq!(gcp.count(":access"), 1, "{:?}", gcp.calls());
    assert_eq!(gcp.count("/token"), 1);
    gcp.assert_unsaid(&[CANARY]);
}
