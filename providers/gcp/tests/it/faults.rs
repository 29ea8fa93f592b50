//! A network and a server that misbehave.

use crate::{at, until};
use provider_gcp::SecretManagerSource;
use secrets::testing;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use stores::{
    gcp::Gcp,
    proxy::{Mode, Proxy, http},
    reading::{A, CANARY, value},
};
use tokio::net::{TcpListener, TcpStream};

/// Through the proxy for secrets, and past it for tokens.
fn behind(gcp: &Gcp, proxy: &Proxy, more: &str) -> SecretManagerSource {
    let (endpoint, metadata) = (proxy.base(), gcp.base());
    at(&format!("gcp-sm://demo-project/az?endpoint={endpoint}&metadata_endpoint={metadata}{more}"))
}

#[tokio::test]
async fn no_fault_takes_a_value_away_and_each_is_told_as_what_it_is() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    let proxy = Proxy::before(gcp.port()).await;
    let source = Arc::new(behind(&gcp, &proxy, ""));
    let keeper = testing::keep(vec![source.clone()], testing::policy());
    let watched = keeper.for_daemon("d").watch(&A).await.unwrap();

    let body = format!(r#"{{"error":{{"code":5,"message":"{CANARY}","status":"{CANARY}"}}}}"#);
    let shape = format!(r#"{{"name":"{CANARY}"}}"#);
    let long = format!("\"{}\"", "x".repeat(2 << 20));
    for (mode, expected) in [
        (Mode::Hang, "no answer within 4 s"),
        (Mode::Drip, "no answer within 4 s"),
        (Mode::Reset, "the connection broke"),
        (http("429 Too Many Requests", "", &body), "fewer calls (429)"),
        (http("500 Internal Server Error", "", &body), "it answered 500"),
        (http("502 Bad Gateway", "", "<html>"), "it answered 502"),
        (http("503 Service Unavailable", "", "<html>"), "it answered 503"),
        (http("403 Forbidden", "", &body), "permission denied (403): secretmanager.versions.get"),
        // Of a frontend or a proxy, and not of Secret Manager: the secret may well be there.
        (http("404 Not Found", "", "<html>Error 404 (Not Found)!!1"), "it answered 404"),
        (
            http("307 Temporary Redirect", "location: http://127.0.0.1:1/\r\n", ""),
            "elsewhere (307)",
        ),
        (http("200 OK", "", &shape), "cannot be read as that of Secret Manager"),
        (http("200 OK", "", "{\"name\":"), "cannot be read as that of Secret Manager"),
        (http("200 OK", "", "<html>"), "cannot be read as that of Secret Manager"),
        (http("200 OK", "", &long), "longer than 1048576 bytes"),
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
    gcp.assert_unsaid(&[CANARY]);
}

#[tokio::test]
async fn who_is_asked_to_wait_makes_no_call_until_then() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    let proxy = Proxy::before(gcp.port()).await;
    let source = behind(&gcp, &proxy, "");
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    let delay = r#"{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"1.5s"}]}}"#;
    for mode in [
        http("429 Too Many Requests", "retry-after: 1\r\n", ""),
        http("429 Too Many Requests", "", delay),
    ] {
        proxy.mode(mode);
        assert!(value(&source, "A").await.unwrap_err().contains("fewer calls"));
        proxy.mode(Mode::Pass);
        let asked = proxy.requests().len();
        let error = value(&source, "A").await.unwrap_err();
        assert!(error.contains("asked to be left alone"), "{error}");
        assert_eq!(proxy.requests().len(), asked, "a call was made all the same");
        until("the time has passed", async || value(&source, "A").await.is_ok()).await;
    }
}

#[tokio::test]
async fn an_outage_costs_no_more_calls_than_an_hour_may() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    let proxy = Proxy::before(gcp.port()).await;
    let source = Arc::new(behind(&gcp, &proxy, "&calls_per_hour=60"));
    let keeper = testing::keep(vec![source.clone()], testing::policy());
    let watched = keeper.for_daemon("d").watch(&A).await.unwrap();
    proxy.mode(Mode::Reset);
    let mut errors = Vec::new();
    for _ in 0..100 {
        errors.extend(value(&*source, "A").await.err());
    }
    assert!(proxy.requests().len() <= 17, "{} calls", proxy.requests().len());
    let spent = errors.iter().filter(|error| error.contains("the calls of this hour are spent"));
    assert!(errors.len() == 100 && spent.count() > 80, "{errors:?}");
    assert_eq!(watched.current().as_str(), CANARY);
}

#[tokio::test]
async fn half_an_hour_of_outage_takes_nothing_away_and_ends_by_itself() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    let proxy = Proxy::before(gcp.port()).await;
    let source = Arc::new(behind(&gcp, &proxy, ""));
    let mut policy = testing::policy();
    policy.poll_interval = Duration::from_secs(5);
    let keeper = testing::keep(vec![source], policy);
    let watched = keeper.for_daemon("d").watch(&A).await.unwrap();
    let before = proxy.requests().len();
    proxy.mode(Mode::Reset);
    tokio::time::pause();
    for _ in 0..180 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(watched.current().as_str(), CANARY);
    }
    tokio::time::resume();
    let asked = proxy.requests().len() - before;
    assert!((20..1_000).contains(&asked), "{asked} calls in half an hour");
    gcp.put("az", &json!({"A": "canary-after-it"}));
    proxy.mode(Mode::Pass);
    // Nobody asks: the next poll comes, after the longest wait.
    until("the change is used", async || watched.current().as_str() == "canary-after-it").await;
    gcp.assert_unsaid(&[CANARY, "canary-after-it"]);
}

/// A front that speaks TLS for that port, and its certificate.
async fn tls_front(server: u16) -> (u16, String) {
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Whoever does not believe the certificate is gone.
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
            });
        }
    });
    (port, pair.cert.pem())
}

#[tokio::test]
async fn a_private_authority_is_believed_where_it_is_named_and_read_again() {
    let gcp = Gcp::start();
    gcp.put("az", &json!({"A": CANARY}));
    let (port, right) = tls_front(gcp.port()).await;
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let file = gcp.file("ca.pem", &other.cert.pem());
    let url = |port: u16, more: &str| {
        let metadata = gcp.base();
        format!(
            "gcp-sm://demo-project/az?endpoint=https://127.0.0.1:{port}&metadata_endpoint={metadata}{more}"
        )
    };
    let ca = format!("&ca_file={}", file.display());
    let source = at(&url(port, &ca));
    let error = value(&source, "A").await.unwrap_err();
    assert!(error.starts_with("unreachable") && error.contains("no TLS with it"), "{error}");
    gcp.file("ca.pem", "no certificate");
    let error = value(&source, "A").await.unwrap_err();
    assert!(error.contains("does not hold certificates in PEM"), "{error}");
    gcp.file("ca.pem", &right);
    assert_eq!(value(&source, "A").await.unwrap(), CANARY);
    // What speaks no TLS where TLS is meant.
    let proxy = Proxy::before(gcp.port()).await;
    proxy.mode(Mode::Say("HTTP/1.1 400 Bad Request\r\n\r\n".into()));
    let port = proxy.base().rsplit_once(':').unwrap().1.parse().unwrap();
    let error = value(&at(&url(port, &ca)), "A").await.unwrap_err();
    assert!(error.contains("no TLS with it"), "{error}");
    let sent = proxy.requests().into_iter().filter(|line| line.contains("secrets")).count();
    assert_eq!(sent, 0, "it spoke without TLS");
    gcp.assert_unsaid(&[CANARY]);
}
