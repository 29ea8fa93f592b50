//! However many ask, one call is made.

use crate::bao::{A, Bao, CANARY, name};
use secrets::{SecretSource, testing};
use serde_json::json;
use std::sync::Arc;
use stores::proxy::Proxy;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cold_readers_are_one_login_and_one_read() {
    let Some(bao) = Bao::start().await else { return };
    bao.put(json!({"A": CANARY})).await;
    let proxy = Proxy::before(bao.port()).await;
    let token = format!("auth=token&token_file={}", bao.file("root", &bao.root).display());
    let source = Arc::new(bao.at(&proxy.base(), "kv/az", &token));
    let mut readers = JoinSet::new();
    // All of them have arrived before one of them gets an answer.
    let gate = Arc::new(tokio::sync::Barrier::new(1_000));
    for _ in 0..1_000 {
        let (source, gate) = (source.clone(), gate.clone());
        readers.spawn(async move {
            gate.wait().await;
            source.read(&[name("A")]).await.unwrap().len()
        });
    }
    assert_eq!(readers.join_all().await.len(), 1_000);
    assert_eq!(proxy.count("/kv/data/"), 1, "{:?}", proxy.requests());
    assert_eq!(proxy.count("lookup-self"), 1);
    assert!(proxy.count("/kv/metadata/") <= 2, "{:?}", proxy.requests());
    bao.assert_unsaid(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_bundles_of_a_cold_keeper_share_one_read_and_polls_read_no_data() {
    let Some(bao) = Bao::start().await else { return };
    bao.put(json!({"A": CANARY})).await;
    let proxy = Proxy::before(bao.port()).await;
    let token = format!("auth=token&token_file={}", bao.file("root", &bao.root).display());
    let source = Arc::new(bao.at(&proxy.base(), "kv/az", &token));
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
    assert_eq!(proxy.count("/kv/data/"), 1, "{:?}", proxy.requests());
    assert_eq!(proxy.count("lookup-self"), 1);
    bao.assert_unsaid(&[]);
}
