//! One secret for each name.

use crate::source::{assert_unsaid, calls, found, source, through};
use secrets::{Answer, Change, Secret, SecretSource, testing::conforms};
use serde_json::json;
use stores::{
    moto::Moto,
    proxy::Proxy,
    reading::{CANARY, name, value},
};

#[tokio::test]
async fn secrets_under_a_prefix_are_a_source_which_says_what_it_cannot_do() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("team/az/FIRST", CANARY);
    let bytes = json!({"Name": "team/az/SECOND", "SecretBinary": {"base64": "//4BAg=="}});
    moto.ok("secretsmanager", "create_secret", &bytes);
    moto.put_secret_value("team/az/FIRST/BELOW", "canary-of-another");
    let source = source(&moto, "team/az/*");
    let (one, two) = (name("FIRST"), name("SECOND"));
    let absent = name("ABSENT");
    conforms(&source, (&one, CANARY.as_bytes()), (&two, &[0xff, 0xfe, 1, 2]), &absent).await;
    assert!(source.is_remote());
    assert!(source.place().contains("not as of one moment"), "{}", source.place());
    assert_unsaid(&["canary-of-another"]);
}

#[tokio::test]
async fn twenty_names_are_one_call_and_only_what_moved_is_asked_for_its_version_before() {
    let Some(moto) = Moto::start() else { return };
    let names: Vec<_> = (0..15).map(|number| name(&format!("N{number}"))).collect();
    for one in &names {
        moto.put_secret_value(&format!("az/{one}"), &format!("canary-one-of-{one}"));
    }
    let proxy = Proxy::before(moto.port()).await;
    let source = through(&proxy, &moto, "az/*");
    assert_eq!(source.read(&names).await.unwrap().len(), 15);
    // New within the overlap: each could have had another value just now.
    assert_eq!((calls(&proxy, "BatchGet"), calls(&proxy, "GetSecretValue")), (1, 15));
    for _ in 0..3 {
        source.read(&names).await.unwrap();
    }
    assert_eq!((calls(&proxy, "BatchGet"), calls(&proxy, "GetSecretValue")), (4, 15));

    moto.put_secret_value("az/N3", "canary-two-of-N3");
    let moved = found(&source, "N3").await;
    assert_eq!(moved.current.expose(), b"canary-two-of-N3");
    assert_eq!(moved.previous.unwrap().expose(), b"canary-one-of-N3");
    assert_eq!((calls(&proxy, "BatchGet"), calls(&proxy, "GetSecretValue")), (5, 16));
    assert!(found(&source, "N4").await.previous.is_none());

    // More than twenty are another call, and no secret is listed to find them.
    let more: Vec<_> = (0..21).map(|number| name(&format!("N{number}"))).collect();
    let answers = source.read(&more).await.unwrap();
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Answer::Missing)).count(), 6);
    assert_eq!(calls(&proxy, "BatchGet"), 8);
    assert_eq!(calls(&proxy, "ListSecrets") + calls(&proxy, "DescribeSecret"), 0);
    assert_unsaid(&["canary-one-of-N3", "canary-two-of-N3"]);
}

#[tokio::test]
async fn what_is_scheduled_for_deletion_is_told_and_a_value_before_may_go() {
    let Some(moto) = Moto::start() else { return };
    for one in ["az/A", "az/A_PREVIOUS", "az/B"] {
        moto.put_secret_value(one, CANARY);
    }
    for one in ["az/A", "az/A_PREVIOUS"] {
        let gone = json!({"SecretId": one, "RecoveryWindowInDays": 7});
        moto.ok("secretsmanager", "delete_secret", &gone);
    }
    let source = source(&moto, "az/*");
    assert_eq!(value(&source, "B").await.unwrap(), CANARY, "one that is gone takes no other away");
    let error = value(&source, "A").await.unwrap_err();
    assert!(error.contains("scheduled for deletion; restore it"), "{error}");
    assert_eq!(value(&source, "A_PREVIOUS").await.unwrap_err(), "missing");
    moto.ok("secretsmanager", "restore_secret", &json!({"SecretId": "az/A"}));
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    assert_unsaid(&[]);
}

#[tokio::test]
async fn a_name_is_written_made_and_removed_by_itself() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az/OTHER", CANARY);
    let source = source(&moto, "az/*");
    let writer = source.writer().unwrap();
    let secret = |bytes: &[u8]| Secret::new(bytes.to_vec()).unwrap();
    let (a, previous) = (name("A"), name("A_PREVIOUS"));
    writer.write(&a, &secret(b"canary-first-value")).await.unwrap();
    assert_eq!(moto.get_secret_value("az/A", "AWSCURRENT").unwrap(), "canary-first-value");
    let version = found(&source, "A").await.id;
    writer.write(&a, &secret(b"canary-first-value")).await.unwrap();
    assert_eq!(found(&source, "A").await.id, version, "what is so already is not written");

    // A rotation, and its end.
    let (old, new) = (secret(b"canary-first-value"), secret(&[0xff, 0xfe]));
    writer.change(&[Change::Set(&previous, &old), Change::Set(&a, &new)]).await.unwrap();
    assert_eq!(found(&source, "A").await.current.expose(), [0xff, 0xfe]);
    assert_eq!(value(&source, "A_PREVIOUS").await.unwrap(), "canary-first-value");
    writer.remove(&previous).await.unwrap();
    writer.remove(&previous).await.unwrap();
    assert_eq!(value(&source, "A_PREVIOUS").await.unwrap_err(), "missing");
    assert_eq!(moto.get_secret_value("az/A_PREVIOUS", "AWSCURRENT"), None, "it can be restored");
    writer.write(&previous, &secret(b"canary-made-again")).await.unwrap();
    assert_eq!(value(&source, "A_PREVIOUS").await.unwrap(), "canary-made-again");

    // After a leak, not even the version before has it.
    let fresh = secret(b"canary-after-leak");
    writer.change(&[Change::Set(&a, &fresh), Change::Remove(&previous)]).await.unwrap();
    for one in [source, crate::source::source(&moto, "az/*")] {
        let now = found(&one, "A").await;
        assert_eq!(now.current.expose(), b"canary-after-leak");
        assert!(now.previous.is_none(), "what leaked is accepted again");
        assert_eq!(value(&one, "A_PREVIOUS").await.unwrap_err(), "missing");
        assert_eq!(value(&one, "OTHER").await.unwrap(), CANARY);
    }
    assert_unsaid(&["canary-first-value", "canary-made-again", "canary-after-leak"]);
}
