//! A small chat adapter: it takes what it is sent, once for each key, and answers as the test wants.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use kit::testing::{Serving, serve_router};
use proto::{
    Nothing,
    routd::{History, HistoryQuery, PastMessage, Send, Sent, Typing},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

/// What the adapter does with the next call.
#[derive(Clone, Debug)]
pub enum Does {
    Refuses {
        status: u16,
        code: &'static str,
        retry_after: Option<u64>,
    },
    /// Sends, and loses its answer on the way back.
    BreaksOff,
    /// Sends, late.
    Waits(Duration),
}

#[derive(Clone, Default)]
pub struct Adapter(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    script: VecDeque<Does>,
    /// What the platform has, by key.
    sent: BTreeMap<String, (Send, Vec<String>)>,
    order: Vec<String>,
    calls: Vec<String>,
    bearers: Vec<String>,
    changes: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
    /// The files that were asked for, in order.
    fetched: Vec<String>,
    /// What the platform has of each chat.
    past: Vec<PastMessage>,
    asked: Vec<HistoryQuery>,
    /// Where it was to show that the agent is at work, in order.
    typing: Vec<Typing>,
}

impl Adapter {
    pub async fn serve(&self) -> Serving {
        let mut router = Router::new().route("/send", post(send));
        router = router.route("/typing", post(typing));
        router = router.route("/history", post(history)).route("/files/{id}", get(file));
        for path in ["/edit", "/delete", "/react"] {
            router = router.route(path, post(change));
        }
        serve_router(router.with_state(self.clone())).await
    }

    pub fn next(&self, does: Does) {
        self.0.lock().unwrap().script.push_back(does);
    }

    /// What the platform has, in order.
    pub fn sent(&self) -> Vec<Send> {
        let inner = self.0.lock().unwrap();
        inner.order.iter().map(|key| inner.sent[key].0.clone()).collect()
    }

    /// The keys of all calls, in order.
    pub fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap().calls.clone()
    }

    /// What it was told to change, in order: where, and what.
    pub fn changes(&self) -> Vec<String> {
        self.0.lock().unwrap().changes.clone()
    }

    /// The adapter has a file.
    pub fn has(&self, id: &str, bytes: Vec<u8>) {
        self.0.lock().unwrap().files.insert(id.into(), bytes);
    }

    pub fn fetched(&self) -> Vec<String> {
        self.0.lock().unwrap().fetched.clone()
    }

    /// The platform has these messages.
    pub fn remembers(&self, past: Vec<PastMessage>) {
        self.0.lock().unwrap().past = past;
    }

    /// What was asked of its history.
    pub fn asked(&self) -> Vec<HistoryQuery> {
        self.0.lock().unwrap().asked.clone()
    }

    /// Where it was to show that the agent is at work, in order.
    pub fn typing(&self) -> Vec<Typing> {
        self.0.lock().unwrap().typing.clone()
    }

    pub fn bearers(&self) -> Vec<String> {
        self.0.lock().unwrap().bearers.clone()
    }
}

async fn file(
    State(adapter): State<Adapter>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let bearer = headers["authorization"].to_str().unwrap();
    assert!(bearer.starts_with("Bearer eyJ"), "a token of routd's");
    let mut inner = adapter.0.lock().unwrap();
    inner.fetched.push(id.clone());
    match inner.files.get(&id) {
        Some(bytes) => bytes.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn typing(State(adapter): State<Adapter>, Json(typing): Json<Typing>) -> Json<Nothing> {
    adapter.0.lock().unwrap().typing.push(typing);
    Json(Nothing {})
}

async fn history(State(adapter): State<Adapter>, Json(query): Json<HistoryQuery>) -> Json<History> {
    let mut inner = adapter.0.lock().unwrap();
    let past = inner.past.clone();
    inner.asked.push(query);
    Json(History { messages: past })
}

async fn change(
    State(adapter): State<Adapter>,
    uri: Uri,
    headers: HeaderMap,
    Json(what): Json<serde_json::Value>,
) -> Json<serde_json::Value> {
    assert!(headers.contains_key("idempotency-key"), "{uri}");
    adapter.0.lock().unwrap().changes.push(json!([uri.path(), what]).to_string());
    Json(json!({}))
}

async fn send(
    State(adapter): State<Adapter>,
    headers: HeaderMap,
    Json(message): Json<Send>,
) -> Response {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (key, bearer) = (text("idempotency-key"), text("authorization"));
    let does = {
        let mut inner = adapter.0.lock().unwrap();
        inner.calls.push(key.clone());
        inner.bearers.push(bearer);
        inner.script.pop_front()
    };
    match does {
        Some(Does::Refuses { status, code, retry_after }) => {
            let problem = json!({ "status": status, "code": code, "title": "No", "detail": "no" });
            let status = StatusCode::from_u16(status).unwrap();
            let mut answer = (status, Json(problem)).into_response();
            if let Some(seconds) = retry_after {
                answer.headers_mut().insert("retry-after", seconds.into());
            }
            return answer;
        }
        Some(Does::BreaksOff) => {
            take(&adapter, &key, message);
            // Half an answer: the connection ends before what was promised.
            let half = axum::body::Body::from_stream(broken());
            return Response::builder().status(200).body(half).unwrap();
        }
        Some(Does::Waits(wait)) => tokio::time::sleep(wait).await,
        None => {}
    }
    let ids = take(&adapter, &key, message);
    Json(Sent { ids: ids.iter().map(|id| id.parse().unwrap()).collect() }).into_response()
}

/// Remembers keys: a repeat answers alike and sends nothing.
fn take(adapter: &Adapter, key: &str, message: Send) -> Vec<String> {
    let mut inner = adapter.0.lock().unwrap();
    if let Some((_, ids)) = inner.sent.get(key) {
        return ids.clone();
    }
    let ids = vec![format!("p{}", inner.sent.len() + 1)];
    inner.sent.insert(key.into(), (message, ids.clone()));
    inner.order.push(key.into());
    ids
}

struct OneError(bool);

impl futures::Stream for OneError {
    type Item = Result<axum::body::Bytes, std::io::Error>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let first = std::mem::replace(&mut self.0, true);
        std::task::Poll::Ready((!first).then(|| Err(std::io::Error::other("broken off"))))
    }
}

fn broken() -> OneError {
    OneError(false)
}
