//! Every secret changes while the suite works, and nobody notices.

use crate::harness::{LIMIT, Mount, Suite, Tls, eventually, reply_of};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

const ALL: [&str; 5] = ["authd", "routd", "runed", "webd", "proxyd"];

/// Messages on their way through every daemon: by the command line, and by a webhook at the edge.
pub(super) struct Load {
    hook: String,
}

impl Load {
    pub(super) fn new(suite: &Suite) -> Self {
        let link = suite.json(&["token", "issue", "--kind", "hook", "--folder", "main"]);
        Self { hook: format!("{}{}", suite.edge(), link["path"].as_str().unwrap()) }
    }

    /// The same link, after the suite was started again on other ports.
    pub(super) fn moved(&self, suite: &Suite) -> Self {
        let (_, token) = self.hook.rsplit_once('/').unwrap();
        Self { hook: format!("{}/hook/{token}", suite.edge()) }
    }

    /// Asks once; it must be answered.
    pub(super) fn ask(&self, suite: &Suite) {
        assert_eq!(suite.ok(&["ask", "question"]).trim(), reply_of("question"));
    }

    /// Posts once to the webhook; it must be taken, and answered.
    pub(super) fn post(&self) {
        kit::testing::install_crypto();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let http = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
            let url = self.hook.trim_end_matches('/');
            let answer = http.post(url).body("posted").send().await.unwrap();
            assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
            let taken: serde_json::Value = answer.json().await.unwrap();
            let look = format!("{url}/{}?wait=25", taken["id"].as_str().unwrap());
            let answer = http.get(look).send().await.unwrap();
            let answer: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(answer["state"], "answered", "{answer}");
        });
    }

    /// Runs until the change has been made and then some more, so that messages are on their way
    /// before, during and after it; each must be answered.
    pub(super) fn during(&self, suite: &Suite, change: impl FnOnce()) {
        let (changed, sent) = (AtomicBool::new(false), AtomicU32::new(0));
        let go_on = |send: &dyn Fn()| {
            let mut after = 0;
            while after < 6 {
                after += u32::from(changed.load(Ordering::SeqCst));
                send();
                sent.fetch_add(1, Ordering::SeqCst);
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| go_on(&|| self.ask(suite)));
            scope.spawn(|| go_on(&|| self.post()));
            eventually("messages are on their way", || {
                (sent.load(Ordering::SeqCst) >= 8).then_some(())
            });
            // Also when it fails, or the others would go on for ever.
            let _ended = OnEnd(&changed);
            change();
        });
        assert!(sent.load(Ordering::SeqCst) >= 20);
    }
}

/// Sets a flag when it is dropped.
struct OnEnd<'a>(&'a AtomicBool);

impl Drop for OnEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The certificate that a new handshake with the edge shows.
pub(super) fn shown_certificate(suite: &Suite) -> Option<Vec<u8>> {
    kit::testing::install_crypto();
    let config = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect(suite.edge_tls()).ok()?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let mut tls = rustls::Stream::new(&mut client, &mut stream);
    tls.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    // The answer ends with the connection, cleanly or not.
    let _cut = tls.read_to_end(&mut answer).is_err();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    client.peer_certificates().map(|chain| chain[0].to_vec())
}

/// How long a replaced value is accepted here.
const OVERLAP_SECONDS: u64 = 4;

fn secret(fill: char) -> String {
    fill.to_string().repeat(43)
}

fn names_of(
    secrets: &BTreeMap<String, serde_json::Value>,
    daemon: &str,
    name: &str,
) -> serde_json::Value {
    let all = secrets[daemon]["secrets"].as_array().unwrap();
    all.iter().find(|secret| secret["name"] == name).cloned().unwrap_or_default()
}

/// One change after the other; `put` writes it into the source.
fn rotate_everything(suite: &Suite, mut put: impl FnMut(&[(&str, &str)])) {
    let (pids, load) = (suite.pids(), Load::new(suite));
    let fingerprint =
        |name: &str, daemon: &str| names_of(&suite.secrets(), daemon, name)["fingerprint"].clone();

    let (before, old) = (suite.secrets(), fingerprint("CHANNEL_SECRET", "routd"));
    load.during(suite, || {
        put(&[("CHANNEL_SECRET", &secret('c'))]);
        suite.newer(&["routd", "webd"], &before);
    });
    let new = fingerprint("CHANNEL_SECRET", "routd");
    assert_ne!(old, new);
    assert_eq!(new, fingerprint("CHANNEL_SECRET", "webd"), "both sides have the same value");
    let state = names_of(&suite.secrets(), "routd", "CHANNEL_SECRET");
    // On a busy machine it may be over before this looks.
    let is_over = state["age_seconds"].as_u64() >= Some(OVERLAP_SECONDS);
    let has_overlap = state["previous_accepted_until"].is_string();
    assert!(has_overlap || is_over, "the old one has its overlap: {state}");
    // Whoever still presented the old one would be refused from here on.
    eventually("the overlap ends", || {
        let state = names_of(&suite.secrets(), "routd", "CHANNEL_SECRET");
        state["previous_accepted_until"].is_null().then_some(())
    });
    load.post();

    let before = suite.secrets();
    load.during(suite, || {
        put(&[("AUTHD_SERVICE_KEY", &secret('a'))]);
        suite.newer(&ALL, &before);
    });

    let before = suite.secrets();
    load.during(suite, || {
        put(&[("SECRETS_KEY", &secret('s'))]);
        suite.newer(&["authd", "routd"], &before);
    });

    for _ in 0..2 {
        let (pair, before) = (Tls::new(), suite.secrets());
        load.during(suite, || {
            put(&[("PROXYD_TLS_CERT", &pair.cert), ("PROXYD_TLS_KEY", &pair.key)]);
            suite.newer(&["proxyd"], &before);
        });
        eventually("new handshakes show the new certificate", || {
            (shown_certificate(suite).as_ref() == Some(&pair.der)).then_some(())
        });
    }

    assert_eq!(suite.pids(), pids, "a process was started again");
    for (daemon, of) in suite.secrets() {
        for secret in of["secrets"].as_array().unwrap() {
            assert!(secret["error"].is_null(), "{daemon}: {secret}");
        }
    }
}

#[test]
fn every_secret_of_a_dotenv_changes_while_asks_run() {
    let mut suite = Suite::made();
    suite.set("SECRETS_OVERLAP", &format!("{OVERLAP_SECONDS}s")).start_up();
    rotate_everything(&suite, |values| suite.edit_dotenv(values));
    // What was sealed under the old key opens under the new one after a restart.
    assert_eq!(suite.process("up").stop(), Some(0));
    suite.start_up();
    assert_eq!(suite.ok(&["ask", "still there"]).trim(), reply_of("still there"));
}

#[test]
fn every_secret_of_a_projected_volume_changes_under_separate_processes() {
    let mut suite = Suite::made();
    let mount = suite.mount();
    suite.set("SECRETS_OVERLAP", &format!("{OVERLAP_SECONDS}s")).start_apart();
    let mount = std::cell::RefCell::new(mount);
    rotate_everything(&suite, |values| Mount::set(&mut mount.borrow_mut(), values));
}

#[test]
fn a_bad_value_never_serves_and_the_status_says_what_is_wrong() {
    let suite = Suite::up();
    let good = suite.dotenv("CHANNEL_SECRET");
    let error =
        |name: &str, daemon: &str| names_of(&suite.secrets(), daemon, name)["error"].clone();
    let generation = suite.generation("routd");

    for bad in ["", "short", "with space in it, and long enough"] {
        suite.edit_dotenv(&[("CHANNEL_SECRET", bad)]);
        eventually("routd says what is wrong", || {
            error("CHANNEL_SECRET", "routd").is_string().then_some(())
        });
        assert_eq!(suite.ok(&["ask", "hello"]).trim(), reply_of("hello"));
        let status = suite.json(&["status"]).to_string();
        assert!(status.contains("CHANNEL_SECRET"), "degraded names it: {status}");
        suite.edit_dotenv(&[("CHANNEL_SECRET", &good)]);
        eventually("routd is well again", || {
            error("CHANNEL_SECRET", "routd").is_null().then_some(())
        });
    }
    // A pair that does not match: the last good one goes on.
    let (first, second) = (Tls::new(), Tls::new());
    suite.edit_dotenv(&[("PROXYD_TLS_CERT", &first.cert), ("PROXYD_TLS_KEY", &first.key)]);
    eventually("TLS works", || {
        (shown_certificate(&suite).as_ref() == Some(&first.der)).then_some(())
    });
    suite.edit_dotenv(&[("PROXYD_TLS_CERT", &second.cert)]);
    eventually("proxyd says that the pair does not match", || {
        error("PROXYD_TLS_CERT", "proxyd").is_string().then_some(())
    });
    assert_eq!(shown_certificate(&suite), Some(first.der));

    // Too open: refused as a whole, nothing changes.
    let path = suite.data().join(".env");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let refused = eventually("the mode is refused", || {
        let said = error("CHANNEL_SECRET", "routd");
        said.as_str().is_some_and(|said| said.contains("chmod")).then_some(said)
    });
    assert!(
        refused.as_str().unwrap().contains("0644") || refused.as_str().unwrap().contains("644"),
        "{refused}"
    );
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), reply_of("hello"));
    assert_eq!(suite.generation("routd"), generation, "a bad value was taken up");
}

#[derive(Debug)]
struct AnyCertificate;

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}
