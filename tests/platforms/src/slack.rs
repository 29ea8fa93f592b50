//! A Slack workspace on loopback: its Web API, its events, Socket Mode and its files, as an app sees them, and able to
//! lie as the real one can.
//!
//! One workspace (`T1`) with one app (`A1`, whose bot is `UBOT`). Its answers are those of
//! <https://docs.slack.dev/reference/methods>; `proof.py` holds the official client against them.

mod events;
mod files;
mod methods;
mod proof;
mod socket;
mod state;

pub use events::{Delivered, sign};
pub use proof::proven;
pub use state::{Call, Kind, Lie};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use serde_json::{Map, Value, json};
use state::Inner;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{net::TcpListener, sync::Notify, task::AbortHandle};

/// How long a test waits for anything before it fails. A bound, never a measurement.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The workspace.
pub const TEAM: &str = "T1";
/// The app.
pub const APP: &str = "A1";
/// The app's own member.
pub const BOT_USER: &str = "UBOT";
/// The app's own bot.
pub const BOT: &str = "BBOT";

/// A workspace, which ends when the last clone is dropped.
#[derive(Clone)]
pub struct Slack {
    shared: Arc<Shared>,
    _serving: Arc<Serving>,
}

pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// Told when something changed that somebody may wait for.
    news: Notify,
    /// Where the Web API is, without `/api`.
    base: String,
    /// Where sockets are.
    socket: String,
}

struct Serving(Vec<AbortHandle>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Shared {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn changed(&self) {
        self.news.notify_waiters();
    }
}

impl Slack {
    /// A workspace with the members `U1` (ann) and `U2` (bob), the channels `C1` (general) and `G1` (a private one),
    /// and a conversation `D1` between `U1` and the app, on ports of its own.
    pub async fn start() -> Self {
        // An error means that it is installed already.
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let _already = provider.install_default().is_err();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sockets = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner::new()),
            news: Notify::new(),
            base: format!("http://{}", listener.local_addr().unwrap()),
            socket: format!("ws://{}", sockets.local_addr().unwrap()),
        });
        let router = Router::new()
            .route("/api/{method}", any(call))
            .route("/upload/{id}", any(files::upload))
            .route("/files-pri/{id}/{name}", get(files::download))
            .layer(DefaultBodyLimit::max(128 << 20))
            .with_state(shared.clone());
        let web = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let socket = tokio::spawn(socket::serve(sockets, shared.clone()));
        let serving = Arc::new(Serving(vec![web.abort_handle(), socket.abort_handle()]));
        Self { shared, _serving: serving }
    }

    /// What `SLACK_API_URL` is set to.
    pub fn api_url(&self) -> String {
        format!("{}/api", self.shared.base)
    }

    /// Has a bot's token be good.
    pub fn add_bot_token(&self, token: &str) {
        self.shared.inner().bot_tokens.insert(token.into(), None);
    }

    /// Has an app's token be good: for Socket Mode.
    pub fn add_app_token(&self, token: &str) {
        self.shared.inner().app_tokens.insert(token.into(), None);
    }

    /// Has a token be refused from now on with `error`, such as `token_revoked`. Sockets under it are closed.
    pub fn revoke(&self, token: &str, error: &str) {
        let mut guard = self.shared.inner();
        let inner = &mut *guard;
        for tokens in [&mut inner.bot_tokens, &mut inner.app_tokens] {
            if let Some(known) = tokens.get_mut(token) {
                *known = Some(error.to_owned());
            }
        }
        inner.close_sockets_of(token, "link_disabled");
        drop(guard);
        self.shared.changed();
    }

    /// Has the next call of `method` go as `lie` says; several wait in line.
    pub fn next(&self, method: &str, lie: Lie) {
        self.shared.inner().lies.entry(method.into()).or_default().push_back(lie);
    }

    /// Adds a member.
    pub fn add_user(&self, id: &str, name: &str) {
        self.shared.inner().add_user(id, name);
    }

    /// Adds a conversation that the app is in.
    pub fn add_channel(&self, id: &str, name: &str, kind: Kind) {
        self.shared.inner().add_channel(id, name, kind);
    }

    /// Takes the app out of a conversation.
    pub fn leave(&self, channel: &str) {
        self.shared.inner().channel_mut(channel).unwrap().has_app = false;
    }

    /// Archives a conversation.
    pub fn archive(&self, channel: &str) {
        self.shared.inner().channel_mut(channel).unwrap().archived = true;
    }

    /// What is in a conversation, oldest first.
    pub fn messages(&self, channel: &str) -> Vec<Value> {
        self.shared.inner().channel_mut(channel).unwrap().messages.clone()
    }

    /// The texts that the app posted into a conversation, oldest first.
    pub fn posted(&self, channel: &str) -> Vec<String> {
        let own = |message: &&Value| message["user"] == BOT_USER;
        let text = |message: &Value| message["text"].as_str().unwrap_or_default().to_owned();
        self.messages(channel).iter().filter(own).map(text).collect()
    }

    /// Every call of `method` that came in, in order.
    pub fn calls(&self, method: &str) -> Vec<Call> {
        let inner = self.shared.inner();
        inner.calls.iter().filter(|call| call.method == method).cloned().collect()
    }

    /// Calls of a method that came before the time that its last `Retry-After` named.
    pub fn impatient(&self) -> Vec<String> {
        self.shared.inner().impatient.clone()
    }

    /// What the app showed under the assistant's threads: conversation, thread, text.
    pub fn statuses(&self) -> Vec<(String, String, String)> {
        self.shared.inner().statuses.clone()
    }

    /// The prompts that the app suggested in a thread.
    pub fn prompts(&self, thread: &str) -> Option<Value> {
        self.shared.inner().prompts.get(thread).cloned()
    }

    /// The bytes of a file that was uploaded and shared.
    pub fn file(&self, id: &str) -> Option<Vec<u8>> {
        self.shared.inner().files.get(id).map(|file| file.content.clone())
    }

    /// Waits until `there` answers something.
    ///
    /// # Panics
    /// It does not within a minute.
    pub async fn until<R>(&self, what: &str, there: impl Fn(&Self) -> Option<R>) -> R {
        let wait = async {
            loop {
                let mut news = std::pin::pin!(self.shared.news.notified());
                news.as_mut().enable();
                if let Some(found) = there(self) {
                    return found;
                }
                // A look from time to time too: what is waited for may be the app's.
                let _either = tokio::time::timeout(Duration::from_millis(100), news).await.is_ok();
            }
        };
        match tokio::time::timeout(LIMIT, wait).await {
            Ok(found) => found,
            Err(_) => panic!("never: {what}; {}", self.shared.inner().story()),
        }
    }
}

/// The arguments of a call, wherever they were put.
async fn arguments(query: HashMap<String, String>, headers: &HeaderMap, body: &Bytes) -> Value {
    let mut all: Map<String, Value> = query.into_iter().map(|(k, v)| (k, v.into())).collect();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/json") {
        if let Ok(Value::Object(more)) = serde_json::from_slice(body) {
            all.extend(more);
        }
    } else {
        let form = form_urlencoded::parse(body).into_owned();
        all.extend(form.map(|(k, v)| (k, Value::from(v))));
    }
    Value::Object(all)
}

async fn call(
    State(shared): State<Arc<Shared>>,
    Path(method): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    _: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut arguments = arguments(query, &headers, &body).await;
    let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let bearer = bearer.and_then(|v| v.strip_prefix("Bearer ")).map(str::to_owned);
    let token = bearer.or_else(|| arguments["token"].as_str().map(str::to_owned));
    if let Some(map) = arguments.as_object_mut() {
        map.remove("token");
    }
    let token = token.unwrap_or_default();
    let lie = {
        let mut inner = shared.inner();
        inner.note(&method, &token, &arguments);
        inner.lies.get_mut(&method).and_then(std::collections::VecDeque::pop_front)
    };
    let response = act(&shared, &method, &token, &arguments, lie).await;
    shared.changed();
    response
}

async fn act(
    shared: &Arc<Shared>,
    method: &str,
    token: &str,
    arguments: &Value,
    lie: Option<Lie>,
) -> Response {
    let answer = || Json(methods::answer(shared, method, token, arguments)).into_response();
    match lie {
        None => answer(),
        Some(Lie::Drops) => {
            let _done = answer();
            broken()
        }
        Some(Lie::Loses) => broken(),
        Some(Lie::DoesLate(wait)) => {
            let (shared, method) = (shared.clone(), method.to_owned());
            let (token, arguments) = (token.to_owned(), arguments.clone());
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                methods::answer(&shared, &method, &token, &arguments);
                shared.changed();
            });
            broken()
        }
        Some(Lie::Slow(wait)) => {
            tokio::time::sleep(wait).await;
            answer()
        }
        Some(Lie::RateLimits(seconds)) => {
            shared.inner().limit(method, seconds);
            let refusal = json!({"ok": false, "error": "ratelimited"});
            let headers = [(header::RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, headers, Json(refusal)).into_response()
        }
        Some(Lie::Refuses(error)) => Json(json!({"ok": false, "error": error})).into_response(),
        Some(Lie::DoesAndRefuses(error)) => {
            let _done = answer();
            Json(json!({"ok": false, "error": error})).into_response()
        }
        Some(Lie::Breaks(status)) => {
            let status = StatusCode::from_u16(status).unwrap();
            (status, "<html>it is not well</html>").into_response()
        }
        Some(Lie::Babbles) => {
            let _done = answer();
            "<html>logged in</html>".into_response()
        }
    }
}

use axum::Json;

/// An answer that ends before what it promises.
fn broken() -> Response {
    let parts = [Ok(Bytes::from_static(b"{\"ok\"")), Err(std::io::Error::other("broken off"))];
    Body::from_stream(futures::stream::iter(parts)).into_response()
}
