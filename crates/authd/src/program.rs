//! Tokens for people's programs: an access token of fifteen minutes, and a refresh token that is good
//! once and brings the next. One that is shown twice was copied: the session it belongs to ends.

use crate::{
    app::App,
    http::failed,
    keyring::act,
    login::{Arrival, broken, cookie},
    pages::Page,
    session::{Capability, Kind, Session},
    store::Refreshed,
    token::Grant,
};
use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use kit::{Api, Failure};
use proto::authd::{self, RefreshRequest, Refreshed as Answer};
use std::sync::Arc;

/// Programs of one person, and browsers, that may be logged in at once.
const SESSIONS_MAX: usize = 200;

/// Adds the page and the endpoint.
pub(crate) fn mount(api: &mut Api, app: &Arc<App>) {
    api.raw(authd::MAKE_PROGRAM, post(make).with_state(app.clone()));
    api.raw(authd::REFRESH.route, post(refresh).with_state(app.clone()));
}

async fn make(State(app): State<Arc<App>>, extensions: Extensions, headers: HeaderMap) -> Response {
    let from = Arrival::of(&app, &headers).await;
    if !from.is_ours(&headers) {
        return app.pages.show(StatusCode::FORBIDDEN, &Page::Elsewhere);
    }
    let made = async {
        let Some(cookie) = cookie(&headers, from.https()) else { return Ok(None) };
        let Some(own) = app.session(&cookie).await? else { return Ok(None) };
        if app.store.sessions_of(&own.subject).await?.len() >= SESSIONS_MAX {
            return Ok(None);
        }
        let (token, now) = (Capability::random(), app.clock.now());
        let address = from.address(&extensions);
        let row = act(now, &own.subject, "program.add", "", &format!("from {address}"));
        let program = Session { made: now, seen: now, kind: Kind::Program, from: address, ..own };
        app.store.begin_program(program, token.hash(), row).await?;
        Ok(Some(token))
    };
    match made.await {
        Ok(Some(token)) => app.pages.show(StatusCode::OK, &Page::Program(token.expose())),
        Ok(None) => app.pages.show(StatusCode::FORBIDDEN, &Page::Stale),
        Err(error) => broken(&app, error),
    }
}

async fn refresh(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let request: RefreshRequest = serde_json::from_slice(&body)
        .map_err(|_| Failure::bad_request("send {\"refresh_token\":\"…\"}"))?;
    let refused = || {
        Failure::unauthorized("the refresh token is not good, or was used before; make a new one")
            .code("refresh_refused")
    };
    let shown = Capability::presented(&request.refresh_token).ok_or_else(refused)?;
    let from = Arrival::of(&app, &headers).await;
    let (next, now) = (Capability::random(), app.clock.now());
    let detail = format!("from {}", from.address(&extensions));
    let row = act(now, "anonymous", "refresh", "", &detail);
    let judge = app.clone();
    let lives = move |session: &Session| judge.counts(session, now);
    match app.store.refresh(shown.hash(), next.hash(), lives, row).await.map_err(failed)? {
        Refreshed::Done(session) => {
            let subject = session.subject.parse();
            let subject =
                subject.map_err(|error: auth::PrincipalError| Failure::internal(&error))?;
            let token = app.mint(&Grant::program(subject, session.id))?;
            let answer = Answer { token, refresh_token: next.expose().to_owned() };
            let kept = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(([kept], Json(answer)).into_response())
        }
        Refreshed::Reused(session) => {
            tracing::warn!(session, "a refresh token was shown twice: its session has ended");
            Err(refused())
        }
        Refreshed::Gone => Err(refused()),
    }
}
