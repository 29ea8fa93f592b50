//! proxyd, started as it is in production, before daemons that tell what they were asked.

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use futures::StreamExt;
use kit::{
    Context,
    testing::{Rig, Serving, TestAuthority, serve_router},
};
use proto::{
    Daemon,
    authd::{ResolveSession, Session},
};
use secrets::testing::ScriptedSource;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::sync::{Notify, broadcast};
use tokio_stream::wrappers::BroadcastStream;

/// What the daemon behind the edge has seen and is told to do.
#[derive(Clone)]
pub struct Daemons {
    pub seen: Arc<Mutex<Vec<(String, HeaderMap, usize)>>>,
    pub events: broadcast::Sender<String>,
    pub left: Arc<Notify>,
    pub go: Arc<Notify>,
}

/// A cookie that authd knows.
pub const COOKIE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

pub struct Edge {
    pub url: String,
    pub address: SocketAddr,
    pub tls: SocketAddr,
    pub daemons: Daemons,
    pub context: Context,
    pub source: ScriptedSource,
    pub webd: Option<Serving>,
    pub internal: Router,
    _authd: Serving,
    _dir: TempDir,
}

impl Edge {
    pub async fn start() -> Self {
        Self::with(|rig| rig).await
    }

    pub async fn with(more: impl FnOnce(Rig) -> Rig) -> Self {
        let daemons = Daemons {
            seen: Arc::default(),
            events: broadcast::channel(64).0,
            left: Arc::default(),
            go: Arc::default(),
        };
        let authority = TestAuthority::new(kit::Clock::real());
        let webd = serve_router(daemons.router()).await;
        let authd = serve_router(daemons.authd()).await;
        let (plain, tls) = (free(), free());
        let (address, tls_address) = (plain.local_addr().unwrap(), tls.local_addr().unwrap());
        let source = ScriptedSource::default();
        let dir = TempDir::new().unwrap();
        let rig = Rig::new(Daemon::Proxyd, dir.path())
            .authority(&authority)
            .source(&source)
            .peer(Daemon::Webd, &webd.url)
            .peer(Daemon::Authd, &authd.url);
        let (mut context, _) = more(rig).build().await;
        context.bound.plain = Some(Arc::new(plain));
        context.bound.tls = Some(Arc::new(tls));
        let internal = proxyd::start(context.clone()).await.unwrap();
        Self {
            url: format!("http://{address}"),
            address,
            tls: tls_address,
            daemons,
            context,
            source,
            webd: Some(webd),
            internal,
            _authd: authd,
            _dir: dir,
        }
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        client().get(self.at(path)).send().await.unwrap()
    }
}

fn free() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

/// Waits until `state` holds, at most ten seconds.
pub async fn until(mut state: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !state().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached).await.expect("the state is reached");
}

impl Daemons {
    /// A webd that tells what it was asked.
    fn router(&self) -> Router {
        Router::new()
            .route("/chat/{token}/events", get(events))
            .route("/chat/{token}/hang", any(hang))
            .route("/chat/{token}/missing", any(|| async { StatusCode::NOT_FOUND }))
            .route("/chat/{token}/break", get(broken))
            .fallback(echo)
            .with_state(self.clone())
    }

    fn authd(&self) -> Router {
        async fn resolve(Json(asked): Json<ResolveSession>) -> Response {
            if asked.cookie != COOKIE {
                let problem = json!({"status": 404, "code": "not_found", "title": "Not found"});
                return (StatusCode::NOT_FOUND, Json(problem)).into_response();
            }
            let expires_at = proto::Timestamp(i64::MAX / 2_000_000);
            let act = asked.acting.map(|daemon| format!("act-for-{daemon}"));
            Json(Session { subject: "operator:local".into(), expires_at, act }).into_response()
        }
        Router::new()
            .route("/v1/sessions/resolve", post(resolve))
            .fallback(echo)
            .with_state(self.clone())
    }

    pub fn last(&self) -> (String, HeaderMap, usize) {
        self.seen.lock().unwrap().last().cloned().expect("the daemon was asked")
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn note(&self, uri: String, headers: HeaderMap, size: usize) {
        self.seen.lock().unwrap().push((uri, headers, size));
    }
}

async fn echo(State(daemons): State<Daemons>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 8 << 20).await;
    let Ok(body) = body else { return StatusCode::BAD_REQUEST.into_response() };
    daemons.note(parts.uri.to_string(), parts.headers, body.len());
    let mut response = Json(json!({"size": body.len()})).into_response();
    let headers = response.headers_mut();
    headers.insert("x-arizuko-internal", "1".parse().unwrap());
    headers.insert("set-cookie", "theme=dark".parse().unwrap());
    response
}

async fn events(State(daemons): State<Daemons>, headers: HeaderMap) -> Response {
    daemons.note("events".into(), headers, 0);
    let told = BroadcastStream::new(daemons.events.subscribe())
        .map(|text| Ok::<_, Infallible>(Bytes::from(format!("data: {}\n\n", text.unwrap()))));
    let first = futures::stream::iter([Ok(Bytes::from_static(b": hello\n\n"))]);
    let body = Body::from_stream(first.chain(told));
    ([("content-type", "text/event-stream")], body).into_response()
}

/// Answers when it is told to, and tells when the client has left instead.
async fn hang(State(daemons): State<Daemons>) -> Response {
    struct Left(Arc<Notify>);
    impl Drop for Left {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    daemons.note("hang".into(), HeaderMap::new(), 0);
    let left = Left(daemons.left.clone());
    daemons.go.notified().await;
    std::mem::forget(left);
    Json(Value::Null).into_response()
}

/// Breaks off in the middle, when it is told to.
async fn broken(State(daemons): State<Daemons>) -> Response {
    let begun = futures::stream::iter([Ok(Bytes::from_static(b"begun"))]);
    let broken = futures::stream::once(async move {
        daemons.go.notified().await;
        Err(std::io::Error::other("broken"))
    });
    Body::from_stream(begun.chain(broken)).into_response()
}
