//! Calling another daemon.

mod fetch;

pub use fetch::Fetched;

use crate::{
    tokens::{Credential, Tokens},
    traces::{self, TRACEPARENT},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use proto::{Daemon, Endpoint, Problem, fill_path};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::Duration};

/// How long a call may take, if nothing else is said.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Waits before a call that never reached its peer is tried again.
const CONNECT_RETRIES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];
/// Bytes of an answer that are read; an answer is larger only by a defect.
const ANSWER_MAX: usize = 32 << 20;

/// A call that did not come back with an answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The call never reached the peer. Nothing has happened there.
    #[error("{peer} cannot be reached at {url}")]
    Unreachable {
        /// Whom.
        peer: &'static str,
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The call was under way when it broke off: whether it had an effect is not known.
    #[error("the call of {url} broke off; whether {peer} took it is not known")]
    Unknown {
        /// Whom.
        peer: &'static str,
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The peer answered, with a refusal or a failure of its own.
    #[error("{peer} answered {status} {code}: {detail}", status = .problem.status, code = .problem.code, detail = .problem.detail)]
    Refused {
        /// Whom.
        peer: &'static str,
        /// What it said.
        problem: Box<Problem>,
        /// When to try again, if it said so.
        retry_after: Option<Duration>,
    },
    /// The peer answered, and not as its contract says.
    #[error("{peer} answered at {url} with something else than its contract says: {what}")]
    Protocol {
        /// Whom.
        peer: &'static str,
        /// Where.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// This daemon has nothing to present yet.
    #[error("there is no credential for {peer} yet")]
    NoCredential {
        /// Whom.
        peer: &'static str,
    },
}

impl PeerError {
    /// What the peer said, if it answered.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// The HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        self.problem().map(|problem| problem.status)
    }

    /// Whether the peer refused the credential.
    pub fn is_unauthorized(&self) -> bool {
        self.status() == Some(401)
    }

    /// Whether the same call may go well later: the peer was not reached, or is not well.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Unknown { .. } | Self::NoCredential { .. } => true,
            Self::Refused { problem, .. } => problem.status >= 500 || problem.status == 429,
            Self::Protocol { .. } => false,
        }
    }

    /// Whether nobody is there: the connection was refused. One who is there and silent is another matter.
    pub fn is_nobody(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.is_connect() && !source.is_timeout(),
            _ => false,
        }
    }

    /// When to try again, if the peer said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The other daemons, as this one reaches them.
#[derive(Clone)]
pub struct Peers {
    http: reqwest::Client,
    urls: Arc<BTreeMap<Daemon, String>>,
    tokens: Option<Arc<Tokens>>,
    fixed: Option<Arc<str>>,
}

impl Peers {
    pub(crate) fn new(
        http: reqwest::Client,
        urls: BTreeMap<Daemon, String>,
        tokens: Option<Arc<Tokens>>,
    ) -> Self {
        Self { http, urls: Arc::new(urls), tokens, fixed: None }
    }

    /// The daemons at `urls`, each called with the same `token`: for the command line and tests.
    pub fn with_token(http: reqwest::Client, urls: BTreeMap<Daemon, String>, token: &str) -> Self {
        Self { http, urls: Arc::new(urls), tokens: None, fixed: Some(token.into()) }
    }

    /// That daemon, where the settings say it is.
    pub fn get(&self, daemon: Daemon) -> Peer {
        let default = || format!("http://127.0.0.1:{}", daemon.default_port());
        self.at(daemon, self.urls.get(&daemon).cloned().unwrap_or_else(default))
    }

    /// The daemons of this program, as far as their addresses are known.
    pub fn known(&self) -> impl Iterator<Item = Daemon> + '_ {
        self.urls.keys().copied()
    }

    /// That daemon, at an address that it gave itself.
    pub fn at(&self, daemon: Daemon, url: impl Into<String>) -> Peer {
        let credential = match (&self.tokens, &self.fixed) {
            (Some(tokens), _) => Credential::Service(tokens.clone(), daemon),
            (None, Some(token)) => Credential::Fixed(token.clone()),
            (None, None) => Credential::None,
        };
        let (http, name, base) = (self.http.clone(), daemon.name(), url.into());
        Peer { http, name, base, credential, at_once: false }
    }

    pub(crate) fn tokens(&self) -> Option<&Arc<Tokens>> {
        self.tokens.as_ref()
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peers").field(&self.urls).finish()
    }
}

/// Another daemon, at an address. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peer {
    http: reqwest::Client,
    name: &'static str,
    base: String,
    credential: Credential,
    at_once: bool,
}

/// What one call brings along.
#[derive(Clone, Default)]
pub struct Options {
    /// How long it may take; [`CALL_TIMEOUT`] when not said.
    pub timeout: Option<Duration>,
    /// The key under which the peer answers a repeat alike.
    pub idempotency_key: Option<String>,
    bearer: Option<HeaderValue>,
    /// Whether the connection ends with the answer.
    once: bool,
    /// Whether a peer that is not there is given up at once.
    at_once: bool,
}

impl Options {
    /// Presents `credential`, a secret.
    fn with_bearer(credential: &[u8]) -> Self {
        Self { bearer: bearer(credential), ..Self::default() }
    }

    /// Presents `credential`, a secret that is rarely presented, on a connection of its own. The
    /// buffers of a connection hold what was last written into them, and go with it: one that is
    /// kept for later would keep the secret past its replacement.
    pub(crate) fn with_rare_bearer(credential: &[u8]) -> Self {
        Self { once: true, ..Self::with_bearer(credential) }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Peer {
    /// The daemon behind a private Unix socket, which asks for no credential.
    ///
    /// # Errors
    /// The HTTP client could not be made.
    pub fn on_socket(name: &'static str, socket: &Path) -> Result<Self, reqwest::Error> {
        let http = client_builder().unix_socket(socket.to_owned()).build()?;
        let base = "http://localhost".into();
        Ok(Self { http, name, base, credential: Credential::None, at_once: false })
    }

    /// The same, presenting nothing.
    #[must_use]
    pub fn without_credential(mut self) -> Self {
        self.credential = Credential::None;
        self
    }

    /// The same, presenting this token.
    #[must_use]
    pub fn presenting(mut self, token: &str) -> Self {
        self.credential = Credential::Fixed(token.into());
        self
    }

    /// The same, for who would rather know at once that nobody is there than wait a second for it to start: the
    /// connection is tried once.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Calls `endpoint`.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn call<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
    ) -> Result<Res, PeerError> {
        self.send(endpoint, request, Options::default()).await
    }

    /// Calls `endpoint`, which may take `wait` before it answers.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn call_waiting<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
        wait: Duration,
    ) -> Result<Res, PeerError> {
        let timeout = Some(CALL_TIMEOUT + wait);
        self.send(endpoint, request, Options { timeout, ..Options::default() }).await
    }

    /// Calls `endpoint`, as `options` say. A token that is refused is replaced once.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn send<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
        mut options: Options,
    ) -> Result<Res, PeerError> {
        options.at_once = self.at_once;
        let token = self.token(None).await?;
        options.bearer = token.as_ref().and_then(|token| bearer(token.as_bytes()));
        let named = |error: PeerError| error.named(self.name);
        match send(&self.http, &self.base, endpoint, request, &options).await {
            Err(error) if error.is_unauthorized() && self.can_renew() => {
                let token = self.token(token.as_deref()).await?;
                options.bearer = token.as_ref().and_then(|token| bearer(token.as_bytes()));
                send(&self.http, &self.base, endpoint, request, &options).await.map_err(named)
            }
            other => other.map_err(named),
        }
    }

    /// Calls `endpoint`, presenting `credential` instead of this daemon's token. A refusal is not
    /// tried again here: see [`secrets::Watched::present`].
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn call_with<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
        credential: &[u8],
    ) -> Result<Res, PeerError> {
        let options = Options { at_once: self.at_once, ..Options::with_bearer(credential) };
        let answer = send(&self.http, &self.base, endpoint, request, &options).await;
        answer.map_err(|error| error.named(self.name))
    }

    /// The token that this daemon presents to that one, for a request that it makes by hand.
    ///
    /// # Errors
    /// authd gave none.
    pub async fn bearer(&self) -> Result<Option<Arc<str>>, PeerError> {
        self.token(None).await
    }

    async fn token(&self, refused: Option<&str>) -> Result<Option<Arc<str>>, PeerError> {
        match &self.credential {
            Credential::None => Ok(None),
            Credential::Fixed(token) => Ok(Some(token.clone())),
            Credential::Service(tokens, audience) => {
                tokens.token(*audience, refused).await.map(Some)
            }
        }
    }

    const fn can_renew(&self) -> bool {
        matches!(self.credential, Credential::Service(..))
    }
}

/// The one way HTTP clients are made: bounded, through no proxy, following no redirect, believing the system's roots,
/// which are read when a connection first needs them.
pub fn client_builder() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_idle_timeout(crate::connections::CLIENT_IDLE);
    match crate::roots::client_tls() {
        Ok(tls) => builder.tls_backend_preconfigured(tls),
        // The client sets TLS up itself then, and says what is wrong with it.
        Err(_) => builder,
    }
}

fn bearer(credential: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(&secrets::bearer_header(credential)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// One call, tried again only while it has not reached the peer.
pub(crate) async fn send<Req: Serialize, Res: DeserializeOwned>(
    http: &reqwest::Client,
    base: &str,
    endpoint: &Endpoint<Req, Res>,
    request: &Req,
    options: &Options,
) -> Result<Res, PeerError> {
    let (url, request) = build(http, base, endpoint, request, options)?;
    for wait in waits(options.at_once) {
        let copy = request.try_clone().ok_or_else(|| protocol(&url, "a body that is a stream"))?;
        match http.execute(copy).await {
            Ok(answer) => return read(&url, answer).await,
            Err(error) if error.is_connect() => match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => {
                    return Err(PeerError::Unreachable { peer: "the peer", url, source: error });
                }
            },
            Err(source) => return Err(PeerError::Unknown { peer: "the peer", url, source }),
        }
    }
    Err(protocol(&url, "no attempt was made"))
}

/// The wait after each attempt to connect; none after the last.
fn waits(at_once: bool) -> impl Iterator<Item = Option<Duration>> {
    let again: &[Duration] = if at_once { &[] } else { &CONNECT_RETRIES };
    again.iter().copied().map(Some).chain([None])
}

fn build<Req: Serialize, Res>(
    http: &reqwest::Client,
    base: &str,
    endpoint: &Endpoint<Req, Res>,
    request: &Req,
    options: &Options,
) -> Result<(String, reqwest::Request), PeerError> {
    let route = endpoint.route;
    let mut fields = match serde_json::to_value(request) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => return Err(protocol(route.path, "a request that is no object")),
    };
    let path = fill_path(route.path, &mut fields)
        .ok_or_else(|| protocol(route.path, "a request that lacks a field of the path"))?;
    let url = format!("{base}{path}");
    let method = match route.method {
        proto::Method::Get => http::Method::GET,
        proto::Method::Post => http::Method::POST,
        proto::Method::Put => http::Method::PUT,
        proto::Method::Delete => http::Method::DELETE,
    };
    fields.retain(|_, value| !value.is_null());
    let mut call = http.request(method, &url).timeout(options.timeout.unwrap_or(CALL_TIMEOUT));
    call = if route.method.has_body() { call.json(&fields) } else { call.query(&fields) };
    if let Some(bearer) = &options.bearer {
        call = call.header(header::AUTHORIZATION, bearer.clone());
    }
    if options.once {
        call = call.header(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(key) = &options.idempotency_key {
        call = call.header(HeaderName::from_static("idempotency-key"), key);
    }
    if let Some(span) = traces::carried() {
        call = call.header(TRACEPARENT, span);
    }
    let request = call.build().map_err(|error| protocol(&url, &error.to_string()))?;
    Ok((url, request))
}

async fn read<Res: DeserializeOwned>(
    url: &str,
    answer: reqwest::Response,
) -> Result<Res, PeerError> {
    let status = answer.status();
    if !status.is_success() {
        return Err(refusal(url, answer).await);
    }
    let body = whole(url, answer).await?;
    serde_json::from_slice(&body).map_err(|error| {
        let place = format!("{status}, line {} column {}", error.line(), error.column());
        protocol(url, &place)
    })
}

/// What a peer said that did not do what it was asked.
async fn refusal(url: &str, answer: reqwest::Response) -> PeerError {
    let (status, retry_after) = (answer.status(), retry_after(&answer));
    match whole(url, answer).await {
        Ok(body) => {
            let problem = serde_json::from_slice(&body).unwrap_or_else(|_| unexplained(status));
            PeerError::Refused { peer: "the peer", problem: problem.into(), retry_after }
        }
        Err(error) => error,
    }
}

async fn whole(url: &str, mut answer: reqwest::Response) -> Result<Vec<u8>, PeerError> {
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_MAX => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err(protocol(url, "an answer that is too large")),
            Ok(None) => return Ok(body),
            Err(source) => {
                return Err(PeerError::Unknown { peer: "the peer", url: url.into(), source });
            }
        }
    }
}

fn unexplained(status: StatusCode) -> Problem {
    Problem {
        status: status.as_u16(),
        code: "http".into(),
        title: status.canonical_reason().unwrap_or("HTTP error").into(),
        detail: "it gave no reason".into(),
        reference: None,
    }
}

fn retry_after(answer: &reqwest::Response) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn protocol(url: &str, what: &str) -> PeerError {
    PeerError::Protocol { peer: "the peer", url: url.into(), what: what.into() }
}

impl PeerError {
    /// The same error, with the peer's name in it.
    fn named(mut self, name: &'static str) -> Self {
        match &mut self {
            Self::Unreachable { peer, .. }
            | Self::Unknown { peer, .. }
            | Self::Refused { peer, .. }
            | Self::Protocol { peer, .. }
            | Self::NoCredential { peer } => *peer = name,
        }
        self
    }
}
