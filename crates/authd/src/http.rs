//! authd's JSON endpoints: keys, service tokens, sessions, audit.

use crate::{
    app::{App, Asked},
    keyring::{DATABASE, Renewed, act},
    service_key::{Minter, own_name},
    session::Capability,
    store::StoreError,
    token::Grant,
};
use axum::{
    Json,
    body::Bytes,
    extract::{ConnectInfo, State},
    http::{Extensions, HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use kit::{Api, Caller, Failure};
use proto::{
    Code, Daemon, Needs, Nothing, Route,
    authd::{
        self, EndSession, ListSessions, Rekey, ResolveSession, ServiceTokenRequest, Session,
        SessionPage, SessionRow, SigningKey, SigningKeys, Token, UserTokenRequest,
    },
    kit::DatabaseKey,
    routd::{AuditPage, AuditQuery},
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Adds the endpoints.
pub(crate) fn mount(api: &mut Api, app: &Arc<App>) {
    api.raw(authd::JWKS.route, get(keys).with_state(app.clone()));
    api.raw(authd::KEYS.route, get(keys).with_state(app.clone()));
    // Which key is good depends on the daemon that asks, which the body says: so the check is made
    // here, and not by the gate before the body is read.
    let open = Route { needs: Needs::Nobody, ..authd::SERVICE_TOKEN.route };
    api.raw(open, post(service_token).with_state(app.clone()));
    api.mount(authd::RESOLVE_SESSION, app.clone(), resolve);
    api.mount(authd::USER_TOKEN, app.clone(), user_token);
    api.mount(authd::LIST_SESSIONS, app.clone(), sessions);
    api.mount(authd::END_SESSION, app.clone(), end_session);
    api.mount(authd::SIGNING_KEYS, app.clone(), |app, _, _: Nothing| async move {
        Ok(signing_keys(&app))
    });
    api.mount(authd::ROTATE_KEYS, app.clone(), rotate);
    api.mount(authd::REKEY, app.clone(), rekey);
    api.mount(authd::DATABASE_KEY, app.clone(), database_key);
    api.mount(authd::AUDIT, app.clone(), audit);
}

async fn keys(State(app): State<Arc<App>>) -> Response {
    let fresh = HeaderValue::from_static("public, max-age=300");
    ([(header::CACHE_CONTROL, fresh)], Json(app.ring.jwks())).into_response()
}

async fn service_token(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let request: ServiceTokenRequest = serde_json::from_slice(&body).map_err(|_| {
        Failure::bad_request(format!(
            "send {{\"daemon\":\"NAME\"}}, where NAME is one of {}; \"audience\", the daemon that \
             the token is for, is one of them too",
            Daemon::ALL.map(Daemon::name).join(" ")
        ))
    })?;
    let presented = headers.get(header::AUTHORIZATION);
    let presented = presented.and_then(|header| auth::bearer(header.as_bytes()));
    let peer = peer_address(&extensions);
    admit(&app, request.daemon, presented, peer).await?;
    let grant = Grant::service(request.daemon, request.audience);
    Ok(credential(app.mint(&grant)?))
}

/// Whether the bearer of this key may have the daemon's token.
async fn admit(
    app: &App,
    daemon: Daemon,
    presented: Option<&str>,
    peer: Option<IpAddr>,
) -> Result<(), Failure> {
    let known = presented.is_some_and(|key| app.service_keys.knows(daemon, key.as_bytes()));
    if !known && let Err(wait) = app.limits.refuse(peer) {
        app.refused.get_or_create(&Asked { subject: daemon.subject() }).inc();
        return Err(too_many(wait).about(daemon.subject()));
    }
    if let Some(key) = presented
        && app.service_keys.check(daemon, key.as_bytes()).await
    {
        return Ok(());
    }
    app.refused.get_or_create(&Asked { subject: daemon.subject() }).inc();
    let failure = refusal(daemon, app.service_keys.minter(daemon), presented.is_some());
    Err(failure.about(daemon.subject()))
}

/// What the daemon's operator is to do.
fn refusal(daemon: Daemon, minter: Minter, presented: bool) -> Failure {
    let own = own_name(daemon);
    let wanted = match minter {
        Minter::Own => format!("the value that authd has as {own}"),
        _ => "the value that authd has as AUTHD_SERVICE_KEY".to_owned(),
    };
    let detail = match (minter, presented) {
        (Minter::Nobody, _) => format!(
            "no key mints the token of {daemon}: authd has neither {own} nor AUTHD_SERVICE_KEY; put \
             one into a source of authd's secrets"
        ),
        (_, false) => format!("{daemon} showed no key: send `Authorization: Bearer` with {wanted}"),
        (_, true) => format!(
            "the key that {daemon} showed is not accepted for it: give {daemon} {wanted}, as its \
             AUTHD_SERVICE_KEY; `arizuko secrets status` compares the two"
        ),
    };
    Failure::unauthorized(detail).code("service_key_refused")
}

fn too_many(wait: Duration) -> Failure {
    let detail =
        "this address was refused too often; look at the last refusal, which says what to do";
    Failure::new(Code::RateLimited, detail).retry_after(wait)
}

/// A token, as an answer that nobody keeps.
pub(crate) fn credential(token: Token) -> Response {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(token)).into_response()
}

async fn resolve(app: Arc<App>, _: Caller, request: ResolveSession) -> Result<Session, Failure> {
    let found = match Capability::presented(&request.cookie) {
        Some(cookie) => app.session(&cookie).await.map_err(failed)?,
        None => None,
    };
    let session = found.ok_or_else(|| {
        Failure::not_found("the cookie stands for no session that lasts; log in again")
            .code("no_session")
    })?;
    let act = request.acting.map(|daemon| app.act(&session, daemon)).transpose()?;
    Ok(Session { expires_at: session.ends(), subject: session.subject, act })
}

async fn user_token(
    app: Arc<App>,
    caller: Caller,
    request: UserTokenRequest,
) -> Result<Token, Failure> {
    // An operator has rights of their own, and the command line asks for them on the admin socket.
    let Some(daemon) = caller.service() else {
        return Err(Failure::forbidden("only a daemon behind the edge acts for somebody"));
    };
    let session = match app.acted(&request.act, daemon) {
        Some(act) => app.session_of(&act).await.map_err(failed)?,
        None => None,
    };
    let session = session.ok_or_else(|| {
        let detail = "what the edge handed on stands for no session that lasts; log in again";
        Failure::unauthorized(detail).code("session_over").about(request.audience.subject())
    })?;
    let subject = session.subject.parse().map_err(|error: auth::PrincipalError| {
        // A row that names nobody is a defect of ours, and never a permission.
        Failure::internal(&error)
    })?;
    app.mint(&Grant::person(subject, request.audience, session.id))
}

/// Sessions of a page: when nothing is said, and at most.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 500;

async fn sessions(app: Arc<App>, _: Caller, query: ListSessions) -> Result<SessionPage, Failure> {
    let now = app.clock.now();
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let (mut rows, before) = match query.subject {
        Some(subject) => (app.store.sessions_of(&subject).await.map_err(failed)?, None),
        None => {
            let before = query.before.unwrap_or(i64::MAX);
            let rows = app.store.sessions_before(before, limit).await.map_err(failed)?;
            let whole = usize::try_from(limit).is_ok_and(|limit| rows.len() == limit);
            let next = rows.last().filter(|_| whole).map(|row| row.id);
            (rows, next)
        }
    };
    rows.retain(|session| app.counts(session, now));
    let sessions = rows.into_iter().map(|session| SessionRow {
        id: session.id,
        ends_at: session.ends(),
        subject: session.subject,
        kind: session.kind.name().to_owned(),
        rule: session.rule,
        begun_from: session.from,
        begun_at: session.made,
        used_at: session.seen,
    });
    Ok(SessionPage { sessions: sessions.collect(), before })
}

async fn end_session(
    app: Arc<App>,
    caller: Caller,
    wanted: EndSession,
) -> Result<Nothing, Failure> {
    let by = caller.subject().as_str();
    let row = act(app.clock.now(), by, "session.end", "", "by its id");
    app.store.end_sessions(vec![wanted.id], row).await.map_err(failed)?;
    Ok(Nothing {})
}

fn signing_keys(app: &App) -> SigningKeys {
    let key = |key: crate::signing_key::Key| SigningKey {
        kid: key.kid,
        state: key.state.name().into(),
        since: key.since,
    };
    SigningKeys { keys: app.ring.keys().into_iter().map(key).collect() }
}

async fn rotate(app: Arc<App>, caller: Caller, _: Nothing) -> Result<SigningKeys, Failure> {
    // Where a rotation is under way there is nothing to begin, and the answer shows it.
    app.ring.rotate(caller.subject().as_str()).await.map_err(|error| Failure::internal(&error))?;
    Ok(signing_keys(&app))
}

async fn rekey(app: Arc<App>, caller: Caller, request: Rekey) -> Result<SigningKeys, Failure> {
    let what = if request.leaked { Renewed::All } else { Renewed::DataKey };
    let renewed = app.ring.renew(what, caller.subject().as_str()).await;
    renewed.map_err(|error| Failure::internal(&error))?;
    Ok(signing_keys(&app))
}

async fn database_key(app: Arc<App>, _: Caller, _: Nothing) -> Result<DatabaseKey, Failure> {
    let wraps = app.store.wraps(app.clock.now()).await.map_err(failed)?;
    let opened_by = wraps.into_iter().map(|stored| stored.wrap.key_id).collect();
    Ok(DatabaseKey { database: DATABASE.into(), opened_by })
}

async fn audit(app: Arc<App>, _: Caller, query: AuditQuery) -> Result<AuditPage, Failure> {
    app.store.audit(query.before, query.limit).await.map_err(failed)
}

/// A database that is only busy is worth trying again.
pub(crate) fn failed(error: StoreError) -> Failure {
    match &error {
        StoreError::Database(cause) if cause.is_ours() => {
            Failure::unavailable("authd's database is busy; try again")
                .retry_after(Duration::from_secs(1))
        }
        _ => Failure::internal(&error),
    }
}

/// The address at the other end of the connection.
pub(crate) fn peer_address(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}
