//! What every provider does, and what is told of versions.

use crate::bao::{Bao, CANARY, name, value};
use secrets::{Answer, SecretSource, testing::conforms};
use serde_json::json;
use std::process::Command;

#[tokio::test]
async fn an_entry_is_a_source_like_any_other() {
    let Some(bao) = Bao::start().await else { return };
    bao.put(json!({"FIRST": CANARY, "SECOND": "canary-line-one\nline two ü", "lower": "no name"}))
        .await;
    bao.ok("POST", "old/az", json!({"FIRST": CANARY, "SECOND": "canary-line-one\nline two ü"}))
        .await;
    let values = [CANARY.as_bytes(), "canary-line-one\nline two ü".as_bytes()];
    let (first, second, absent) = (name("FIRST"), name("SECOND"), name("ABSENT"));
    for entry in ["kv/az", "old/az&kv=1"] {
        let (path, more) = entry.split_once('&').unwrap_or((entry, ""));
        let token = bao.file("root", &bao.root);
        let query = format!("auth=token&token_file={}&{more}", token.display());
        let source = bao.at(&bao.base(), path, query.trim_end_matches('&'));
        conforms(&source, (&first, values[0]), (&second, values[1]), &absent).await;
        assert!(source.is_remote() && !source.is_static());
    }
    bao.assert_unsaid(&["canary-line-one"]);
}

#[tokio::test]
async fn variables_of_the_vaults_own_clients_have_no_effect() {
    if std::env::var_os("VAULT_ADDR").is_some() {
        return;
    }
    let story = "contract::a_private_authority_is_believed_where_it_is_named";
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", story]);
    for (variable, value) in [
        ("VAULT_ADDR", "http://127.0.0.1:1"),
        ("VAULT_TOKEN", "s.wrong"),
        ("VAULT_SKIP_VERIFY", ""),
        ("VAULT_NAMESPACE", "elsewhere"),
        ("VAULT_CACERT", "/nowhere"),
        ("VAULT_CLIENT_CERT", "/nowhere"),
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
    let Some(mut bao) = Bao::start_tls().await else { return };
    bao.put(json!({"A": CANARY})).await;
    assert_eq!(value(&bao.source("kv/az"), "A").await.unwrap(), CANARY);
    // Without it, not even a verification that somebody switched off elsewhere lets it pass.
    let ca = bao.ca.take().unwrap();
    let base = bao.base().replace("http:", "https:");
    let token = format!("auth=token&token_file={}", bao.file("root", &bao.root).display());
    let error = value(&bao.at(&base, "kv/az", &token), "A").await.unwrap_err();
    assert!(error.starts_with("unreachable") && error.contains("no TLS with it"), "{error}");
    // A wrong authority that is put right is read again.
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    bao.ca = Some(bao.file("ca.pem", &other.cert.pem()));
    let source = bao.at(&base, "kv/az", &token);
    assert!(value(&source, "A").await.unwrap_err().contains("no TLS with it"));
    bao.file("ca.pem", &std::fs::read_to_string(ca).unwrap());
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    bao.assert_unsaid(&[]);
}

#[tokio::test]
async fn the_version_before_is_the_previous_value_of_what_differs_in_it() {
    let Some(bao) = Bao::start().await else { return };
    bao.put(json!({"MOVES": "canary-moves-one", "STAYS": CANARY})).await;
    let source = bao.source("kv/az");
    assert_eq!(value(&source, "MOVES").await.unwrap(), "canary-moves-one");
    bao.put(json!({"MOVES": "canary-moves-two", "STAYS": CANARY})).await;
    for source in [source, bao.source("kv/az")] {
        let answers = source.read(&[name("MOVES"), name("STAYS")]).await.unwrap();
        let [Answer::Found(moves), Answer::Found(stays)] = &answers[..] else { panic!() };
        assert_eq!(moves.current.expose(), b"canary-moves-two");
        assert_eq!(moves.previous.as_ref().unwrap().expose(), b"canary-moves-one");
        assert!(stays.previous.is_none(), "it did not change");
        assert_eq!((moves.id.as_str(), stays.id.as_str()), ("2", "2"));
        assert!(moves.changed_at.unwrap() > stays.changed_at.unwrap());
    }
    // A version that is destroyed is nobody's previous value, now and for a new process.
    let source = bao.source("kv/az");
    assert!(value(&source, "MOVES").await.is_ok());
    bao.ok("PUT", "kv/destroy/az", json!({"versions": [1]})).await;
    for source in [source, bao.source("kv/az")] {
        let answers = source.read(&[name("MOVES")]).await.unwrap();
        let [Answer::Found(moves)] = &answers[..] else { panic!() };
        assert!(moves.previous.is_none(), "what was destroyed came back");
    }
    bao.assert_unsaid(&["canary-moves-one", "canary-moves-two"]);
}

#[tokio::test]
async fn what_is_no_text_is_refused_by_name_and_the_others_go_on() {
    let Some(bao) = Bao::start().await else { return };
    bao.put(json!({"TEXT": CANARY, "NUMBER": 7, "NONE": "", "DEEP": {"TEXT": CANARY}})).await;
    let source = bao.source("kv/az");
    assert_eq!(value(&source, "TEXT").await.unwrap(), CANARY);
    assert!(value(&source, "NUMBER").await.unwrap_err().contains("not a text"));
    assert!(value(&source, "DEEP").await.unwrap_err().contains("not a text"));
    assert_eq!(value(&source, "NONE").await.unwrap_err(), "it is empty");
    assert_eq!(value(&source, "ABSENT").await.unwrap_err(), "missing");
    bao.assert_unsaid(&[]);
}
