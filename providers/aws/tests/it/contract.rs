//! What every provider does, and what is told of versions.

use crate::source::{KEY, assert_unsaid, at, found, key, source, through};
use secrets::{Answer, SecretSource, testing::conforms};
use serde_json::json;
use std::{process::Command, sync::Arc};
use stores::{
    moto::Moto,
    proxy::Proxy,
    reading::{CANARY, name, value},
};

#[tokio::test]
async fn a_json_secret_is_a_source_like_any_other() {
    let Some(moto) = Moto::start() else { return };
    let text =
        json!({"FIRST": CANARY, "SECOND": "canary-line-one\nline two ü", "lower": "no name"});
    moto.put_secret_value("team/az", &text.to_string());
    let second = "canary-line-one\nline two ü".as_bytes();
    let (one, two, absent) = (name("FIRST"), name("SECOND"), name("ABSENT"));
    let by_name = source(&moto, "team/az");
    conforms(&by_name, (&one, CANARY.as_bytes()), (&two, second), &absent).await;
    assert!(by_name.is_remote() && !by_name.is_static());
    assert_eq!(by_name.place(), "aws-sm://eu-west-1/team/az");

    let described = moto.ok("secretsmanager", "describe_secret", &json!({"SecretId": "team/az"}));
    let by_arn = source(&moto, described["ARN"].as_str().unwrap());
    conforms(&by_arn, (&one, CANARY.as_bytes()), (&two, second), &absent).await;

    // What is stored as bytes is the same object.
    let bytes = json!({"base64": "eyJGSVJTVCI6ICJvbmUiLCAiU0VDT05EIjogInR3byJ9"});
    let made = json!({"Name": "bytes", "SecretBinary": bytes});
    moto.ok("secretsmanager", "create_secret", &made);
    conforms(&source(&moto, "bytes"), (&one, b"one"), (&two, b"two"), &absent).await;
    assert_unsaid(&["canary-line-one"]);
}

#[tokio::test]
async fn variables_of_the_tools_of_aws_have_no_effect() {
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() {
        return;
    }
    let story = "contract::a_private_authority_is_believed_where_it_is_named";
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", story]);
    for (variable, value) in [
        ("AWS_ACCESS_KEY_ID", "AKIASTRAY"),
        ("AWS_SECRET_ACCESS_KEY", "stray"),
        ("AWS_SESSION_TOKEN", "stray"),
        ("AWS_PROFILE", "stray"),
        ("AWS_CONFIG_FILE", "/nowhere"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1"),
        ("AWS_CA_BUNDLE", "/nowhere"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_MAX_ATTEMPTS", "1"),
        ("LOG_SIGNABLE_BODY", "true"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
    ] {
        again.env(variable, value);
    }
    let out = again.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    assert!(String::from_utf8_lossy(&out.stdout).contains("1 passed"));
}

#[tokio::test]
async fn a_private_authority_is_believed_where_it_is_named() {
    let Some(moto) = Moto::start_tls() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let ca = moto.ca.clone().unwrap();
    let with_ca = format!("{}&ca_file={}", key(&moto), ca.display());
    assert_eq!(value(&at(&moto.base(), "az", &with_ca), "A").await.unwrap(), CANARY);
    // Without it, not even a key of its own lets it pass.
    let error = value(&source(&moto, "az"), "A").await.unwrap_err();
    assert!(error.starts_with("unreachable") && error.contains("no TLS with it"), "{error}");
    // A wrong authority that is put right is read again.
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let mine = moto.file("ca.pem", &other.cert.pem());
    let source = at(&moto.base(), "az", &format!("{}&ca_file={}", key(&moto), mine.display()));
    assert!(value(&source, "A").await.unwrap_err().contains("no TLS with it"));
    moto.file("ca.pem", &std::fs::read_to_string(ca).unwrap());
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    // What is no certificate is told, and ends nothing.
    moto.file("ca.pem", "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----");
    let broken = at(&moto.base(), "az", &format!("{}&ca_file={}", key(&moto), mine.display()));
    let error = value(&broken, "A").await.unwrap_err();
    assert!(error.contains("does not hold certificates in PEM"), "{error}");
    assert_unsaid(&[]);
}

#[tokio::test]
async fn the_version_before_is_the_previous_value_of_what_differs_in_it() {
    let Some(moto) = Moto::start() else { return };
    let put = |moves: &str| {
        moto.put_secret_value("az", &json!({"MOVES": moves, "STAYS": CANARY}).to_string())
    };
    put("canary-moves-one");
    let watching = source(&moto, "az");
    assert_eq!(value(&watching, "MOVES").await.unwrap(), "canary-moves-one");
    moto.next_second();
    let second = put("canary-moves-two");
    for source in [watching, source(&moto, "az")] {
        let (moves, stays) = (found(&source, "MOVES").await, found(&source, "STAYS").await);
        assert_eq!(moves.current.expose(), b"canary-moves-two");
        assert_eq!(moves.previous.as_ref().unwrap().expose(), b"canary-moves-one");
        assert!(stays.previous.is_none(), "it did not change");
        assert_eq!((moves.id.as_str(), stays.id.as_str()), (second.as_str(), second.as_str()));
        assert!(moves.changed_at.unwrap() > stays.changed_at.unwrap());
    }
    assert_unsaid(&["canary-moves-one", "canary-moves-two"]);
}

#[tokio::test]
async fn labels_decide_and_what_is_pending_is_never_read() {
    let Some(moto) = Moto::start() else { return };
    let first = moto.put_secret_value("az", &json!({"A": "canary-first-value"}).to_string());
    let second = moto.put_secret_value("az", &json!({"A": "canary-second-value"}).to_string());
    let source = source(&moto, "az");
    assert_eq!(value(&source, "A").await.unwrap(), "canary-second-value");
    // A rotation function stores its version, and has not finished.
    let pending = json!({
        "SecretId": "az", "SecretString": json!({"A": "canary-pending-value"}).to_string(),
        "VersionStages": ["AWSPENDING"], "ClientRequestToken": "0f8fad5b-d9cb-469f-a165-70867728950e",
    });
    moto.ok("secretsmanager", "put_secret_value", &pending);
    assert_eq!(found(&source, "A").await.id, second);
    // Somebody goes back: the label is on the first version again.
    let back = json!({
        "SecretId": "az", "VersionStage": "AWSCURRENT", "MoveToVersionId": first, "RemoveFromVersionId": second,
    });
    moto.ok("secretsmanager", "update_secret_version_stage", &back);
    let now = found(&source, "A").await;
    assert_eq!(
        (now.current.expose(), now.id.as_str()),
        (&b"canary-first-value"[..], first.as_str())
    );
    assert_eq!(now.previous.unwrap().expose(), b"canary-second-value");
    // The function finishes.
    let finish = json!({
        "SecretId": "az", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": first,
        "MoveToVersionId": "0f8fad5b-d9cb-469f-a165-70867728950e",
    });
    moto.ok("secretsmanager", "update_secret_version_stage", &finish);
    assert_eq!(value(&source, "A").await.unwrap(), "canary-pending-value");
    assert_unsaid(&["canary-first-value", "canary-second-value", "canary-pending-value"]);
}

#[tokio::test]
async fn a_label_that_moves_in_the_middle_of_a_look_tears_nothing() {
    let Some(moto) = Moto::start() else { return };
    let moto = Arc::new(moto);
    let pair = |one: &str| json!({"USER": one, "PASSWORD": format!("canary-of-{one}")}).to_string();
    for one in ["one", "two"] {
        moto.put_secret_value("az", &pair(one));
    }
    let proxy = Proxy::before(moto.port()).await;
    for (operation, user) in [("GetSecretValue", "three"), ("AWSPREVIOUS", "four")] {
        let source = through(&proxy, &moto, "az");
        let (other, text) = (moto.clone(), pair(user));
        let action = move || drop(other.put_secret_value("az", &text));
        // The second call for a value is the one for the version before.
        if operation == "AWSPREVIOUS" {
            let (first, proxy) = (proxy.clone(), proxy.clone());
            first.meanwhile("GetSecretValue", move || proxy.meanwhile("GetSecretValue", action));
        } else {
            proxy.meanwhile(operation, action);
        }
        let answers = source.read(&[name("USER"), name("PASSWORD")]).await.unwrap();
        let [Answer::Found(of), Answer::Found(password)] = &answers[..] else {
            panic!("{answers:?}")
        };
        let text = |secret: &secrets::Secret| secret.text().unwrap().to_owned();
        assert_eq!(text(&of.current), user, "the look began anew");
        assert_eq!(text(&password.current), format!("canary-of-{user}"));
        let before = text(of.previous.as_ref().unwrap());
        assert_eq!(
            text(password.previous.as_ref().unwrap()),
            format!("canary-of-{before}"),
            "torn"
        );
    }
    assert_unsaid(&["canary-of-one", "canary-of-two", "canary-of-three", "canary-of-four"]);
}

#[tokio::test]
async fn what_is_no_text_is_refused_by_name_and_the_others_go_on() {
    let Some(moto) = Moto::start() else { return };
    let text = json!({"TEXT": CANARY, "NUMBER": 7, "NONE": "", "DEEP": {"TEXT": CANARY}});
    moto.put_secret_value("az", &text.to_string());
    let source = source(&moto, "az");
    assert_eq!(value(&source, "TEXT").await.unwrap(), CANARY);
    assert!(value(&source, "NUMBER").await.unwrap_err().contains("not a text"));
    assert!(value(&source, "DEEP").await.unwrap_err().contains("not a text"));
    assert_eq!(value(&source, "NONE").await.unwrap_err(), "it is empty");
    assert_eq!(value(&source, "ABSENT").await.unwrap_err(), "missing");
    assert!(!format!("{source:?}").contains(KEY));
    let answers = source.read(&[name("TEXT")]).await.unwrap();
    assert!(matches!(answers[..], [Answer::Found(_)]));
    assert_unsaid(&[]);
}
