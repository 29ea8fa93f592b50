//! The way to the server: bounded in time and size, through no proxy, following no redirect.
//!
//! [`rustify::Client`] as the endpoints of `vaultrs` want it. What fails is put beside an empty
//! answer instead of into an error: the errors of that layer hold whole bodies, and are logged.

use crate::{address::Address, trouble::Trouble};
use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use reqwest::{Certificate, redirect};
use rustify::{MiddleWare, endpoint::Endpoint, errors::ClientError};
use secrets::{
    Secret, Zeroizing,
    remote::{Ended, Silence},
};
use std::time::{Duration, SystemTime};

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one call may take, with its connection and the whole answer.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a connection that is not used is kept.
const IDLE: Duration = Duration::from_secs(90);

/// Most bytes of an answer: an entry of a KV engine has at most one MiB, its JSON somewhat more.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The longest that a server may have us wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// A client of one server.
pub(crate) struct Transport {
    http: reqwest::Client,
    base: String,
}

/// What a server answered. No `Debug`: the body is secret.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// The server's own time, where it says it.
    pub(crate) date: Option<SystemTime>,
    pub(crate) retry_after: Option<Duration>,
}

impl Transport {
    /// A client for the server of `address`. Reads its `ca_file`.
    pub(crate) fn new(address: &Address) -> Result<Self, Trouble> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(path) = &address.ca_file {
            let roots = || Trouble::Roots(path.clone());
            let pem = std::fs::read(path).map_err(|_| roots())?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| roots())?;
            if certificates.is_empty() {
                return Err(roots());
            }
            // These and no others: whoever names an authority means that one.
            builder = builder.tls_certs_only(certificates);
        } else if address.base.starts_with("http:") {
            // Otherwise a machine without roots could not even speak plain HTTP.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|_| Trouble::Silent(Silence::Tls))?;
        Ok(Self { http, base: address.base.clone() })
    }

    /// Makes one call. Any status is an answer.
    pub(crate) async fn call(
        &self,
        endpoint: impl Endpoint,
        headers: &Headers,
    ) -> Result<Reply, Trouble> {
        let result = endpoint.with_middleware(headers).exec(self).await;
        let mut response = result.map_err(|_| Trouble::Defect)?.response;
        if let Some(trouble) = response.extensions_mut().remove::<Trouble>() {
            return Err(trouble);
        }
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let date = text(header::DATE).and_then(crate::answers::date);
        let seconds = text(header::RETRY_AFTER).and_then(|text| text.trim().parse().ok());
        let retry_after = seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        let status = response.status();
        Ok(Reply { status, body: Zeroizing::new(response.into_body()), date, retry_after })
    }

    async fn answer(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Trouble> {
        let request = reqwest::Request::try_from(request).map_err(|_| Trouble::Defect)?;
        let mut answer = self.http.execute(request).await.map_err(|error| silence(&error))?;
        let mut body = Zeroizing::new(Vec::new());
        while let Some(piece) = answer.chunk().await.map_err(|error| silence(&error))? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(Trouble::TooLong);
            }
            body.extend_from_slice(&piece);
        }
        let mut response = Response::new(std::mem::take(&mut *body));
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

#[async_trait]
impl rustify::client::Client for Transport {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        Ok(self.answer(request).await.unwrap_or_else(|trouble| {
            let mut response = Response::new(Vec::new());
            response.extensions_mut().insert(trouble);
            response
        }))
    }

    fn base(&self) -> &str {
        &self.base
    }

    /// Without the step that makes an error of a status, with the body in it.
    async fn execute(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        self.send(request).await
    }
}

fn silence(error: &reqwest::Error) -> Trouble {
    let (is_timeout, is_connect) = (error.is_timeout(), error.is_connect());
    Trouble::Silent(Silence::of(error, Ended { is_timeout, is_connect, limit: CALL_TIMEOUT }))
}

/// What every call carries.
pub(crate) struct Headers(HeaderMap);

impl Headers {
    /// Without a token: for a login.
    pub(crate) fn new(namespace: Option<&str>) -> Result<Self, Trouble> {
        let mut headers = HeaderMap::new();
        // Without it a server may refuse what a browser could have been led to send.
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = namespace {
            let value = HeaderValue::from_str(namespace).map_err(|_| Trouble::Defect)?;
            headers.insert(NAMESPACE, value);
        }
        Ok(Self(headers))
    }

    /// With a token; `None` where it cannot stand in a header.
    pub(crate) fn with_token(mut self, token: &Secret) -> Option<Self> {
        let mut value = HeaderValue::from_bytes(token.expose()).ok()?;
        value.set_sensitive(true);
        self.0.insert(TOKEN, value);
        Some(self)
    }
}

impl MiddleWare for Headers {
    fn request<E: Endpoint>(
        &self,
        _: &E,
        request: &mut Request<Vec<u8>>,
    ) -> Result<(), ClientError> {
        // Some paths of the library begin with a tab or a second slash.
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let path = path.replace("/%09", "").replace("//", "/");
        let (scheme, host) = (request.uri().scheme_str(), request.uri().authority());
        let whole = format!(
            "{}://{}/v1{path}",
            scheme.unwrap_or("https"),
            host.map_or("", |host| host.as_str())
        );
        *request.uri_mut() =
            whole.parse().map_err(|source| ClientError::UrlBuildError { source })?;
        request.headers_mut().extend(self.0.clone());
        Ok(())
    }

    fn response<E: Endpoint>(&self, _: &E, _: &mut Response<Vec<u8>>) -> Result<(), ClientError> {
        Ok(())
    }
}
