//! Sending a request to a model, under a key that may be refused.
//!
//! A refusal is the fastest news of a rotation: the key is looked for again, and the same request sent once more under
//! what is found. Nothing of an answer has been passed on by then.

use super::{
    Call, admission,
    admission::{Key, TenantKey},
    headers,
    key::{Kind as KeyKind, ModelKey},
    refusal::{Kind, Refusal},
    seconds,
    vendor::Vendor,
};
use crate::{app::App, attempt::Attempt};
use kit::StartError;
use reqwest::{Client, Response, StatusCode};
use secrets::{Attempt as Presented, Secret};
use std::{sync::Arc, time::Duration};
use url::{Host, Url};

/// To connect.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is kept on which nothing is asked.
const IDLE: Duration = Duration::from_secs(30);

/// Where a vendor's API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base(String);

impl Base {
    /// `https://HOST[/PATH]`, or `http://` to this machine, or `insecure+http://` to another; with or without `/v1`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (text, insecure) = match text.strip_prefix("insecure+") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let url = Url::parse(text).ok()?;
        let here = match url.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let scheme_fits = match url.scheme() {
            "https" => !insecure,
            "http" => here || insecure,
            _ => false,
        };
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let whole = url.as_str().trim_end_matches('/');
        let whole = whole.strip_suffix("/v1").unwrap_or(whole);
        (scheme_fits && bare).then(|| Self(whole.to_owned()))
    }

    fn at(&self, path: &str, query: Option<&str>) -> String {
        match query {
            Some(query) => format!("{}{path}?{query}", self.0),
            None => format!("{}{path}", self.0),
        }
    }
}

/// The way to the models.
#[derive(Debug)]
pub(super) struct Upstream {
    client: Client,
    anthropic: Base,
    openai: Base,
    pub(super) patience: Duration,
}

impl Upstream {
    pub(super) fn new(
        anthropic: Base,
        openai: Base,
        patience: Duration,
    ) -> Result<Self, StartError> {
        // Through no proxy, and following no redirect: a key goes to the address that the operator set, and no further.
        let client = kit::client_builder().connect_timeout(CONNECT).pool_idle_timeout(IDLE).build();
        let client = client.map_err(|error| {
            StartError::Other("the client for models could not be made".into(), Some(error.into()))
        })?;
        Ok(Self { client, anthropic, openai, patience })
    }

    /// Sends a request once.
    async fn once(
        &self,
        call: &Call<'_>,
        kind: KeyKind,
        secret: &Secret,
    ) -> Result<Response, Refusal> {
        let request = call.request;
        let base = match request.vendor {
            Vendor::Anthropic => &self.anthropic,
            Vendor::OpenAi => &self.openai,
        };
        let url = base.at(&request.path, call.operation.query(&request.query).as_deref());
        let with_oauth = kind == KeyKind::AnthropicOauth;
        let mut headers = headers::asked(request.vendor, &request.headers, with_oauth);
        let (name, value) = kind.header(secret)?;
        headers.insert(name, value);
        let mut sending = self.client.request(request.method.clone(), url).headers(headers);
        if let Some(asked) = &call.asked {
            sending = sending.body(asked.body.clone());
        }
        let vendor = request.vendor.name();
        match tokio::time::timeout(self.patience, sending.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                let error = error.without_url();
                tracing::warn!(vendor, error = %kit::chain(&error), "a model could not be reached");
                let why = if error.is_connect() { "cannot be reached" } else { "broke off" };
                Err(Refusal::new(Kind::Upstream, format!("the model's API ({vendor}) {why}")))
            }
            Err(_) => {
                let waited = seconds(self.patience);
                let text = format!("the model's API ({vendor}) did not answer within {waited}");
                Err(Refusal::new(Kind::Timeout, text))
            }
        }
    }
}

/// Sends a request under the key that was admitted, or under the one that has taken its place.
pub(super) async fn send(
    app: &Arc<App>,
    attempt: &Attempt,
    call: &Call<'_>,
    key: &Key,
) -> Result<Sent, Refusal> {
    match key {
        Key::Instance(kind) => of_instance(app, call, *kind).await,
        Key::Tenant(key) => of_tenant(app, attempt, call, key).await,
    }
}

/// A model's answer, and the key that it accepted: to be taken out of what it says, should it be there.
pub(super) struct Sent {
    pub(super) response: Response,
    pub(super) key: Spent,
}

/// The key that was spent, held as long as the beginning of the answer is looked at.
pub(super) enum Spent {
    Instance(Arc<ModelKey>),
    Tenant(Arc<Secret>),
}

impl Spent {
    pub(super) fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Instance(key) => key.secret(),
            Self::Tenant(secret) => Some(secret),
        }
    }
}

async fn of_instance(app: &Arc<App>, call: &Call<'_>, kind: KeyKind) -> Result<Sent, Refusal> {
    let vendor = call.request.vendor;
    let watched = app.gateway.keys.of(kind);
    let presented = watched.present(|key| async move {
        let Some(secret) = key.secret() else {
            return Presented::Failed(Refusal::new(Kind::Key, "the model's key is gone"));
        };
        match app.gateway.upstream.once(call, kind, secret).await {
            Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                Presented::Refused(refused(vendor))
            }
            Ok(response) => Presented::Done(Sent { response, key: Spent::Instance(key) }),
            Err(refusal) => Presented::Failed(refusal),
        }
    });
    let sent = presented.await;
    if let Err(Refusal { kind: Kind::Key, .. }) = &sent {
        tracing::error!(key = kind.name(), "the model refused the instance's key; replace it");
    }
    sent
}

async fn of_tenant(
    app: &Arc<App>,
    attempt: &Attempt,
    call: &Call<'_>,
    key: &TenantKey,
) -> Result<Sent, Refusal> {
    let upstream = &app.gateway.upstream;
    let vendor = call.request.vendor;
    let response = upstream.once(call, key.kind, &key.secret).await?;
    if response.status() != StatusCode::UNAUTHORIZED {
        return Ok(Sent { response, key: Spent::Tenant(key.secret.clone()) });
    }
    drop(response);
    let newer = admission::tenant_key(app, attempt, KeyKind::of(vendor)).await?;
    if let Some(newer) = newer.filter(|newer| !newer.secret.matches(key.secret.expose())) {
        let response = upstream.once(call, newer.kind, &newer.secret).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(Sent { response, key: Spent::Tenant(newer.secret) });
        }
    }
    let (owner, name) = admission::name_of(key);
    tracing::warn!(%owner, name, "the model refused a key; its owner has to replace it");
    Err(refused(vendor))
}

fn refused(vendor: Vendor) -> Refusal {
    let text = format!("the model refused the key ({}); it has to be replaced", vendor.name());
    Refusal::new(Kind::Key, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_encrypted_or_here_or_said_not_to_be() {
        let at = |text: &str| Base::parse(text).map(|base| base.at("/v1/models", None));
        for (text, whole) in [
            ("https://api.anthropic.com", "https://api.anthropic.com/v1/models"),
            ("https://api.openai.com/v1", "https://api.openai.com/v1/models"),
            ("https://openrouter.ai/api/v1/", "https://openrouter.ai/api/v1/models"),
            ("http://127.0.0.1:9", "http://127.0.0.1:9/v1/models"),
            ("http://[::1]:9/x", "http://[::1]:9/x/v1/models"),
            ("http://localhost:11434/v1", "http://localhost:11434/v1/models"),
            ("insecure+http://litellm:4000", "http://litellm:4000/v1/models"),
        ] {
            assert_eq!(at(text).as_deref(), Some(whole), "{text}");
        }
        for bad in [
            "",
            "api.openai.com",
            "http://litellm:4000",
            "http://127.0.0.1.evil.test",
            "insecure+https://x",
            "ftp://x",
            "https://user@x",
            "https://x?key=y",
            "https://x/#y",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
