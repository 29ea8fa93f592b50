//! A network and servers that misbehave.

use crate::source::{assert_unsaid, at, calls, key, through, until};
use secrets::testing;
use serde_json::json;
use std::sync::Arc;
use stores::{
    moto::Moto,
    proxy::{Mode, Proxy, http},
    reading::{A, CANARY, value},
};

/// An answer of a service that refuses.
fn refuses(code: &str) -> Mode {
    let body = json!({"__type": code, "Message": CANARY}).to_string();
    http("400 Bad Request", "content-type: application/x-amz-json-1.1\r\n", &body)
}

#[tokio::test]
async fn no_fault_takes_a_value_away_and_each_is_told_as_what_it_is() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let proxy = Proxy::before(moto.port()).await;
    let source = Arc::new(through(&proxy, &moto, "az"));
    let keeper = testing::keep(vec![source.clone()], testing::policy());
    let watched = keeper.for_daemon("d").watch(&A).await.unwrap();

    let body = json!({"Message": CANARY}).to_string();
    let long = format!("\"{}\"", "x".repeat(5 << 20));
    let elsewhere = "location: http://127.0.0.1:1/\r\n";
    let shape = json!({"ARN": [CANARY], "VersionIdsToStages": CANARY}).to_string();
    for (mode, expected) in [
        (Mode::Hang, "no answer within 3 s"),
        (Mode::Drip, "no answer within 3 s"),
        (Mode::Reset, "the connection broke"),
        (http("500 Internal Server Error", "", &body), "it answered 500"),
        (http("502 Bad Gateway", "", "<html>"), "it answered 502"),
        (http("503 Service Unavailable", "", "<html>"), "not in service (503)"),
        (http("404 Not Found", "", "<html>"), "it answered 404"),
        (http("403 Forbidden", "", &body), "access denied for secretsmanager:DescribeSecret on az"),
        (refuses("AccessDeniedException"), "denied: "),
        (refuses("DecryptionFailure"), "the KMS key of"),
        (refuses("InternalServiceError"), "it answered 500"),
        (
            refuses("InvalidSignatureException"),
            "credentials are refused (InvalidSignatureException)",
        ),
        (refuses("RequestTimeTooSkewed"), "clock differs"),
        (refuses(CANARY), "it answered 400"),
        (http("307 Temporary Redirect", elsewhere, ""), "elsewhere (307)"),
        (http("200 OK", "", &shape), "cannot be read as one of AWS"),
        (http("200 OK", "", "{}"), "cannot be read as one of AWS"),
        (http("200 OK", "", "{\"ARN\":"), "cannot be read as one of AWS"),
        (http("200 OK", "", "<html>"), "cannot be read as one of AWS"),
        (http("200 OK", "", &long), "longer than 4194304 bytes"),
        (Mode::Say("SSH-2.0-OpenSSH\r\n".into()), "the connection broke"),
    ] {
        let shown = format!("{mode:?}").chars().take(70).collect::<String>();
        proxy.mode(mode);
        let error = value(&*source, "A").await.unwrap_err();
        assert!(error.contains(expected), "{shown}: {error}");
        assert_eq!(watched.current().as_str(), CANARY, "{shown} took a value away");
        proxy.mode(Mode::Pass);
        assert_eq!(value(&*source, "A").await.unwrap(), CANARY, "after {shown}");
    }
    // What speaks no TLS where TLS is meant.
    proxy.mode(Mode::Say("HTTP/1.1 400 Bad Request\r\n\r\n".into()));
    let base = proxy.base().replace("http:", "https:");
    let error = value(&at(&base, "az", &key(&moto)), "A").await.unwrap_err();
    assert!(error.contains("no TLS with it"), "{error}");
    assert_unsaid(&[]);
}

#[tokio::test]
async fn who_is_asked_to_wait_makes_no_call_until_then() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let proxy = Proxy::before(moto.port()).await;
    for (mode, said) in [
        (http("429 Too Many Requests", "retry-after: 2\r\n", ""), "asks for fewer calls"),
        (http("503 Service Unavailable", "retry-after: 2\r\n", ""), "asks for fewer calls"),
        (http("429 Too Many Requests", "", ""), "asks for fewer calls"),
        (refuses("ThrottlingException"), "asks for fewer calls"),
    ] {
        let source = through(&proxy, &moto, "az");
        assert_eq!(value(&source, "A").await.unwrap(), CANARY);
        let before = proxy.requests().len();
        proxy.mode(mode.clone());
        let error = value(&source, "A").await.unwrap_err();
        assert!(error.contains(said), "{mode:?}: {error}");
        assert!(proxy.requests().len() - before <= 2, "it was asked again and again");
        proxy.mode(Mode::Pass);
        let asked = proxy.requests().len();
        let error = value(&source, "A").await.unwrap_err();
        assert!(error.contains("the next may be made in"), "{mode:?}: {error}");
        assert_eq!(proxy.requests().len(), asked, "a call was made all the same");
        until("the time has passed", async || value(&source, "A").await.is_ok()).await;
    }
    assert_unsaid(&[]);
}

#[tokio::test]
async fn what_may_be_asked_in_an_hour_is_bounded() {
    let Some(moto) = Moto::start() else { return };
    moto.put_secret_value("az", &json!({"A": CANARY}).to_string());
    let proxy = Proxy::before(moto.port()).await;
    let source = at(&proxy.base(), "az", &format!("{}&calls_per_hour=60", key(&moto)));
    let mut errors = Vec::new();
    for _ in 0..100 {
        errors.extend(value(&source, "A").await.err());
    }
    assert!(proxy.requests().len() <= 17, "{} calls", proxy.requests().len());
    assert!(errors.iter().all(|error| error.contains("the calls of this hour are spent")));
    assert!(errors.len() > 80);
    // Attempts count, and not only what succeeds.
    let source = at(&proxy.base(), "az", &format!("{}&calls_per_hour=60", key(&moto)));
    proxy.mode(Mode::Reset);
    let before = proxy.requests().len();
    for _ in 0..40 {
        value(&source, "A").await.unwrap_err();
    }
    assert!(proxy.requests().len() - before <= 17, "{} attempts", proxy.requests().len() - before);
    assert_eq!(calls(&proxy, "PutSecretValue"), 0);
}
