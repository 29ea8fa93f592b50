//! A daemon's own tokens: fetched from an authd, kept, renewed when they are refused.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use kit::{Bound, Clock, Context, Process, Program, Settings, StartError};
use proto::{Daemon, Nothing, kit::HEALTH};
use secrets::{Keeper, Policy, WallClock, testing::ScriptedSource};
use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);

/// A stand-in for authd and for a peer: believes one service key, and one token.
#[derive(Clone)]
struct Stand(Arc<Mutex<Believes>>, kit::testing::TestAuthority);

struct Believes {
    key: &'static str,
    good_from: u64,
    minted: u64,
    refused: Vec<String>,
    /// It has refused this address so often that it says 429 to what it does not know.
    limits: bool,
    /// It answers that it cannot, and counts who asks.
    away: bool,
    asked_while_away: u64,
}

fn bearer(headers: &HeaderMap) -> String {
    headers
        .get("authorization")
        .map(|v| v.to_str().unwrap().replace("Bearer ", ""))
        .unwrap_or_default()
}

async fn token(State(stand): State<Stand>, headers: HeaderMap) -> axum::response::Response {
    use axum::response::IntoResponse;
    let mut believes = stand.0.lock().unwrap();
    if believes.away {
        believes.asked_while_away += 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let shown = bearer(&headers);
    if shown != believes.key {
        believes.refused.push(shown);
        let limited = StatusCode::TOO_MANY_REQUESTS;
        let status = if believes.limits { limited } else { StatusCode::UNAUTHORIZED };
        return status.into_response();
    }
    believes.minted += 1;
    let token = format!("token-{}", believes.minted);
    axum::Json(serde_json::json!({
        "token": token, "token_type": "Bearer", "expires_in": 900, "scope": [],
        "fingerprint_key": "00".repeat(32),
    }))
    .into_response()
}

async fn health(State(stand): State<Stand>, headers: HeaderMap) -> axum::response::Response {
    use axum::response::IntoResponse;
    let number: u64 = bearer(&headers).replace("token-", "").parse().unwrap_or(0);
    if number < stand.0.lock().unwrap().good_from {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    axum::Json(serde_json::json!({
        "status": "ok", "daemon": "authd", "version": "", "pid": 1, "started_at": "2026-01-01T00:00:00Z"
    }))
    .into_response()
}

async fn jwks(State(stand): State<Stand>) -> axum::Json<serde_json::Value> {
    use kit::KeySource;
    axum::Json(serde_json::to_value(stand.1.keys().await.unwrap()).unwrap())
}

static STARTED: Mutex<Option<Context>> = Mutex::new(None);

const PROGRAM: Program = Program {
    daemon: Daemon::Webd,
    bundles: &[],
    settings: &[],
    start: |context| Box::pin(start(context)),
};

async fn start(context: Context) -> Result<Router, StartError> {
    *STARTED.lock().unwrap() = Some(context);
    Ok(Router::new())
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_a_rotated_key_is_found_without_a_hint() {
    kit::testing::install_crypto();
    let believes = Believes {
        key: "first-service-key",
        good_from: 0,
        minted: 0,
        refused: vec![],
        limits: false,
        away: false,
        asked_while_away: 0,
    };
    let stand =
        Stand(Arc::new(Mutex::new(believes)), kit::testing::TestAuthority::new(Clock::real()));
    let router = Router::new()
        .route("/v1/service-token", post(token))
        .route("/health", get(health))
        .route("/.well-known/jwks.json", get(jwks))
        .with_state(stand.clone());
    let authd = kit::testing::serve_router(router).await;
    let source = ScriptedSource::default();
    source.set_silently([("AUTHD_SERVICE_KEY", "first-service-key")]);
    let stop = CancellationToken::new();
    let clock = Clock::manual(Clock::real().now());
    let wall = clock.clone();
    let policy = Policy::new(WallClock::new(move || wall.system()));
    let (keeper, handle) = Keeper::new(vec![Arc::new(source.clone())], policy);
    tokio::spawn(keeper.run(stop.clone()));
    let process = Process {
        instance: kit::testing::INSTANCE.into(),
        data_dir: std::env::temp_dir(),
        settings: Settings::default(),
        clock: clock.clone(),
        keeper: handle,
        urls: [(Daemon::Authd, authd.url.clone())].into(),
    };
    let (said, ready) = tokio::sync::oneshot::channel();
    let until = stop.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let running = tokio::spawn(async move {
        kit::run(&PROGRAM, &process, listener, Bound::default(), until, move || {
            said.send(()).unwrap()
        })
        .await
    });
    tokio::time::timeout(LIMIT, ready).await.unwrap().unwrap();
    let context = STARTED.lock().unwrap().take().unwrap();
    let peer = context.peers.get(Daemon::Authd);

    peer.call(&HEALTH, &Nothing {}).await.unwrap();
    peer.call(&HEALTH, &Nothing {}).await.unwrap();
    assert_eq!(stand.0.lock().unwrap().minted, 1, "a token is kept while it is good");

    // The peer believes only newer tokens now: the call goes through all the same.
    stand.0.lock().unwrap().good_from = 2;
    peer.call(&HEALTH, &Nothing {}).await.unwrap();
    assert_eq!(stand.0.lock().unwrap().minted, 2);

    // authd's key changes before the source says anything: the refusal is the hint.
    source.set_silently([("AUTHD_SERVICE_KEY", "second-service-key")]);
    {
        let mut believes = stand.0.lock().unwrap();
        (believes.key, believes.good_from) = ("second-service-key", 3);
    }
    peer.call(&HEALTH, &Nothing {}).await.unwrap();
    let counts = {
        let believes = stand.0.lock().unwrap();
        (believes.minted, believes.refused.len())
    };
    assert_eq!(counts, (3, 1), "one refusal, then the new key");
    let fingerprints: Vec<_> =
        context.secrets.status().into_iter().filter_map(|s| s.fingerprint).collect();
    assert_eq!(fingerprints.len(), 1, "the fingerprint key came with the token");

    // This daemon has the next key before authd has, which has heard too many strangers to look: the
    // key before it is shown all the same.
    source.set_silently([("AUTHD_SERVICE_KEY", "third-service-key")]);
    context.secrets.refresh().await;
    {
        let mut believes = stand.0.lock().unwrap();
        (believes.limits, believes.good_from) = (true, 4);
    }
    peer.call(&HEALTH, &Nothing {}).await.unwrap();
    {
        let mut believes = stand.0.lock().unwrap();
        assert_eq!(believes.minted, 4);
        assert_eq!(believes.refused.last().unwrap(), "third-service-key", "it was shown first");
        (believes.limits, believes.key) = (false, "third-service-key");
    }

    while_authd_is_away(&stand, &clock, &peer).await;

    stop.cancel();
    tokio::time::timeout(LIMIT, running).await.unwrap().unwrap().unwrap();
}

/// Nobody waits for an authd that does not answer, as long as there is a token.
async fn while_authd_is_away(stand: &Stand, clock: &Clock, peer: &kit::Peer) {
    // Two thirds of the token's time are over, and authd is away: the old one is good, and one call
    // finds that out for all.
    stand.0.lock().unwrap().away = true;
    clock.advance(Duration::from_secs(11 * 60));
    for _ in 0..5 {
        peer.call(&HEALTH, &Nothing {}).await.unwrap();
    }
    assert_eq!(stand.0.lock().unwrap().asked_while_away, 1);
    clock.advance(Duration::from_secs(6));
    peer.call(&HEALTH, &Nothing {}).await.unwrap();
    assert_eq!(stand.0.lock().unwrap().asked_while_away, 2, "it is tried again now and then");

    // Its time is over: calls fail so that they may be tried again, and do not queue for it.
    clock.advance(Duration::from_secs(15 * 60));
    let all = (0..20).map(|_| peer.call(&HEALTH, &Nothing {}));
    for answer in futures::future::join_all(all).await {
        assert!(answer.unwrap_err().is_retryable());
    }
    let asked = stand.0.lock().unwrap().asked_while_away;
    assert_eq!(asked, 4, "the first asked, and one more for all that came meanwhile");
    stand.0.lock().unwrap().away = false;
    peer.call(&HEALTH, &Nothing {}).await.unwrap();
}
