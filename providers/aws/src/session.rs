//! Calls with credentials that are good: exchanging an identity for them, and what a refusal leads to.

use crate::{
    address::{Address, Auth},
    answers::{self, Refusal},
    credentials::{Granted, exchange, identity},
    lease,
    transport::{CALL_TIMEOUT, Line, Transport},
    trouble::Trouble,
};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, error::CredentialsError, future},
};
use aws_sdk_secretsmanager::{
    self as sm,
    config::{BehaviorVersion, IdentityCache, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use secrets::{files::FileId, remote::Silence};
use std::{
    error::Error,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tracing::{
    instrument::{WithDispatch, WithSubscriber},
    subscriber::NoSubscriber,
};

/// How long one operation may take, with its second attempt: well within the ten seconds of a read.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(7);

/// The first attempt and one more.
const ATTEMPTS: u32 = 2;

/// The longest wait before the second attempt; the SDK takes a random part of it.
const PAUSE: Duration = Duration::from_millis(300);

/// Refused credentials are exchanged anew at most this often: the policy may be what is wrong.
const EXCHANGE_SPACING: Duration = Duration::from_secs(10);

/// Clients of the services, the credentials that they have, and what they may still do.
pub(crate) struct Session {
    address: Address,
    pub(crate) line: Arc<Line>,
    clients: Option<Arc<Clients>>,
    pub(crate) held: Held,
    lease: Option<Lease>,
    last_exchange: Option<Instant>,
}

/// One client of each service.
pub(crate) struct Clients {
    pub(crate) secrets: sm::Client,
    pub(crate) sts: aws_sdk_sts::Client,
    /// For whoever answers on this machine or its node.
    pub(crate) agent: Transport,
    pub(crate) region: Region,
    pub(crate) line: Arc<Line>,
}

/// The credentials at hand, for the signers of all clients.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Option<Credentials>>>);

struct Lease {
    /// When they end; `None` where that is not known.
    ends: Option<Instant>,
    /// When they are to be exchanged; `None` where they never are.
    due: Option<Instant>,
    /// The file that they are from, where they are as good as that is.
    file: Option<FileId>,
}

/// Why an operation did not succeed.
pub(crate) enum Failure {
    /// It was answered so; with the code, where that is one that may be shown.
    Refused(Refusal, Option<&'static str>),
    Trouble(Trouble),
}

impl Session {
    pub(crate) fn new(address: Address) -> Self {
        let line = Arc::new(Line::new(address.calls_per_hour));
        Self {
            address,
            line,
            clients: None,
            held: Held::default(),
            lease: None,
            last_exchange: None,
        }
    }

    /// Makes an operation with credentials that are good, and once more where they are refused and a fresh exchange
    /// gives others.
    pub(crate) async fn call<O, E, F, Sent>(&mut self, operation: F) -> Result<O, Failure>
    where
        E: ProvideErrorMetadata,
        F: Fn(&sm::Client) -> Sent + Send + Sync,
        Sent: Future<Output = Result<O, SdkError<E, HttpResponse>>> + Send,
    {
        self.keep_alive().await?;
        let clients = self.clients().await?;
        let first = self.heard(unheard(operation(&clients.secrets)).await);
        if !matches!(first, Err(Failure::Refused(Refusal::Credentials(_), _))) {
            return first;
        }
        if self.last_exchange.is_some_and(|last| last.elapsed() < EXCHANGE_SPACING) {
            return first;
        }
        self.exchange().await?;
        self.heard(unheard(operation(&clients.secrets)).await)
    }

    fn heard<O, E: ProvideErrorMetadata>(
        &mut self,
        answer: Result<O, SdkError<E, HttpResponse>>,
    ) -> Result<O, Failure> {
        let failure = match answer {
            Ok(answer) => {
                self.line.answered();
                return Ok(answer);
            }
            Err(error) => told(&error, &self.line),
        };
        // Where TLS fails, the file with the authorities may have changed: it is read again.
        if matches!(failure, Failure::Trouble(Trouble::Silent(Silence::Tls))) {
            self.clients = None;
        }
        Err(failure)
    }

    /// When something is to be done about the credentials.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.lease.as_ref().and_then(|lease| lease.due)
    }

    /// The file of the credentials, where they are as good as that is, as it was when it was read.
    pub(crate) fn credentials_file(&self) -> Option<(PathBuf, FileId)> {
        match &self.address.auth {
            Auth::Static { credentials_file } => {
                let known = self.lease.as_ref().and_then(|lease| lease.file)?;
                Some((credentials_file.clone(), known))
            }
            _ => None,
        }
    }

    /// Gets credentials, if it is time for that or there are none.
    pub(crate) async fn keep_alive(&mut self) -> Result<(), Trouble> {
        if let Some((path, known)) = self.credentials_file()
            && identity(path).await != Some(known)
        {
            self.lease = None;
        }
        let now = Instant::now();
        let ends = match &self.lease {
            None => return self.exchange().await,
            Some(lease) if lease.due.is_none_or(|due| due > now) => return Ok(()),
            Some(lease) => lease.ends,
        };
        let Err(trouble) = self.exchange().await else { return Ok(()) };
        let left = ends.map(|ends| ends.saturating_duration_since(Instant::now()));
        match (lease::pause(left), &mut self.lease) {
            // They are good for a while yet.
            (Some(pause), Some(lease)) => {
                lease.due = Some(Instant::now() + pause);
                Ok(())
            }
            _ => Err(trouble),
        }
    }

    async fn exchange(&mut self) -> Result<(), Trouble> {
        let clients = self.clients().await?;
        let granted = exchange(&self.address.auth, &clients).await;
        // Also where it failed: what is refused after that is refused for another reason.
        self.last_exchange = Some(Instant::now());
        let Granted { credentials, end, file } = granted.inspect_err(|trouble| {
            if matches!(trouble, Trouble::Silent(Silence::Tls)) {
                self.clients = None;
            }
        })?;
        let now = Instant::now();
        let life = end.map(|end| lease::life(end, self.line.now()));
        let due = life.map(|life| now + lease::due(life, rand::random_range(0.0..1.0)));
        self.lease = Some(Lease { ends: life.map(|life| now + life), due, file });
        self.held.put(credentials);
        Ok(())
    }

    async fn clients(&mut self) -> Result<Arc<Clients>, Trouble> {
        if let Some(clients) = &self.clients {
            return Ok(clients.clone());
        }
        let (address, line, held) = (self.address.clone(), self.line.clone(), self.held.clone());
        // Reading the files with authorities may block.
        let made = tokio::task::spawn_blocking(move || Clients::new(&address, line, held)).await;
        let clients = Arc::new(made.unwrap_or(Err(Trouble::Defect))?);
        self.clients = Some(clients.clone());
        Ok(clients)
    }
}

impl Clients {
    fn new(address: &Address, line: Arc<Line>, held: Held) -> Result<Self, Trouble> {
        let is_plain =
            |endpoint: &Option<String>| endpoint.as_ref().is_some_and(|at| at.starts_with("http:"));
        let needs_sts = matches!(address.auth, Auth::Irsa { .. });
        let has_tls =
            !is_plain(&address.endpoint) || (needs_sts && !is_plain(&address.sts_endpoint));
        let ca_file = address.ca_file.as_deref();
        let http = Transport::new(ca_file, has_tls, CALL_TIMEOUT, line.clone())?;
        let agent_has_tls = match &address.auth {
            Auth::PodIdentity { uri, .. } => uri.scheme() == "https",
            Auth::Default => has_tls,
            _ => false,
        };
        let agent = Transport::new(None, agent_has_tls, CALL_TIMEOUT, line.clone())?;
        let region = Region::new(address.region.clone());
        let mut secrets = sm::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region.clone())
            .use_fips(address.use_fips)
            .http_client(http.clone())
            .retry_config(retries())
            .timeout_config(timeouts())
            .identity_cache(IdentityCache::no_cache())
            .credentials_provider(held);
        secrets.set_endpoint_url(address.endpoint.clone());
        let mut sts = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region.clone())
            .use_fips(address.use_fips)
            .http_client(http)
            .retry_config(retries())
            .timeout_config(timeouts());
        sts.set_endpoint_url(address.sts_endpoint.clone());
        Ok(Self {
            secrets: sm::Client::from_conf(secrets.build()),
            sts: aws_sdk_sts::Client::from_conf(sts.build()),
            agent,
            region,
            line,
        })
    }
}

/// An operation of the SDK, of which nothing is logged: at its finest level the SDK writes whole answers, and requests.
pub(crate) fn unheard<F: Future>(operation: F) -> WithDispatch<F> {
    operation.with_subscriber(NoSubscriber::default())
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(PAUSE)
        .with_max_backoff(PAUSE)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().operation_timeout(OPERATION_TIMEOUT).build()
}

/// Why an operation failed: by what the way to it says, by its code or by its status. Nothing else of it goes further.
pub(crate) fn told<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
    line: &Line,
) -> Failure {
    let (metadata, raw) = match error {
        SdkError::TimeoutError(_) => {
            return Failure::Trouble(Trouble::Silent(Silence::Late(OPERATION_TIMEOUT)));
        }
        SdkError::DispatchFailure(failure) => {
            let ours = failure.as_connector_error().and_then(Error::source);
            let ours = ours.and_then(|cause| cause.downcast_ref::<Trouble>()).cloned();
            return Failure::Trouble(ours.unwrap_or(Trouble::Silent(Silence::Broken)));
        }
        SdkError::ResponseError(response) => (None, response.raw()),
        SdkError::ServiceError(service) => (Some(service.err().meta()), service.raw()),
        _ => return Failure::Trouble(Trouble::Defect),
    };
    let body = raw.body().bytes().unwrap_or_default();
    let code = metadata.and_then(|metadata| metadata.code()).or_else(|| answers::code_in_xml(body));
    let message = metadata.and_then(|metadata| metadata.message()).unwrap_or_default();
    let refusal = answers::refusal(code, message, raw.status().as_u16());
    if refusal == Refusal::Throttled {
        line.throttled();
    }
    Failure::Refused(refusal, answers::known(code))
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Failure {
    /// What is wrong, where no refusal means anything to whoever asked. `what` is what was done, such as
    /// `secretsmanager:GetSecretValue on NAME`.
    pub(crate) fn into_trouble(self, what: &str) -> Trouble {
        match self {
            Self::Refused(refusal, _) => refusal.into_trouble(what),
            Self::Trouble(trouble) => trouble,
        }
    }
}

impl Refusal {
    /// What is wrong, with what was done.
    pub(crate) fn into_trouble(self, what: &str) -> Trouble {
        match self {
            Self::Denied => Trouble::Forbidden(what.to_owned()),
            Self::Key => Trouble::Key(what.to_owned()),
            Self::Credentials(code) => Trouble::Credentials(code),
            Self::Skewed => Trouble::Skewed,
            Self::Deleted => Trouble::Deleted(what.to_owned()),
            Self::Throttled => Trouble::TooMany,
            Self::Quota => Trouble::Quota,
            Self::Request(code) => Trouble::Request(code),
            Self::NotFound => Trouble::Request("ResourceNotFoundException"),
            Self::Exists => Trouble::Raced,
            Self::Elsewhere(status) => Trouble::Elsewhere(status),
            Self::NotInService => Trouble::NotInService,
            Self::Status(status) => Trouble::Status(status),
            Self::Garbled => Trouble::Garbled,
        }
    }
}

impl Held {
    fn put(&self, credentials: Credentials) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(credentials);
    }

    /// The credentials at hand.
    pub(crate) fn get(&self) -> Option<Credentials> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ProvideCredentials for Held {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let held: provider::Result = self.get().ok_or_else(CredentialsError::not_loaded_no_source);
        future::ProvideCredentials::ready(held)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held(..)")
    }
}
