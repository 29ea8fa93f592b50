//! A daemon's own tokens: fetched from an authd, kept, renewed when they are refused.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use kit::{Bound, Clock, Context, Process, Program, Settings, StartError};
use proto::{
    Daemon, Nothing,
    kit::{FORGET_SECRET, ForgetSecret, HEALTH},
};
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
    /// The tokens that were shown to the peer.
    shown: Vec<String>,
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
    let shown = bearer(&headers);
    let number: u64 = shown.replace("token-", "").parse().unwrap_or(0);
    let mut believes = stand.0.lock().unwrap();
    believes.shown.push(shown);
    if number < believes.good_from {
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
/// Held while one is being started: what is in `STARTED` is its.
static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

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

/// A stand-in for authd, and a daemon that calls it.
struct World {
    stand: Stand,
    /// Serves the stand-in until it is dropped.
    _authd: kit::testing::Serving,
    source: ScriptedSource,
    clock: Clock,
    context: Context,
    /// The stand-in, as the daemon calls it.
    peer: kit::Peer,
    /// The daemon itself, as an operator calls it.
    daemon: kit::Peer,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), StartError>>,
}

impl World {
    async fn start() -> Self {
        kit::testing::install_crypto();
        let clock = Clock::manual(Clock::real().now());
        let believes = Believes {
            key: "first-service-key",
            good_from: 0,
            minted: 0,
            refused: vec![],
            shown: vec![],
            limits: false,
            away: false,
            asked_while_away: 0,
        };
        let authority = kit::testing::TestAuthority::new(clock.clone());
        let operator = authority.operator();
        let stand = Stand(Arc::new(Mutex::new(believes)), authority);
        let router = Router::new()
            .route("/v1/service-token", post(token))
            .route("/health", get(health))
            .route("/.well-known/jwks.json", get(jwks))
            .with_state(stand.clone());
        let authd = kit::testing::serve_router(router).await;
        let source = ScriptedSource::default();
        source.set_silently([("AUTHD_SERVICE_KEY", "first-service-key")]);
        let stop = CancellationToken::new();
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
            trace_to: None,
        };
        let _one_at_a_time = STARTING.lock().await;
        let (said, ready) = tokio::sync::oneshot::channel();
        let until = stop.clone();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let running = tokio::spawn(async move {
            kit::run(&PROGRAM, &process, listener, Bound::default(), until, move || {
                said.send(()).unwrap()
            })
            .await
        });
        tokio::time::timeout(LIMIT, ready).await.unwrap().unwrap();
        let context = STARTED.lock().unwrap().take().unwrap();
        let peer = context.peers.get(Daemon::Authd);
        let http = kit::http_client().unwrap();
        let daemons = kit::Peers::with_token(http, [(Daemon::Webd, url)].into(), &operator);
        let daemon = daemons.get(Daemon::Webd);
        Self { stand, _authd: authd, source, clock, context, peer, daemon, stop, running }
    }

    fn believes(&self) -> std::sync::MutexGuard<'_, Believes> {
        self.stand.0.lock().unwrap()
    }

    async fn call(&self) -> Result<(), kit::PeerError> {
        self.peer.call(&HEALTH, &Nothing {}).await.map(drop)
    }

    async fn forget(&self, name: &str) {
        let name = name.to_owned();
        self.daemon.call(&FORGET_SECRET, &ForgetSecret { name }).await.unwrap();
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(LIMIT, self.running).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_a_rotated_key_is_found_without_a_hint() {
    let world = World::start().await;
    world.call().await.unwrap();
    world.call().await.unwrap();
    assert_eq!(world.believes().minted, 1, "a token is kept while it is good");

    // The peer believes only newer tokens now: the call goes through all the same.
    world.believes().good_from = 2;
    world.call().await.unwrap();
    assert_eq!(world.believes().minted, 2);

    // authd's key changes before the source says anything: the refusal is the hint.
    world.source.set_silently([("AUTHD_SERVICE_KEY", "second-service-key")]);
    {
        let mut believes = world.believes();
        (believes.key, believes.good_from) = ("second-service-key", 3);
    }
    world.call().await.unwrap();
    world.call().await.unwrap();
    let counts = {
        let believes = world.believes();
        (believes.minted, believes.refused.len())
    };
    assert_eq!(counts, (3, 1), "one refusal, then the new key");
    let fingerprints: Vec<_> =
        world.context.secrets.status().into_iter().filter_map(|s| s.fingerprint).collect();
    assert_eq!(fingerprints.len(), 1, "the fingerprint key came with the token");

    // This daemon has the next key before authd has, which has heard too many strangers to look: the
    // key before it is shown all the same.
    world.source.set_silently([("AUTHD_SERVICE_KEY", "third-service-key")]);
    world.context.secrets.refresh().await;
    {
        let mut believes = world.believes();
        (believes.limits, believes.good_from) = (true, 4);
    }
    world.call().await.unwrap();
    {
        let mut believes = world.believes();
        assert_eq!(believes.minted, 4);
        assert_eq!(believes.refused.last().unwrap(), "third-service-key", "it was shown first");
        (believes.limits, believes.key) = (false, "third-service-key");
    }

    while_authd_is_away(&world.stand, &world.clock, &world.peer).await;
    world.end().await;
}

/// The peer here believes every token, as a daemon that takes who proves nothing for a stranger.
#[tokio::test]
async fn a_token_of_before_the_key_changed_or_was_forgotten_is_not_shown_again() {
    let world = World::start().await;
    world.call().await.unwrap();
    assert_eq!(world.believes().shown, ["token-1"]);

    // Another key: another token, at the next call. Where authd does not answer, the one at hand is
    // still good.
    world.source.set_silently([("AUTHD_SERVICE_KEY", "second-service-key")]);
    world.believes().away = true;
    world.context.secrets.refresh().await;
    world.call().await.unwrap();
    world.call().await.unwrap();
    assert_eq!(world.believes().asked_while_away, 1, "one call finds it out for all");
    {
        let mut believes = world.believes();
        (believes.away, believes.key) = (false, "second-service-key");
    }
    world.clock.advance(Duration::from_secs(6));
    world.call().await.unwrap();
    world.call().await.unwrap();
    assert_eq!(world.believes().shown, ["token-1", "token-1", "token-1", "token-2", "token-2"]);
    world.believes().key = "third-service-key";
    world.source.set_silently([("AUTHD_SERVICE_KEY", "third-service-key")]);
    world.context.secrets.refresh().await;
    world.call().await.unwrap();
    assert_eq!(world.believes().shown.last().unwrap(), "token-3");

    // What was forgotten ends: also its own key, and the one that sealed what signs; nothing else.
    for (index, name) in
        ["AUTHD_SERVICE_KEY", "AUTHD_SERVICE_KEY_WEBD", "SECRETS_KEY"].into_iter().enumerate()
    {
        world.forget(name).await;
        world.call().await.unwrap();
        world.forget("CHANNEL_SECRET").await;
        world.call().await.unwrap();
        let (shown, token) = (world.believes().shown.clone(), format!("token-{}", index + 4));
        assert_eq!(shown[shown.len() - 2..], [token.clone(), token], "after {name} was forgotten");
    }

    // Nor when authd is away: no token is better than one that has ended.
    world.believes().away = true;
    let calls = world.believes().shown.len();
    world.forget("AUTHD_SERVICE_KEY").await;
    assert!(world.call().await.unwrap_err().is_retryable());
    assert_eq!(world.believes().shown.len(), calls, "a token that has ended was shown");
    world.believes().away = false;
    world.call().await.unwrap();
    assert_eq!(world.believes().shown.last().unwrap(), "token-7");
    world.end().await;
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
