//! The pages of a login: the one-time link, who is logged in, their sessions, and logging out.
//!
//! Opening a link does nothing, so that a preview or a prefetch cannot spend it; its button does.
//! The link itself is the right to log in, so the form needs no other token; that it was sent from
//! our own page is checked all the same.

use crate::{
    app::App,
    flow,
    http::peer_address,
    keyring::act,
    pages::{Page, Who},
    session::{self, Capability, LinkState, Sender, Session},
    store::StoreError,
};
use axum::{
    body::Bytes,
    extract::{Form, Path, Query, State, rejection::FormRejection},
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use kit::{Api, EdgeIdentity, Failure};
use proto::authd;
use serde::Deserialize;
use std::sync::Arc;

/// Where a person goes after logging in or out.
const HOME: &str = "/auth/";

/// Adds the pages.
pub(crate) fn mount(api: &mut Api, app: &Arc<App>) {
    api.raw(authd::LOGIN_PAGE, get(show_link).with_state(app.clone()));
    api.raw(authd::LOGIN_SPEND, post(spend_link).with_state(app.clone()));
    api.raw(authd::WHO_PAGE, get(who).with_state(app.clone()));
    api.raw(authd::LOGOUT, post(log_out).with_state(app.clone()));
    api.raw(authd::END_OWN_SESSION, post(end_one).with_state(app.clone()));
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
    let address = from.address(&extensions);
    match app.store.spend_link(code.hash(), cookie.hash(), address, row).await {
        Ok(Some(_session)) => with_cookies(HOME, &[&session::set_cookie(&cookie, from.https())]),
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

async fn who(
    State(app): State<Arc<App>>,
    Query(wish): Query<Wish>,
    headers: HeaderMap,
) -> Response {
    let from = Arrival::of(&app, &headers).await;
    match found(&app, &headers, from.https()).await {
        Ok(Some(who)) => app.pages.show(StatusCode::OK, &Page::LoggedIn(&who)),
        Ok(None) => {
            let next = flow::next(wish.next.as_deref());
            let page = Page::LoggedOut { providers: &app.logins.providers(), next: &next };
            app.pages.show(StatusCode::OK, &page)
        }
        Err(error) => broken(&app, error),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wish {
    next: Option<String>,
}

/// Who is logged in, by what, and where else.
async fn found(app: &App, headers: &HeaderMap, https: bool) -> Result<Option<Who>, StoreError> {
    let Some(cookie) = cookie(headers, https) else { return Ok(None) };
    let Some(session) = app.session(&cookie).await? else { return Ok(None) };
    let now = app.clock.now();
    let mut sessions = app.store.sessions_of(&session.subject).await?;
    sessions.retain(|other| app.counts(other, now));
    let (identities, providers) = match session.person() {
        Some(person) => (app.store.identities_of(person.to_owned()).await?, app.logins.providers()),
        None => Default::default(),
    };
    Ok(Some(Who { session, sessions, identities, providers }))
}

/// Which of one's own sessions is to end.
#[derive(Debug, Deserialize)]
struct Chosen {
    id: i64,
}

async fn end_one(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
    form: Result<Form<Chosen>, FormRejection>,
) -> Response {
    let from = Arrival::of(&app, &headers).await;
    if !from.is_ours(&headers) {
        return app.pages.show(StatusCode::FORBIDDEN, &Page::Elsewhere);
    }
    let Ok(Form(chosen)) = form else { return with_cookies(HOME, &[]) };
    let ended = async {
        let Some(who) = found(&app, &headers, from.https()).await? else { return Ok(()) };
        // Nobody else's, whatever the form says.
        let own = who.sessions.iter().filter(|own| own.id == chosen.id);
        let ids = own.map(|own| own.id).collect();
        let detail = format!("ended from {}", from.address(&extensions));
        let row = act(app.clock.now(), &who.session.subject, "session.end", "", &detail);
        app.store.end_sessions(ids, row).await.map(drop)
    };
    match ended.await {
        Ok(()) => with_cookies(HOME, &[]),
        Err(error) => broken(&app, error),
    }
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
        Ok(()) => with_cookies(HOME, &[&session::clear_cookie(from.https())]),
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
        let all = app.store.sessions_of(&session.subject).await?;
        all.into_iter().map(|session: Session| session.id).collect()
    } else {
        vec![session.id]
    };
    let detail = format!("logged out from {}", from.address(extensions));
    let row = act(app.clock.now(), &session.subject, "session.end", "", &detail);
    app.store.end_sessions(ids, row).await.map(drop)
}

/// How a request came to us. What the edge says counts only where it proved itself.
pub(crate) struct Arrival(Option<EdgeIdentity>);

impl Arrival {
    pub(crate) async fn of(app: &App, headers: &HeaderMap) -> Self {
        Self(app.gate.verify_edge(headers).await)
    }

    pub(crate) fn https(&self) -> bool {
        self.0.as_ref().is_some_and(|edge| edge.https)
    }

    pub(crate) fn address(&self, extensions: &Extensions) -> String {
        let address = match &self.0 {
            Some(edge) => edge.client,
            None => peer_address(extensions),
        };
        address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string())
    }

    pub(crate) fn is_ours(&self, headers: &HeaderMap) -> bool {
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

/// The session's cookie.
pub(crate) fn cookie(headers: &HeaderMap, https: bool) -> Option<Capability> {
    session::cookie(headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes), https)
}

/// To another page, with these cookies.
pub(crate) fn with_cookies(to: &str, cookies: &[&str]) -> Response {
    let kept = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = (StatusCode::SEE_OTHER, [kept]).into_response();
    let home = HeaderValue::from_static(HOME);
    // Checked before, and else nowhere but home.
    let to = HeaderValue::from_str(to).unwrap_or(home);
    response.headers_mut().insert(header::LOCATION, to);
    for cookie in cookies {
        // Letters, digits and punctuation of our own making: it is always a header's value.
        if let Ok(mut cookie) = HeaderValue::from_str(cookie) {
            cookie.set_sensitive(true);
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}

/// A page that says that something failed here.
pub(crate) fn broken(app: &App, error: StoreError) -> Response {
    let failure = Failure::internal(&error);
    let reference = failure.problem().reference.clone().unwrap_or_default();
    app.pages.show(StatusCode::INTERNAL_SERVER_ERROR, &Page::Broken(&reference))
}
