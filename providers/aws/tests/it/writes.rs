//! Writing: nothing of what others write is lost, and nothing is kept that is to go.

use crate::source::{assert_unsaid, at, calls, found, source, through};
use secrets::{Answer, Change, Secret, SecretSource, WriteError};
use serde_json::{Value, json};
use std::sync::Arc;
use stores::{
    moto::Moto,
    proxy::Proxy,
    reading::{CANARY, name, value},
};
use tokio::task::JoinSet;

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

fn current(moto: &Moto, of: &str) -> Value {
    serde_json::from_str(&moto.get_secret_value(of, "AWSCURRENT").unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_the_same_time_lose_nothing_of_each_other() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"KEPT": CANARY, "lower": "not ours"}).to_string());
    let mut writers = JoinSet::new();
    for number in 0..3 {
        let source = Arc::new(source(&moto, "az"));
        writers.spawn(async move {
            let (name, value) = (name(&format!("N{number}")), secret("canary-written-value"));
            source.writer().unwrap().write(&name, &value).await
        });
    }
    for written in writers.join_all().await {
        written.unwrap();
    }
    let source = source(&moto, "az");
    for number in 0..3 {
        assert_eq!(value(&source, &format!("N{number}")).await.unwrap(), "canary-written-value");
    }
    assert_eq!(value(&source, "KEPT").await.unwrap(), CANARY);
    assert_eq!(current(&moto, "az")["lower"], "not ours");

    let writer = source.writer().unwrap();
    writer.remove(&name("N0")).await.unwrap();
    assert_eq!(value(&source, "N0").await.unwrap_err(), "missing");
    let version = found(&source, "KEPT").await.id;
    writer.remove(&name("N0")).await.unwrap();
    assert_eq!(found(&source, "KEPT").await.id, version, "what is so already is not written");
    // No label of ours stays behind.
    let described = moto.ok("secretsmanager", "describe_secret", &json!({"SecretId": "az"}));
    let labels = described["VersionIdsToStages"].to_string();
    assert!(labels.contains("AWSPREVIOUS") && !labels.contains("ARIZUKO"), "{labels}");
    assert_unsaid(&["canary-written-value"]);
}

#[tokio::test]
async fn a_version_that_another_tool_writes_meanwhile_is_not_written_over() {
    let Some(moto) = Moto::start() else { return };
    let moto = Arc::new(moto);
    moto.put_secret_value("az", &json!({"A": "canary-first-value"}).to_string());
    let proxy = Proxy::before(moto.port()).await;
    let ours = through(&proxy, &moto, "az");
    // Our version is stored, and before the label moves somebody writes theirs.
    let other = moto.clone();
    proxy.meanwhile("UpdateSecretVersionStage", move || {
        let text = json!({"A": "canary-first-value", "THEIRS": "canary-of-theirs"});
        other.put_secret_value("az", &text.to_string());
    });
    ours.writer().unwrap().write(&name("A"), &secret(CANARY)).await.unwrap();
    assert_eq!(current(&moto, "az"), json!({"A": CANARY, "THEIRS": "canary-of-theirs"}));
    assert_eq!(calls(&proxy, "PutSecretValue"), 2, "it was made anew");
    let before = moto.get_secret_value("az", "AWSPREVIOUS").unwrap();
    assert!(before.contains("canary-of-theirs"), "what was current is the version before");
    assert_unsaid(&["canary-first-value", "canary-of-theirs"]);
}

#[tokio::test]
async fn the_first_write_makes_the_secret_or_gives_an_empty_one_its_value() {
    let Some(moto) = Moto::start() else { return };
    let fresh = source(&moto, "team/fresh");
    assert_eq!(value(&fresh, "A").await.unwrap_err(), "missing");
    fresh.writer().unwrap().remove(&name("A")).await.unwrap();
    assert_eq!(
        moto.get_secret_value("team/fresh", "AWSCURRENT"),
        None,
        "nothing was made of nothing"
    );
    let (a, b) = (secret(CANARY), secret("canary-second-name"));
    let changes = [Change::Set(&name("A"), &a), Change::Set(&name("B"), &b)];
    fresh.writer().unwrap().change(&changes).await.unwrap();
    assert_eq!(value(&fresh, "A").await.unwrap(), CANARY);
    assert_eq!(current(&moto, "team/fresh")["B"], "canary-second-name");

    moto.ok("secretsmanager", "create_secret", &json!({"Name": "empty"}));
    let empty = source(&moto, "empty");
    assert_eq!(value(&empty, "A").await.unwrap_err(), "missing");
    empty.writer().unwrap().write(&name("A"), &secret(CANARY)).await.unwrap();
    assert_eq!(value(&empty, "A").await.unwrap(), CANARY);
    assert_unsaid(&["canary-second-name"]);
}

#[tokio::test]
async fn a_value_that_leaked_is_not_the_previous_one_of_a_new_process() {
    let Some(moto) = Moto::start() else { return };
    let text = json!({"A": "canary-that-leaked", "A_PREVIOUS": "canary-before-that"});
    moto.put_secret_value("az", &text.to_string());
    let (leaky, new, previous) = (source(&moto, "az"), secret(CANARY), name("A_PREVIOUS"));
    let changes = [Change::Set(&name("A"), &new), Change::Remove(&previous)];
    leaky.writer().unwrap().change(&changes).await.unwrap();
    for source in [leaky, source(&moto, "az")] {
        let answers = source.read(&[name("A"), previous.clone()]).await.unwrap();
        let [Answer::Found(found), Answer::Missing] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(found.current.expose(), CANARY.as_bytes());
        assert!(found.previous.is_none(), "what leaked is accepted again");
    }
    let before = moto.get_secret_value("az", "AWSPREVIOUS").unwrap();
    assert!(!before.contains("canary-that-leaked"), "a label still shows what leaked");
    assert_unsaid(&["canary-that-leaked", "canary-before-that"]);
}

#[tokio::test]
async fn what_cannot_be_written_from_here_says_what_to_do() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    moto.put_secret_value("plain", "canary-plain-text");
    let write = async |source: &dyn SecretSource, value: Secret| {
        source.writer().unwrap().write(&name("A"), &value).await.unwrap_err()
    };
    let bytes = Secret::new(b"\xff\xfe".to_vec()).unwrap();
    let error = write(&source(&moto, "az"), bytes).await;
    assert!(matches!(error, WriteError::Unfit { .. }), "{error:?}");
    let error = write(&source(&moto, "az"), secret(&"x".repeat(65_530))).await;
    let WriteError::Failed { cause, .. } = &error else { panic!("{error:?}") };
    assert!(cause.to_string().contains("longer than 65,536 bytes"), "{cause}");
    // What is no object would be lost.
    let error = write(&source(&moto, "plain"), secret("canary-not-written")).await;
    assert!(matches!(error, WriteError::Failed { .. }), "{error:?}");
    assert_eq!(moto.get_secret_value("plain", "AWSCURRENT").unwrap(), "canary-plain-text");
    // One that was deleted by mistake is neither written over nor made anew.
    let gone = json!({"SecretId": "az", "RecoveryWindowInDays": 7});
    moto.ok("secretsmanager", "delete_secret", &gone);
    let error = write(&source(&moto, "az"), secret("canary-not-written")).await;
    let WriteError::Failed { cause, .. } = &error else { panic!("{error:?}") };
    assert!(cause.to_string().contains("restore it"), "{cause}");
    moto.ok("secretsmanager", "restore_secret", &json!({"SecretId": "az"}));
    assert_eq!(current(&moto, "az"), json!({"A": CANARY}));

    moto.check_signatures();
    let actions = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"];
    let statements = json!([{"Effect": "Allow", "Action": actions, "Resource": "*"}]);
    let (id, key) = moto.user("reader", &statements);
    let file = moto.credentials_file("reader", &id, &key);
    let query = format!("auth=static&credentials_file={}", file.display());
    let reader = at(&moto.base(), "az", &query);
    assert_eq!(value(&reader, "A").await.unwrap(), CANARY);
    let error = write(&reader, secret("canary-not-written")).await;
    let WriteError::ReadOnly { instead, .. } = error else { panic!("{error:?}") };
    assert!(instead.contains("secretsmanager:PutSecretValue on az"), "{instead}");
    assert_unsaid(&["canary-not-written", "canary-plain-text", &key]);
}
