//! Requests that leave the suite: in a tenant's name, under a tenant's secret.
//!
//! No redirect is followed, so that a secret goes to the address it is bound to and no further; no proxy of the
//! environment is used; no name leads to this machine itself; time and size are bounded.

mod resolve;

use crate::fault::Fault;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use kit::StartError;
use std::time::Duration;
use url::Url;

/// To connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are kept.
pub(crate) const ANSWER_MAX: usize = 256 * 1024;

/// One request.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<String>,
    pub(crate) timeout: Duration,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// As text; bytes that are none are replaced.
    pub(crate) body: String,
    /// Whether there was more.
    pub(crate) cut: bool,
}

/// The way out. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Outside(reqwest::Client);

impl Outside {
    /// Prepares it.
    pub(crate) fn new() -> Result<Self, StartError> {
        let client = kit::client_builder()
            .connect_timeout(CONNECT)
            .dns_resolver(resolve::Resolver)
            .user_agent(concat!("arizuko/", env!("CARGO_PKG_VERSION")))
            // What a tenant's secret was used for is not reused for another tenant's.
            .pool_max_idle_per_host(0)
            .build();
        client.map(Self).map_err(|error| {
            StartError::Other("the client for outside could not be made".into(), Some(error.into()))
        })
    }

    /// Sends it. What fails is told without the URL's query, which may hold anything.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<Incoming, Fault> {
        let Outgoing { method, url, headers, body, timeout } = outgoing;
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut request = self.0.request(method, url).headers(headers).timeout(timeout);
        if let Some(body) = body {
            request = request.body(body);
        }
        let failed = |error: reqwest::Error| {
            if let Some(inward) = resolve::Inward::among(&error) {
                return Fault::Forbidden(inward.to_string());
            }
            let why = match (error.is_timeout(), error.is_connect()) {
                (true, _) => "it did not answer in time",
                (_, true) => "no connection",
                _ => "the exchange broke off",
            };
            tracing::info!(host, error = %kit::chain(&error.without_url()), "a request to outside failed");
            Fault::Conflict(format!("{host}: {why}; whether it was carried out is not known"))
        };
        let mut response = request.send().await.map_err(&failed)?;
        let status = response.status().as_u16();
        let headers = response.headers().iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let headers = headers.collect();
        let (mut bytes, mut cut) = (Vec::new(), false);
        while let Some(chunk) = response.chunk().await.map_err(&failed)? {
            let room = ANSWER_MAX - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                cut = true;
                break;
            }
        }
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Incoming { status, headers, body, cut })
    }
}

/// A header that carries a secret: built in one piece of the right size, and marked so that nothing shows it.
pub(crate) fn secret_header(
    name: &str,
    (before, after): (&str, &str),
    secret: &secrets::Secret,
) -> Result<(HeaderName, HeaderValue), Fault> {
    let broken = || Fault::Defect("a stored header cannot be sent".into());
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| broken())?;
    let bytes = [before.as_bytes(), secret.expose(), after.as_bytes()].concat();
    let mut value =
        HeaderValue::from_maybe_shared(bytes::Bytes::from(bytes)).map_err(|_| broken())?;
    value.set_sensitive(true);
    Ok((name, value))
}
