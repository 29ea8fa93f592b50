//! Hints from a queue.

use crate::source::{assert_unsaid, at, key, source};
use secrets::{SecretSource, testing};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use stores::{
    LIMIT,
    moto::{Moto, label_updated},
    reading::{A, CANARY, value},
};
use tokio::time::timeout;

fn queue(moto: &Moto) -> String {
    let made = moto.ok("sqs", "create_queue", &json!({"QueueName": "hints"}));
    made["QueueUrl"].as_str().unwrap().to_owned()
}

fn waiting(moto: &Moto, url: &str) -> Value {
    let names = json!(["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]);
    moto.ok("sqs", "get_queue_attributes", &json!({"QueueUrl": url, "AttributeNames": names}))["Attributes"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_taken_up_by_a_hint_and_no_poll() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let url = queue(&moto);
    let query = format!("{}&queue={url}", key(&moto));
    let policy = secrets::Policy { poll_interval: Duration::from_secs(3600), ..testing::policy() };
    let keeper = testing::keep(vec![Arc::new(at(&moto.base(), "az", &query))], policy);
    let mut watched = keeper.for_daemon("d").watch(&A).await.unwrap();
    let version = moto.put_secret_value("az", &json!({"A": "canary-after-hint"}).to_string());
    moto.ok(
        "sqs",
        "send_message",
        &json!({"QueueUrl": url, "MessageBody": label_updated("az", &version)}),
    );
    let taken_up = timeout(LIMIT, async {
        while watched.current().as_str() != "canary-after-hint" {
            watched.changed().await;
        }
    });
    taken_up.await.expect("within the limit, and no poll in it");
    crate::source::until("the message is gone", async || {
        waiting(&moto, &url)
            == json!({"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0"})
    })
    .await;
    assert_unsaid(&["canary-after-hint"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_message_says_it_is_a_hint_and_no_more() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let url = queue(&moto);
    let source = at(&moto.base(), "az", &format!("{}&queue={url}", key(&moto)));
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    for body in ["{", "{\"detail\":{\"name\":\"other\"}}", "A=canary-injected-value"] {
        moto.ok("sqs", "send_message", &json!({"QueueUrl": url, "MessageBody": body}));
        timeout(LIMIT, source.changed()).await.expect("a hint");
        assert_eq!(value(&source, "A").await.unwrap(), CANARY, "a message is never a value");
    }
    assert_unsaid(&[]);
}

#[tokio::test]
async fn a_queue_that_is_not_there_takes_nothing_from_the_source() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let wrong = format!("{}&queue={}/123456789012/none", key(&moto), moto.base());
    let broken = at(&moto.base(), "az", &wrong);
    assert_eq!(value(&broken, "A").await.unwrap(), CANARY);
    let none = timeout(Duration::from_secs(3), broken.changed()).await;
    assert!(none.is_err(), "a failure is no hint");
    assert_eq!(value(&broken, "A").await.unwrap(), CANARY);
    assert!(timeout(Duration::from_millis(1), source(&moto, "az").changed()).await.is_err());
    assert_unsaid(&[]);
}
