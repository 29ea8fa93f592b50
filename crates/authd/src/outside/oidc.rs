//! An OpenID provider, as its discovery document describes it (OpenID Connect Discovery 1.0).

use super::{Incoming, Outside, Trouble, asked};
use crate::{
    client_secret::ClientSecret,
    flow::{Answer, Flow},
    session::Capability,
    vouched::Vouched,
};
use auth::{ExpectId, IdToken, IdTokenError, ProviderKeys};
use kit::Clock;
use secrets::{Attempt, Watched};
use serde_json::Value;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;
use url::Url;

/// How long the provider's documents are used before they are fetched again.
const KNOWN_FOR: Duration = Duration::from_secs(60 * 60);
/// After a fetch that failed, there is none for this long.
const FAILED_FOR: Duration = Duration::from_secs(2);
/// The least time between two fetches for the sake of an unknown key.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How the provider is known to this instance, and the instance to the provider.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Exactly as the provider writes it.
    pub(crate) issuer: String,
    pub(crate) client: String,
    pub(crate) scopes: String,
    pub(crate) groups_claim: String,
}

/// The provider.
pub(crate) struct Oidc {
    set: Settings,
    secret: Watched<ClientSecret>,
    outside: Outside,
    clock: Clock,
    known: Mutex<Kept>,
}

/// What was fetched, and when a fetch last failed, and why.
#[derive(Default)]
struct Kept {
    known: Option<Arc<Known>>,
    failed: Option<(Instant, Trouble)>,
}

/// What its documents say.
struct Known {
    authorization: Url,
    token: Url,
    /// Whether a client proves itself in a header, and not in the body.
    in_header: bool,
    /// Whether its answers name it (RFC 9207).
    names_itself: bool,
    keys: ProviderKeys,
    fetched: Instant,
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oidc({})", self.set.issuer)
    }
}

impl Oidc {
    pub(crate) fn new(
        set: Settings,
        secret: Watched<ClientSecret>,
        outside: Outside,
        clock: Clock,
    ) -> Self {
        Self { set, secret, outside, clock, known: Mutex::default() }
    }

    /// Where the browser goes to log in.
    pub(crate) async fn address(&self, flow: &Flow, state: &Capability) -> Result<Url, Trouble> {
        let known = self.known(KNOWN_FOR).await?;
        Ok(flow.address(&known.authorization, state, &self.set.client, &self.set.scopes))
    }

    /// Whom the provider vouches for with this answer.
    pub(crate) async fn vouched(&self, flow: &Flow, answer: &Answer) -> Result<Vouched, Trouble> {
        let known = self.known(KNOWN_FOR).await?;
        match answer.iss.as_deref() {
            Some(issuer) if issuer != self.set.issuer => {
                return Err(Trouble::Login("the answer is another provider's".into()));
            }
            None if known.names_itself => {
                return Err(Trouble::Login("the answer does not name the provider".into()));
            }
            Some(_) | None => {}
        }
        let code = answer.code().ok_or_else(|| Trouble::Login("the answer has no code".into()))?;
        let token = self.exchange(&known, flow, code).await?;
        let IdToken { subject, claims } = self.verify(known, &token, flow).await?;
        let Settings { issuer, groups_claim, .. } = &self.set;
        Ok(Vouched::by_oidc(issuer, &subject, &claims, groups_claim))
    }

    /// The ID token for a code. Where the provider does not take the secret, one that is newer or was
    /// replaced a moment ago is tried.
    async fn exchange(&self, known: &Known, flow: &Flow, code: &str) -> Result<String, Trouble> {
        let fields = || {
            vec![
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", flow.redirect_uri.as_str()),
                ("code_verifier", flow.verifier.as_str()),
            ]
        };
        let attempt = |secret: Arc<ClientSecret>| async move {
            let (url, in_header) = (&known.token, known.in_header);
            let sent = self.outside.exchange(url, fields(), &self.set.client, &secret, in_header);
            match sent.await {
                Ok(answer) => judged(&answer),
                Err(trouble) => Attempt::Failed(trouble),
            }
        };
        self.secret.present(attempt).await
    }

    async fn verify(
        &self,
        known: Arc<Known>,
        token: &str,
        flow: &Flow,
    ) -> Result<IdToken, Trouble> {
        let Settings { issuer, client, .. } = &self.set;
        let expect = ExpectId { issuer, client, nonce: &flow.nonce };
        let verify =
            |known: &Known| known.keys.verify(token, &expect, self.clock.now().0.div_euclid(1000));
        let verified = match verify(&known) {
            Err(IdTokenError::UnknownKey) => verify(&*self.known(AGAIN_AFTER).await?),
            other => other,
        };
        verified.map_err(|error| Trouble::Login(error.to_string()))
    }

    /// What the provider's documents say, as of `max_age` ago or later.
    async fn known(&self, max_age: Duration) -> Result<Arc<Known>, Trouble> {
        // Held while fetching: one fetch at a time.
        let mut kept = self.known.lock().await;
        if let Some(known) = kept.known.as_ref().filter(|known| known.fetched.elapsed() < max_age) {
            return Ok(known.clone());
        }
        // Those who waited in line, and strangers who begin logins, do not each have it asked again.
        let lately = kept.failed.as_ref().filter(|(at, _)| at.elapsed() < FAILED_FOR);
        let fetched = match lately {
            Some((_, trouble)) => Err(trouble.clone()),
            None => self.fetch().await.inspect_err(|trouble| {
                tracing::warn!(error = %trouble, "the OpenID provider's documents were not fetched");
            }),
        };
        match fetched {
            Ok(known) => {
                let known = Arc::new(known);
                *kept = Kept { known: Some(known.clone()), failed: None };
                Ok(known)
            }
            Err(trouble) => {
                if kept.failed.as_ref().is_none_or(|(at, _)| at.elapsed() >= FAILED_FOR) {
                    kept.failed = Some((Instant::now(), trouble.clone()));
                }
                kept.known.clone().ok_or(trouble)
            }
        }
    }

    async fn fetch(&self) -> Result<Known, Trouble> {
        let issuer = &self.set.issuer;
        let wrong =
            |what: &str| Trouble::Away(format!("the discovery document of {issuer} {what}"));
        let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let place = asked(&place).ok_or_else(|| wrong("is not to be asked for"))?;
        let document = found(self.outside.get(&place, None).await?, "discovery document")?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        if text("issuer") != Some(issuer.as_str()) {
            return Err(wrong("names another issuer; OIDC_ISSUER is to be written as it is there"));
        }
        let endpoint = |name: &str| {
            let url = text(name).and_then(asked);
            url.ok_or_else(|| wrong(&format!("has no {name} that may be asked")))
        };
        let list = |name: &str| document.get(name).and_then(Value::as_array);
        let methods = list("token_endpoint_auth_methods_supported");
        let names_itself = document.get("authorization_response_iss_parameter_supported");
        let keys = found(self.outside.get(&endpoint("jwks_uri")?, None).await?, "key document")?;
        let keys = ProviderKeys::of(&keys);
        if keys.is_empty() {
            return Err(Trouble::Away(format!("{issuer} publishes no key that can be used")));
        }
        Ok(Known {
            authorization: endpoint("authorization_endpoint")?,
            token: endpoint("token_endpoint")?,
            in_header: methods.is_none_or(|all| all.iter().any(|one| one == "client_secret_basic")),
            names_itself: names_itself == Some(&Value::Bool(true)),
            keys,
            fetched: Instant::now(),
        })
    }
}

fn found(incoming: Incoming, what: &str) -> Result<Value, Trouble> {
    if incoming.status.is_success() {
        return Ok(incoming.json);
    }
    Err(Trouble::Away(format!("the provider has no {what}: {}", incoming.error())))
}

/// What a token endpoint's answer means (RFC 6749, section 5.2).
fn judged(answer: &Incoming) -> Attempt<String, Trouble> {
    let error = answer.error();
    if answer.status.is_success() {
        return match answer.text("id_token") {
            Some(token) => Attempt::Done(token.to_owned()),
            None => Attempt::Failed(Trouble::Away(
                "the provider answers without an ID token; OIDC_SCOPES must have openid".into(),
            )),
        };
    }
    if error == "invalid_client" || answer.status.as_u16() == 401 {
        let text = format!(
            "the OpenID provider does not take OIDC_CLIENT_ID with OIDC_CLIENT_SECRET ({error}); \
             give it the one that the provider has"
        );
        return Attempt::Refused(Trouble::Client(text));
    }
    let text = format!("the OpenID provider refuses the login: {error}");
    match answer.status.is_server_error() {
        true => Attempt::Failed(Trouble::Away(text)),
        false => Attempt::Failed(Trouble::Login(text)),
    }
}
