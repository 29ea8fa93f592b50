//! The listener of turns, for agents in a cluster: the same service as on a turn's socket, to the pod that the turn is
//! given to, and nothing else of routd.
//!
//! A pod says who it is with the token that the cluster's kubelet gave it. routd knows no cluster: it asks runed whose
//! run that pod is. The first pod that asks for an attempt has it, by one guarded update; another gets 409, so that
//! even two pods of one Job run a turn once. A token that runed knew is not asked about again for ten minutes.
//!
//! The listener's certificate is its own. Its key is sealed in the database, so that agents that outlive a routd find
//! the certificate that they were told of.

use crate::{
    app::App,
    fault::Fault,
    keyring::{Keyring, open_sealed, seal_as},
    settings::Values,
    store::turns,
};
use kit::{Attached, Failure, StartError, serve_attached};
use proto::{
    Daemon,
    runed::{IDENTIFY, Identify, PodOfRun, TurnEndpoint},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpListener, sync::Semaphore, time::Instant};

/// The row of the listener's key, which is also what it is sealed for.
const KEY_ROW: &str = "turn listener";
/// How long a token is remembered: about as long as it is valid.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Tokens that are remembered at most. Only those of pods are, each of a run in progress.
const REMEMBERED_MAX: usize = 4096;
/// Questions to runed at once; strangers wait behind each other.
const QUESTIONS: usize = 16;

/// How long connections have at the stop.
const AT_THE_END: Duration = Duration::from_secs(5);

/// The listener's certificate and its key, as they are sealed.
#[derive(Serialize, Deserialize)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// A pod that is known, and since when.
#[derive(Clone, Debug)]
struct Known {
    pod: PodOfRun,
    since: Instant,
}

/// What is known of pods.
#[derive(Debug)]
pub(crate) struct Pods {
    url: String,
    certificate_sha256: String,
    /// By the SHA-256 of the token.
    known: Mutex<HashMap<[u8; 32], Known>>,
    questions: Semaphore,
}

/// A listener that is bound and not yet served.
pub(crate) struct Listening {
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
}

impl Pods {
    /// Binds the listener, where one is asked for. Its certificate is made at the first start.
    pub(crate) async fn open(
        settings: &Values,
        keyring: &Keyring,
    ) -> Result<Option<(Self, Listening)>, StartError> {
        let Some(url) = settings.turn_url.clone() else { return Ok(None) };
        let broken = |what: &str, source: kit::Cause| StartError::Other(what.into(), Some(source));
        let pair = keyring.write("turn listener", |tx, key| {
            if let Some(sealed) = open_sealed(tx, key, KEY_ROW)? {
                let defect = |_| Fault::Defect(format!("the sealed row `{KEY_ROW}` is no pair"));
                return serde_json::from_slice::<Pair>(sealed.expose()).map_err(defect);
            }
            let defect = |text: String| Fault::Defect(format!("no certificate was made: {text}"));
            let made = rcgen::generate_simple_self_signed(["arizuko-turns".to_owned()])
                .map_err(|error| defect(error.to_string()))?;
            let pair = Pair {
                certificate: made.cert.der().to_vec(),
                key: made.signing_key.serialize_der(),
            };
            let text = serde_json::to_vec(&pair).map_err(|error| defect(error.to_string()))?;
            seal_as(tx, key, KEY_ROW, &text)?;
            Ok(pair)
        });
        let Pair { certificate, key } = pair.await.map_err(|fault| {
            broken("routd has no certificate for TURN_LISTEN_ADDR", fault.into())
        })?;
        let certificate_sha256 = hex::encode(Sha256::digest(&certificate));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|tls| {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
                tls.with_no_client_auth()
                    .with_single_cert(vec![CertificateDer::from(certificate)], key)
            })
            .map_err(|error| {
                broken("the certificate for TURN_LISTEN_ADDR does not do", error.into())
            })?;
        let listener = kit::listen(None, settings.turn_listen)?;
        tracing::info!(address = %settings.turn_listen, url, "turns are served to pods");
        let known = Mutex::default();
        let questions = Semaphore::new(QUESTIONS);
        let pods = Self { url, certificate_sha256, known, questions };
        Ok(Some((pods, Listening { listener, tls: Arc::new(tls) })))
    }

    /// What a run is told of the listener.
    pub(crate) fn endpoint(&self) -> TurnEndpoint {
        TurnEndpoint::Listener {
            url: self.url.clone(),
            certificate_sha256: self.certificate_sha256.clone(),
        }
    }

    fn known(&self, token: &[u8; 32]) -> Option<PodOfRun> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(token).filter(|known| known.since.elapsed() < REMEMBERED);
        found.map(|known| known.pod.clone())
    }

    fn remember(&self, token: [u8; 32], pod: PodOfRun) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| known.since.elapsed() < REMEMBERED);
        if known.len() < REMEMBERED_MAX {
            known.insert(token, Known { pod, since: Instant::now() });
        }
    }

    /// Whose pod this is.
    async fn identify(&self, app: &App, token: String) -> Result<PodOfRun, Failure> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(pod) = self.known(&hash) {
            return Ok(pod);
        }
        let stopping = |_| Failure::unavailable("routd is stopping");
        let _place = self.questions.acquire().await.map_err(stopping)?;
        let answer =
            app.context.peers.get(Daemon::Runed).call(&IDENTIFY, &Identify { token }).await;
        let identified = answer.map_err(|error| {
            tracing::warn!(error = kit::chain(&error), "runed does not say whose run a pod is");
            Failure::unavailable("it is not known now whose run this pod is")
                .retry_after(Duration::from_secs(1))
        })?;
        let pod = identified
            .pod
            .ok_or_else(|| Failure::forbidden("this pod is no run's that is in progress"))?;
        self.remember(hash, pod.clone());
        Ok(pod)
    }
}

/// Serves the listener until the stop.
pub(crate) async fn serve(app: Arc<App>, listening: Listening) {
    let (stop, gate) = (app.context.stop.clone(), app.context.gate.clone());
    let admit = move |token| admit(app.clone(), token);
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(AT_THE_END).await;
    };
    tokio::select! {
        () = serve_attached(listening.listener, listening.tls, stop.clone(), gate, admit) => {}
        // Whoever has not said by now who it is.
        () = late => {}
    }
}

/// What the bearer of a token is served: its attempt, if no other pod has it.
async fn admit(app: Arc<App>, token: String) -> Result<Attached, Failure> {
    let Some(pods) = &app.pods else {
        return Err(Failure::not_found("no turns are served here"));
    };
    let PodOfRun { turn_id, attempt, pod_uid } = pods.identify(&app, token).await?;
    // A pod of a run is known by now, whatever becomes of it.
    let (who, pod) = (format!("turn:{turn_id}#{attempt}"), format!("pod:{pod_uid}"));
    let refused = |failure: Failure, reason: &'static str| {
        failure.because(reason, Some(who.clone())).about(&pod)
    };
    let (turn, now) = (turn_id.to_string(), app.now());
    let claimed = app.db.try_write("turn.claim", move |tx| {
        Ok::<_, Fault>(turns::claim(tx, &turn, attempt, &pod_uid, now)?)
    });
    if !claimed.await? {
        let failure = Failure::conflict("another pod has this attempt, or it is over");
        return Err(refused(failure, "another_pod"));
    }
    app.endpoints
        .of_attempt(turn_id.as_str(), attempt)
        .ok_or_else(|| refused(Fault::Gone("this attempt is over".into()).into(), "attempt_over"))
}
