//! A daemon's life: waiting, ready, degraded, stopped.

use axum::Router;
use kit::{Bound, Clock, Context, Process, Program, Settings, StartError};
use proto::{Daemon, kit::Ready};
use secrets::{Bundle, Keeper, Name, Need, Policy, Role, WallClock, testing::ScriptedSource};
use std::{net::TcpListener, sync::Arc, time::Duration};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);
static OWN: Bundle<()> = Bundle {
    needs: &[Need::required(Name::literal("SECRETS_KEY"), "a test")],
    role: Role::Uses,
    parse: |values| values.require(&Name::literal("SECRETS_KEY")).map(drop),
};

/// As authd is: no service key, no keys of another.
const PROGRAM: Program = Program {
    daemon: Daemon::Authd,
    bundles: &[&OWN],
    settings: &[],
    start: |context| Box::pin(start(context)),
};

async fn start(context: Context) -> Result<Router, StartError> {
    context.secrets.watch(&OWN).await?;
    let stop = context.stop.clone();
    context.tasks.spawn("authd.test", async move { stop.cancelled().await });
    context.health.degraded("mail", Some("the test says so".into()));
    Ok(kit::Api::new(&context).into_router())
}

struct Running {
    url: String,
    stop: CancellationToken,
    ready: oneshot::Receiver<()>,
    ended: tokio::task::JoinHandle<Result<(), StartError>>,
}

fn running(source: &ScriptedSource) -> Running {
    running_of(&PROGRAM, source)
}

fn running_of(program: &'static Program, source: &ScriptedSource) -> Running {
    kit::testing::install_crypto();
    let stop = CancellationToken::new();
    let clock = Clock::real();
    let wall = clock.clone();
    let policy = Policy::new(WallClock::new(move || wall.system()));
    let (keeper, handle) = Keeper::new(vec![Arc::new(source.clone())], policy);
    tokio::spawn(keeper.run(stop.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let process = Process {
        instance: "test".into(),
        data_dir: std::env::temp_dir(),
        settings: Settings::default(),
        clock,
        keeper: handle,
        urls: [].into(),
        trace_to: None,
    };
    let (said, ready) = oneshot::channel();
    let until = stop.clone();
    let ended = tokio::spawn(async move {
        let say = move || said.send(()).unwrap();
        kit::run(program, &process, listener, Bound::default(), until, say).await
    });
    Running { url, stop, ready, ended }
}

async fn ready(url: &str) -> (u16, Ready) {
    let answer = kit::http_client().unwrap().get(format!("{url}/ready")).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn figures(url: &str) -> String {
    let asked = kit::http_client().unwrap().get(format!("{url}/metrics")).send();
    asked.await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn an_unreachable_source_is_waited_for_with_the_reason_on_ready() {
    let source = ScriptedSource::default();
    source.set_silently([("SECRETS_KEY", "0123456789abcdef0123456789abcdef")]);
    source.fail();
    let running = running(&source);

    let http = kit::http_client().unwrap();
    assert_eq!(http.get(format!("{}/health", running.url)).send().await.unwrap().status(), 200);
    let waiting = tokio::time::timeout(LIMIT, async {
        loop {
            let (status, said) = ready(&running.url).await;
            assert_eq!(status, 503, "ready without its secret: {said:?}");
            if said
                .waiting_for
                .iter()
                .any(|line| line.contains("SECRETS_KEY") && line.contains("scripted"))
            {
                return said;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(!waiting.await.unwrap().ready);
    assert!(figures(&running.url).await.contains("arizuko_ready 0\n"));
    let early = http.get(format!("{}/openapi.json", running.url)).send().await.unwrap();
    assert_eq!(early.status(), 503, "nothing of its own is served before it has started");

    source.repair();
    source.hint();
    tokio::time::timeout(LIMIT, running.ready).await.unwrap().unwrap();
    let (status, said) = ready(&running.url).await;
    assert_eq!((status, said.ready), (200, true));
    assert_eq!(said.degraded, ["mail: the test says so"]);
    let told = figures(&running.url).await;
    for line in ["arizuko_ready 1", "arizuko_degraded{part=\"mail\"} 1"] {
        assert!(told.lines().any(|told| told == line), "{line} is not in:\n{told}");
    }
    assert!(!told.contains("arizuko_data_free_bytes"), "of a disk that is not its own:\n{told}");

    running.stop.cancel();
    tokio::time::timeout(LIMIT, running.ended).await.unwrap().unwrap().unwrap();
    assert!(http.get(format!("{}/health", running.url)).send().await.is_err(), "still served");
}

#[tokio::test]
async fn a_missing_secret_is_a_refusal_that_names_it_and_exits_78() {
    let running = running(&ScriptedSource::default());
    let error = tokio::time::timeout(LIMIT, running.ended).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.exit_code(), 78);
    let line = kit::chain(&error);
    assert!(line.contains("SECRETS_KEY") && line.contains("scripted"), "{line}");
    let health = kit::http_client().unwrap().get(format!("{}/health", running.url)).send().await;
    assert!(health.is_err(), "a daemon that did not start still listens");
}

#[tokio::test]
async fn a_panic_at_the_start_is_a_refusal_to_start_and_nothing_is_left_running() {
    static PANICS: Program =
        Program { start: |_| Box::pin(async { panic!("a defect") }), ..PROGRAM };
    let running = running_of(&PANICS, &ScriptedSource::default());
    let error = tokio::time::timeout(LIMIT, running.ended).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.exit_code(), 70);
    assert!(error.to_string().contains("panicked"), "{error}");
    let health = kit::http_client().unwrap().get(format!("{}/health", running.url)).send().await;
    assert!(health.is_err(), "a daemon that did not start still listens");
}

/// What the test does to a store, and what it was told.
mod shelf {
    use kit::{Context, Store};
    use std::sync::{LazyLock, Mutex};
    use tokio::sync::Notify;

    pub static BROKEN: LazyLock<Notify> = LazyLock::new(Notify::new);
    pub static SAID: Mutex<Vec<&str>> = Mutex::new(Vec::new());

    pub fn say(what: &'static str) {
        SAID.lock().unwrap().push(what);
    }

    pub fn keep(context: &Context) {
        context.keep(Store {
            name: "shelf.db",
            trouble: Box::new(|| Some("the disk fell over".into())),
            lost: Box::pin(async { BROKEN.notified().await }),
            close: Box::pin(async { say("closed") }),
        });
        let stop = context.stop.clone();
        context.tasks.spawn("authd.writes", async move {
            stop.cancelled().await;
            // What stops late still writes.
            tokio::task::yield_now().await;
            say("written");
        });
    }
}

#[tokio::test]
async fn a_daemon_that_loses_its_database_ends_with_an_error_and_one_that_stops_closes_it_last() {
    static KEEPS: Program = Program {
        start: |context| {
            Box::pin(async move {
                shelf::keep(&context);
                start(context).await
            })
        },
        ..PROGRAM
    };
    let source = ScriptedSource::default();
    source.set_silently([("SECRETS_KEY", "0123456789abcdef0123456789abcdef")]);
    let http = kit::http_client().unwrap();

    let running = running_of(&KEEPS, &source);
    tokio::time::timeout(LIMIT, running.ready).await.unwrap().unwrap();
    let (status, said) = ready(&running.url).await;
    assert_eq!(status, 200);
    assert!(said.degraded.iter().any(|line| line == "shelf.db: the disk fell over"), "{said:?}");
    let told = figures(&running.url).await;
    assert!(told.contains("arizuko_degraded{part=\"shelf.db\"} 1\n"), "{told}");
    assert!(told.contains("arizuko_data_free_bytes ") && told.contains("arizuko_data_size_bytes "));
    shelf::BROKEN.notify_one();
    let error = tokio::time::timeout(LIMIT, running.ended).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.exit_code(), 75);
    assert!(error.to_string().contains("shelf.db: the disk fell over"), "{error}");
    let health = http.get(format!("{}/health", running.url)).send().await;
    assert!(health.is_err(), "a daemon without its database answers /health");

    shelf::SAID.lock().unwrap().clear();
    let running = running_of(&KEEPS, &source);
    tokio::time::timeout(LIMIT, running.ready).await.unwrap().unwrap();
    running.stop.cancel();
    tokio::time::timeout(LIMIT, running.ended).await.unwrap().unwrap().unwrap();
    assert_eq!(*shelf::SAID.lock().unwrap(), ["written", "closed"], "closed before the last write");
}
