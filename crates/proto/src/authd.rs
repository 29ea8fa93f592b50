//! What authd serves: the keys that verify tokens, and the tokens themselves.

use crate::{Daemon, Endpoint, Method, Needs, Nothing, Route, Timestamp, kit::DatabaseKey};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The keys that verify this instance's tokens (RFC 7517), with the token epochs beside them.
pub const JWKS: Endpoint<Nothing, serde_json::Value> =
    Endpoint::get("/.well-known/jwks.json", Needs::Nobody, "The keys that verify tokens");

/// The same under its other name.
pub const KEYS: Endpoint<Nothing, serde_json::Value> =
    Endpoint::get("/v1/keys", Needs::Nobody, "The keys that verify tokens");

/// A daemon proves itself with `AUTHD_SERVICE_KEY` and gets a token of fifteen minutes.
pub const SERVICE_TOKEN: Endpoint<ServiceTokenRequest, Token> = Endpoint::post(
    "/v1/service-token",
    Needs::Secret("AUTHD_SERVICE_KEY"),
    "A token for a daemon, for fifteen minutes",
);

/// The operator's command line gets a token of five minutes, on the admin socket alone.
pub const OPERATOR_TOKEN: Endpoint<OperatorTokenRequest, Token> = Endpoint::post(
    "/v1/operator-token",
    Needs::Socket,
    "A token for the operator, for five minutes",
);

/// A link that logs one browser in as the operator, once; on the admin socket alone.
pub const LOGIN_LINK: Endpoint<Nothing, LoginLink> =
    Endpoint::post("/v1/login-links", Needs::Socket, "A one-time link that logs the operator in");

/// Whose session a cookie is. Asked by proxyd for each request that needs a login.
pub const RESOLVE_SESSION: Endpoint<ResolveSession, Session> = Endpoint::post(
    "/v1/sessions/resolve",
    Needs::Scope("sessions:resolve"),
    "Whose session a cookie is",
);

/// A daemon behind the edge gets a token of five minutes of the person whose request it is serving,
/// for one peer.
pub const USER_TOKEN: Endpoint<UserTokenRequest, Token> = Endpoint::post(
    "/v1/user-token",
    Needs::Scope("sessions:act"),
    "A token of the person whose request the edge has passed on, for one peer, for five minutes",
);

/// The signing keys, and where each is in its life.
pub const SIGNING_KEYS: Endpoint<Nothing, SigningKeys> = Endpoint::get(
    "/v1/signing-keys",
    Needs::Scope("keys:read"),
    "The signing keys, and where each is in its life",
);

/// Begins a rotation of the signing key before its time. One that is under way is left alone.
pub const ROTATE_KEYS: Endpoint<Nothing, SigningKeys> = Endpoint::post(
    "/v1/signing-keys/rotate",
    Needs::Scope("keys:write"),
    "Publish the next signing key now; it signs once verifiers have had time to hear of it",
);

/// Seals everything in authd's database anew, under a new data key.
pub const REKEY: Endpoint<Rekey, SigningKeys> = Endpoint::post(
    "/v1/secrets/rekey",
    Needs::Scope("secrets:write"),
    "Seal everything anew under a new data key",
);

/// Which `SECRETS_KEY`s open authd's database.
pub const DATABASE_KEY: Endpoint<Nothing, DatabaseKey> = Endpoint::get(
    "/v1/secrets/database-key",
    Needs::Scope("secrets:read"),
    "Which values of SECRETS_KEY open the database, by their ids",
);

/// What was done, newest first.
pub const AUDIT: Endpoint<crate::routd::AuditQuery, crate::routd::AuditPage> =
    Endpoint::get("/v1/audit", Needs::Scope("audit:read"), "What was done, newest first");

/// The login page of a one-time link. No side effects: a link preview must not spend it.
pub const LOGIN_PAGE: Route =
    Route::new(Method::Get, "/auth/login/{code}", Needs::Nobody, "The page of a one-time link");

/// Spends the one-time link and starts the session.
pub const LOGIN_SPEND: Route =
    Route::new(Method::Post, "/auth/login/{code}", Needs::Nobody, "Spends a one-time link");

/// Who is logged in, as a page.
pub const WHO_PAGE: Route = Route::new(Method::Get, "/auth/", Needs::Nobody, "Who is logged in");

/// Ends the session.
pub const LOGOUT: Route =
    Route::new(Method::Post, "/auth/logout", Needs::Nobody, "Ends the session");

/// The sessions that last, newest first.
pub const LIST_SESSIONS: Endpoint<ListSessions, SessionPage> =
    Endpoint::get("/v1/sessions", Needs::Scope("sessions:read"), "The sessions that last");

/// Ends a session, whoever's it is. A repeat answers alike.
pub const END_SESSION: Endpoint<EndSession, Nothing> =
    Endpoint::delete("/v1/sessions/{id}", Needs::Scope("sessions:write"), "End a session");

/// Begins a login by a provider: a redirect to it, and a cookie.
pub const BEGIN_LOGIN: Route =
    Route::new(Method::Get, "/auth/begin/{provider}", Needs::Nobody, "Begins a login");

/// Where a provider sends the browser back to.
pub const END_LOGIN: Route =
    Route::new(Method::Get, "/auth/callback/{provider}", Needs::Nobody, "Ends a login");

/// Begins the linking of another account to whoever is logged in.
pub const LINK_ACCOUNT: Route =
    Route::new(Method::Post, "/auth/link/{provider}", Needs::Nobody, "Links another account");

/// Ends one of one's own sessions.
pub const END_OWN_SESSION: Route =
    Route::new(Method::Post, "/auth/sessions/end", Needs::Nobody, "Ends a session of one's own");

/// Makes a refresh token for a program of whoever is logged in.
pub const MAKE_PROGRAM: Route =
    Route::new(Method::Post, "/auth/programs", Needs::Nobody, "Makes a token for a program");

/// A program spends its refresh token, for an access token of fifteen minutes and the next one.
pub const REFRESH: Endpoint<RefreshRequest, Refreshed> =
    Endpoint::post("/auth/token", Needs::Nobody, "An access token, for a refresh token");

/// Whether this is the subject of a person, as authd makes them: `user:p` and 24 hexadecimal digits, which are random.
pub fn is_person(subject: &str) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let id = subject.strip_prefix("user:p");
    id.is_some_and(|id| id.len() == 24 && id.bytes().all(digit))
}

/// Every route of this daemon, without those that every daemon has.
pub const ROUTES: &[Route] = &[
    JWKS.route,
    KEYS.route,
    SERVICE_TOKEN.route,
    RESOLVE_SESSION.route,
    USER_TOKEN.route,
    SIGNING_KEYS.route,
    ROTATE_KEYS.route,
    REKEY.route,
    DATABASE_KEY.route,
    AUDIT.route,
    LOGIN_PAGE,
    LOGIN_SPEND,
    WHO_PAGE,
    LOGOUT,
    LIST_SESSIONS.route,
    END_SESSION.route,
    BEGIN_LOGIN,
    END_LOGIN,
    LINK_ACCOUNT,
    END_OWN_SESSION,
    MAKE_PROGRAM,
    REFRESH.route,
];

/// Every route of the admin socket.
pub const ADMIN_ROUTES: &[Route] = &[OPERATOR_TOKEN.route, LOGIN_LINK.route];

/// Which daemon asks, and for which peer the token is.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ServiceTokenRequest {
    /// Who asks.
    pub daemon: Daemon,
    /// The peer that the token is for; every daemon of the instance when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Daemon>,
}

/// What the operator's command line asks for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OperatorTokenRequest {}

/// A bearer token. `Debug` hides it.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Token {
    /// The signed token (RFC 7519).
    pub token: String,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// What it allows.
    pub scope: Vec<String>,
    /// The key, in hexadecimal, under which this instance's daemons fingerprint secrets. For
    /// services only; it tells values apart and opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint_key: Option<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(.., {} s, {:?})", self.expires_in, self.scope)
    }
}

/// A link that logs in, once. `Debug` hides it.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LoginLink {
    /// The path on the edge, such as `/auth/login/…`.
    pub path: String,
    /// When it ends if it is not used.
    pub expires_at: Timestamp,
}

impl fmt::Debug for LoginLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginLink(.., until {})", self.expires_at)
    }
}

/// The session cookie that a browser showed. `Debug` hides it.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ResolveSession {
    /// The cookie's value.
    pub cookie: String,
    /// The daemon that is to serve the request, where it may act for whoever sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acting: Option<Daemon>,
}

impl fmt::Debug for ResolveSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResolveSession(..)")
    }
}

/// Somebody who is logged in. `Debug` hides what would act for them.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Session {
    /// Who, as an opaque subject such as `operator:local`.
    pub subject: String,
    /// When the session ends.
    pub expires_at: Timestamp,
    /// What [`USER_TOKEN`] takes from the daemon that was named, for two minutes, while the session
    /// lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<String>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, expires_at, act: _ } = self;
        write!(f, "Session({subject}, until {expires_at})")
    }
}

/// For whom a daemon wants to act, and where. `Debug` hides it.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UserTokenRequest {
    /// What the edge handed on with the request, for this daemon.
    pub act: String,
    /// The peer that the token is for.
    pub audience: Daemon,
}

impl fmt::Debug for UserTokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserTokenRequest(.., for {})", self.audience)
    }
}

/// Which sessions to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ListSessions {
    /// Those of this person, as an opaque subject; all, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Those before the session of this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// How many at most; 100 when left out, and never more than 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Sessions, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionRow>,
    /// What to ask for next; nothing where this is the end.
    pub before: Option<i64>,
}

/// One session, without what opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SessionRow {
    /// Its id, to end it by.
    pub id: i64,
    /// Whose.
    pub subject: String,
    /// `browser` or `program`.
    pub kind: String,
    /// What let the person in; nothing for a one-time link.
    pub rule: Option<String>,
    /// The address that it began from.
    pub begun_from: String,
    /// When it began.
    pub begun_at: Timestamp,
    /// When it was last used, to the minute.
    pub used_at: Timestamp,
    /// When it ends if it is not used again.
    pub ends_at: Timestamp,
}

/// Which session to end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EndSession {
    /// Its id.
    pub id: i64,
}

/// A refresh token, to be spent. `Debug` hides it.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The token.
    pub refresh_token: String,
}

impl fmt::Debug for RefreshRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshRequest(..)")
    }
}

/// What a refresh token was spent for. `Debug` hides it.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Refreshed {
    /// The access token.
    #[serde(flatten)]
    pub token: Token,
    /// The next refresh token. It is good once.
    pub refresh_token: String,
}

impl fmt::Debug for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refreshed({:?}, ..)", self.token)
    }
}

/// How to renew the data key.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rekey {
    /// Whether `SECRETS_KEY` or the database leaked: then the signing keys are replaced as well, and
    /// every token ends now.
    #[serde(default)]
    pub leaked: bool,
}

/// The signing keys.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SigningKeys {
    /// Newest first.
    pub keys: Vec<SigningKey>,
}

/// A signing key, without the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SigningKey {
    /// Its id, as in the header of tokens.
    pub kid: String,
    /// `pending`: published, does not sign yet. `active`: signs. `retired`: only verifies.
    pub state: String,
    /// Since when.
    pub since: Timestamp,
}
