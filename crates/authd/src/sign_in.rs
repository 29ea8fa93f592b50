//! Logging in by a provider, and linking another account: the requests and answers.
//!
//! A login begins with a link, which only sets a cookie; it ends where the provider sends the browser
//! back to. Linking begins with a form of our own page, since it changes whom an account belongs to.

use crate::{
    app::App,
    flow::{self, Answer, Begun, Flow},
    keyring::act,
    login::{Arrival, broken, cookie, with_cookies},
    outside::Trouble,
    pages::Page,
    session::{self, Capability, Session},
    store::{Arrived, Linked, Linking, StoreError},
    vouched::{Admitted, Provider, Vouched},
};
use axum::{
    extract::{Path, Query, State},
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use kit::{Api, Failure};
use proto::authd;
use serde::Deserialize;
use std::sync::Arc;

/// What a login is sealed as.
const FLOW: &str = "login";

/// Adds the pages.
pub(crate) fn mount(api: &mut Api, app: &Arc<App>) {
    api.raw(authd::BEGIN_LOGIN, get(begin).with_state(app.clone()));
    api.raw(authd::END_LOGIN, get(end).with_state(app.clone()));
    api.raw(authd::LINK_ACCOUNT, post(link).with_state(app.clone()));
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wish {
    next: Option<String>,
}

async fn begin(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(wish): Query<Wish>,
    headers: HeaderMap,
) -> Response {
    let from = Arrival::of(&app, &headers).await;
    let Some(provider) = offered(&app, &name) else { return nowhere(&app) };
    let next = flow::next(wish.next.as_deref());
    match started(&app, provider, next, None, from.https()).await {
        Ok((address, cookie)) => with_cookies(&address, &[&cookie]),
        Err(failing) => failing.shown(&app),
    }
}

async fn link(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let from = Arrival::of(&app, &headers).await;
    if !from.is_ours(&headers) {
        return app.pages.show(StatusCode::FORBIDDEN, &Page::Elsewhere);
    }
    let Some(provider) = offered(&app, &name) else { return nowhere(&app) };
    let session = match current(&app, &headers, from.https()).await {
        Ok(Some(session)) if session.person().is_some() => session,
        Ok(_) => return app.pages.show(StatusCode::FORBIDDEN, &Page::NothingToLink),
        Err(error) => return broken(&app, error),
    };
    let next = flow::next(None);
    match started(&app, provider, next, Some(session.id), from.https()).await {
        // A page with a link, and no redirect: a form may lead to no other host than ours.
        Ok((address, cookie)) => {
            let mut page =
                app.pages.show(StatusCode::OK, &Page::ToLink { provider, address: &address });
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                page.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            page
        }
        Err(failing) => failing.shown(&app),
    }
}

/// A login that begins: the address at the provider, and the cookie that keeps it.
async fn started(
    app: &App,
    provider: Provider,
    next: String,
    link: Option<i64>,
    https: bool,
) -> Result<(String, String), Failing> {
    let back = app.logins.redirect_uri(provider, https);
    let Begun { flow, state } = Flow::begin(provider, back, next, link, app.clock.now());
    let address = app.logins.address(&flow, &state).await.map_err(Failing::Trouble)?;
    let sealed = sealed(app, &flow).map_err(Failing::Broken)?;
    Ok((address.into(), flow::set_cookie(&sealed, https)))
}

async fn end(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(answer): Query<Answer>,
    extensions: Extensions,
    headers: HeaderMap,
) -> Response {
    let from = Arrival::of(&app, &headers).await;
    let https = from.https();
    let address = from.address(&extensions);
    let ended = ended(&app, &name, &answer, &headers, https, &address).await;
    let forget = flow::clear_cookie(https);
    match ended {
        Ok(Ended::LoggedIn { cookie, next }) => {
            let kept = session::set_cookie(&cookie, https);
            with_cookies(&next, &[&kept, &forget])
        }
        Ok(Ended::Linked) => with_cookies("/auth/", &[&forget]),
        Err(failing) => {
            let mut page = failing.shown(&app);
            // What was begun is over, however it ended.
            if let Ok(forget) = HeaderValue::from_str(&forget) {
                page.headers_mut().append(header::SET_COOKIE, forget);
            }
            page
        }
    }
}

/// How a login ended well.
enum Ended {
    LoggedIn { cookie: Capability, next: String },
    Linked,
}

async fn ended(
    app: &App,
    name: &str,
    answer: &Answer,
    headers: &HeaderMap,
    https: bool,
    address: &str,
) -> Result<Ended, Failing> {
    let cookies = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let flow = flow::cookie(cookies, https).and_then(|sealed| opened(app, sealed));
    let flow = flow.filter(|flow| {
        flow.provider.name() == name && flow.is_answered_by(answer, app.clock.now())
    });
    let flow = flow.ok_or(Failing::Stale)?;
    if let Some(error) = &answer.error {
        // Of the provider's choosing, and shown to nobody.
        let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        let error: String = error.chars().filter(plain).take(64).collect();
        return Err(Failing::Trouble(Trouble::Login(format!("the provider says {error}"))));
    }
    let vouched = app.logins.vouched(&flow, answer).await.map_err(Failing::Trouble)?;
    let Some(admitted) = app.logins.policy_of(&vouched).admits(&vouched) else {
        let detail = format!("from {address}: no rule lets this account in");
        let row = act(app.clock.now(), "anonymous", "login.refuse", &vouched.identity, &detail);
        app.store.note(row).await.map_err(Failing::Store)?;
        return Err(Failing::NotAllowed);
    };
    match flow.link {
        Some(session) => {
            let begun = current(app, headers, https).await.map_err(Failing::Store)?;
            let begun = begun.filter(|begun| begun.id == session).ok_or(Failing::Stale)?;
            linked(app, &flow, vouched, &begun, address).await
        }
        None => arrived(app, flow, vouched, admitted, address).await,
    }
}

async fn arrived(
    app: &App,
    flow: Flow,
    vouched: Vouched,
    admitted: Admitted,
    address: &str,
) -> Result<Ended, Failing> {
    let cookie = Capability::random();
    let arrived = Arrived {
        login: flow.state,
        login_ends: flow.ends,
        cookie: cookie.hash(),
        identity: vouched.identity,
        shown: vouched.shown,
        rule: admitted.rule,
        is_operator: admitted.is_operator,
        new_person: format!("p{}", hex::encode(rand::random::<[u8; 12]>())),
        from: address.to_owned(),
    };
    let row = act(app.clock.now(), "", "login", "", &format!("from {address}"));
    match app.store.arrive(arrived, row).await.map_err(Failing::Store)? {
        Some(_session) => Ok(Ended::LoggedIn { cookie, next: flow.next }),
        None => Err(Failing::Stale),
    }
}

async fn linked(
    app: &App,
    flow: &Flow,
    vouched: Vouched,
    session: &Session,
    address: &str,
) -> Result<Ended, Failing> {
    let Some(person) = session.person() else { return Err(Failing::Stale) };
    let linking = Linking {
        login: flow.state,
        login_ends: flow.ends,
        identity: vouched.identity,
        shown: vouched.shown,
        person: person.to_owned(),
    };
    let detail = format!("from {address}");
    let row = act(app.clock.now(), &session.subject, "identity.link", "", &detail);
    match app.store.link_identity(linking, row).await.map_err(Failing::Store)? {
        Linked::Done => Ok(Ended::Linked),
        Linked::Taken => Err(Failing::Taken),
        Linked::Spent => Err(Failing::Stale),
    }
}

/// Why no page says that somebody is logged in.
enum Failing {
    /// The login has ended, was begun in another browser, or was answered before.
    Stale,
    Trouble(Trouble),
    NotAllowed,
    /// The account is another person's.
    Taken,
    Store(StoreError),
    Broken(Failure),
}

impl Failing {
    fn shown(self, app: &App) -> Response {
        let (status, page) = match self {
            Self::Stale => (StatusCode::BAD_REQUEST, Page::Stale),
            Self::NotAllowed => (StatusCode::FORBIDDEN, Page::NotAllowed),
            Self::Taken => (StatusCode::CONFLICT, Page::Taken),
            Self::Store(error) => return broken(app, error),
            Self::Broken(failure) => {
                let reference = failure.problem().reference.clone().unwrap_or_default();
                let page = Page::Broken(&reference);
                return app.pages.show(StatusCode::INTERNAL_SERVER_ERROR, &page);
            }
            Self::Trouble(trouble) => {
                let (status, page) = match &trouble {
                    Trouble::Login(_) => (StatusCode::BAD_REQUEST, Page::NotBelieved),
                    Trouble::Away(_) => (StatusCode::BAD_GATEWAY, Page::ProviderAway),
                    Trouble::Client(_) => (StatusCode::BAD_GATEWAY, Page::ProviderAway),
                };
                match &trouble {
                    Trouble::Client(_) => tracing::error!(%trouble, "nobody can log in"),
                    _ => tracing::warn!(%trouble, "a login failed"),
                }
                (status, page)
            }
        };
        app.pages.show(status, &page)
    }
}

fn offered(app: &App, name: &str) -> Option<Provider> {
    Provider::named(name).filter(|provider| app.logins.providers().contains(provider))
}

fn nowhere(app: &App) -> Response {
    app.pages.show(StatusCode::NOT_FOUND, &Page::NoSuchLogin)
}

/// Whoever is logged in.
async fn current(
    app: &App,
    headers: &HeaderMap,
    https: bool,
) -> Result<Option<Session>, StoreError> {
    match cookie(headers, https) {
        Some(cookie) => app.session(&cookie).await,
        None => Ok(None),
    }
}

fn sealed(app: &App, flow: &Flow) -> Result<String, Failure> {
    let plain = serde_json::to_vec(flow).map_err(|error| Failure::internal(&error))?;
    let sealed = app.ring.seal_value(FLOW, &plain).map_err(|error| Failure::internal(&error))?;
    Ok(URL_SAFE_NO_PAD.encode(sealed))
}

fn opened(app: &App, sealed: &str) -> Option<Flow> {
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let plain = app.ring.open_value(FLOW, &sealed).ok()?;
    serde_json::from_slice(plain.as_ref()).ok()
}
