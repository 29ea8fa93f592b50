//! Who may call: bearer tokens and shared secrets, checked in one place for every endpoint.

use crate::{AUTHD_SERVICE_KEY, Clock, Failure, Metrics, ledger::Refused, refusals::Refusals};
use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use auth::{Acl, Caller, Expect, Jwks, Kind, TokenError, Verifier};
use http::{HeaderMap, header};
use prometheus_client::{
    encoding::EncodeLabelSet, metrics::counter::Counter, metrics::family::Family,
};
use proto::{Daemon, Needs, Route, Timestamp, routd};
use secrets::{Name, seal::SECRETS_KEY};
use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};

/// How long a key document is used before it is fetched again.
const KEYS_MAX_AGE_MS: i64 = 5 * 60 * 1000;
/// The least time between two fetches for the sake of an unknown key.
const KEYS_MIN_AGE_MS: i64 = 250;
/// After a fetch that failed, the keys at hand are used this long before the next.
const FETCH_AGAIN: Duration = Duration::from_secs(1);

/// Where the keys come from that verify tokens.
#[async_trait]
pub trait KeySource: fmt::Debug + Send + Sync + 'static {
    /// The keys as they are now.
    ///
    /// # Errors
    /// In words for an operator; the keys known so far stay in use.
    async fn keys(&self) -> Result<Jwks, String>;

    /// Whether asking costs nothing, so that nothing need be remembered.
    fn is_local(&self) -> bool {
        false
    }
}

/// Checks a shared secret that somebody presents.
#[async_trait]
pub trait SecretCheck: fmt::Debug + Send + Sync + 'static {
    /// Who it is, if the secret is good.
    async fn check(&self, presented: &[u8]) -> Option<Caller>;
}

/// The rights of people, in the daemon that keeps them.
#[async_trait]
pub trait RightsSource: fmt::Debug + Send + Sync + 'static {
    /// All rights, as they are now.
    ///
    /// # Errors
    /// They cannot be read: whoever calls is told so, and nothing is done.
    async fn rights(&self) -> Result<Arc<Acl>, Failure>;
}

/// What else ends, in this daemon, with the earlier values of a secret.
#[async_trait]
pub trait Forgetting: fmt::Debug + Send + Sync + 'static {
    /// `by` had the earlier values of `name` forgotten: whatever was made with them is to be worth
    /// nothing when this returns. May be asked for again, and then does it again.
    ///
    /// # Errors
    /// In words for an operator, who is to ask again.
    async fn forgotten(&self, name: &Name, by: &str) -> Result<(), String>;
}

/// What the edge says of a request that it passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeIdentity {
    /// Who is logged in.
    pub subject: Option<String>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Whether the client came by TLS.
    pub https: bool,
    /// What lets this daemon act for that person, where it may: see [`crate::Acting`].
    pub act: Option<Act>,
}

/// Stands for one person's session, in the hands of one daemon, for a moment. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Act(pub(crate) Arc<str>);

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Act(..)")
    }
}

/// The header with which the edge proves itself to a daemon behind it.
pub const EDGE_HEADER: &str = "x-arizuko-edge";
/// The header in which the edge says who is logged in.
pub const USER_HEADER: &str = "x-user-subject";
/// The header in which the edge hands on what lets the daemon act for that person.
pub const ACT_HEADER: &str = "x-user-act";

/// Admits callers. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    daemon: Daemon,
    issuer: String,
    clock: Clock,
    keys: ArcSwapOption<Arc<dyn KeySource>>,
    known: ArcSwapOption<Known>,
    /// When the last fetch ended, if it failed. Held while fetching.
    fetching: Mutex<Option<Instant>>,
    checks: RwLock<BTreeMap<&'static str, Arc<dyn SecretCheck>>>,
    forgetting: ArcSwapOption<Arc<dyn Forgetting>>,
    rights: ArcSwapOption<Arc<dyn RightsSource>>,
    refused: Family<Refusal, Counter>,
    refusals: Refusals,
}

struct Known {
    verifier: Verifier,
    fetched_at: Timestamp,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refusal {
    path: &'static str,
    reason: String,
}

impl Gate {
    /// The gate of `daemon`, an instance of `instance`.
    pub fn new(daemon: Daemon, instance: &str, clock: Clock, metrics: &Metrics) -> Self {
        let refused = metrics
            .counter_family("requests_refused", "Requests that were refused for who sent them");
        Self(Arc::new(Inner {
            daemon,
            issuer: auth::issuer(instance),
            refusals: Refusals::new(daemon, clock.clone()),
            clock,
            keys: ArcSwapOption::empty(),
            known: ArcSwapOption::empty(),
            fetching: Mutex::default(),
            checks: RwLock::default(),
            forgetting: ArcSwapOption::empty(),
            rights: ArcSwapOption::empty(),
            refused,
        }))
    }

    /// Takes the keys from `source` from now on.
    pub fn use_keys(&self, source: Arc<dyn KeySource>) {
        self.0.keys.store(Some(Arc::new(source)));
    }

    /// Lets callers in who present the shared secret `name`, if `check` knows it.
    pub fn accept_secret(&self, name: &'static str, check: Arc<dyn SecretCheck>) {
        let mut checks = self.0.checks.write().unwrap_or_else(PoisonError::into_inner);
        checks.insert(name, check);
    }

    /// Asks `source` what a person who calls may do. Without it, a person reaches no folder here.
    pub fn ask_rights(&self, source: Arc<dyn RightsSource>) {
        self.0.rights.store(Some(Arc::new(source)));
    }

    /// Has `what` end what was made with earlier values of a secret, when these are forgotten.
    pub fn on_forget(&self, what: Arc<dyn Forgetting>) {
        self.0.forgetting.store(Some(Arc::new(what)));
    }

    /// Has the rows of the audit log that tell of refusals kept by `keep`, which answers once they
    /// are on the disk. Without it, they are in the log alone.
    pub fn keep_refusals<F, Fut, E>(&self, keep: F)
    where
        F: Fn(Vec<routd::Act>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: std::error::Error + 'static,
    {
        self.0.refusals.keep_with(Box::new(move |acts| {
            let kept = keep(acts);
            Box::pin(async move { kept.await.map_err(|error| crate::chain(&error)) })
        }));
    }

    /// Where refusals are noted.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// Counts a refusal and notes it for the audit.
    pub(crate) fn refuse(&self, path: &'static str, refused: Refused) {
        let reason = refused.reason.to_string();
        self.0.refused.get_or_create(&Refusal { path, reason }).inc();
        self.0.refusals.note(refused);
    }

    /// The earlier values of `name` are forgotten: ends what was made with them, here and, by the
    /// epochs that are published with authd's keys, elsewhere.
    pub(crate) async fn forgotten(&self, name: &Name, by: &str) -> Result<(), Failure> {
        if let Some(what) = self.0.forgetting.load_full() {
            what.forgotten(name, by).await.map_err(|said| {
                let detail = format!("what {name} made is not ended: {said}; ask again");
                Failure::unavailable(detail)
            })?;
        }
        if makes_tokens(name) {
            self.renew_keys().await;
        }
        Ok(())
    }

    /// Fetches the keys anew. Until that is done, and if it fails until it can be, nobody's token
    /// is believed: the keys known so far may be the ones that are not to be believed any more.
    async fn renew_keys(&self) {
        {
            // What is being fetched at this moment may be of before.
            let _one_at_a_time = self.0.fetching.lock().await;
            self.0.known.store(None);
        }
        if self.keys(KEYS_MAX_AGE_MS).await.is_none() {
            tracing::warn!("no token is believed until authd's keys can be fetched");
        }
    }

    /// The caller of `route`, if it may.
    ///
    /// # Errors
    /// 401 without a good credential, 403 with one that does not allow this, 503 while no key is
    /// known that could verify one.
    pub async fn admit(&self, headers: &HeaderMap, route: Route) -> Result<Caller, Failure> {
        let admitted = match route.needs {
            Needs::Nobody => return Ok(Caller::anonymous()),
            Needs::Socket => {
                let failure = Failure::forbidden("this is served on a private socket");
                Err(Refusing::of(failure, "socket"))
            }
            Needs::Scope(scope) => self.by_token(headers, scope).await,
            Needs::Secret(name) => self.by_secret(headers, name).await,
            Needs::ScopeOrSecret(scope, name) => match credential(headers) {
                Some(shown) if looks_like_token(shown) => self.by_token(headers, scope).await,
                _ => self.by_secret(headers, name).await,
            },
        };
        admitted.map_err(|Refusing { failure, reason, subject }| failure.because(reason, subject))
    }

    async fn by_token(&self, headers: &HeaderMap, scope: &str) -> Result<Caller, Refusing> {
        let shown = credential(headers).ok_or_else(|| {
            let detail = "send `Authorization: Bearer` with a token from authd";
            Refusing::of(Failure::unauthorized(detail), "none")
        })?;
        let caller = self.verify(shown, &[Kind::Service, Kind::Operator, Kind::User]).await?;
        if caller.may(scope) {
            return self.with_rights(caller).await;
        }
        let detail = format!("{} lacks the scope {scope}", caller.subject());
        Err(Refusing {
            failure: Failure::forbidden(detail),
            reason: "scope",
            subject: Some(caller.subject().to_string()),
        })
    }

    async fn with_rights(&self, caller: Caller) -> Result<Caller, Refusing> {
        let source = self.0.rights.load_full().filter(|_| caller.kind() == Kind::User);
        match source {
            Some(source) => match source.rights().await {
                Ok(rights) => Ok(caller.with_rights(rights)),
                Err(failure) => Err(Refusing::of(failure, "rights")),
            },
            None => Ok(caller),
        }
    }

    async fn by_secret(&self, headers: &HeaderMap, name: &'static str) -> Result<Caller, Refusing> {
        let check = {
            let checks = self.0.checks.read().unwrap_or_else(PoisonError::into_inner);
            checks.get(name).cloned()
        };
        let shown = credential(headers).ok_or_else(|| {
            let detail = format!("send `Authorization: Bearer` with {name}");
            Refusing::of(Failure::unauthorized(detail), "none")
        })?;
        let Some(check) = check else {
            let detail = format!("{name} is not checked yet; try again");
            return Err(Refusing::of(Failure::unavailable(detail), "starting"));
        };
        check.check(shown.as_bytes()).await.ok_or_else(|| {
            let detail = format!("this is not a {name} that {} accepts", self.0.daemon);
            Refusing::of(Failure::unauthorized(detail), "secret")
        })
    }

    /// Whose token it is. Fetches the keys again, once, for a key that is not known.
    async fn verify(&self, token: &str, kinds: &[Kind]) -> Result<Caller, Refusing> {
        let expect = Expect { audience: self.0.daemon.name(), kinds };
        let mut known = self.keys(KEYS_MAX_AGE_MS).await;
        for again in [true, false] {
            let Some(keys) = &known else {
                let detail = "the keys that verify tokens could not be fetched from authd yet";
                return Err(Refusing::of(Failure::unavailable(detail), "keys"));
            };
            let now = self.0.clock.now().0.div_euclid(1000);
            match keys.verifier.verify(token, &expect, now) {
                Ok(caller) => return Ok(caller),
                Err(error) if again && error.wants_new_keys() => {
                    known = self.newer_keys(keys.fetched_at).await;
                }
                Err(error) => {
                    let failure = Failure::unauthorized(error.to_string());
                    let subject = keys.verifier.subject(token).map(|subject| subject.to_string());
                    return Err(Refusing { failure, reason: reason(&error), subject });
                }
            }
        }
        Err(Refusing::of(Failure::unauthorized("the token's key is not known"), "key"))
    }

    /// The keys, fetched again: a few times a second at most, so that strangers who name keys that
    /// nobody has cannot have authd asked more often; and never refused for that, since the key may
    /// be one that began to sign since the last time.
    async fn newer_keys(&self, fetched_at: Timestamp) -> Option<Arc<Known>> {
        let is_local = self.0.keys.load().as_ref().is_some_and(|source| source.is_local());
        let age = self.0.clock.now().0.saturating_sub(fetched_at.0).max(0);
        if let Ok(early) = u64::try_from(KEYS_MIN_AGE_MS.saturating_sub(age))
            && !is_local
        {
            tokio::time::sleep(Duration::from_millis(early)).await;
        }
        self.keys(KEYS_MIN_AGE_MS).await
    }

    /// The keys, not older than `max_age_ms` if they can be had.
    async fn keys(&self, max_age_ms: i64) -> Option<Arc<Known>> {
        let source = self.0.keys.load_full()?;
        let fresh = || {
            let known = self.0.known.load_full()?;
            let age = self.0.clock.now().0 - known.fetched_at.0;
            ((0..max_age_ms).contains(&age) && !source.is_local()).then_some(known)
        };
        if let Some(known) = fresh() {
            return Some(known);
        }
        let arrived = Instant::now();
        let mut failed = self.0.fetching.lock().await;
        if let Some(known) = fresh() {
            return Some(known);
        }
        let known = self.0.known.load_full();
        // With old keys at hand nobody waits for authd after others have, in vain; without any, at
        // least not after those that were before in the queue.
        let again = if known.is_some() { FETCH_AGAIN } else { Duration::ZERO };
        if failed.is_some_and(|ended| ended > arrived || ended.elapsed() < again) {
            return known;
        }
        let fetched_at = self.0.clock.now();
        let made = match source.keys().await {
            Ok(jwks) => Verifier::new(&self.0.issuer, &jwks).map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        match made {
            Ok(verifier) => {
                *failed = None;
                let known = Arc::new(Known { verifier, fetched_at });
                self.0.known.store(Some(known.clone()));
                Some(known)
            }
            Err(error) => {
                *failed = Some(Instant::now());
                // Before the first keys, /ready says that they are waited for.
                match &known {
                    Some(_) => tracing::warn!(error, "the keys that verify tokens are old"),
                    None => tracing::debug!(error, "no keys that verify tokens yet"),
                }
                known
            }
        }
    }

    /// Fetches the keys if there are none yet; whether there are some now.
    pub async fn has_keys(&self) -> bool {
        self.keys(KEYS_MAX_AGE_MS).await.is_some()
    }

    /// What the edge says of this request; `None` where it was not the edge that passed it on.
    /// Without it, no `X-User-*` or `X-Forwarded-*` header means anything.
    pub async fn verify_edge(&self, headers: &HeaderMap) -> Option<EdgeIdentity> {
        let shown = headers.get(EDGE_HEADER)?.to_str().ok()?;
        let verified = self.verify(shown, &[Kind::Service]).await;
        let refused = match verified {
            Ok(caller) if caller.is_service(Daemon::Proxyd) => None,
            Ok(caller) => Some(("edge", Some(caller.subject().to_string()))),
            Err(refusing) => Some((refusing.reason, refusing.subject)),
        };
        if let Some((reason, subject)) = refused {
            // The request is served all the same, as a stranger's.
            let refused = Refused {
                subject: subject.map_or("anonymous".into(), Into::into),
                from: "unproved".to_owned(),
                route: EDGE_HEADER.into(),
                status: 200,
                reason: reason.into(),
                about: String::new(),
            };
            self.refuse(EDGE_HEADER, refused);
            return None;
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Some(EdgeIdentity {
            subject: text(USER_HEADER).map(str::to_owned),
            client: text("x-forwarded-for").and_then(|address| address.trim().parse().ok()),
            https: text("x-forwarded-proto") == Some("https"),
            act: text(ACT_HEADER).map(|act| Act(act.into())),
        })
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({})", self.0.daemon)
    }
}

/// A request that is not admitted.
struct Refusing {
    failure: Failure,
    /// Why, in a word for the audit log and the metric.
    reason: &'static str,
    /// Who, where the credential proves that and is still refused.
    subject: Option<String>,
}

impl Refusing {
    fn of(failure: Failure, reason: &'static str) -> Self {
        Self { failure, reason, subject: None }
    }
}

/// Whether authd ends tokens when the earlier values of `name` are forgotten: those that a service key
/// made, or all, since what signed them was sealed with it.
pub(crate) fn makes_tokens(name: &Name) -> bool {
    name.as_str().starts_with(AUTHD_SERVICE_KEY.as_str()) || *name == SECRETS_KEY
}

fn credential(headers: &HeaderMap) -> Option<&str> {
    auth::bearer(headers.get(header::AUTHORIZATION)?.as_bytes())
}

/// A token is three parts, the first of which is JSON in base64url (RFC 7515).
fn looks_like_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.split('.').count() == 3
}

fn reason(error: &TokenError) -> &'static str {
    match error {
        TokenError::Malformed { .. } | TokenError::Algorithm => "malformed",
        TokenError::UnknownKey { .. } => "key",
        TokenError::Signature => "signature",
        TokenError::Issuer => "issuer",
        TokenError::Audience => "audience",
        TokenError::Kind => "kind",
        TokenError::Expired => "expired",
        TokenError::NotYet => "not_yet",
        TokenError::Ended => "ended",
    }
}
