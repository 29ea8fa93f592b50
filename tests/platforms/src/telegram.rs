//! A Telegram Bot API on loopback: one bot, people who write to it, and lies. <https://core.telegram.org/bots/api>
//!
//! It refuses what the real one refuses as far as an adapter meets it: a token that is not the bot's, a chat that
//! nobody opened, markup that does not parse, a text that is too long, a second poller.

mod html;
mod methods;
mod proof;
mod request;
mod state;
mod updates;
mod webhook;

pub use proof::proven;
pub use state::{Lie, Sent};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State as Shared},
    response::Response,
    routing::{any, get},
};
use request::{Answer, Request};
use serde_json::{Value, json};
use state::State;
use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinHandle};

/// The bot's id.
pub const BOT: i64 = 700_001;
/// The bot's name.
pub const USERNAME: &str = "the_bot";
/// The longest that [`Telegram::until`] waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server. It ends when this is dropped.
pub struct Telegram {
    url: String,
    inner: Arc<Inner>,
    tasks: Vec<JoinHandle<()>>,
}

struct Inner {
    state: Mutex<State>,
    /// Told of everything that happens.
    news: Notify,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Telegram {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Telegram {
    /// Starts it on a port of its own.
    pub async fn serve() -> Self {
        // An error means that it is installed already.
        let _already = rustls::crypto::aws_lc_rs::default_provider().install_default().is_err();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner { state: Mutex::default(), news: Notify::new() });
        let router = Router::new()
            .route("/{bot}/{method}", any(method))
            .route("/file/{bot}/{*path}", get(file))
            .layer(DefaultBodyLimit::max(64 << 20))
            .with_state(inner.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let bringing = tokio::spawn(webhook::bring(inner.clone()));
        Self { url, inner, tasks: vec![serving, bringing] }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The bot's token.
    pub fn token(&self) -> String {
        self.inner.state().token()
    }

    /// Makes a new token, as @BotFather does: the old one is good no more, from this moment on.
    pub fn revoke_token(&self) -> String {
        let token = self.inner.state().revoke();
        self.inner.news.notify_waiters();
        token
    }

    /// A person writes to the bot. The message's id.
    pub fn says(&self, person: i64, text: &str) -> i64 {
        self.writes(person, json!({ "text": text }))
    }

    /// A person writes to the bot, with these fields of a message.
    pub fn writes(&self, person: i64, fields: Value) -> i64 {
        let chat = json!({ "id": person, "type": "private", "first_name": format!("P{person}") });
        self.writes_in(&chat, person, fields)
    }

    /// A person writes in a chat.
    pub fn writes_in(&self, chat: &Value, person: i64, fields: Value) -> i64 {
        let id = self.inner.state().written(chat, person, fields);
        self.inner.news.notify_waiters();
        id
    }

    /// Something else happens: `content` is an update without its id, which is answered.
    pub fn happens(&self, content: Value) -> i64 {
        let id = self.inner.state().happened(content);
        self.inner.news.notify_waiters();
        id
    }

    /// The next call of this method goes wrong in this way.
    pub fn next(&self, method: &str, lie: Lie) {
        self.inner.state().lies.push((method.into(), lie));
    }

    /// The person blocks the bot.
    pub fn is_blocked_by(&self, person: i64) {
        self.inner.state().blocked.insert(person);
    }

    /// The group becomes a supergroup.
    pub fn group_becomes(&self, old: i64, new: i64) {
        self.inner.state().moved(old, new);
        self.inner.news.notify_waiters();
    }

    /// Tells all updates again, in the opposite order.
    pub fn tells_again(&self) {
        self.inner.state().tell_again();
        self.inner.news.notify_waiters();
    }

    /// A file that somebody sent, as the content of a message's `document`.
    pub fn document(&self, name: &str, mime: &str, content: &[u8]) -> Value {
        self.inner.state().keep_file(name, mime, content.to_vec())
    }

    /// What the bot sent and did, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.inner.state().sent.clone()
    }

    /// The texts that a chat shows, in order.
    pub fn texts(&self, chat: i64) -> Vec<String> {
        self.inner.state().texts(chat)
    }

    /// How often a method was called.
    pub fn calls(&self, method: &str) -> usize {
        self.inner.state().calls.iter().filter(|call| *call == method).count()
    }

    /// The fields of the last call of a method.
    pub fn last(&self, method: &str) -> Option<Value> {
        self.inner.state().last.get(method).cloned()
    }

    /// The reactions of the bot, by chat and message.
    pub fn reaction(&self, chat: i64, message: i64) -> Option<String> {
        self.inner.state().reactions.get(&(chat, message)).cloned()
    }

    /// How many updates the bot has not confirmed.
    pub fn pending(&self) -> usize {
        self.inner.state().pending()
    }

    /// Waits until `is` so.
    pub async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                let news = self.inner.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if is(self) {
                    return;
                }
                // Not everything that a test asks about happens here.
                let _late = tokio::time::timeout(Duration::from_millis(100), news).await.is_err();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "still not: {what}; sent: {:?}", self.sent());
    }
}

async fn method(
    Shared(inner): Shared<Arc<Inner>>,
    Path((bot, method)): Path<(String, String)>,
    request: axum::extract::Request,
) -> Response {
    let request = match Request::read(request).await {
        Ok(request) => request,
        Err(answer) => return answer.into(),
    };
    let lie = {
        let mut state = inner.state();
        state.calls.push(method.clone());
        if bot != format!("bot{}", state.token()) {
            return Answer::refused(401, "Unauthorized").into();
        }
        state.last.insert(method.clone(), request.shown());
        state.lie(&method)
    };
    inner.news.notify_waiters();
    match lie {
        Some(Lie::Refuses(code, text, parameters)) => {
            return Answer::refused_with(code, text, parameters).into();
        }
        Some(Lie::Garbage(status)) => return request::garbage(status),
        Some(Lie::Waits(wait)) => tokio::time::sleep(wait).await,
        Some(Lie::TakesAndBreaksOff) => {
            let _lost = answer(&inner, &method, &request).await;
            inner.news.notify_waiters();
            return request::broken_off();
        }
        Some(Lie::DropsAndBreaksOff) => return request::broken_off(),
        None => {}
    }
    let answered = answer(&inner, &method, &request).await;
    inner.news.notify_waiters();
    answered.unwrap_or_else(|refusal| refusal).into()
}

async fn answer(inner: &Arc<Inner>, method: &str, request: &Request) -> Result<Answer, Answer> {
    match method {
        "getUpdates" => updates::get(inner, request).await,
        "setWebhook" | "deleteWebhook" | "getWebhookInfo" => {
            webhook::method(&mut inner.state(), method, request)
        }
        _ => methods::answer(&mut inner.state(), method, request),
    }
}

async fn file(
    Shared(inner): Shared<Arc<Inner>>,
    Path((bot, path)): Path<(String, String)>,
) -> Response {
    let state = inner.state();
    if bot != format!("bot{}", state.token()) {
        return Answer::refused(401, "Unauthorized").into();
    }
    match state.files.iter().find(|file| file.path == path) {
        Some(file) => Response::new(file.content.clone().into()),
        None => Answer::refused(404, "Not Found").into(),
    }
}
