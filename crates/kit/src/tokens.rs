//! This daemon's own tokens: fetched from authd when they are needed, kept until they are old.
//!
//! A token that has ended before its time is replaced when a peer refuses it. Some cannot refuse: a
//! daemon behind the edge takes an edge that does not prove itself for a stranger. So what was
//! fetched before the earlier values of a service key were forgotten is never presented again, and
//! what was fetched with another service key is replaced as soon as authd answers.

use crate::{Clock, PeerError, ServiceKey, peer};
use proto::{Daemon, Timestamp, authd};
use secrets::{Attempt, Secrets, Watched};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// After a renewal that failed, the token at hand is used this long before the next.
const RENEW_AGAIN_MS: i64 = 5_000;

/// What is presented to a peer.
#[derive(Clone)]
pub(crate) enum Credential {
    /// Nothing.
    None,
    /// This token.
    Fixed(Arc<str>),
    /// A token of this daemon for that one.
    Service(Arc<Tokens>, Daemon),
}

/// The tokens of one daemon, one for each peer.
pub(crate) struct Tokens {
    daemon: Daemon,
    http: reqwest::Client,
    authd: String,
    clock: Clock,
    secrets: Secrets,
    key: OnceLock<Watched<ServiceKey>>,
    /// How often all that was fetched until then has been ended.
    ended: AtomicU64,
    slots: Mutex<HashMap<Daemon, Slot>>,
}

type Slot = Arc<tokio::sync::Mutex<Kept>>;

/// What is kept for one peer.
#[derive(Default)]
struct Kept {
    held: Option<Held>,
    /// When the last fetch began that brought nothing.
    failed: Option<Instant>,
}

#[derive(Clone)]
struct Held {
    token: Arc<str>,
    renew_at: Timestamp,
    ends_at: Timestamp,
    /// [`Tokens::ended`] when it was asked for.
    ended: u64,
    /// The generation of the service key.
    key: u64,
}

impl Tokens {
    pub(crate) fn new(
        daemon: Daemon,
        http: reqwest::Client,
        authd: String,
        clock: Clock,
        secrets: Secrets,
    ) -> Self {
        let (key, ended, slots) = (OnceLock::new(), AtomicU64::new(0), Mutex::default());
        Self { daemon, http, authd, clock, secrets, key, ended, slots }
    }

    /// Says with which key this daemon proves itself. Until then it has no tokens.
    pub(crate) fn prove_with(&self, key: Watched<ServiceKey>) {
        // A second key would mean a second start; the first stays.
        let _second = self.key.set(key).is_err();
    }

    /// Has nothing that was fetched until now presented any more, nor what is being fetched: authd
    /// ended it.
    pub(crate) fn end(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }

    /// The generation of the service key; 0 without one.
    fn generation(&self) -> u64 {
        self.key.get().map_or(0, Watched::generation)
    }

    /// A token for `audience`; another one than `refused`, if that is given.
    pub(crate) async fn token(
        &self,
        audience: Daemon,
        refused: Option<&str>,
    ) -> Result<Arc<str>, PeerError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(audience).or_default().clone()
        };
        let arrived = Instant::now();
        // Held while fetching: one request at a time for each peer.
        let mut kept = slot.lock().await;
        let usable = |held: &&mut Held| {
            Some(&*held.token) != refused && held.ended == self.ended.load(Ordering::Acquire)
        };
        let (now, key) = (self.clock.now(), self.generation());
        let good = |held: &&mut Held| now < held.renew_at && held.key == key;
        if let Some(held) = kept.held.as_mut().filter(usable).filter(good) {
            return Ok(held.token.clone());
        }
        if kept.failed > Some(arrived) {
            // Asked for while this call waited its turn, in vain: asking once more for each that
            // waits would have them wait ever longer.
            return Err(PeerError::NoCredential { peer: audience.name() });
        }
        let began = Instant::now();
        let mut fetched = self.fetch(audience).await;
        if fetched.as_ref().is_ok_and(|held| held.ended != self.ended.load(Ordering::Acquire)) {
            // Ended while it was under way.
            fetched = self.fetch(audience).await;
        }
        match fetched {
            Ok(fetched) => {
                let token = fetched.token.clone();
                *kept = Kept { held: Some(fetched), failed: None };
                Ok(token)
            }
            Err(error) => {
                let now = self.clock.now();
                let old = kept.held.as_mut().filter(usable).filter(|held| now < held.ends_at);
                let Some(old) = old else {
                    kept.failed = Some(began);
                    return Err(error);
                };
                // authd is away: the old token is good until its end, also where the service key
                // is another since, and the next calls do not wait for authd as this one did.
                old.renew_at = now.plus(RENEW_AGAIN_MS).min(old.ends_at);
                old.key = key;
                Ok(old.token.clone())
            }
        }
    }

    async fn fetch(&self, audience: Daemon) -> Result<Held, PeerError> {
        let key = self.key.get().ok_or(PeerError::NoCredential { peer: audience.name() })?;
        let request = authd::ServiceTokenRequest { daemon: self.daemon, audience: Some(audience) };
        let (asked_at, ended) = (self.clock.now(), self.ended.load(Ordering::Acquire));
        let request = &request;
        let token = key
            .present(|key| async move {
                let options = peer::Options::with_rare_bearer(key.secret().expose());
                let endpoint = &authd::SERVICE_TOKEN;
                match peer::send(&self.http, &self.authd, endpoint, request, &options).await {
                    Ok(token) => Attempt::Done(token),
                    Err(error) if is_refusal(&error) => Attempt::Refused(error),
                    Err(error) => Attempt::Failed(error),
                }
            })
            .await?;
        self.learn_fingerprint_key(&token);
        let life = i64::try_from(token.expires_in).unwrap_or(i64::MAX).saturating_mul(1000);
        Ok(Held {
            token: token.token.into(),
            renew_at: asked_at.plus(life / 3 * 2),
            ends_at: asked_at.plus(life),
            ended,
            // As of now: whoever had to look for the key again found this one.
            key: key.generation(),
        })
    }

    fn learn_fingerprint_key(&self, token: &authd::Token) {
        let bytes = token.fingerprint_key.as_ref().and_then(|text| hex::decode(text).ok());
        if let Some(key) = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            self.secrets.set_fingerprint_key(key);
        }
    }
}

/// Whether authd says that the key is not good. Where it has refused an address often, it says 429 to a key that it does
/// not know, and never to one that is good: the one before may be.
fn is_refusal(error: &PeerError) -> bool {
    matches!(error.status(), Some(401 | 429))
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.daemon)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Fixed(_) => f.write_str("Fixed(..)"),
            Self::Service(tokens, audience) => write!(f, "{tokens:?} for {audience}"),
        }
    }
}
