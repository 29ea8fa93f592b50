//! A network and a server that misbehave.

use crate::bao::{A, Bao, CANARY, value};
use secrets::testing;
use serde_json::json;
use std::sync::Arc;
use stores::proxy::{Mode, Proxy, http};

#[tokio::test]
async fn no_fault_takes_a_value_away_and_each_is_told_as_what_it_is() {
    let Some(bao) = Bao::start().await else { return };
    bao.put(json!({"A": CANARY})).await;
    let proxy = Proxy::before(bao.port()).await;
    let token = format!("auth=token&token_file={}", bao.file("root", &bao.root).display());
    let source = Arc::new(bao.at(&proxy.base(), "kv/az", &token));
    let keeper = testing::keep(vec![source.clone()], testing::policy());
    let watched = keeper.for_daemon("d").watch(&A).await.unwrap();

    let body = format!("{{\"errors\":[\"{CANARY}\"]}}");
    let shape = format!("{{\"data\":{{\"current_version\":\"{CANARY}\"}}}}");
    let long = format!("\"{}\"", "x".repeat(5 << 20));
    for (mode, expected) in [
        (Mode::Hang, "no answer within 4 s"),
        (Mode::Drip, "no answer within 4 s"),
        (Mode::Reset, "the connection broke"),
        (http("429 Too Many Requests", "", &body), "fewer calls (429)"),
        (http("500 Internal Server Error", "", &body), "it answered 500"),
        (http("502 Bad Gateway", "", "<html>"), "it answered 502"),
        (http("503 Service Unavailable", "", "<html>"), "not in service (503)"),
        (http("403 Forbidden", "", &body), "permission denied (403)"),
        (
            http("307 Temporary Redirect", "location: http://127.0.0.1:1/\r\n", ""),
            "elsewhere (307)",
        ),
        (http("200 OK", "", &shape), "cannot be read as that of a KV engine"),
        (http("200 OK", "", "{\"data\":"), "cannot be read as that of a KV engine"),
        (http("200 OK", "", "<html>"), "cannot be read as that of a KV engine"),
        (http("200 OK", "", &long), "longer than 4194304 bytes"),
        (Mode::Say("SSH-2.0-OpenSSH\r\n".into()), "the connection broke"),
    ] {
        let shown = format!("{mode:?}").chars().take(60).collect::<String>();
        proxy.mode(mode);
        let error = value(&*source, "A").await.unwrap_err();
        assert!(error.contains(expected), "{shown}: {error}");
        assert_eq!(watched.current().as_str(), CANARY, "{shown} took a value away");
        proxy.mode(Mode::Pass);
        assert_eq!(value(&*source, "A").await.unwrap(), CANARY, "after {shown}");
    }
    // What speaks no TLS where TLS is meant.
    let base = proxy.base().replace("http:", "https:");
    proxy.mode(Mode::Say("HTTP/1.1 400 Bad Request\r\n\r\n".into()));
    let error = value(&bao.at(&base, "kv/az", &token), "A").await.unwrap_err();
    assert!(error.contains("no TLS with it"), "{error}");
    bao.assert_unsaid(&[]);
}

#[tokio::test]
async fn who_is_asked_to_wait_makes_no_call_until_then() {
    let Some(bao) = Bao::start().await else { return };
    bao.put(json!({"A": CANARY})).await;
    let proxy = Proxy::before(bao.port()).await;
    let token = format!("auth=token&token_file={}", bao.file("root", &bao.root).display());
    let source = bao.at(&proxy.base(), "kv/az", &token);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    proxy.mode(http("429 Too Many Requests", "retry-after: 2\r\n", ""));
    assert!(value(&source, "A").await.unwrap_err().contains("fewer calls"));
    proxy.mode(Mode::Pass);
    let asked = proxy.requests().len();
    let error = value(&source, "A").await.unwrap_err();
    assert!(error.contains("asked to be left alone"), "{error}");
    assert_eq!(proxy.requests().len(), asked, "a call was made all the same");
    bao.until("the time has passed", async |_| value(&source, "A").await.is_ok()).await;
}

#[tokio::test]
async fn what_may_be_asked_in_an_hour_is_bounded() {
    let Some(bao) = Bao::start().await else { return };
    bao.put(json!({"A": CANARY})).await;
    let proxy = Proxy::before(bao.port()).await;
    let file = bao.file("root", &bao.root);
    let query = format!("auth=token&token_file={}&calls_per_hour=60", file.display());
    let source = bao.at(&proxy.base(), "kv/az", &query);
    let mut errors = Vec::new();
    for _ in 0..100 {
        errors.extend(value(&source, "A").await.err());
    }
    assert!(proxy.requests().len() <= 17, "{} calls", proxy.requests().len());
    assert!(errors.iter().all(|error| error.contains("the calls of this hour are spent")));
    assert!(errors.len() > 80);
}
