//! GitHub's side of a login on loopback: its OAuth app, and what its API says of an account.
//!
//! Answers are those of <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps> and of
//! `GET /user` and `GET /user/memberships/orgs`; `proof.py` holds Authlib, which knows GitHub, against them.

mod proof;

pub use proof::proven;

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{net::TcpListener, task::AbortHandle};

/// The app's id.
pub const CLIENT: &str = "Iv1.0123456789abcdef";

type Fields = HashMap<String, String>;

/// A site with one app, which ends when the last clone is dropped.
#[derive(Clone)]
pub struct GitHub {
    shared: Arc<Mutex<Inner>>,
    base: String,
    _serving: Arc<Serving>,
}

struct Serving(AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Default)]
struct Inner {
    secret: String,
    /// By name: the number, and the organisations.
    accounts: HashMap<String, (u64, Vec<(u64, String)>)>,
    /// Who is logged in at the browser.
    current: String,
    codes: HashMap<String, Code>,
    /// Whose a token is, and its scope.
    tokens: HashMap<String, (String, String)>,
    made: u64,
}

struct Code {
    account: String,
    redirect_uri: String,
    challenge: String,
    scope: String,
}

impl GitHub {
    pub async fn start(secret: &str) -> Self {
        let shared = Arc::new(Mutex::new(Inner { secret: secret.into(), ..Inner::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/login/oauth/authorize", get(authorize))
            .route("/login/oauth/access_token", post(access_token))
            .route("/api/v3/user", get(user))
            .route("/api/v3/user/memberships/orgs", get(organisations))
            .with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, base, _serving: Arc::new(Serving(serving.abort_handle())) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.lock().unwrap()
    }

    /// Where people log in.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Where the API is.
    pub fn api(&self) -> String {
        format!("{}/api/v3", self.base)
    }

    /// An account, active in these organisations. One of the same number is renamed.
    pub fn account(&self, id: u64, name: &str, organisations: &[(u64, &str)]) {
        let organisations = organisations.iter().map(|(id, name)| (*id, (*name).to_owned()));
        let mut inner = self.inner();
        inner.accounts.retain(|_, (known, _)| *known != id);
        inner.accounts.insert(name.to_owned(), (id, organisations.collect()));
    }

    /// Who is logged in at the browser that comes next.
    pub fn log_in(&self, name: &str) {
        name.clone_into(&mut self.inner().current);
    }

    /// The app's secret, from now on.
    pub fn set_secret(&self, secret: &str) {
        secret.clone_into(&mut self.inner().secret);
    }
}

async fn authorize(
    State(shared): State<Arc<Mutex<Inner>>>,
    Query(asked): Query<Fields>,
) -> Response {
    let text = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let mut inner = shared.lock().unwrap();
    if text("client_id") != CLIENT {
        return StatusCode::NOT_FOUND.into_response();
    }
    let hashed = text("code_challenge_method") == "S256" && text("code_challenge").len() == 43;
    if !hashed || text("state").is_empty() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    inner.made += 1;
    let code = format!("code{:016x}", inner.made.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let kept = Code {
        account: inner.current.clone(),
        redirect_uri: text("redirect_uri"),
        challenge: text("code_challenge"),
        scope: text("scope"),
    };
    inner.codes.insert(code.clone(), kept);
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("code", &code)
        .append_pair("state", &text("state"))
        .finish();
    let location = format!("{}?{query}", text("redirect_uri"));
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

async fn access_token(
    State(shared): State<Arc<Mutex<Inner>>>,
    headers: HeaderMap,
    Form(sent): Form<Fields>,
) -> Response {
    let accepts = headers.get(header::ACCEPT).is_some_and(|kind| kind == "application/json");
    if !accepts {
        // The real one answers with a form then.
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    let text = |name: &str| sent.get(name).cloned().unwrap_or_default();
    let mut inner = shared.lock().unwrap();
    let wrong =
        |error: &str| Json(json!({ "error": error, "error_description": "…" })).into_response();
    if text("client_id") != CLIENT || text("client_secret") != inner.secret {
        return wrong("incorrect_client_credentials");
    }
    let Some(code) = inner.codes.remove(&text("code")) else {
        return wrong("bad_verification_code");
    };
    if code.redirect_uri != text("redirect_uri") {
        return wrong("redirect_uri_mismatch");
    }
    if code.challenge != challenge(&text("code_verifier")) {
        return wrong("bad_verification_code");
    }
    inner.made += 1;
    let token = format!("gho_{:032x}", u128::from(inner.made) << 64 | 0x0ddc_0ffe);
    inner.tokens.insert(token.clone(), (code.account, code.scope.clone()));
    let answer = json!({ "access_token": token, "token_type": "bearer", "scope": code.scope });
    Json(answer).into_response()
}

/// RFC 7636, section 4.2.
fn challenge(verifier: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let hash = digest(&SHA256, verifier.as_bytes());
    let mut text = String::new();
    for three in hash.as_ref().chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for at in 0..=three.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * at)) as usize & 63]));
        }
    }
    text
}

/// Whose token a request shows, and its scope.
fn bearer(inner: &Inner, headers: &HeaderMap) -> Result<(String, String), Box<Response>> {
    if !headers.contains_key(header::USER_AGENT) {
        return Err(Box::new(StatusCode::FORBIDDEN.into_response()));
    }
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = shown.and_then(|shown| shown.split_once(' ')).map(|(_, token)| token);
    token.and_then(|token| inner.tokens.get(token)).cloned().ok_or_else(|| {
        let said = Json(json!({ "message": "Bad credentials", "status": "401" }));
        Box::new((StatusCode::UNAUTHORIZED, said).into_response())
    })
}

async fn user(State(shared): State<Arc<Mutex<Inner>>>, headers: HeaderMap) -> Response {
    let inner = shared.lock().unwrap();
    match bearer(&inner, &headers) {
        Ok((name, _)) => {
            let id = inner.accounts[&name].0;
            Json(json!({ "login": name, "id": id, "type": "User", "email": null })).into_response()
        }
        Err(refused) => *refused,
    }
}

async fn organisations(
    State(shared): State<Arc<Mutex<Inner>>>,
    Query(asked): Query<Fields>,
    headers: HeaderMap,
) -> Response {
    let inner = shared.lock().unwrap();
    let (name, scope) = match bearer(&inner, &headers) {
        Ok(known) => known,
        Err(refused) => return *refused,
    };
    if !scope.split([' ', ',']).any(|one| one == "read:org") {
        let said = Json(json!({ "message": "Resource not accessible", "status": "403" }));
        return (StatusCode::FORBIDDEN, said).into_response();
    }
    let number = |name: &str, default: usize| {
        asked.get(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (page, size) = (number("page", 1).max(1), number("per_page", 30).min(100));
    let all = inner.accounts[&name].1.iter().skip((page - 1) * size).take(size);
    let rows: Vec<Value> = all
        .map(|(id, org)| {
            json!({ "state": "active", "role": "member", "organization": { "id": id, "login": org } })
        })
        .collect();
    Json(rows).into_response()
}
