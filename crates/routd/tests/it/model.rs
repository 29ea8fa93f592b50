//! A model's API that the test plays, over real HTTP: it accepts the keys it is told to, answers as scripted, and
//! remembers what it was asked.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::Value;
use std::{
    collections::{BTreeSet, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex},
};
use tokio::sync::Notify;

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Server-sent events, in pieces of this many bytes.
    Events(String, usize),
    /// These bytes of a stream, and then nothing more until the other side goes.
    Held(String),
    /// These bytes of a stream, and then the connection breaks.
    Broken(String),
    Json(Value),
    /// An error or something else, with a header.
    Status(u16, (&'static str, String), String),
    /// Nothing at all.
    Silent,
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub place: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What was presented, under whichever header.
    pub key: String,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Clone, Default)]
pub struct Model(Arc<Inner>);

#[derive(Default)]
struct Inner {
    accepted: Mutex<BTreeSet<String>>,
    script: Mutex<VecDeque<Reply>>,
    asked: Mutex<Vec<Asked>>,
    gone: Mutex<u32>,
    hold: Mutex<Option<Arc<Notify>>>,
}

impl Model {
    /// Serves it; answers with its address.
    pub async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(any(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    /// From now on these keys are good, and no others.
    pub fn accept<const N: usize>(&self, keys: [&str; N]) {
        *self.0.accepted.lock().unwrap() = keys.map(str::to_owned).into();
    }

    pub fn reply(&self, reply: Reply) {
        self.0.script.lock().unwrap().push_back(reply);
    }

    /// Forgets the replies that nobody asked for.
    pub fn forget(&self) {
        self.0.script.lock().unwrap().clear();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.0.asked.lock().unwrap().clone()
    }

    /// The keys that were presented, in order.
    pub fn keys(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.key).collect()
    }

    /// Has the next refusal of a key wait for this.
    pub fn hold_refusal(&self) -> Arc<Notify> {
        self.0.hold.lock().unwrap().insert(Arc::default()).clone()
    }

    /// How many held answers the other side left.
    pub fn gone(&self) -> u32 {
        *self.0.gone.lock().unwrap()
    }
}

struct Leaving(Model);

impl Drop for Leaving {
    fn drop(&mut self) {
        *self.0.0.gone.lock().unwrap() += 1;
    }
}

async fn answer(State(model): State<Model>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer =
        header("authorization").map(|value| value.trim_start_matches("Bearer ").to_owned());
    let key = header("x-api-key").map(str::to_owned).or(bearer).unwrap_or_default();
    let place = format!("{} {}", parts.method, parts.uri);
    let asked = Asked { place, headers: parts.headers.clone(), body, key: key.clone() };
    model.0.asked.lock().unwrap().push(asked);
    if !model.0.accepted.lock().unwrap().contains(&key) {
        let hold = model.0.hold.lock().unwrap().take();
        if let Some(hold) = hold {
            hold.notified().await;
        }
        // As careless servers do, it says what it was shown.
        return (StatusCode::UNAUTHORIZED, format!("{{\"error\":\"bad key {key}\"}}"))
            .into_response();
    }
    let reply = model.0.script.lock().unwrap().pop_front();
    let events = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")];
    match reply.expect("the test has scripted a reply") {
        Reply::Events(text, size) => {
            let pieces: Vec<_> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
            let pieces = stream::iter(pieces).then(async |piece| {
                // So that each is written by itself.
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(piece)
            });
            (events, Body::from_stream(pieces)).into_response()
        }
        Reply::Held(text) => {
            let leaving = Leaving(model.clone());
            let first = stream::once(async move { Ok::<_, Infallible>(Bytes::from(text)) });
            let held = first.chain(stream::pending()).map(move |piece| {
                let _held = &leaving;
                piece
            });
            (events, Body::from_stream(held)).into_response()
        }
        Reply::Broken(text) => {
            let first = stream::once(async move { Ok(Bytes::from(text)) });
            let broken = first.chain(stream::once(async {
                // What came before is written first.
                tokio::task::yield_now().await;
                Err(std::io::Error::other("broken"))
            }));
            (events, Body::from_stream(broken)).into_response()
        }
        Reply::Json(value) => axum::Json(value).into_response(),
        Reply::Status(status, header, body) => {
            (StatusCode::from_u16(status).unwrap(), [header], body).into_response()
        }
        Reply::Silent => std::future::pending().await,
    }
}
