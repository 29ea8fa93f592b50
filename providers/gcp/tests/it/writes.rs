//! Writing: nothing of what others write is lost, and nothing is kept that is to go.

use crate::{previous, source, versions};
use secrets::{Change, Secret, SecretSource, SecretWriter, WriteError};
use serde_json::{Value, json};
use stores::{
    gcp::Gcp,
    reading::{CANARY, name, value},
};

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

fn object(gcp: &Gcp, number: u64) -> Value {
    serde_json::from_slice(&gcp.payload("az", number).unwrap()).unwrap()
}

#[tokio::test]
async fn a_secret_is_made_where_there_is_none_and_kept_whole_after_that() {
    let gcp = Gcp::start();
    for (secret_id, more) in [("az", ""), ("europe-west3/az", "&location=europe-west3")] {
        let source = source(&gcp, "az", more);
        assert_eq!(value(&source, "A").await.unwrap_err(), "missing");
        source.write(&name("A"), &secret(CANARY)).await.unwrap();
        assert_eq!(value(&source, "A").await.unwrap(), CANARY);
        assert_eq!(gcp.states(secret_id), ["ENABLED"]);
        source.write(&name("A"), &secret(CANARY)).await.unwrap();
        assert_eq!(gcp.states(secret_id), ["ENABLED"], "the same is no new version");
        let (b, c) = (secret("canary-b"), secret("canary-c"));
        let changes = [Change::Set(&name("B"), &b), Change::Set(&name("C"), &c)];
        source.change(&changes).await.unwrap();
        assert_eq!(gcp.states(secret_id).len(), 2, "one version for all of it");
        source.remove(&name("B")).await.unwrap();
        source.remove(&name("B")).await.unwrap();
        assert_eq!(value(&source, "B").await.unwrap_err(), "missing");
        assert_eq!(value(&source, "C").await.unwrap(), "canary-c");
        assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    }
    gcp.put("az", &json!({"A": CANARY, "lower": {"kept": [1, 2.5]}}));
    source(&gcp, "az", "").write(&name("B"), &secret("canary-b")).await.unwrap();
    let expected = json!({"A": CANARY, "B": "canary-b", "lower": {"kept": [1, 2.5]}});
    assert_eq!(object(&gcp, 5), expected);
    gcp.assert_unsaid(&[CANARY, "canary-b\"", "canary-c\""]);
}

#[tokio::test]
async fn what_somebody_else_writes_meanwhile_is_not_lost() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": "canary-race-one", "B": "canary-before"}));
    let source = source(&gcp, "az", "");
    gcp.interject(
        "az",
        json!({"A": "canary-race-one", "B": "canary-theirs"}).to_string().as_bytes(),
    );
    source.write(&name("A"), &secret("canary-race-two")).await.unwrap();
    assert_eq!(value(&source, "A").await.unwrap(), "canary-race-two");
    assert_eq!(value(&source, "B").await.unwrap(), "canary-theirs");
    assert_eq!(gcp.states("az").len(), 4, "theirs, ours without it, and both");
    // What came between and is no object of names is nothing that could be kept.
    gcp.interject("az", b"canary-not-json");
    source.write(&name("A"), &secret("canary-race-three")).await.unwrap();
    assert_eq!(value(&source, "A").await.unwrap(), "canary-race-three");
    assert_eq!(value(&source, "B").await.unwrap(), "canary-theirs");
    gcp.assert_unsaid(&["canary-race-one", "canary-race-two", "canary-theirs", "canary-not-json"]);
}

#[tokio::test]
async fn a_value_that_leaked_is_nobodys_previous_nor_is_an_older_one() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": "canary-ancient"}));
    gcp.put("az", &json!({"A": "canary-leaked", "A_PREVIOUS": "canary-ancient"}));
    let first = source(&gcp, "az", "");
    assert_eq!(previous(&versions(&first, "A").await), Some("canary-ancient"));
    let (a, gone, new) = (name("A"), name("A_PREVIOUS"), secret("canary-after-it"));
    first.change(&[Change::Remove(&gone), Change::Set(&a, &new)]).await.unwrap();
    for source in [first, source(&gcp, "az", "")] {
        let now = versions(&source, "A").await;
        assert_eq!(now.current.text().unwrap(), "canary-after-it");
        assert_eq!(previous(&now), None, "what leaked, or is older, is accepted again");
        assert_eq!(value(&source, "A_PREVIOUS").await.unwrap_err(), "missing");
    }
    assert_eq!(gcp.states("az"), ["ENABLED", "DISABLED", "ENABLED", "ENABLED"]);
    gcp.assert_unsaid(&["canary-ancient", "canary-leaked", "canary-after-it"]);
}

#[tokio::test]
async fn what_leaked_goes_also_where_somebody_else_writes_meanwhile() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": "canary-leaked", "B": "canary-before"}));
    let source = source(&gcp, "az", "");
    let theirs = json!({"A": "canary-leaked", "B": "canary-theirs"}).to_string();
    gcp.interject("az", theirs.as_bytes());
    let (a, gone, new) = (name("A"), name("A_PREVIOUS"), secret("canary-after-it"));
    source.change(&[Change::Remove(&gone), Change::Set(&a, &new)]).await.unwrap();
    let now = versions(&source, "A").await;
    assert_eq!((now.current.text().unwrap(), previous(&now)), ("canary-after-it", None));
    assert_eq!(value(&source, "B").await.unwrap(), "canary-theirs");
    gcp.assert_unsaid(&["canary-leaked", "canary-before", "canary-theirs", "canary-after-it"]);
}

#[tokio::test]
async fn what_cannot_be_written_is_left_as_it_is_with_a_reason() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    let source = source(&gcp, "az", "");
    let refused = async |value: &Secret| {
        let error = source.write(&name("B"), value).await.unwrap_err();
        let all = format!("{error:?} {error}");
        assert!(!all.contains(CANARY) && !all.contains("canary-b"), "{all}");
        match error {
            WriteError::ReadOnly { instead, .. } => format!("read-only: {instead}"),
            WriteError::Failed { cause, .. } => format!("failed: {cause}"),
            WriteError::Unfit { cause, .. } => format!("unfit: {cause}"),
        }
    };
    let small = secret("canary-b");
    gcp.deny("secretmanager.versions.add", "az");
    let reason = refused(&small).await;
    assert!(
        reason.starts_with("read-only") && reason.contains("secretmanager.versions.add"),
        "{reason}"
    );
    gcp.allow_all();
    let reason = refused(&secret(&"canary-b".repeat(8_192))).await;
    assert!(reason.contains("longer than the 65,536 bytes"), "{reason}");
    let reason = refused(&Secret::new(b"canary-b\xff".to_vec()).unwrap()).await;
    assert!(reason.contains("not UTF-8 text"), "{reason}");
    // Over what cannot be read nothing is written: every other name of it would be lost.
    gcp.set_state("az", 1, "DISABLED");
    assert!(refused(&small).await.contains("version 1, the newest, is disabled"));
    gcp.add("az", b"not json");
    assert!(refused(&small).await.contains("not a JSON object"));
    assert_eq!(gcp.states("az"), ["DISABLED", "ENABLED"]);
    let elsewhere = crate::source(&gcp, "new", "");
    gcp.deny_on_project("secretmanager.secrets.create");
    let error = elsewhere.write(&name("B"), &small).await.unwrap_err().to_string();
    assert!(error.contains("secretmanager.secrets.create on projects/demo-project"), "{error}");
    assert!(source.writer().is_some());
    gcp.assert_unsaid(&[CANARY, "canary-bcanary-b"]);
}
