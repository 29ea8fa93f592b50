//! The pages of a login: the one-time link, who is logged in, and logging out.
//!
//! Opening a link does nothing, so that a preview or a prefetch cannot spend it; its button does.
//! The link itself is the right to log in, so the form needs no other token; that it was sent from
//! our own page is checked all the same.

use crate::{
    app::App,
    http::peer_address,
    keyring::act,
    pages::{Page, Who},
    session::{self, Capability, LinkState, Sender},
    store::StoreError,
};
use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use kit::{Api, EdgeIdentity, Failure};
use proto::authd;
use std::sync::Arc;

/// Where a person goes after logging in or out.
const HOME: &str = "/auth/";

/// Adds the pages.
pub(crate) fn mount(api: &mut Api, app: &Arc<App>) {
    api.raw(authd::LOGIN_PAGE, get(show_link).with_state(app.clone()));
    api.raw(authd::LOGIN_SPEND, post(spend_link).with_state(app.clone()));
    api.raw(authd::WHO_PAGE, get(who).with_state(app.clone()));
    api.raw(authd::LOGOUT, post(log_out).with_state(app.clone()));
}

async fn show_link(State(app): State<Arc<App>>, Path(code): Path<String>) -> Response {
    let state = match Capability::presented(&code) {
        Some(code) => app.store.link(code.hash(), app.clock.now()).await,
        None => Ok(LinkState::Gone),
    };
    match state {
        Ok(state) => link_page(&app, state),
        Err(error) => broken(&app, error),
    }
}

async fn spend_link(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
    extensions: Extensions,
    headers: HeaderMap,
) -> Response {
    let from = Arrival::of(&app, &headers).await;
    if !from.is_ours(&headers) {
        return app.pages.show(StatusCode::FORBIDDEN, &Page::Elsewhere);
    }
    let Some(code) = Capability::presented(&code) else {
        return link_page(&app, LinkState::Gone);
    };
    let cookie = Capability::random();
    let detail = format!("from {}", from.address(&extensions));
    let row = act(app.clock.now(), "", "link.spend", "", &detail);
    match app.store.spend_link(code.hash(), cookie.hash(), row).await {
        Ok(Some(_session)) => home_with(&session::set_cookie(&cookie, from.https())),
        Ok(None) => match app.store.link(code.hash(), app.clock.now()).await {
            // It was open a moment ago, and somebody was faster.
            Ok(LinkState::Open | LinkState::Spent) => link_page(&app, LinkState::Spent),
            Ok(LinkState::Gone) => link_page(&app, LinkState::Gone),
            Err(error) => broken(&app, error),
        },
        Err(error) => broken(&app, error),
    }
}

fn link_page(app: &App, state: LinkState) -> Response {
    match state {
        LinkState::Open => app.pages.show(StatusCode::OK, &Page::Link),
        LinkState::Spent => app.pages.show(StatusCode::GONE, &Page::Spent),
        LinkState::Gone => app.pages.show(StatusCode::NOT_FOUND, &Page::Gone),
    }
}

async fn who(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let from = Arrival::of(&app, &headers).await;
    match found(&app, &headers, from.https()).await {
        Ok(Some(who)) => app.pages.show(StatusCode::OK, &Page::LoggedIn(&who)),
        Ok(None) => app.pages.show(StatusCode::OK, &Page::LoggedOut),
        Err(error) => broken(&app, error),
    }
}

/// Who is logged in, and in how many other places.
async fn found(app: &App, headers: &HeaderMap, https: bool) -> Result<Option<Who>, StoreError> {
    let Some(cookie) = cookie(headers, https) else { return Ok(None) };
    let Some(session) = app.session(&cookie).await? else { return Ok(None) };
    let now = app.clock.now();
    let all = app.store.sessions_of(session.subject.clone()).await?;
    let live = |other: &&session::Session| other.id != session.id && other.is_live(now);
    let others = all.iter().filter(live).count();
    Ok(Some(Who { session, others }))
}

async fn log_out(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
    form: Bytes,
) -> Response {
    let from = Arrival::of(&app, &headers).await;
    if !from.is_ours(&headers) {
        return app.pages.show(StatusCode::FORBIDDEN, &Page::Elsewhere);
    }
    let everywhere = form.as_ref() == b"everywhere=yes";
    match end(&app, &headers, &from, &extensions, everywhere).await {
        Ok(()) => home_with(&session::clear_cookie(from.https())),
        Err(error) => broken(&app, error),
    }
}

async fn end(
    app: &App,
    headers: &HeaderMap,
    from: &Arrival,
    extensions: &Extensions,
    everywhere: bool,
) -> Result<(), StoreError> {
    let Some(cookie) = cookie(headers, from.https()) else { return Ok(()) };
    let Some(session) = app.store.session(cookie.hash()).await? else { return Ok(()) };
    let ids = if everywhere {
        let all = app.store.sessions_of(session.subject.clone()).await?;
        all.into_iter().map(|session| session.id).collect()
    } else {
        vec![session.id]
    };
    let detail = format!("logged out from {}", from.address(extensions));
    let row = act(app.clock.now(), &session.subject, "session.end", "", &detail);
    app.store.end_sessions(ids, row).await.map(drop)
}

/// How a request came to us. What the edge says counts only where it proved itself.
struct Arrival(Option<EdgeIdentity>);

impl Arrival {
    async fn of(app: &App, headers: &HeaderMap) -> Self {
        Self(app.gate.verify_edge(headers).await)
    }

    fn https(&self) -> bool {
        self.0.as_ref().is_some_and(|edge| edge.https)
    }

    fn address(&self, extensions: &Extensions) -> String {
        let address = match &self.0 {
            Some(edge) => edge.client,
            None => peer_address(extensions),
        };
        address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string())
    }

    fn is_ours(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let forwarded = self.0.as_ref().and_then(|_| text("x-forwarded-host"));
        let sender = Sender {
            fetch_site: text("sec-fetch-site"),
            origin: text("origin"),
            host: forwarded.or_else(|| text("host")),
        };
        sender.is_ours()
    }
}

fn cookie(headers: &HeaderMap, https: bool) -> Option<Capability> {
    session::cookie(headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes), https)
}

/// To the page that says who is logged in, with this cookie.
fn home_with(cookie: &str) -> Response {
    let location = (header::LOCATION, HeaderValue::from_static(HOME));
    let kept = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = (StatusCode::SEE_OTHER, [location, kept]).into_response();
    // Letters, digits and punctuation of our own making: it is always a header's value.
    if let Ok(mut cookie) = HeaderValue::from_str(cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn broken(app: &App, error: StoreError) -> Response {
    let failure = Failure::internal(&error);
    let reference = failure.problem().reference.clone().unwrap_or_default();
    app.pages.show(StatusCode::INTERNAL_SERVER_ERROR, &Page::Broken(&reference))
}
