//! The way to AWS: bounded in time, size and number, through no proxy, following no redirect.
//!
//! An HTTP client as the SDK wants one. What fails is put into the SDK's error as a [`Trouble`], and comes out of it
//! again as that: nothing that another library says of it goes any further.

use crate::trouble::Trouble;
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use reqwest::{
    Certificate, Method, Url,
    header::{HeaderName, HeaderValue},
    redirect,
};
use secrets::{
    Zeroizing,
    remote::{Budget, Ended, Silence},
};
use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use tokio::time::Instant;

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one call may take, with its connection and the whole answer.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a connection that is not used is kept.
const IDLE: Duration = Duration::from_secs(60);

/// Most bytes of an answer: twenty secrets of 64 KiB each, which are longer in base64.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The longest that a server may have us wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The first wait where a server asks for fewer calls and does not say for how long; it doubles each time.
const THROTTLED_FIRST: Duration = Duration::from_secs(1);

/// The longest such wait.
const THROTTLED_MAX: Duration = Duration::from_secs(60);

/// What is known of a server, for all who call it: how many calls are left, whether it wants to be left alone, and its
/// time.
pub(crate) struct Line(Mutex<Inside>);

struct Inside {
    budget: Budget,
    began: Instant,
    /// Until when the server asked to be left alone.
    not_before: Option<Instant>,
    /// How often in a row it asked for fewer calls.
    throttled: u32,
    date: Option<(SystemTime, Instant)>,
}

impl Line {
    /// For at most `calls_per_hour`.
    pub(crate) fn new(calls_per_hour: u32) -> Self {
        Self(Mutex::new(Inside {
            budget: Budget::new(calls_per_hour),
            began: Instant::now(),
            not_before: None,
            throttled: 0,
            date: None,
        }))
    }

    /// The server's time, since it first answered.
    pub(crate) fn now(&self) -> Option<SystemTime> {
        self.inside().date.map(|(date, at)| date + at.elapsed())
    }

    /// It asked for fewer calls. Where it did not say for how long, the wait is ours to choose.
    pub(crate) fn throttled(&self) {
        let now = Instant::now();
        let mut inside = self.inside();
        if inside.not_before.is_none_or(|until| until <= now) {
            let wait =
                THROTTLED_FIRST.saturating_mul(1 << inside.throttled.min(6)).min(THROTTLED_MAX);
            inside.not_before = Some(now + wait.mul_f64(rand::random_range(0.75..1.0)));
            inside.throttled += 1;
        }
    }

    /// It answered as it should.
    pub(crate) fn answered(&self) {
        self.inside().throttled = 0;
    }

    /// Takes one call, if one may be made now.
    fn take(&self) -> Result<(), Trouble> {
        let now = Instant::now();
        let mut inside = self.inside();
        if let Some(until) = inside.not_before.filter(|until| *until > now) {
            return Err(Trouble::Waiting(until - now));
        }
        let since = now - inside.began;
        inside.budget.take(since).map_err(Trouble::Spent)
    }

    fn heard(&self, date: Option<SystemTime>, wait: Option<Duration>) {
        let now = Instant::now();
        let mut inside = self.inside();
        if let Some(date) = date {
            inside.date = Some((date, now));
        }
        if let Some(wait) = wait {
            inside.not_before = Some(now + wait.min(RETRY_AFTER_MAX));
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Transport {
    http: reqwest::Client,
    /// How long one call may take.
    patience: Duration,
    line: Arc<Line>,
}

impl Transport {
    /// A client that believes the authorities in `ca_file`, or those of the system. Reads that file. `has_tls` is
    /// whether any server is reached over TLS.
    pub(crate) fn new(
        ca_file: Option<&Path>,
        has_tls: bool,
        patience: Duration,
        line: Arc<Line>,
    ) -> Result<Self, Trouble> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(patience)
            .pool_idle_timeout(IDLE)
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(path) = ca_file {
            let roots = || Trouble::Roots(path.to_owned());
            let pem = std::fs::read(path).map_err(|_| roots())?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| roots())?;
            if certificates.is_empty() {
                return Err(roots());
            }
            // These and no others: whoever names an authority means that one.
            builder = builder.tls_certs_only(certificates);
        } else if !has_tls {
            // Otherwise a machine without roots could not even speak plain HTTP.
            builder = builder.tls_certs_only([]);
        }
        // What PEM holds is looked at only now.
        let unusable = |_| {
            ca_file.map_or(Trouble::Silent(Silence::Tls), |path| Trouble::Roots(path.to_owned()))
        };
        let http = builder.build().map_err(unusable)?;
        Ok(Self { http, patience, line })
    }

    /// Makes one call. Any status is an answer.
    pub(crate) async fn send(&self, request: reqwest::Request) -> Result<HttpResponse, Trouble> {
        self.line.take()?;
        let mut answer = self.http.execute(request).await.map_err(|error| self.silence(&error))?;
        let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let number = |name: &str| text(name).and_then(|text| text.trim().parse().ok());
        let date = text("date").and_then(|text| OffsetDateTime::parse(text, &Rfc2822).ok());
        let wait = match answer.status().as_u16() {
            400 | 429 | 503 => number("retry-after")
                .map(Duration::from_secs)
                .or_else(|| number("x-amz-retry-after").map(Duration::from_millis)),
            _ => None,
        };
        self.line.heard(date.map(SystemTime::from), wait);
        let mut body = Zeroizing::new(Vec::new());
        while let Some(piece) = answer.chunk().await.map_err(|error| self.silence(&error))? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(Trouble::TooLong);
            }
            body.extend_from_slice(&piece);
        }
        let status = answer.status().as_u16().try_into().map_err(|_| Trouble::Garbled)?;
        let mut response = HttpResponse::new(status, SdkBody::from(std::mem::take(&mut *body)));
        for (name, value) in answer.headers() {
            // One that is no text is of no use to anybody.
            if let Ok(value) = value.to_str() {
                response.headers_mut().append(name.as_str().to_owned(), value.to_owned());
            }
        }
        Ok(response)
    }

    /// How a call ended, by its kind: the error itself may hold an address with more than that in it.
    fn silence(&self, error: &reqwest::Error) -> Trouble {
        let (is_timeout, is_connect) = (error.is_timeout(), error.is_connect());
        Trouble::Silent(Silence::of(error, Ended { is_timeout, is_connect, limit: self.patience }))
    }

    async fn answer(self, request: HttpRequest) -> Result<HttpResponse, Trouble> {
        let method =
            Method::from_bytes(request.method().as_bytes()).map_err(|_| Trouble::Defect)?;
        let url = Url::parse(request.uri()).map_err(|_| Trouble::Defect)?;
        let mut sent = reqwest::Request::new(method, url);
        for (name, value) in request.headers() {
            let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Trouble::Defect)?;
            let mut value = HeaderValue::from_str(value).map_err(|_| Trouble::Defect)?;
            value.set_sensitive(matches!(name, "authorization" | "x-amz-security-token"));
            sent.headers_mut().append(known, value);
        }
        let body = request.body().bytes().ok_or(Trouble::Defect)?.to_vec();
        if !body.is_empty() {
            *sent.body_mut() = Some(body.into());
        }
        self.send(sent).await
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.clone().answer(request);
        HttpConnectorFuture::new(async move {
            answer.await.map_err(|trouble| match trouble {
                // Those that the SDK tries once more.
                Trouble::Silent(Silence::Late(_)) => ConnectorError::timeout(trouble.into()),
                Trouble::Silent(Silence::Broken | Silence::Refused) => {
                    ConnectorError::io(trouble.into())
                }
                _ => ConnectorError::other(trouble.into(), None),
            })
        })
    }
}

impl HttpClient for Transport {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}
