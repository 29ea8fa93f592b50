//! What webd serves: routes, headers, and who is asking. Translation only.

mod chat;
mod events;
mod files;
mod hook;
mod mcp;

use crate::{
    assets::Assets,
    links::{Links, NoLink, Opened, Token},
    page,
    routd::{CHANNEL_SECRET, Routd},
    settings::{WEB_GUESTS, WEBD_MAX_STREAMS},
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{Html, IntoResponse, Response},
    routing::{MethodRouter, any, get, post},
};
use kit::{Api, Clock, Context, Failure, Gate, PeerError, StartError};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use proto::{Code, Daemon, Method, Needs, Route, routd::LinkKind};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

const ASSET: Route =
    Route::new(Method::Get, "/chat/assets/{file}", Needs::Nobody, "A part of the chat page");
const CHAT_NEW: Route =
    Route::new(Method::Get, "/chat/new", Needs::Nobody, "Leads to a new chat of a guest's own");
const CHAT_BARE: Route =
    Route::new(Method::Get, "/chat/{token}", Needs::Nobody, "Leads to the chat page");
const CHAT_PAGE: Route =
    Route::new(Method::Get, "/chat/{token}/", Needs::Nobody, "The chat page of a link");
const CHAT_POST: Route =
    Route::new(Method::Post, "/chat/{token}", Needs::Nobody, "Says something in a chat");
const CHAT_FORM: Route =
    Route::new(Method::Post, "/chat/{token}/", Needs::Nobody, "Says something in a chat");
const CHAT_EVENTS: Route = Route::new(
    Method::Get,
    "/chat/{token}/events",
    Needs::Nobody,
    "What happens in a chat, as server-sent events",
);
const CHAT_MCP: Route = Route::new(
    Method::Post,
    "/chat/{token}/mcp",
    Needs::Nobody,
    "A chat as tools of the Model Context Protocol",
);
const CHAT_FILE: Route = Route::new(
    Method::Get,
    "/chat/{token}/files/{id}",
    Needs::Nobody,
    "A file that the agent sent in a chat",
);
const HOOK_POST: Route =
    Route::new(Method::Post, "/hook/{token}", Needs::Nobody, "Delivers a webhook's message");
const HOOK_OUTCOME: Route = Route::new(
    Method::Get,
    "/hook/{token}/{id}",
    Needs::Nobody,
    "What became of a webhook's message",
);

/// Every route of this daemon, without those that every daemon has.
pub const ROUTES: &[Route] = &[
    ASSET,
    CHAT_NEW,
    CHAT_BARE,
    CHAT_PAGE,
    CHAT_POST,
    CHAT_FORM,
    CHAT_EVENTS,
    CHAT_MCP,
    CHAT_FILE,
    HOOK_POST,
    HOOK_OUTCOME,
];

/// Nothing but our own style sheet and script runs or is loaded, no page may frame ours, and no
/// string can become markup even where a browser would make it so.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const UNKNOWN_LINK: &str = "this link does not exist or has ended";

/// When to come back while routd is away.
const AWAY: Duration = Duration::from_secs(2);

/// What the handlers share.
#[derive(Debug)]
struct App {
    assistant: String,
    /// Whether anybody may open a chat without a link.
    guests: bool,
    assets: Assets,
    routd: Routd,
    links: Arc<Links>,
    gate: Gate,
    clock: Clock,
    stop: CancellationToken,
    streams: Arc<Semaphore>,
    open_streams: Gauge,
    delivered: Family<Kind, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

type Shared = State<Arc<App>>;

/// Starts webd: answers with what it serves.
pub async fn router(context: Context) -> Result<Router, StartError> {
    let assistant = context.settings.get(&kit::ASSISTANT_NAME)?;
    let streams = context.settings.get(&WEBD_MAX_STREAMS)?;
    let guests = context.settings.get(&WEB_GUESTS)?;
    let secret = context.secrets.watch(&CHANNEL_SECRET).await?;
    let routd = Routd::new(context.peers.get(Daemon::Routd), secret);
    let app = Arc::new(App {
        assistant,
        guests,
        assets: Assets::new(),
        links: Arc::new(Links::new(routd.clone(), guests)),
        routd,
        gate: context.gate.clone(),
        clock: context.clock.clone(),
        stop: context.stop.clone(),
        streams: Arc::new(Semaphore::new(streams)),
        open_streams: context.metrics.gauge("web_streams", "Chat streams that are open"),
        delivered: context
            .metrics
            .counter_family("web_messages", "Messages that came by a link and are committed"),
    });
    let mut api = Api::new(&context);
    let mut add = |route: Route, served: MethodRouter<Arc<App>>| {
        let limit = DefaultBodyLimit::max(crate::hook_body::BODY_MAX);
        let served = served.layer(limit).layer(map_response(harden));
        api.raw(route, served.with_state(app.clone()));
    };
    add(ASSET, get(asset));
    add(CHAT_NEW, get(chat::begin));
    add(CHAT_BARE, get(chat::bare));
    add(CHAT_PAGE, get(chat::page));
    add(CHAT_POST, post(chat::say));
    add(CHAT_FORM, post(chat::say));
    add(CHAT_EVENTS, get(events::events));
    // Any method: the protocol has an answer of its own to those that it does not use here.
    add(CHAT_MCP, any(mcp::serve));
    add(CHAT_FILE, get(files::get));
    add(HOOK_POST, post(hook::deliver));
    add(HOOK_OUTCOME, get(hook::outcome));
    Ok(api.into_router())
}

async fn asset(State(app): Shared, Path(file): Path<String>) -> Response {
    let Some(asset) = app.assets.get(&file) else {
        return Failure::not_found("there is no such file").into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.kind),
        // Its name changes with its content.
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, asset.content).into_response()
}

/// The headers of every answer. A link is a right: nothing may keep it, index it, or pass it on.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policy = HeaderValue::from_static(CONTENT_POLICY);
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

impl App {
    /// What the token of a path opens, or what to answer instead.
    async fn open(
        &self,
        kind: LinkKind,
        token: &str,
        headers: &HeaderMap,
    ) -> Result<(Token, Arc<Opened>), Response> {
        let html = wants_html(headers) && kind == LinkKind::Chat;
        let Some(token) = Token::shown(token, kind) else { return Err(self.unknown(html)) };
        match self.links.resolve(&token).await {
            Ok(link) => Ok((token, link)),
            Err(NoLink::Unknown) => Err(self.unknown(html)),
            Err(NoLink::NotAsked(error)) => Err(self.away(&error, html)),
        }
    }

    fn unknown(&self, html: bool) -> Response {
        if !html {
            return Failure::not_found(UNKNOWN_LINK).into_response();
        }
        let text = "It may have been revoked, or a part of it was lost on the way. Ask whoever \
                    gave it to you for a new one.";
        let page = page::apology("This link does not open anything", text, &self.assets.paths);
        (StatusCode::NOT_FOUND, Html(page)).into_response()
    }

    /// Answers a request that routd could not take.
    fn away(&self, error: &PeerError, html: bool) -> Response {
        if !error.is_retryable() {
            return failure(error).into_response();
        }
        tracing::warn!(error = %kit::chain(error), "routd is away");
        let mut response = failure(error).into_response();
        if html {
            let text = "The conversation is kept. Load this page again in a moment.";
            let page = page::apology("Not available just now", text, &self.assets.paths);
            let wait = response.headers().get(header::RETRY_AFTER).cloned();
            response = (StatusCode::SERVICE_UNAVAILABLE, Html(page)).into_response();
            response.headers_mut().extend(wait.map(|wait| (header::RETRY_AFTER, wait)));
        }
        response
    }

    fn count(&self, kind: LinkKind) {
        self.delivered.get_or_create(&Kind { kind: kind.name() }).inc();
    }
}

/// What a caller is told when routd did not do what was asked. routd's own words reach the caller
/// only where they are about the message; what is between the daemons stays between them.
fn failure(error: &PeerError) -> Failure {
    match error.problem() {
        Some(problem) if matches!(problem.status, 400 | 409 | 413 | 422) => {
            Failure::bad_request(problem.detail.clone())
        }
        _ if error.is_retryable() => {
            Failure::unavailable("the message store is not available now; try again shortly")
                .retry_after(error.retry_after().unwrap_or(AWAY))
        }
        _ => Failure::internal(error),
    }
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Whether a page of another site made the browser send this (Fetch Metadata).
fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

fn refuse_body(rejection: BytesRejection) -> Failure {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Failure::new(Code::TooLarge, "the body has more than 262,144 bytes")
        }
        _ => Failure::bad_request("the body could not be read to its end"),
    }
}
