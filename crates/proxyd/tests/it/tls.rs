//! The certificate: shown, renewed under way, and never replaced by a bad one.

use crate::rig::{Edge, until};
use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use std::{net::SocketAddr, os::unix::fs::symlink, path::Path, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

struct Pair {
    cert: String,
    key: String,
    der: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), root }
    }

    fn pair(&self) -> Pair {
        self.pair_until(2099)
    }

    fn pair_until(&self, year: i32) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem(), der: cert.der().to_vec() }
    }

    async fn connect(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self, address: SocketAddr) -> Option<Vec<u8>> {
        let stream = self.connect(address).await.ok()?;
        let (_, connection) = stream.get_ref();
        connection.peer_certificates().map(|chain| chain[0].to_vec())
    }
}

async fn health(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\"proxyd\"}") {
        let mut byte = [0; 512];
        let n = stream.read(&mut byte).await.unwrap();
        assert!(n > 0, "the connection stays open: {answer}");
        answer.push_str(std::str::from_utf8(&byte[..n]).unwrap());
    }
    answer
}

fn set(edge: &Edge, pair: &Pair) {
    edge.source.set([("PROXYD_TLS_CERT", &pair.cert), ("PROXYD_TLS_KEY", &pair.key)]);
}

#[tokio::test]
async fn a_new_pair_is_used_by_new_connections_and_the_open_ones_go_on() {
    let authority = Authority::new();
    let (first, second) = (authority.pair(), authority.pair());
    let (cert, key) = (leak(&first.cert), leak(&first.key));
    let edge =
        Edge::with(|rig| rig.secret("PROXYD_TLS_CERT", cert).secret("PROXYD_TLS_KEY", key)).await;
    set(&edge, &first);
    until(async || authority.shown(edge.tls).await.is_some()).await;
    let mut open = authority.connect(edge.tls).await.unwrap();
    let answer = health(&mut open).await;
    assert!(answer.contains("strict-transport-security"), "{answer}");

    set(&edge, &second);
    until(async || authority.shown(edge.tls).await == Some(second.der.clone())).await;
    health(&mut open).await;

    // A certificate without its key: the whole pair before it stays.
    let third = authority.pair();
    edge.source.set([("PROXYD_TLS_CERT", &third.cert)]);
    until(async || edge.context.secrets.degraded().join("").contains("do not match")).await;
    assert_eq!(authority.shown(edge.tls).await, Some(second.der.clone()));
    edge.source.set([("PROXYD_TLS_KEY", &third.key)]);
    until(async || authority.shown(edge.tls).await == Some(third.der.clone())).await;
    health(&mut open).await;
    assert!(edge.context.secrets.degraded().is_empty(), "{:?}", edge.context.secrets.degraded());
}

/// A rig's values are of the source; this test also wants them before the start.
fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

#[tokio::test]
async fn a_pair_that_would_fail_in_use_is_never_used() {
    let authority = Authority::new();
    let good = authority.pair();
    let edge = Edge::start().await;
    set(&edge, &good);
    until(async || authority.shown(edge.tls).await.is_some()).await;
    let ended = authority.pair_until(2021);
    let other = authority.pair();
    for (cert, key, reason) in [
        (&*ended.cert, &*ended.key, "ended on"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", &*other.key, "not X.509"),
        ("nonsense", &*other.key, "no certificate"),
        (&*other.cert, "nonsense", "no private key"),
        (&*other.cert, &*good.key, "do not match"),
        ("/nowhere/tls.crt", "/nowhere/tls.key", "no file /nowhere/tls.crt"),
    ] {
        edge.source.set([("PROXYD_TLS_CERT", cert), ("PROXYD_TLS_KEY", key)]);
        until(async || edge.context.secrets.degraded().join("").contains(reason)).await;
        assert_eq!(authority.shown(edge.tls).await, Some(good.der.clone()), "{reason}");
        let shown = edge.context.secrets.degraded().join("");
        assert!(!shown.contains("nonsense") && !shown.contains("BEGIN"), "{shown}");
    }
}

#[tokio::test]
async fn tls_begins_when_a_pair_appears_and_not_before() {
    let authority = Authority::new();
    let pair = authority.pair();
    let edge = Edge::start().await;
    assert_eq!(edge.get("/health").await.status(), 200);
    edge.source.set([("PROXYD_TLS_CERT", &pair.cert)]);
    until(async || edge.context.secrets.degraded().join("").contains("PROXYD_TLS_KEY")).await;
    edge.source.set([("PROXYD_TLS_KEY", &pair.key)]);
    until(async || authority.shown(edge.tls).await == Some(pair.der.clone())).await;
    assert_eq!(edge.get("/health").await.status(), 200, "plain HTTP stays");
}

/// Writes a pair as the kubelet does: a new directory, then one rename of the link to it.
fn project(root: &Path, name: &str, pair: &Pair) {
    let dir = root.join(name);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("tls.crt"), &pair.cert).unwrap();
    std::fs::write(dir.join("tls.key"), &pair.key).unwrap();
    symlink(name, root.join("..data_tmp")).unwrap();
    std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
}

#[tokio::test]
async fn a_pair_in_files_is_followed_as_the_files_change() {
    let authority = Authority::new();
    let (first, second, third) = (authority.pair(), authority.pair(), authority.pair());
    let dir = tempfile::tempdir().unwrap();
    project(dir.path(), "..1", &first);
    let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    symlink("..data/tls.crt", &cert).unwrap();
    symlink("..data/tls.key", &key).unwrap();
    let edge = Edge::start().await;
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    edge.source.set([("PROXYD_TLS_CERT", &cert), ("PROXYD_TLS_KEY", &key)]);
    until(async || authority.shown(edge.tls).await == Some(first.der.clone())).await;

    project(dir.path(), "..2", &second);
    until(async || authority.shown(edge.tls).await == Some(second.der.clone())).await;

    let mixed = Pair { cert: third.cert.clone(), key: first.key.clone(), der: Vec::new() };
    project(dir.path(), "..3", &mixed);
    until(async || edge.context.health.troubles().join("").contains("do not match")).await;
    assert_eq!(authority.shown(edge.tls).await, Some(second.der.clone()));
    project(dir.path(), "..4", &third);
    until(async || authority.shown(edge.tls).await == Some(third.der.clone())).await;
    until(async || edge.context.health.troubles().is_empty()).await;
}

#[tokio::test]
async fn plain_http_leads_to_tls_where_that_is_wished_and_possible() {
    let authority = Authority::new();
    let pair = authority.pair();
    let edge = Edge::with(|rig| {
        rig.setting("PROXYD_HTTPS_REDIRECT", "true").setting("WEB_HOST", "chat.example.org")
    })
    .await;
    assert_eq!(edge.get("/chat/token/").await.status(), 200, "there is no TLS to lead to yet");
    set(&edge, &pair);
    until(async || edge.get("/chat/token/?a=1").await.status() == 308).await;
    let answer = edge.get("/chat/token/?a=1").await;
    assert_eq!(answer.headers()["location"], "https://chat.example.org/chat/token/?a=1");
    assert_eq!(edge.get("/health").await.status(), 200, "a probe is not led about");
    let mut secure = authority.connect(edge.tls).await.unwrap();
    health(&mut secure).await;
}
