//! Hints from a subscription: they lead to a look, and to nothing else.

use crate::{at, source, until};
use secrets::{SecretSource, testing};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use stores::{
    LIMIT,
    gcp::Gcp,
    proxy::{Proxy, http},
    reading::{A, CANARY, value},
};

#[tokio::test]
async fn a_change_is_there_as_soon_as_it_is_told_also_where_latest_is_behind() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": "canary-told-one"}));
    gcp.subscribe("hints", &["az"]);
    let source = Arc::new(source(
        &gcp,
        "az",
        &format!("&subscription=hints&pubsub_endpoint={}", gcp.base()),
    ));
    // No poll comes in this test: what is learnt is learnt by a hint.
    let mut policy = testing::policy();
    policy.poll_interval = Duration::from_secs(86_400);
    let keeper = testing::keep(vec![source], policy);
    let mut watched = keeper.for_daemon("d").watch(&A).await.unwrap();
    let mut arrives = async |expected: &str| {
        let told = tokio::time::timeout(LIMIT, async {
            while watched.current().as_str() != expected {
                watched.changed().await;
            }
        });
        told.await.unwrap();
    };
    gcp.put("az", &json!({"A": "canary-told-two"}));
    arrives("canary-told-two").await;
    // What `latest` does not know yet is read by the number that the message has.
    gcp.lag("az", Some(2));
    gcp.put("az", &json!({"A": "canary-told-three"}));
    arrives("canary-told-three").await;
    until("all is acknowledged", async || gcp.unacknowledged("hints") == 0).await;
    gcp.assert_unsaid(&["canary-told-one", "canary-told-two", "canary-told-three"]);
}

#[tokio::test]
async fn a_message_is_a_hint_and_is_believed_in_nothing() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    gcp.put("other", &json!({"A": "canary-others"}));
    gcp.subscribe("hints", &["az", "other"]);
    let more = format!("&subscription=hints&pubsub_endpoint={}", gcp.base());
    let source = source(&gcp, "az", &more);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    // Somebody else's secret, and messages that are no messages of Secret Manager's: no hint.
    gcp.put("other", &json!({"A": "canary-others-two"}));
    gcp.publish("hints", &json!({"eventType": "TOPIC_CONFIGURED"}));
    gcp.publish("hints", &json!({"secretId": "../az", "versionId": "x"}));
    let quiet = tokio::select! {
        () = source.changed() => false,
        () = until("all is acknowledged", async || gcp.unacknowledged("hints") == 0) => true,
    };
    assert!(quiet, "somebody else's change was a hint");
    // A forged one leads to a look, which finds what is there.
    let versions = "projects/x/secrets/az/versions/99";
    gcp.publish("hints", &json!({"secretId": "projects/x/secrets/az", "versionId": versions}));
    tokio::time::timeout(LIMIT, source.changed()).await.unwrap();
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    assert_eq!(gcp.count("/versions/99"), 1);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    assert_eq!(gcp.count("/versions/99"), 1, "it is asked for once");
    assert_eq!(gcp.count("/versions/99:access"), 0);
    gcp.assert_unsaid(&[CANARY, "canary-others-two"]);
}

#[tokio::test]
async fn a_subscription_that_fails_takes_nothing_from_reading_and_asks_seldom() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    let proxy = Proxy::before(gcp.port()).await;
    let url = gcp.url("az", &format!("&subscription=none&pubsub_endpoint={}", proxy.base()));
    let source = Arc::new(at(&url));
    let keeper = testing::keep(vec![source.clone()], testing::policy());
    let watched = keeper.for_daemon("d").watch(&A).await.unwrap();
    until("the subscription was asked", async || proxy.count(":pull") > 0).await;
    for mode in
        [http("429 Too Many Requests", "retry-after: 60\r\n", ""), http("403 Forbidden", "", "")]
    {
        proxy.mode(mode);
        keeper.refresh("test").await;
        assert_eq!(value(&*source, "A").await.unwrap(), CANARY);
    }
    gcp.put("az", &json!({"A": "canary-polled"}));
    keeper.refresh("test").await;
    assert_eq!(watched.current().as_str(), "canary-polled");
    assert!(proxy.count(":pull") <= 3, "{:?}", proxy.requests());
    gcp.assert_unsaid(&[CANARY, "canary-polled"]);
}
