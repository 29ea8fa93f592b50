//! A routd and an onbod on one data directory, an adapter before them, and people with browsers.
//!
//! Between the two daemons stands a board, so that either can go and come back, and so that an answer can be lost.

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::post,
};
use kit::{
    Clock, Context, Peers,
    testing::{Rig, Serving, TestAuthority, serve_daemon, serve_router},
};
use proto::{
    Daemon, Endpoint, Nothing, Problem,
    authd::{Token, UserTokenRequest},
    onbod::{Admission, AdmissionState, LIST_ADMISSIONS, ListAdmissions},
    routd::{
        LIST_GROUPS, MessageAck, NewMessage, POST_MESSAGE, REGISTER_CHANNEL, RegisterChannel, Send,
        Sent,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

/// The longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);
const CHANNEL_SECRET: &str = "channel-secret-of-the-tests";
/// The host under which people reach the edge.
pub const HOST: &str = "chat.example.org";

/// The way to one daemon: where it is now, and whose answers are lost.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<(Option<String>, Vec<String>)>>);

impl Board {
    async fn serve(&self) -> Serving {
        serve_router(Router::new().fallback(forward).with_state(self.clone())).await
    }

    fn to(&self, url: Option<&str>) {
        self.0.lock().unwrap().0 = url.map(str::to_owned);
    }

    /// The next answer of this path is lost: it is done, and nobody hears of it.
    pub fn lose(&self, path: &str) {
        self.0.lock().unwrap().1.push(path.to_owned());
    }

    /// Whether an answer is still to be lost.
    pub fn loses(&self) -> bool {
        !self.0.lock().unwrap().1.is_empty()
    }
}

async fn forward(State(board): State<Board>, request: Request) -> Response {
    let gone = || http_status(503).into_response();
    let path = request.uri().path().to_owned();
    let (target, lost) = {
        let mut state = board.0.lock().unwrap();
        let at = state.1.iter().position(|one| *one == path);
        let lost = state.0.is_some() && at.is_some();
        if let Some(at) = at.filter(|_| lost) {
            state.1.remove(at);
        }
        (state.0.clone(), lost)
    };
    let Some(target) = target else { return gone() };
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let http = kit::http_client().unwrap();
    let mut headers = parts.headers;
    headers.remove("host");
    headers.remove("content-length");
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let sent = http
        .request(parts.method, format!("{target}{path}{query}"))
        .headers(headers)
        .body(body)
        .timeout(Duration::from_secs(20));
    let Ok(answer) = sent.send().await else { return gone() };
    if lost {
        return gone();
    }
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove("content-length");
    headers.remove("connection");
    let mut response = Response::new(Body::from(answer.bytes().await.unwrap()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn http_status(status: u16) -> axum::http::StatusCode {
    axum::http::StatusCode::from_u16(status).unwrap()
}

/// What was sent to the chats of a platform, each key once.
#[derive(Clone, Debug, Default)]
pub struct Adapter(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    /// What was sent, by key.
    sent: BTreeMap<String, Send>,
    /// The keys, in order.
    order: Vec<String>,
}

impl Adapter {
    /// The texts that a chat got, in order.
    pub fn got(&self, chat: &str) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let sent = state.order.iter().map(|key| &state.sent[key]);
        sent.filter(|one| one.chat_jid.as_str() == chat).map(|one| one.content.clone()).collect()
    }

    /// How many texts were sent at all.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().order.len()
    }
}

async fn send(
    State(adapter): State<Adapter>,
    headers: HeaderMap,
    Json(message): Json<Send>,
) -> Json<Sent> {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let mut state = adapter.0.lock().unwrap();
    if state.sent.insert(key.clone(), message).is_none() {
        state.order.push(key.clone());
    }
    Json(Sent { ids: vec![key.parse().unwrap()] })
}

/// authd, as far as it is needed: a token of whoever the edge passed on.
async fn user_token(
    State(authority): State<TestAuthority>,
    Json(asked): Json<UserTokenRequest>,
) -> Json<Token> {
    let scopes: Vec<&str> =
        auth::person_scopes(asked.audience).iter().map(auth::Scope::as_str).collect();
    let token = authority.token(&asked.act, &[asked.audience], auth::Kind::User, &scopes);
    Json(Token {
        token,
        token_type: "Bearer".into(),
        expires_in: 300,
        scope: Vec::new(),
        fingerprint_key: None,
    })
}

/// A daemon that runs.
struct Running {
    context: Context,
    _serving: Serving,
}

/// All of it.
pub struct House {
    pub dir: TempDir,
    pub authority: TestAuthority,
    pub clock: Clock,
    pub adapter: Adapter,
    /// onbod's way to routd, and routd's to onbod.
    pub to_routd: Board,
    pub to_onbod: Board,
    settings: Vec<(&'static str, String)>,
    urls: [Serving; 4],
    routd: Option<Running>,
    onbod: Option<Running>,
}

impl House {
    /// With these settings of onbod.
    pub async fn new(settings: &[(&'static str, &str)]) -> Self {
        Self::at(settings, Clock::real()).await
    }

    /// The same, where time stands still until the test moves it.
    pub async fn timeless(settings: &[(&'static str, &str)]) -> Self {
        Self::at(settings, Clock::manual(Clock::real().now())).await
    }

    async fn at(settings: &[(&'static str, &str)], clock: Clock) -> Self {
        kit::testing::install_crypto();
        let (adapter, to_routd, to_onbod) =
            (Adapter::default(), Board::default(), Board::default());
        let served = Router::new().route("/send", post(send)).with_state(adapter.clone());
        let authority = TestAuthority::new(clock.clone());
        let authd =
            Router::new().route("/v1/user-token", post(user_token)).with_state(authority.clone());
        let urls = [
            to_routd.serve().await,
            to_onbod.serve().await,
            serve_router(served).await,
            serve_router(authd).await,
        ];
        let mut settings: Vec<_> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        settings.push(("WEB_HOST", HOST.into()));
        let mut house = Self {
            dir: tempfile::tempdir().unwrap(),
            authority,
            clock,
            adapter,
            to_routd,
            to_onbod,
            settings,
            urls,
            routd: None,
            onbod: None,
        };
        house.start_routd().await;
        house.start_onbod().await;
        let channel = RegisterChannel {
            name: "telegram".into(),
            url: house.urls[2].url.clone(),
            jid_prefixes: vec!["telegram:".into()],
            capabilities: vec!["idempotency".into()],
        };
        house.call(Daemon::Routd, &REGISTER_CHANNEL, &channel, CHANNEL_SECRET).await.unwrap();
        house
    }

    fn rig(&self, daemon: Daemon) -> Rig {
        Rig::new(daemon, self.dir.path())
            .authority(&self.authority)
            .clock(&self.clock)
            .peer(Daemon::Routd, &self.urls[0].url)
            .peer(Daemon::Onbod, &self.urls[1].url)
            .peer(Daemon::Authd, &self.urls[3].url)
            .peer(Daemon::Runed, "http://127.0.0.1:1")
    }

    pub async fn start_routd(&mut self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let (context, router) = loop {
            let rig = self
                .rig(Daemon::Routd)
                .secret("CHANNEL_SECRET", CHANNEL_SECRET)
                .secret("SECRETS_KEY", "0123456789abcdef0123456789abcdef-one")
                .setting("DEFAULT_FOLDER", "atlas");
            let (context, _) = rig.build().await;
            match routd::start(context.clone()).await {
                Ok(router) => break (context, router),
                Err(error) => busy(&context, &error, deadline).await,
            }
        };
        let serving = serve_daemon(&context, router).await;
        self.to_routd.to(Some(&serving.url));
        self.routd = Some(Running { context, _serving: serving });
    }

    pub async fn start_onbod(&mut self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let (context, router) = loop {
            let mut rig = self.rig(Daemon::Onbod);
            for (name, value) in &self.settings {
                rig = rig.setting(name, value.as_str());
            }
            let (context, _) = rig.build().await;
            match onbod::start(context.clone()).await {
                Ok(router) => break (context, router),
                Err(error) => busy(&context, &error, deadline).await,
            }
        };
        let serving = serve_daemon(&context, router).await;
        self.to_onbod.to(Some(&serving.url));
        self.onbod = Some(Running { context, _serving: serving });
    }

    pub async fn stop_routd(&mut self) {
        self.to_routd.to(None);
        stop(self.routd.take().expect("routd runs")).await;
    }

    pub async fn stop_onbod(&mut self) {
        self.to_onbod.to(None);
        stop(self.onbod.take().expect("onbod runs")).await;
    }

    /// Time passes, so much that the daemons' own tokens are over: they begin anew.
    pub async fn pass(&mut self, seconds: u64) {
        self.stop_onbod().await;
        self.stop_routd().await;
        self.clock.advance(Duration::from_secs(seconds));
        self.start_routd().await;
        self.start_onbod().await;
    }

    /// Calls an endpoint of a daemon with this bearer.
    pub async fn call<Req: Serialize, Res: DeserializeOwned>(
        &self,
        daemon: Daemon,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
        bearer: &str,
    ) -> Result<Res, Problem> {
        let at = if daemon == Daemon::Routd { 0 } else { 1 };
        let urls = [(daemon, self.urls[at].url.clone())].into();
        let peer = Peers::with_token(kit::http_client().unwrap(), urls, bearer).get(daemon);
        let answer = peer.call(endpoint, request).await;
        answer.map_err(|error| match error.problem() {
            Some(problem) => problem.clone(),
            None => panic!("{}", kit::chain(&error)),
        })
    }

    /// Calls onbod as the operator.
    pub async fn ask<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
    ) -> Result<Res, Problem> {
        self.call(Daemon::Onbod, endpoint, request, &self.authority.operator()).await
    }

    /// Somebody writes in a chat of their own.
    pub async fn write(&self, user: u32, id: &str) -> MessageAck {
        self.post(&message(user, id)).await
    }

    pub async fn post(&self, message: &NewMessage) -> MessageAck {
        self.call(Daemon::Routd, &POST_MESSAGE, message, CHANNEL_SECRET).await.unwrap()
    }

    /// The last pairing link that a chat got, once it has got so many lines.
    pub async fn link(&self, user: u32, lines: usize) -> String {
        let found = self.lines(user, lines).await;
        path_of(found.last().unwrap())
    }

    /// What a chat got, once it has got so many lines.
    pub async fn lines(&self, user: u32, lines: usize) -> Vec<String> {
        let chat = chat(user);
        eventually(&format!("{chat} gets {lines} lines"), || async {
            let got = self.adapter.got(&chat);
            (got.len() >= lines).then_some(got)
        })
        .await
    }

    /// The admission of a chat.
    pub async fn admission(&self, user: u32) -> Option<Admission> {
        let all = self.ask(&LIST_ADMISSIONS, &ListAdmissions::default()).await.unwrap();
        let chat = chat(user);
        all.admissions
            .into_iter()
            .find(|one| one.chat_jid.as_ref().is_some_and(|c| c.as_str() == chat))
    }

    /// Waits until the admission of a chat is in this state.
    pub async fn until(&self, user: u32, state: AdmissionState) -> Admission {
        eventually(&format!("the chat of {user} is {}", state.name()), || async {
            self.admission(user).await.filter(|one| one.state == state)
        })
        .await
    }

    /// The folders that there are, but the first.
    pub async fn folders(&self) -> Vec<String> {
        let operator = self.authority.operator();
        let groups = self.call(Daemon::Routd, &LIST_GROUPS, &Nothing {}, &operator).await.unwrap();
        let names = groups.groups.into_iter().map(|group| group.folder.to_string());
        names.filter(|name| name != "atlas").collect()
    }

    /// Waits until routd has nothing left to tell onbod, so that what was not answered was passed over.
    pub async fn told(&self) {
        eventually("onbod is told of everything", || async {
            (self.count("routd", "SELECT count(*) FROM knocks") == 0).then_some(())
        })
        .await;
    }

    /// A number from a daemon's database.
    pub fn count(&self, daemon: &str, sql: &str) -> i64 {
        self.database(daemon).query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub fn database(&self, daemon: &str) -> rusqlite::Connection {
        let path = self.dir.path().join("store").join(format!("{daemon}.db"));
        rusqlite::Connection::open(path).unwrap()
    }

    /// A browser in which this person is logged in, or nobody.
    pub fn browser(&self, subject: Option<&str>) -> Browser {
        Browser {
            base: self.urls[1].url.clone(),
            proof: self.authority.service(Daemon::Proxyd),
            subject: subject.map(str::to_owned),
        }
    }
}

async fn busy(context: &Context, error: &kit::StartError, deadline: tokio::time::Instant) {
    assert!(error.exit_code() == 75, "{}", kit::chain(error));
    assert!(tokio::time::Instant::now() < deadline, "{}", kit::chain(error));
    context.stop.cancel();
    tokio::time::sleep(Duration::from_millis(5)).await;
}

async fn stop(running: Running) {
    running.context.stop.cancel();
    let busy = running.context.tasks.ended(PATIENCE).await;
    assert!(busy.is_empty(), "still busy: {busy:?}");
}

/// A browser behind the edge.
#[derive(Clone)]
pub struct Browser {
    base: String,
    proof: String,
    subject: Option<String>,
}

/// A page, or where another one is.
#[derive(Debug)]
pub struct Shown {
    pub status: u16,
    pub text: String,
    pub location: String,
}

impl Browser {
    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let http = kit::http_client().unwrap();
        let mut request = http
            .request(method.parse().unwrap(), format!("{}{path}", self.base))
            .header("x-arizuko-edge", &self.proof)
            .header("x-forwarded-host", HOST)
            .header("x-forwarded-proto", "https");
        if let Some(subject) = &self.subject {
            request = request.header("x-user-subject", subject);
            // What the edge hands on is authd's alone to read; the one here reads a name.
            request = request.header("x-user-act", subject);
        }
        request
    }

    /// Where onbod is, past the edge.
    pub fn base(&self) -> String {
        self.base.clone()
    }

    pub async fn open(&self, path: &str) -> Shown {
        shown(self.request("GET", path).send().await.unwrap()).await
    }

    /// Presses the one button of a page.
    pub async fn press(&self, path: &str) -> Shown {
        let page = self.open(path).await;
        let mark = mark_of(&page).unwrap_or_else(|| panic!("no button: {page:?}"));
        self.submit(path, &mark).await
    }

    /// Sends a page's form, as a browser of today would.
    pub async fn submit(&self, path: &str, mark: &str) -> Shown {
        self.submit_from(path, mark, "same-origin").await
    }

    pub async fn submit_from(&self, path: &str, mark: &str, site: &str) -> Shown {
        let request = self
            .request("POST", path)
            .header("origin", format!("https://{HOST}"))
            .header("sec-fetch-site", site)
            .header("content-type", "application/x-www-form-urlencoded");
        shown(request.body(format!("mark={mark}")).send().await.unwrap()).await
    }
}

async fn shown(answer: reqwest::Response) -> Shown {
    let status = answer.status().as_u16();
    let location = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
    Shown { status, location: location.unwrap_or_default(), text: answer.text().await.unwrap() }
}

/// The mark of a page's form.
pub fn mark_of(page: &Shown) -> Option<String> {
    let (_, rest) = page.text.split_once("name=\"mark\" value=\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// The path of the link at the end of a greeting.
pub fn path_of(line: &str) -> String {
    let url = line.lines().last().unwrap();
    let path = url.strip_prefix(&format!("https://{HOST}")).unwrap_or_else(|| panic!("{line}"));
    assert!(path.starts_with("/pair/"), "{line}");
    path.to_owned()
}

/// The chat of somebody.
pub fn chat(user: u32) -> String {
    format!("telegram:user/{user}")
}

/// A message as the adapter would deliver it.
pub fn message(user: u32, id: &str) -> NewMessage {
    NewMessage {
        id: id.parse().unwrap(),
        chat_jid: chat(user).parse().unwrap(),
        sender: chat(user),
        sender_name: Some("Ann".into()),
        content: format!("hello from {user}"),
        timestamp: None,
        topic: None,
        verb: None,
        reply_to: None,
        is_group: false,
        attachments: Vec::new(),
    }
}

/// Waits until `check` answers something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, check: impl Fn() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
