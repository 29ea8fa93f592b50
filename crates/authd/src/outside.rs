//! Asking providers: bounded in time and size, and no redirect is followed, so that what is meant for
//! one address goes to no other.

pub(crate) mod github;
pub(crate) mod oidc;

use crate::client_secret::ClientSecret;
use axum::http::{HeaderValue, StatusCode, header};
use kit::StartError;
use reqwest::RequestBuilder;
use serde_json::Value;
use std::{net::IpAddr, time::Duration};
use url::{Host, Url, form_urlencoded};

/// To connect.
const CONNECT: Duration = Duration::from_secs(5);
/// For one exchange.
const EXCHANGE: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const ANSWER_MAX: usize = 1 << 20;

/// Why a login by a provider came to nothing. Holds nothing that the provider or a person sent but short
/// codes, so it may be logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// The provider cannot be asked, or does not answer as it should: try again later.
    #[error("{0}")]
    Away(String),
    /// The provider does not take this instance's client id or secret: an operator must replace it.
    #[error("{0}")]
    Client(String),
    /// This one login is not believed: begin again.
    #[error("{0}")]
    Login(String),
}

/// The way out. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Outside(reqwest::Client);

/// What came back.
#[derive(Debug)]
pub(crate) struct Incoming {
    status: StatusCode,
    json: Value,
}

impl Incoming {
    fn text(&self, name: &str) -> Option<&str> {
        self.json.get(name).and_then(Value::as_str)
    }

    /// The provider's own word for what is wrong, as far as it may stand in a log.
    fn error(&self) -> String {
        let code = self.text("error").unwrap_or_default();
        let plain = |c: &char| c.is_ascii_alphanumeric() || "_-.".contains(*c);
        let code: String = code.chars().filter(plain).take(64).collect();
        if code.is_empty() { format!("status {}", self.status.as_u16()) } else { code }
    }
}

impl Outside {
    pub(crate) fn new() -> Result<Self, StartError> {
        let client = kit::client_builder()
            .connect_timeout(CONNECT)
            .timeout(EXCHANGE)
            .user_agent(concat!("arizuko/", env!("CARGO_PKG_VERSION")))
            // What a connection last carried, a secret among it, goes with it.
            .pool_max_idle_per_host(0)
            .build();
        client.map(Self).map_err(|error| {
            StartError::Other("the client for providers cannot be made".into(), Some(error.into()))
        })
    }

    async fn get(&self, url: &Url, bearer: Option<&str>) -> Result<Incoming, Trouble> {
        let mut request = self.0.get(url.clone());
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        send(request, url).await
    }

    /// Exchanges a code for what it stands for, as `client`.
    async fn exchange(
        &self,
        url: &Url,
        mut fields: Vec<(&str, &str)>,
        client: &str,
        secret: &ClientSecret,
        in_header: bool,
    ) -> Result<Incoming, Trouble> {
        let mut request = self.0.post(url.clone());
        match secret.text() {
            Some(secret) if in_header => {
                let mut value = basic(client, secret);
                value.set_sensitive(true);
                request = request.header(header::AUTHORIZATION, value);
            }
            Some(secret) => fields.extend([("client_id", client), ("client_secret", secret)]),
            None => fields.push(("client_id", client)),
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        send(request.header(header::CONTENT_TYPE, kind).body(body), url).await
    }
}

/// RFC 6749, section 2.3.1: both are encoded as in a form before they are joined.
fn basic(client: &str, secret: &str) -> HeaderValue {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let joined = format!("{}:{}", encoded(client), encoded(secret));
    let value = format!("Basic {}", STANDARD.encode(joined));
    // Base64 is always a header's value.
    HeaderValue::from_str(&value).unwrap_or_else(|_| HeaderValue::from_static("Basic"))
}

async fn send(request: RequestBuilder, url: &Url) -> Result<Incoming, Trouble> {
    let host = url.host_str().unwrap_or_default();
    let failed = |error: reqwest::Error| {
        let why = match (error.is_timeout(), error.is_connect()) {
            (true, _) => "it did not answer in time",
            (_, true) => "no connection",
            _ => "the exchange broke off",
        };
        tracing::info!(host, error = %kit::chain(&error.without_url()), "a provider was not asked");
        Trouble::Away(format!("{host}: {why}"))
    };
    let accept = HeaderValue::from_static("application/json");
    let mut response = request.header(header::ACCEPT, accept).send().await.map_err(failed)?;
    let status = response.status();
    if status.is_redirection() {
        return Err(Trouble::Away(format!("{host} redirects, and no redirect is followed")));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > ANSWER_MAX {
            return Err(Trouble::Away(format!(
                "{host} answered with more than {ANSWER_MAX} bytes"
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    // A refusal may be a page; its status is enough then.
    let json = match serde_json::from_slice(&bytes) {
        Ok(json) => json,
        Err(_) if !status.is_success() => Value::Null,
        Err(_) => {
            return Err(Trouble::Away(format!("{host} answered with something else than JSON")));
        }
    };
    Ok(Incoming { status, json })
}

/// An address that may be asked: by TLS, or on this machine.
pub(crate) fn asked(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_safe = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(&url),
        _ => false,
    };
    let is_plain = url.username().is_empty() && url.password().is_none();
    (is_safe && is_plain).then_some(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_or_this_machine_is_asked() {
        for good in [
            "https://id.example/realms/a",
            "http://127.0.0.1:8200/v1/identity/oidc",
            "http://localhost:1",
            "http://[::1]:1/",
        ] {
            assert!(asked(good).is_some(), "{good}");
        }
        for bad in [
            "http://id.example",
            "http://127.0.0.1.evil.example",
            "http://10.0.0.1",
            "ftp://id.example",
            "file:///etc/passwd",
            "https://user:word@id.example",
            "id.example",
            "",
        ] {
            assert!(asked(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_id_and_a_secret_are_encoded_before_they_are_joined() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let value = basic("a:b", "c d%");
        let text = value.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        assert_eq!(STANDARD.decode(text).unwrap(), b"a%3Ab:c+d%25");
    }

    #[test]
    fn what_a_provider_says_is_cut_before_it_is_logged() {
        let incoming = |error: &str| Incoming {
            status: StatusCode::BAD_REQUEST,
            json: serde_json::json!({ "error": error }),
        };
        assert_eq!(incoming("invalid_grant").error(), "invalid_grant");
        assert_eq!(incoming("a\nb<script>").error(), "abscript");
        assert_eq!(incoming("").error(), "status 400");
    }
}
