//! A Messages API on loopback: it accepts the key that it is told to, streams the answers of a script as
//! server-sent events, and holds each of them back in the middle until it is let go.

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use kit::testing::{Serving, serve_router};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
};
use tokio::sync::watch;

/// What the model says to one request.
pub enum Says {
    /// A text, and it is done.
    Text(&'static str),
    /// Uses of tools: id, name, input.
    Uses(Vec<(&'static str, &'static str, Value)>),
}

/// One request, as it came.
#[derive(Clone)]
pub struct Asked {
    /// The path, with its query.
    pub place: String,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Asked {
    /// The key that came with it.
    pub fn key(&self) -> &str {
        self.headers.get("x-api-key").map_or("", |key| key.to_str().unwrap())
    }
}

/// The API; it ends when this is dropped.
pub struct MessagesApi {
    shared: Arc<Shared>,
    serving: Serving,
}

struct Shared {
    accepted: Mutex<String>,
    script: Mutex<VecDeque<Says>>,
    asked: Mutex<Vec<Asked>>,
    /// How many answers may end.
    released: watch::Sender<usize>,
}

impl MessagesApi {
    pub async fn begin(script: Vec<Says>) -> Self {
        let shared = Arc::new(Shared {
            accepted: Mutex::default(),
            script: Mutex::new(script.into()),
            asked: Mutex::default(),
            released: watch::Sender::new(0),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        Self { shared, serving: serve_router(router).await }
    }

    pub fn url(&self) -> &str {
        &self.serving.url
    }

    /// Accepts this key from now on, and no other.
    pub fn accept(&self, key: &str) {
        key.clone_into(&mut self.shared.accepted.lock().unwrap());
    }

    /// Everything that it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Lets so many answers end, from the first on.
    pub fn release(&self, count: usize) {
        self.shared.released.send_replace(count);
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Option<Json<Value>>,
) -> Response {
    let body = body.map_or(Value::Null, |Json(body)| body);
    let asked = Asked { place: uri.to_string(), headers, body };
    let refuse = |status: StatusCode, kind: &str| {
        let error = json!({ "type": "error", "error": { "type": kind, "message": kind } });
        (status, Json(error)).into_response()
    };
    let known = asked.key() == *shared.accepted.lock().unwrap();
    let count = {
        let mut all = shared.asked.lock().unwrap();
        all.push(asked);
        all.len()
    };
    if !known {
        return refuse(StatusCode::UNAUTHORIZED, "authentication_error");
    }
    let Some(says) = shared.script.lock().unwrap().pop_front() else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request_error");
    };
    let (begins, rest) = events(&says);
    let mut released = shared.released.subscribe();
    let rest = async move {
        // An error would mean that the test is over.
        let _over = released.wait_for(|most| *most >= count).await.is_err();
        rest
    };
    let pieces = stream::once(async { begins }).chain(stream::once(rest));
    let body = Body::from_stream(pieces.map(Ok::<_, Infallible>));
    ([("content-type", "text/event-stream")], body).into_response()
}

/// The events of an answer: those with which it begins, and the rest.
fn events(says: &Says) -> (String, String) {
    let mut all = Vec::new();
    let stop = match says {
        Says::Text(text) => {
            let start = json!({ "type": "text", "text": "" });
            all.extend(block(0, &start, &json!({ "type": "text_delta", "text": text })));
            "end_turn"
        }
        Says::Uses(uses) => {
            for (index, (id, name, input)) in uses.iter().enumerate() {
                let start = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
                let delta =
                    json!({ "type": "input_json_delta", "partial_json": input.to_string() });
                all.extend(block(index, &start, &delta));
            }
            "tool_use"
        }
    };
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 10, "output_tokens": 1 },
    });
    let begins = written(&json!({ "type": "message_start", "message": message }));
    let stop = json!({ "stop_reason": stop, "stop_sequence": null });
    all.push(json!({ "type": "message_delta", "delta": stop, "usage": { "output_tokens": 5 } }));
    all.push(json!({ "type": "message_stop" }));
    (begins, all.iter().map(written).collect())
}

fn block(index: usize, start: &Value, delta: &Value) -> [Value; 3] {
    [
        json!({ "type": "content_block_start", "index": index, "content_block": start }),
        json!({ "type": "content_block_delta", "index": index, "delta": delta }),
        json!({ "type": "content_block_stop", "index": index }),
    ]
}

fn written(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}
