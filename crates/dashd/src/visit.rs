//! One request to a page: who sent it, and what is done in their name.

use crate::{
    form::Sender,
    http::App,
    look::{Frame, Here},
    parts::Button,
    trouble::{Told, Trouble},
};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Response},
};
use kit::{EdgeIdentity, Peer, PeerError};
use maud::{Markup, html};
use proto::{Daemon, Endpoint};
use serde::{Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};

/// Bytes of a form.
const FORM_MAX: usize = 64 * 1024;

/// Somebody who is logged in and asks for a page.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) app: Arc<App>,
    edge: EdgeIdentity,
    subject: String,
    /// Which of the fixed sentences to show above the page.
    done: Option<&'static str>,
    /// Names what may run on the page.
    nonce: String,
    browser: Browser,
}

/// A page to be shown.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) here: Here,
    pub(crate) title: String,
    pub(crate) body: Markup,
}

/// What comes of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Page(Page),
    /// Done: look there.
    See(String),
    /// Made by hand.
    Raw(Response),
}

/// What a handler answers.
pub(crate) type Outcome = Result<Answer, Trouble>;

/// A page, as a handler answers it.
pub(crate) fn page(here: Here, title: impl Into<String>, body: Markup) -> Outcome {
    Ok(Answer::Page(Page { here, title: title.into(), body }))
}

/// What was done, by the word that the address has for it. Only these can be said: an address can be made by anybody.
const DONE: &[(&str, &str)] = &[
    ("refreshed", "Every daemon has read its sources again."),
    ("forgotten", "The earlier values are accepted no more."),
    ("stopped", "The run is told to end."),
    ("added", "It is added."),
    ("removed", "It is removed."),
    ("saved", "It is saved."),
    ("paused", "The schedule is paused."),
    ("resumed", "The schedule fires again."),
    ("fired", "The schedule fires now, besides its own times."),
    ("approved", "It is approved, and is done once."),
    ("denied", "It is denied, and the agent is told."),
    ("revoked", "The link opens nothing any more."),
    ("let-in", "They are let in."),
    ("refused", "They are refused, and told so."),
    ("uninvited", "Nobody comes in by that invite any more."),
    ("loggedout", "The login ends within half a minute."),
];

impl Visit {
    /// Whether this is an operator. What others may do, the owners decide from their rights.
    pub(crate) fn is_operator(&self) -> bool {
        self.subject.starts_with("operator:")
    }

    /// `daemon`, called with this person's own rights.
    pub(crate) async fn peer(&self, daemon: Daemon) -> Result<Peer, Trouble> {
        let peer = self.app.acting.peer(&self.edge, daemon).await?;
        Ok(peer.ok_or(PeerError::NoCredential { peer: daemon.name() })?)
    }

    /// Calls an owner with this person's own rights.
    pub(crate) async fn call<Req: Serialize, Res: DeserializeOwned>(
        &self,
        daemon: Daemon,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
    ) -> Result<Res, Trouble> {
        Ok(self.peer(daemon).await?.call(endpoint, request).await?)
    }

    /// The same of a daemon that an instance may do without: where nobody is there, that is known at once. Whoever
    /// must be there is given a moment to start.
    pub(crate) async fn look<Req: Serialize, Res: DeserializeOwned>(
        &self,
        daemon: Daemon,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
    ) -> Result<Res, Trouble> {
        Ok(at_hand(daemon, self.peer(daemon).await?).call(endpoint, request).await?)
    }

    /// The same, of an endpoint that takes its time.
    pub(crate) async fn call_waiting<Req: Serialize, Res: DeserializeOwned>(
        &self,
        daemon: Daemon,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
        wait: Duration,
    ) -> Result<Res, Trouble> {
        Ok(self.peer(daemon).await?.call_waiting(endpoint, request, wait).await?)
    }

    /// The code of this person's forms, in this browser.
    pub(crate) fn code(&self) -> String {
        self.app.forms.code(&self.whose())
    }

    fn whose(&self) -> String {
        format!("{}\n{}", self.subject, self.browser.id)
    }

    /// Marks the parts of a page that a script may bring to life.
    pub(crate) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// A button that does what can be taken back.
    pub(crate) fn button(&self, action: &str, text: &str, fields: &[(&str, &str)]) -> Markup {
        let code = self.code();
        html! { (Button { action, text, fields, code: &code, danger: false }) }
    }

    /// The page that asks before something is done.
    pub(crate) fn ask(
        &self,
        here: Here,
        title: impl Into<String>,
        what: &Markup,
        (action, text): (&str, &str),
        fields: &[(&str, &str)],
        back: &str,
    ) -> Outcome {
        let code = self.code();
        let button = Button { action, text, fields, code: &code, danger: true };
        page(here, title, crate::parts::confirm(what, &button, back))
    }

    /// The answer, as it is sent.
    pub(crate) fn answer(&self, outcome: Outcome) -> Response {
        match outcome {
            Ok(Answer::Page(page)) => self.whole(StatusCode::OK, page),
            Ok(Answer::See(place)) => see(&place),
            Ok(Answer::Raw(response)) => response,
            Err(Trouble::Owner(error)) if is_over(&error) => stranger(&self.app),
            Err(trouble) => {
                let Told { status, title, text } = trouble.told();
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                let body = html! { p { (text) } p { a href="/dash/" { "Back to the overview" } } };
                self.whole(status, Page { here: Here::Nowhere, title: title.into(), body })
            }
        }
    }

    fn whole(&self, status: StatusCode, page: Page) -> Response {
        let frame = Frame {
            instance: &self.app.instance,
            subject: Some(&self.subject),
            is_operator: self.is_operator(),
            here: page.here,
            title: &page.title,
            nonce: &self.nonce,
            done: self.done,
            assets: &self.app.assets.paths,
        };
        let html = Html(frame.around(&page.body));
        let mut response = with_policy((status, html).into_response(), &self.nonce);
        if let Some(cookie) = self.browser.to_set(self.edge.https) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }
}

/// `peer`, which is not waited for where `daemon` is one that an instance may do without.
pub(crate) fn at_hand(daemon: Daemon, peer: Peer) -> Peer {
    if daemon.is_optional() { peer.at_once() } else { peer }
}

/// Whether the session that a request came with has ended meanwhile.
fn is_over(error: &PeerError) -> bool {
    matches!(error, PeerError::NoCredential { .. })
        || error.problem().is_some_and(|problem| problem.code == "session_over")
}

/// A name for what may run on one page, which nobody can guess.
fn nonce() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// Nothing but our own style sheet and the scripts with this page's nonce; markup is made by htmx alone.
fn with_policy(mut response: Response, nonce: &str) -> Response {
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types htmx"
    );
    let policy = HeaderValue::from_str(&policy);
    // Hexadecimal is always a header's value; without a policy, nothing would be allowed.
    let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

fn see(place: &str) -> Response {
    match HeaderValue::from_str(place) {
        Ok(place) => (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The page for whoever is not logged in.
fn stranger(app: &App) -> Response {
    let body = html! {
        p { "The dashboard is for people who are logged in." }
        p { a.button href="/auth/" { "Log in" } }
    };
    bare(app, StatusCode::UNAUTHORIZED, "You are not logged in", &body)
}

/// The page for a form that was not sent from one of ours, or before this dashboard was started.
fn elsewhere(app: &App) -> Response {
    let body = html! {
        p { "Nothing was done: the form does not come from a page that this dashboard showed you since it started." }
        p { "Open the page again, and send the form from there." }
        p { a.button href="/dash/" { "To the overview" } }
    };
    bare(app, StatusCode::FORBIDDEN, "Not from this page", &body)
}

fn bare(app: &App, status: StatusCode, title: &str, body: &Markup) -> Response {
    let nonce = nonce();
    let frame = Frame {
        instance: &app.instance,
        subject: None,
        is_operator: false,
        here: Here::Nowhere,
        title,
        nonce: &nonce,
        done: None,
        assets: &app.assets.paths,
    };
    with_policy((status, Html(frame.around(body))).into_response(), &nonce)
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let edge = app.gate.verify_edge(&parts.headers).await;
        let known = edge.and_then(|edge| edge.subject.clone().map(|subject| (edge, subject)));
        let Some((edge, subject)) = known else { return Err(stranger(app)) };
        let query = parts.uri.query().unwrap_or_default();
        let word = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "done");
        let done = word.and_then(|(_, word)| {
            DONE.iter().find(|(known, _)| *known == word).map(|(_, text)| *text)
        });
        let browser = Browser::of(&parts.headers);
        Ok(Self { app: app.clone(), edge, subject, done, nonce: nonce(), browser })
    }
}

/// A form that one of our pages sent, with who sent it. There is no other way to a handler that changes something.
#[derive(Debug)]
pub(crate) struct Posted<F> {
    pub(crate) visit: Visit,
    pub(crate) form: Result<F, Trouble>,
}

impl<F: DeserializeOwned> FromRequest<Arc<App>> for Posted<F> {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, app).await?;
        if !sender(&parts.headers).is_ours() {
            return Err(elsewhere(app));
        }
        let request = Request::from_parts(parts, body);
        let bytes = Bytes::from_request(request, app).await.map_err(IntoResponse::into_response)?;
        if bytes.len() > FORM_MAX {
            let text = "A form has at most 65,536 bytes.".to_owned();
            return Err(visit.answer(Err(Trouble::Invalid(text))));
        }
        let code = form_urlencoded::parse(&bytes).find(|(name, _)| name == "csrf");
        if !code.is_some_and(|(_, code)| app.forms.is_good(&visit.whose(), &code)) {
            return Err(elsewhere(app));
        }
        let form = serde_urlencoded::from_bytes(&bytes);
        let form = form.map_err(|error| Trouble::Invalid(error.to_string()));
        Ok(Self { visit, form })
    }
}

fn sender(headers: &HeaderMap) -> Sender<'_> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // The edge stamps the host that the browser asked; a `Visit` is there only where it proved itself.
    let host = text(&HeaderName::from_static("x-forwarded-host"));
    Sender {
        fetch_site: text(&HeaderName::from_static("sec-fetch-site")),
        origin: text(&header::ORIGIN),
        host: host.or_else(|| text(&header::HOST)),
    }
}

/// The cookie that tells one browser of a person from another, for the codes of forms alone.
const COOKIE: &str = "arizuko_dash";

/// One browser of a person's.
#[derive(Clone)]
struct Browser {
    id: String,
    is_new: bool,
}

impl Browser {
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = values
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let known = pairs.find(|(name, value)| {
            let good = value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit());
            *name == COOKIE && good
        });
        match known {
            Some((_, id)) => Self { id: id.to_owned(), is_new: false },
            None => Self { id: hex::encode(rand::random::<[u8; 16]>()), is_new: true },
        }
    }

    /// What has the browser keep it: for the dashboard alone, out of reach of scripts and of other sites.
    fn to_set(&self, https: bool) -> Option<HeaderValue> {
        let secure = if https { "; Secure" } else { "" };
        let cookie =
            format!("{COOKIE}={}; Path=/dash/; HttpOnly; SameSite=Strict{secure}", self.id);
        let mut value = HeaderValue::from_str(&cookie).ok().filter(|_| self.is_new)?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Browser(..)")
    }
}
