//! A routd that serves one turn after the other, keeps what it was told, and can be killed.

use crate::model::Script;
use ant::{AntError, Options};
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use proto::turn::{
    Harness, InputMessage, MCP_IDEMPOTENCY_KEY, NoFile, SteerAsk, Steered, TurnAccepted,
    TurnEvents, TurnInput, TurnResult, Wanted, WantedAsk, WantedFile,
};
use proto::{Nothing, Timestamp};
use rmcp::ErrorData;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The longest that a test waits for anything.
pub const LIMIT: Duration = Duration::from_secs(30);

/// What was done and said, and what to do with what comes.
#[derive(Default)]
pub struct Book {
    pub input: Option<TurnInput>,
    pub turns: u32,
    /// Statuses to answer to the next requests, by path, before one is served.
    pub refusals: HashMap<&'static str, VecDeque<u16>>,
    /// The path, or the tool, whose next request is done and then never answered.
    pub hold: Option<&'static str>,
    /// Every `/turn/events` is answered with 410.
    pub given_up: bool,
    /// A reason for which every tool call that changes something is refused.
    pub forbidden: Option<&'static str>,
    pub requests: Vec<&'static str>,
    pub events: Vec<String>,
    /// Every result that was recorded; a repeat is not.
    pub results: Vec<TurnResult>,
    /// Every call that arrived: tool and key.
    pub calls: Vec<(String, Option<String>)>,
    /// Every call that took effect.
    pub effects: Vec<(String, Value)>,
    pub answered_keys: HashMap<String, String>,
    pub memory: String,
    pub history: String,
    /// What the model answers to each call.
    pub model: Option<Script>,
    /// Every call of the model: its headers and its body.
    pub asked: Vec<(HeaderMap, Value)>,
    /// What is said while the turn runs, and has not been taken up.
    pub waiting: Vec<(i64, String)>,
    /// The newest that was taken up.
    pub taken: i64,
    /// Files of messages, by id; `None`: their adapter is away.
    pub files: HashMap<String, Option<Vec<u8>>>,
    /// Files of the home that tools wait for.
    pub wanted: Vec<WantedFile>,
    /// What became of each, in order: the bytes, or why not.
    pub brought: Vec<(i64, Result<Vec<u8>, String>)>,
}

#[derive(Clone)]
pub struct Shared {
    book: Arc<Mutex<Book>>,
    changed: watch::Sender<()>,
}

/// How the tools are served.
#[derive(Clone, Copy, Debug)]
pub enum Mcp {
    /// With sessions and event streams.
    Sessions,
    /// Each call by itself, answered as JSON.
    Stateless,
}

pub struct Routd {
    pub sockets: TempDir,
    pub home: TempDir,
    shared: Shared,
    mcp: Mcp,
    /// Its own runtime, so that it can die with all its connections.
    process: Option<Runtime>,
}

impl Routd {
    pub fn start() -> Self {
        Self::start_with(Mcp::Sessions)
    }

    pub fn start_with(mcp: Mcp) -> Self {
        let mut routd = Self::absent(mcp);
        routd.come_back();
        routd
    }

    /// It is not there yet.
    pub fn absent(mcp: Mcp) -> Self {
        let shared = Shared { book: Arc::default(), changed: watch::channel(()).0 };
        let sockets = tempfile::tempdir().unwrap();
        Self { sockets, home: tempfile::tempdir().unwrap(), shared, mcp, process: None }
    }

    pub fn socket(&self) -> PathBuf {
        self.sockets.path().join("s")
    }

    pub fn options(&self) -> Options {
        Options { patience: LIMIT, ..Options::new(self.sockets.path(), self.home.path()) }
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock().unwrap()
    }

    /// The next turn asks this of the offline harness.
    pub fn ask(&self, messages: &[&str]) {
        self.book().next(input(Harness::Offline, messages));
    }

    /// Asks, runs the agent to its end, and gives the one result of it.
    pub async fn answer(&self, messages: &[&str]) -> TurnResult {
        self.ask(messages);
        self.serve().await
    }

    /// Runs the agent on the turn that is set, and gives the one result of it.
    pub async fn serve(&self) -> TurnResult {
        let before = self.book().results.len();
        self.ant().await.unwrap();
        let mut new = self.book().results.split_off(before);
        assert_eq!(new.len(), 1, "exactly one result: {new:?}");
        new.pop().unwrap()
    }

    pub async fn ant(&self) -> Result<(), AntError> {
        bounded(ant::run(self.options())).await
    }

    /// Dies: every connection breaks, and the socket is gone.
    pub fn vanish(&mut self) {
        self.process.take().unwrap().shutdown_background();
        std::fs::remove_file(self.socket()).unwrap();
    }

    pub fn come_back(&mut self) {
        let process = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::os::unix::net::UnixListener::bind(self.socket()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let router = router(self.shared.clone(), self.mcp);
        process.spawn(async move {
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        self.process = Some(process);
    }

    /// Waits until the book says so.
    pub async fn until(&self, what: &str, reached: impl Fn(&Book) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let wait = async {
            while !reached(&self.book()) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(LIMIT, wait).await.is_err() {
            panic!("never: {what}; calls {:?}", self.book().calls);
        }
    }
}

impl Drop for Routd {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.shutdown_background();
        }
    }
}

pub async fn bounded<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("it hangs")
}

#[expect(clippy::disallowed_methods, reason = "a deadline is a time of day")]
pub fn from_now(time: Duration) -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp((now + time).as_millis().try_into().unwrap())
}

pub fn input(harness: Harness, messages: &[&str]) -> TurnInput {
    let message = |(index, content): (usize, &&str)| InputMessage {
        id: format!("m{index}").parse().unwrap(),
        sender: "user:1".into(),
        sender_name: Some("Ann".into()),
        content: (*content).into(),
        sent_at: Timestamp(1_700_000_000_000),
    };
    TurnInput {
        turn_id: "turn-1".parse().unwrap(),
        attempt: 2,
        folder: "corp/eng".parse().unwrap(),
        topic: "a topic".parse().unwrap(),
        chat_jid: "web:corp/eng".parse().unwrap(),
        harness,
        command: Vec::new(),
        prompt: "the prompt".into(),
        messages: messages.iter().enumerate().map(message).collect(),
        session: None,
        prompt_anew: None,
        model: "claude-test".into(),
        persona: Some("You like the sea.".into()),
        deadline: from_now(Duration::from_secs(120)),
        time_left_ms: None,
        files: Vec::new(),
        file_max_bytes: 1 << 20,
        files_max_bytes: 10 << 20,
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let answer = change(&mut self.book.lock().unwrap());
        self.changed.send_replace(());
        answer
    }

    /// Notes the request; the status to refuse it with, if it is to be refused.
    fn arrived(&self, path: &'static str) -> Option<Response> {
        self.change(|book| {
            book.requests.push(path);
            let status = book.refusals.get_mut(path)?.pop_front()?;
            Some(StatusCode::from_u16(status).unwrap().into_response())
        })
    }

    /// Never returns when the answer to this one is to be held back.
    async fn held(&self, what: &str) {
        if self.change(|book| book.hold.take_if(|held| *held == what).is_some()) {
            std::future::pending::<()>().await;
        }
    }
}

fn router(shared: Shared, mcp: Mcp) -> Router {
    let tools = Tools(shared.clone());
    let config = StreamableHttpServerConfig::default();
    let config = match mcp {
        Mcp::Sessions => config,
        Mcp::Stateless => config.with_legacy_session_mode(false).with_json_response(true),
    };
    let service = StreamableHttpService::<Tools, LocalSessionManager>::new(
        move || Ok(tools.clone()),
        Arc::default(),
        config,
    );
    Router::new()
        .route("/turn", routing::get(get_turn))
        .route("/turn/events", routing::post(post_events))
        .route("/turn/steer", routing::post(post_steer))
        .route("/turn/result", routing::post(post_result))
        .route("/turn/files/{id}", routing::get(get_file))
        .route("/turn/files/wanted", routing::post(post_wanted))
        .route("/turn/files/wanted/{id}", routing::put(put_file))
        .route("/turn/files/refused", routing::post(post_refusal))
        .route("/model/anthropic/v1/messages", routing::post(post_messages))
        .with_state(shared.clone())
        .route_service("/mcp", service)
        .layer(middleware::from_fn_with_state(shared, refuse_tools))
}

async fn refuse_tools(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    match request.uri().path() {
        "/mcp" => match shared.arrived("/mcp") {
            Some(refusal) => refusal,
            None => next.run(request).await,
        },
        _ => next.run(request).await,
    }
}

async fn get_turn(State(shared): State<Shared>) -> Response {
    match shared.arrived("/turn") {
        Some(refusal) => refusal,
        None => Json(shared.change(|book| book.input.clone()).unwrap()).into_response(),
    }
}

async fn post_events(State(shared): State<Shared>, Json(told): Json<TurnEvents>) -> Response {
    if let Some(refusal) = shared.arrived("/turn/events") {
        return refusal;
    }
    shared.change(|book| {
        assert_eq!(told.attempt, 2);
        book.events.extend(told.events.into_iter().map(|event| event.status));
        if book.given_up {
            return StatusCode::GONE.into_response();
        }
        StatusCode::NO_CONTENT.into_response()
    })
}

async fn post_steer(State(shared): State<Shared>, Json(ask): Json<SteerAsk>) -> Json<Steered> {
    let mut changed = shared.changed.subscribe();
    loop {
        let shown = shared.book.lock().unwrap().steer(ask.taken);
        if !shown.messages.is_empty() {
            return Json(shown);
        }
        if changed.changed().await.is_err() {
            return Json(shown);
        }
    }
}

async fn get_file(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    shared.change(|book| match book.files.get(&id) {
        Some(Some(bytes)) => bytes.clone().into_response(),
        Some(None) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

async fn post_wanted(State(shared): State<Shared>, Json(ask): Json<WantedAsk>) -> Json<Wanted> {
    let mut changed = shared.changed.subscribe();
    loop {
        let mut files = shared.book.lock().unwrap().wanted.clone();
        files.retain(|file| file.id > ask.after);
        if !files.is_empty() || changed.changed().await.is_err() {
            return Json(Wanted { files });
        }
    }
}

async fn put_file(State(shared): State<Shared>, Path(id): Path<i64>, body: Bytes) -> StatusCode {
    shared.change(|book| book.is_brought(id, Ok(body.to_vec())));
    StatusCode::OK
}

async fn post_refusal(State(shared): State<Shared>, Json(said): Json<NoFile>) -> Json<Nothing> {
    shared.change(|book| book.is_brought(said.id, Err(said.reason)));
    Json(Nothing {})
}

async fn post_messages(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let mut script = shared.change(|book| {
        book.asked.push((headers, body.clone()));
        book.model.take()
    });
    let answer = script.as_mut().expect("a script for the model")(&body);
    shared.change(|book| book.model = script);
    answer
}

async fn post_result(State(shared): State<Shared>, Json(result): Json<TurnResult>) -> Response {
    if let Some(refusal) = shared.arrived("/turn/result") {
        return refusal;
    }
    let duplicate = shared.change(|book| {
        let duplicate = book.results.last() == Some(&result) && book.input.is_none();
        if !duplicate {
            book.take(result.taken);
            book.results.push(result);
            book.input = None;
        }
        duplicate
    });
    shared.held("/turn/result").await;
    Json(TurnAccepted { duplicate }).into_response()
}

#[derive(Clone)]
struct Tools(Shared);

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name: &'static str, reads: bool| {
            let schema = serde_json::json!({ "type": "object" }).as_object().cloned().unwrap();
            Tool::new(name, "A tool.", Arc::new(schema))
                .with_annotations(ToolAnnotations::new().read_only(reads))
        };
        let tools = vec![tool("set_memory", false), tool("reply", false), tool("get_memory", true)];
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let key = context.meta.get(MCP_IDEMPOTENCY_KEY).and_then(Value::as_str).map(String::from);
        let arguments = Value::Object(call.arguments.unwrap_or_default());
        let tool = call.name.into_owned();
        if tool == "send_file" {
            return self.send_file(arguments, key).await;
        }
        let answer = self.0.change(|book| {
            book.calls.push((tool.clone(), key.clone()));
            book.perform(&tool, arguments, key)
        })?;
        self.0.held(&tool).await;
        Ok(answer.into())
    }
}

impl Tools {
    /// Waits for the file, as routd does.
    async fn send_file(
        &self,
        arguments: Value,
        key: Option<String>,
    ) -> Result<CallToolResponse, ErrorData> {
        let path = arguments["path"].as_str().unwrap().to_owned();
        let mut changed = self.0.changed.subscribe();
        let id = self.0.change(|book| {
            book.calls.push(("send_file".into(), key));
            let id = i64::try_from(book.wanted.len() + book.brought.len()).unwrap() + 1;
            book.wanted.push(WantedFile { id, path, max_bytes: 1 << 20 });
            id
        });
        loop {
            let answer = self.0.book.lock().unwrap().became(id);
            if let Some(answer) = answer {
                return Ok(answer.into());
            }
            changed.changed().await.unwrap();
        }
    }
}

impl Book {
    /// Sets the next turn: `turn-1`, `turn-2`, and so on.
    pub fn next(&mut self, mut input: TurnInput) {
        self.turns += 1;
        input.turn_id = format!("turn-{}", self.turns).parse().unwrap();
        self.input = Some(input);
    }

    /// Says something while the turn runs.
    pub fn say(&mut self, text: &str) {
        let seq = self.waiting.last().map_or(self.taken, |(seq, _)| *seq) + 1;
        self.waiting.push((seq, text.into()));
    }

    fn steer(&mut self, taken: i64) -> Steered {
        self.take(taken);
        let prompt = self.waiting.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>();
        let messages = input(Harness::Offline, &prompt).messages;
        let upto = self.waiting.last().map_or(taken, |(seq, _)| *seq);
        Steered { upto, messages, prompt: prompt.join("\n"), files: Vec::new() }
    }

    fn is_brought(&mut self, id: i64, file: Result<Vec<u8>, String>) {
        self.wanted.retain(|one| one.id != id);
        self.brought.push((id, file));
    }

    /// What a tool says of a file, once it is known.
    fn became(&self, id: i64) -> Option<CallToolResult> {
        let (_, brought) = self.brought.iter().find(|(one, _)| *one == id)?;
        Some(match brought {
            Ok(_) => CallToolResult::success(vec![ContentBlock::text("sent")]),
            Err(reason) => CallToolResult::error(vec![ContentBlock::text(reason.clone())]),
        })
    }

    fn take(&mut self, taken: i64) {
        self.taken = self.taken.max(taken);
        self.waiting.retain(|(seq, _)| *seq > taken);
    }

    fn perform(
        &mut self,
        tool: &str,
        arguments: Value,
        key: Option<String>,
    ) -> Result<CallToolResult, ErrorData> {
        let text = |text: &str| CallToolResult::success(vec![ContentBlock::text(text)]);
        match tool {
            "get_memory" => return Ok(text(&self.memory)),
            "inspect_messages" => {
                assert!(arguments["limit"].as_u64().unwrap() > 0);
                return Ok(text(&self.history));
            }
            "set_memory" | "reply" | "send" => {}
            _ => return Err(ErrorData::invalid_params("there is no such tool", None)),
        }
        // The CLI sends none; ours always does.
        let ours = self.input.as_ref().is_none_or(|input| input.harness != Harness::Claude);
        let key = match key {
            None if !ours => format!("call {}", self.calls.len()),
            key => key.expect("a call that changes something carries a key"),
        };
        if let Some(answer) = self.answered_keys.get(&key) {
            return Ok(text(answer));
        }
        if let Some(reason) = self.forbidden {
            return Ok(CallToolResult::error(vec![ContentBlock::text(reason)]));
        }
        if tool == "set_memory" {
            self.memory = arguments["content"].as_str().unwrap().into();
        }
        self.effects.push((tool.into(), arguments));
        self.answered_keys.insert(key, "done".into());
        Ok(text("done"))
    }
}
