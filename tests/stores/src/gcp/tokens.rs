//! Access tokens: from the metadata server, the token service and the IAM Credentials API, and by whom they are taken.

use super::{ACCOUNT, AUDIENCE, Call, PROJECT, World, flavoured, refusal, reply, respond};
use axum::response::Response;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
const IAM: &str = "https://www.googleapis.com/auth/iam";

/// The tokens that were given.
pub(super) struct Tokens {
    /// How long the next ones live.
    pub(super) life: Duration,
    /// Whether the metadata server has an account.
    pub(super) is_attached: bool,
    /// The subject token that is exchanged.
    pub(super) subject: Option<String>,
    given: BTreeMap<String, Given>,
    /// The key of the project's service account: its id, and the private and public part.
    key: Option<(String, String, String)>,
}

struct Given {
    ends: Instant,
    scope: &'static str,
}

impl Tokens {
    pub(super) fn new() -> Self {
        let life = Duration::from_secs(3_599);
        Self { life, is_attached: true, subject: None, given: BTreeMap::new(), key: None }
    }

    pub(super) fn revoke(&mut self) {
        for given in self.given.values_mut() {
            given.ends = Instant::now();
        }
    }

    pub(super) fn given(&self) -> Vec<String> {
        self.given.keys().cloned().collect()
    }

    /// The file of a key, as the IAM API makes it.
    pub(super) fn service_account(&mut self) -> Value {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let (id, private) = ("0f1e2d3c4b5a".to_owned(), key.serialize_pem());
        self.key = Some((id.clone(), private.clone(), key.public_key_pem()));
        json!({
            "type": "service_account", "project_id": PROJECT, "private_key_id": id,
            "private_key": private, "client_email": ACCOUNT, "client_id": "1234567890",
            "token_uri": "https://oauth2.googleapis.com/token", "universe_domain": "googleapis.com",
        })
    }

    fn give(&mut self, kind: &str, number: u64, scope: &'static str) -> String {
        let token = format!("ya29.{kind}-token-{number}-of-this-test");
        let ends = Instant::now() + self.life;
        self.given.insert(token.clone(), Given { ends, scope });
        token
    }

    /// Whether whoever calls may call at all, for that scope.
    fn check(&self, call: &Call, scope: &str) -> Result<(), Response> {
        let header = call.headers.get("authorization").and_then(|value| value.to_str().ok());
        let Some(token) = header.and_then(|value| value.strip_prefix("Bearer ")) else {
            return Err(unauthenticated("Request is missing required authentication credential."));
        };
        let is_good = match self.given.get(token) {
            Some(given) => given.ends > Instant::now() && given.scope == scope,
            None => self.is_signed(token, scope),
        };
        if is_good {
            return Ok(());
        }
        Err(unauthenticated("Request had invalid authentication credentials."))
    }

    /// Whether the service account signed it itself (<https://google.aip.dev/auth/4111>).
    fn is_signed(&self, token: &str, scope: &str) -> bool {
        let Some((id, _, public)) = &self.key else { return false };
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.set_issuer(&[ACCOUNT]);
        let key = DecodingKey::from_rsa_pem(public.as_bytes()).unwrap();
        let Ok(data) = jsonwebtoken::decode::<Value>(token, &key, &validation) else {
            return false;
        };
        let for_scope = data.claims["scope"].as_str().is_some_and(|all| all.contains(scope));
        // Google's client in Python names the service instead.
        let for_service =
            data.claims["aud"].as_str().is_some_and(|aud| aud.contains("secretmanager"));
        data.header.kid.as_ref() == Some(id)
            && data.claims["sub"] == ACCOUNT
            && (for_scope || for_service)
    }
}

impl World {
    /// Refuses a call without a token that is good for the platform.
    pub(super) fn authenticate(&self, call: &Call) -> Result<(), Response> {
        self.tokens.check(call, CLOUD_PLATFORM)
    }
}

fn unauthenticated(message: &str) -> Response {
    refusal(401, "UNAUTHENTICATED", message)
}

/// The metadata server.
pub(super) fn metadata(world: &mut World, call: &Call) -> Result<Response, Response> {
    if call.headers.get("metadata-flavor").is_none_or(|flavor| flavor != "Google") {
        return Err(respond(403, "text/html", "Missing Metadata-Flavor:Google header.".into()));
    }
    let text = |text: &str| flavoured(respond(200, "application/text", text.to_owned()));
    let none = || flavoured(respond(404, "text/html", "Error 404 (Not Found)!!1".into()));
    // The account goes by either name.
    let account = call.path.strip_prefix("/computeMetadata/v1/instance/service-accounts/");
    let of_account = account.and_then(|path| {
        ["default", ACCOUNT].iter().find_map(|name| path.strip_prefix(name)?.strip_prefix('/'))
    });
    Ok(match (call.path.as_str(), of_account) {
        ("/", _) => text("computeMetadata/\n"),
        ("/computeMetadata/v1/project/project-id", _) => text(PROJECT),
        ("/computeMetadata/v1/universe/universe-domain", _) => text("googleapis.com"),
        (_, Some("")) if world.tokens.is_attached => flavoured(reply(&json!({
            "aliases": ["default"], "email": ACCOUNT, "scopes": [CLOUD_PLATFORM],
        }))),
        (_, Some("token")) if world.tokens.is_attached => {
            let number = world.next();
            let token = world.tokens.give("metadata", number, CLOUD_PLATFORM);
            let life = world.tokens.life.as_secs();
            flavoured(reply(&json!({
                "access_token": token, "expires_in": life, "token_type": "Bearer",
            })))
        }
        _ => none(),
    })
}

/// The token service (RFC 8693, section 2).
pub(super) fn exchange(world: &mut World, call: &Call) -> Result<Response, Response> {
    let text = String::from_utf8_lossy(&call.body);
    let form = reqwest::Url::parse(&format!("http://host/?{text}")).unwrap();
    let form: BTreeMap<String, String> =
        form.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
    let is = |name: &str, value: &str| form.get(name).is_some_and(|given| given == value);
    let refuse = |error: &str| {
        let body = json!({"error": error, "error_description": "The request was refused."});
        respond(400, "application/json; charset=UTF-8", body.to_string())
    };
    let kind = "urn:ietf:params:oauth:token-type:";
    let is_formed = call.method == "POST"
        && is("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        && is("requested_token_type", &format!("{kind}access_token"))
        && is("subject_token_type", &format!("{kind}jwt"));
    if !is_formed {
        return Err(refuse("invalid_request"));
    }
    if !is("audience", AUDIENCE) {
        return Err(refuse("invalid_target"));
    }
    let Some(subject) = &world.tokens.subject else { return Err(refuse("invalid_grant")) };
    if !is("subject_token", subject) {
        return Err(refuse("invalid_grant"));
    }
    let scope = match form.get("scope").map(String::as_str) {
        Some(IAM) => IAM,
        Some(CLOUD_PLATFORM) => CLOUD_PLATFORM,
        _ => return Err(refuse("invalid_scope")),
    };
    let number = world.next();
    let token = world.tokens.give("federated", number, scope);
    Ok(reply(&json!({
        "access_token": token, "issued_token_type": format!("{kind}access_token"),
        "token_type": "Bearer", "expires_in": world.tokens.life.as_secs(),
    })))
}

/// An issuer of subject tokens, for whoever has the right header.
pub(super) fn subject(world: &World, call: &Call) -> Result<Response, Response> {
    let is_right = call.headers.get("x-issuer").is_some_and(|value| value == "right");
    match &world.tokens.subject {
        Some(token) if is_right => Ok(reply(&json!({"value": token}))),
        _ => Err(respond(403, "text/plain", "no".into())),
    }
}

/// The IAM Credentials API.
pub(super) fn generate(world: &mut World, call: &Call) -> Result<Response, Response> {
    world.tokens.check(call, IAM)?;
    let expected = format!("/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken");
    if call.method != "POST" || call.path != expected {
        return Err(refusal(404, "NOT_FOUND", "Not found; Gaia id not found for email."));
    }
    world.allow("iam.serviceAccounts.getAccessToken", &format!("projects/{PROJECT}"))?;
    let wish: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    if wish["scope"] != json!([CLOUD_PLATFORM]) {
        return Err(refusal(400, "INVALID_ARGUMENT", "scope is required."));
    }
    let number = world.next();
    let token = world.tokens.give("impersonated", number, CLOUD_PLATFORM);
    // In whole seconds, as the API writes it.
    let ends = OffsetDateTime::now_utc() + world.tokens.life;
    let ends = ends.replace_nanosecond(0).unwrap();
    Ok(reply(&json!({"accessToken": token, "expireTime": ends.format(&Rfc3339).unwrap()})))
}
