//! The way to the servers: bounded in time and size, through no proxy, following no redirect.

use crate::{
    address::{Address, Auth},
    trouble::Trouble,
};
use reqwest::{
    Certificate, Method, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use secrets::{
    Secret, Zeroizing, bearer_header,
    remote::{Ended, Silence},
};
use std::time::{Duration, SystemTime};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one call may take, with its connection and the whole answer.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a connection that is not used is kept.
const IDLE: Duration = Duration::from_secs(90);

/// Most bytes of an answer: a version has at most 64 KiB, in base64 a third more.
pub(crate) const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The longest that a server may have us wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// What a metadata server marks its answers with, and wants requests to be marked with.
pub(crate) const METADATA_FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");

/// Its one value.
pub(crate) const GOOGLE: HeaderValue = HeaderValue::from_static("Google");

/// A client of the servers that one source needs. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Transport(reqwest::Client);

/// One call. No `Debug`: the body may be secret.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Zeroizing<Vec<u8>>,
    pub(crate) timeout: Duration,
}

/// What a server answered. No `Debug`: the body is secret.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// The server's own time, where it says it.
    pub(crate) date: Option<SystemTime>,
    pub(crate) retry_after: Option<Duration>,
    /// Whether it says that it comes from a metadata server.
    pub(crate) is_metadata: bool,
}

impl Request {
    pub(crate) fn get(url: String) -> Self {
        let (headers, body) = (HeaderMap::new(), Zeroizing::default());
        Self { method: Method::GET, url, headers, body, timeout: CALL_TIMEOUT }
    }

    pub(crate) fn post(url: String, kind: &'static str, body: Zeroizing<Vec<u8>>) -> Self {
        let mut request = Self { method: Method::POST, body, ..Self::get(url) };
        request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        request
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl Transport {
    /// A client for what `address` needs. Reads its `ca_file`.
    pub(crate) fn new(address: &Address) -> Result<Self, Trouble> {
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(IDLE)
                .redirect(redirect::Policy::none())
                .no_proxy()
        };
        let made = if let Some(path) = &address.ca_file {
            let roots = || Trouble::Roots(path.clone());
            let pem = std::fs::read(path).map_err(|_| roots())?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| roots())?;
            if certificates.is_empty() {
                return Err(roots());
            }
            // These and no others: whoever names an authority means that one.
            builder().tls_certs_only(certificates).build()
        } else if address.endpoint.starts_with("http:")
            && matches!(address.auth, Auth::WorkloadIdentity { .. })
        {
            // Otherwise a machine without roots could not even speak plain HTTP.
            builder().tls_certs_only([]).build()
        } else {
            builder().build()
        };
        made.map(Self).map_err(|_| Trouble::Silent(Silence::Tls))
    }

    /// Makes one call. Any status is an answer.
    pub(crate) async fn send(
        &self,
        request: &Request,
        token: Option<&Secret>,
    ) -> Result<Reply, Trouble> {
        let url = Url::parse(&request.url).map_err(|_| Trouble::Defect)?;
        let mut headers = request.headers.clone();
        if let Some(token) = token {
            let value = HeaderValue::from_bytes(&bearer_header(token.expose()));
            let mut value = value.map_err(|_| Trouble::Garbled)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let call = self
            .0
            .request(request.method.clone(), url)
            .headers(headers)
            .timeout(request.timeout)
            .body(request.body.to_vec());
        let mut answer = call.send().await.map_err(|error| silence(&error))?;
        let mut body = Zeroizing::new(Vec::new());
        while let Some(piece) = answer.chunk().await.map_err(|error| silence(&error))? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(Trouble::TooLong);
            }
            body.extend_from_slice(&piece);
        }
        let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let seconds = text(header::RETRY_AFTER).and_then(|text| text.trim().parse().ok());
        Ok(Reply {
            status: answer.status().as_u16(),
            date: text(header::DATE).and_then(date),
            retry_after: seconds.map(Duration::from_secs).map(bounded),
            is_metadata: answer.headers().get(METADATA_FLAVOR) == Some(&GOOGLE),
            body,
        })
    }
}

/// What a server may have us wait.
pub(crate) fn bounded(wait: Duration) -> Duration {
    wait.min(RETRY_AFTER_MAX)
}

/// The time of an HTTP `Date`.
fn date(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc2822).ok().map(SystemTime::from)
}

/// How a call ended, by its kind: the error itself may hold an address with more than that in it.
fn silence(error: &reqwest::Error) -> Trouble {
    let (is_timeout, is_connect) = (error.is_timeout(), error.is_connect());
    Trouble::Silent(Silence::of(error, Ended { is_timeout, is_connect, limit: CALL_TIMEOUT }))
}
