//! Writing: nothing of what others write is lost, and nothing is kept that is to go.

use crate::bao::{Bao, CANARY, name, value};
use secrets::{Answer, Change, Secret, SecretSource, WriteError};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinSet;

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_the_same_time_lose_nothing_of_each_other() {
    let Some(bao) = Bao::start().await else { return };
    bao.put(json!({"KEPT": CANARY, "lower": "not ours"})).await;
    let mut writers = JoinSet::new();
    for number in 0..4 {
        let source = Arc::new(bao.source("kv/az"));
        writers.spawn(async move {
            let (name, value) = (name(&format!("N{number}")), secret("canary-written-value"));
            source.writer().unwrap().write(&name, &value).await
        });
    }
    for written in writers.join_all().await {
        written.unwrap();
    }
    let source = bao.source("kv/az");
    for number in 0..4 {
        assert_eq!(value(&source, &format!("N{number}")).await.unwrap(), "canary-written-value");
    }
    assert_eq!(value(&source, "KEPT").await.unwrap(), CANARY);
    let (_, entry) = bao.call("GET", "kv/data/az", Value::Null, "").await;
    assert_eq!(entry["data"]["data"]["lower"], "not ours");
    assert_eq!(entry["data"]["metadata"]["version"], 5, "one version a change");

    let writer = source.writer().unwrap();
    writer.remove(&name("N0")).await.unwrap();
    writer.remove(&name("N0")).await.unwrap();
    assert_eq!(value(&source, "N0").await.unwrap_err(), "missing");
    let (_, entry) = bao.call("GET", "kv/data/az", Value::Null, "").await;
    assert_eq!(entry["data"]["metadata"]["version"], 6, "what is so already is not written");
    // The first write of an entry that is not there, as `init` makes it.
    let fresh = bao.source("kv/fresh");
    fresh.writer().unwrap().write(&name("A"), &secret(CANARY)).await.unwrap();
    assert_eq!(value(&fresh, "A").await.unwrap(), CANARY);
    bao.assert_unsaid(&["canary-written-value"]);
}

#[tokio::test]
async fn a_value_that_leaked_is_not_the_previous_one_of_a_new_process() {
    let Some(bao) = Bao::start().await else { return };
    bao.put(json!({"A": "canary-that-leaked", "A_PREVIOUS": "canary-before-that"})).await;
    let (source, new, previous) = (bao.source("kv/az"), secret(CANARY), name("A_PREVIOUS"));
    let changes = [Change::Set(&name("A"), &new), Change::Remove(&previous)];
    source.writer().unwrap().change(&changes).await.unwrap();
    for source in [source, bao.source("kv/az")] {
        let answers = source.read(&[name("A"), previous.clone()]).await.unwrap();
        let [Answer::Found(found), Answer::Missing] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(found.current.expose(), CANARY.as_bytes());
        assert!(found.previous.is_none(), "what leaked is accepted again");
    }
    bao.assert_unsaid(&["canary-that-leaked", "canary-before-that"]);
}

#[tokio::test]
async fn what_cannot_be_written_from_here_says_what_to_do() {
    let Some(bao) = Bao::start().await else { return };
    bao.put(json!({"A": CANARY})).await;
    bao.ok("POST", "old/az", json!({"A": CANARY})).await;
    let rules = "path \"kv/data/az\" { capabilities = [\"read\"] }\n\
                 path \"kv/metadata/az\" { capabilities = [\"read\"] }";
    bao.policy("reader", rules).await;
    let token = bao.token("reader", "1h").await;
    let token = format!("auth=token&token_file={}", token.display());
    let reader = bao.at(&bao.base(), "kv/az", &token);
    assert_eq!(value(&reader, "A").await.unwrap(), CANARY);
    let write = async |source: &dyn SecretSource, value: Secret| {
        source.writer().unwrap().write(&name("A"), &value).await.unwrap_err()
    };
    let error = write(&reader, secret("canary-not-written")).await;
    let WriteError::ReadOnly { instead, .. } = error else { panic!("{error:?}") };
    assert!(instead.contains("update kv/data/az"), "{instead}");
    let root = format!("auth=token&token_file={}&kv=1", bao.file("root", &bao.root).display());
    let error = write(&bao.at(&bao.base(), "old/az", &root), secret("canary-not-written")).await;
    assert!(matches!(error, WriteError::ReadOnly { .. }), "{error:?}");
    let bytes = Secret::new(b"\xff\xfe".to_vec()).unwrap();
    let error = write(&bao.source("kv/az"), bytes).await;
    assert!(matches!(error, WriteError::Unfit { .. }), "{error:?}");
    // An engine of the other version would take it for another entry.
    let error = write(&bao.source("old/az"), secret("canary-not-written")).await;
    assert!(matches!(error, WriteError::Failed { .. }), "{error:?}");
    assert_eq!(bao.call("GET", "old/data/az", Value::Null, "").await.0, 404);
    // A version that was deleted by mistake is not written over.
    bao.ok("DELETE", "kv/data/az", Value::Null).await;
    let error = write(&bao.source("kv/az"), secret("canary-not-written")).await;
    assert!(matches!(error, WriteError::Failed { .. }), "{error:?}");
    bao.ok("POST", "kv/undelete/az", json!({"versions": [1]})).await;
    assert_eq!(value(&reader, "A").await.unwrap(), CANARY);
    bao.assert_unsaid(&["canary-not-written"]);
}
