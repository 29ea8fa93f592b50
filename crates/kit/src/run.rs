//! The life of a daemon: context, listen, secrets, start, serve, drain.

use crate::{
    AnySetting, Bound, Clock, Context, Gate, Health, KeySource, Metrics, Peers, Settings,
    StartError, Stores, Tasks, Timeline, Traces,
    connections::{self, Limits},
    peer, serve, service_key_bundle,
    tokens::Tokens,
    traces::Told,
};
use async_trait::async_trait;
use auth::Jwks;
use axum::Router;
use futures::{FutureExt, future::BoxFuture};
use proto::{Daemon, Nothing, authd};
use secrets::{AnyBundle, KeeperHandle};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// How long a daemon that stops waits for work in flight.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long a peer may leave what was sent to it unacknowledged.
const UNREAD_MAX: Duration = Duration::from_secs(60);

/// A daemon, as a value: what the one binary composes.
#[derive(Clone, Copy)]
pub struct Program {
    /// Which.
    pub daemon: Daemon,
    /// The secrets it declares, without its service key.
    pub bundles: &'static [&'static dyn AnyBundle],
    /// The settings it reads, without those of every daemon.
    pub settings: &'static [&'static dyn AnySetting],
    /// Starts it: answers with what it serves.
    pub start: fn(Context) -> BoxFuture<'static, Result<Router, StartError>>,
}

/// Makes who is told of a daemon's spans.
pub type TraceTo = fn(Context) -> BoxFuture<'static, Result<Arc<dyn Told>, StartError>>;

/// What the daemons of one process share.
#[derive(Clone, Debug)]
pub struct Process {
    /// The instance's name.
    pub instance: String,
    /// The instance's data directory.
    pub data_dir: PathBuf,
    /// What the operator set.
    pub settings: Settings,
    /// The time.
    pub clock: Clock,
    /// The secrets.
    pub keeper: KeeperHandle,
    /// Where each daemon is reached.
    pub urls: BTreeMap<Daemon, String>,
    /// Who is told of what they do, where somebody is.
    pub trace_to: Option<TraceTo>,
}

impl Process {
    /// The context of `daemon`, and the tokens it calls others with.
    fn context(
        &self,
        daemon: Daemon,
        bound: Bound,
        stop: CancellationToken,
    ) -> Result<Context, StartError> {
        let timeline = Timeline::default();
        let http = http_client()?;
        let (metrics, secrets) = (Metrics::default(), self.keeper.for_daemon(daemon.name()));
        secrets.register_metrics(&mut metrics.registry());
        let authd = self.urls.get(&Daemon::Authd).cloned();
        let authd =
            authd.unwrap_or_else(|| format!("http://127.0.0.1:{}", Daemon::Authd.default_port()));
        let tokens = service_key_bundle(daemon).map(|_| {
            let tokens =
                Tokens::new(daemon, http.clone(), authd, self.clock.clone(), secrets.clone());
            Arc::new(tokens)
        });
        Ok(Context {
            daemon,
            instance: self.instance.clone(),
            data_dir: self.data_dir.clone(),
            settings: self.settings.clone(),
            clock: self.clock.clone(),
            secrets,
            tasks: Tasks::new(stop.clone()),
            stores: Stores::default(),
            stop,
            health: Health::default(),
            gate: Gate::new(daemon, &self.instance, self.clock.clone(), &metrics),
            metrics,
            peers: Peers::new(http, self.urls.clone(), tokens),
            bound,
            timeline,
            traces: Traces::new(daemon, self.clock.clone()),
        })
    }
}

/// An HTTP client for calls between daemons: bounded in time, through no proxy.
///
/// # Errors
/// The TLS library could not be set up.
pub fn http_client() -> Result<reqwest::Client, StartError> {
    let failed = |error: reqwest::Error| {
        StartError::Other("the HTTP client could not be made".into(), Some(error.into()))
    };
    peer::client_builder().build().map_err(failed)
}

/// Runs `program` on `listener` until `stop`. `ready` is called once, when it can do its work.
///
/// The listener is served from the beginning, so that `/health` and `/ready` answer while a source
/// of secrets is waited for.
///
/// # Errors
/// It could not start, or lost what it keeps on disk; nothing of it is left running.
pub async fn run(
    program: &Program,
    process: &Process,
    listener: TcpListener,
    bound: Bound,
    stop: CancellationToken,
    ready: impl FnOnce() + Send + 'static,
) -> Result<(), StartError> {
    let stop = stop.child_token();
    let context = process.context(program.daemon, bound, stop.clone())?;
    let span = tracing::info_span!("daemon", daemon = program.daemon.name());
    let alive =
        live(program, context.clone(), process.trace_to, listener, ready).instrument(span.clone());
    let outcome = AssertUnwindSafe(alive).catch_unwind().await.unwrap_or_else(|_| {
        let what = "it panicked while it started; the message is on standard error: report it";
        Err(StartError::Other(what.into(), None))
    });
    stop.cancel();
    let busy = context.tasks.ended(GRACE).instrument(span.clone()).await;
    if !busy.is_empty() {
        let _entered = span.enter();
        tracing::warn!(?busy, "stopped with work unfinished; what is stored is whole");
    }
    // Last: work in flight writes until it has ended. Also when it did not start, so that whoever
    // tries again finds the files free.
    let open = context.stores.close().instrument(span.clone()).await;
    if !open.is_empty() {
        let _entered = span.enter();
        tracing::warn!(?open, "stopped before these were closed; what is stored is whole");
    }
    outcome
}

async fn live(
    program: &Program,
    context: Context,
    trace_to: Option<TraceTo>,
    listener: TcpListener,
    ready: impl FnOnce() + Send + 'static,
) -> Result<(), StartError> {
    let late = serve::Late::default();
    let router = serve::front(&context, late.clone());
    spawn_server(&context, listener, router)?;
    let stop = context.stop.clone();
    let starting = async {
        context.timeline.did("listening");
        prove(&context).await?;
        context.timeline.did("service key");
        if let Some(trace_to) = trace_to {
            context.traces.tell(trace_to(context.clone()).await?);
        }
        late.set((program.start)(context.clone()).await?);
        context.timeline.did("own start");
        context.health.seal();
        Ok::<_, StartError>(())
    };
    tokio::select! {
        started = starting => started?,
        lost = context.stores.lost() => return Err(lost),
        () = stop.cancelled() => return Ok(()),
    }
    let health = context.health.clone();
    tokio::select! {
        () = health.ready() => {
            context.timeline.did("waiting for others");
            tracing::debug!(steps = %context.timeline, "started");
            tracing::info!("ready");
            ready();
        }
        lost = context.stores.lost() => return Err(lost),
        () = stop.cancelled() => return Ok(()),
    }
    tokio::select! {
        lost = context.stores.lost() => Err(lost),
        () = stop.cancelled() => Ok(()),
    }
}

fn spawn_server(
    context: &Context,
    listener: TcpListener,
    router: Router,
) -> Result<(), StartError> {
    let address = listener.local_addr().map_err(|source| {
        StartError::Other("the listener has no address".into(), Some(source.into()))
    })?;
    let listener = crate::context::listen(Some(&Arc::new(listener)), address)?;
    let stop = context.stop.clone();
    context.tasks.spawn("http", async move {
        // Handlers that limit or record who asks find the peer as `ConnectInfo<SocketAddr>`.
        connections::serve(listener, router, stop, Limits::TCP, tuned).await;
    });
    Ok(())
}

/// Sets what the socket can do by itself; none of it is worth refusing a connection for. Who is at
/// the other end.
pub(crate) fn tuned(stream: &tokio::net::TcpStream, peer: SocketAddr) -> SocketAddr {
    stream.set_nodelay(true).ok();
    let unread = u32::try_from(UNREAD_MAX.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, unread).ok();
    rustix::net::sockopt::set_socket_keepalive(stream, true).ok();
    peer
}

/// Gets the daemon's service key, and the keys with which it verifies others.
async fn prove(context: &Context) -> Result<(), StartError> {
    let Some(bundle) = service_key_bundle(context.daemon) else { return Ok(()) };
    let key = context.secrets.watch(bundle).await?;
    if let Some(tokens) = context.peers.tokens() {
        tokens.prove_with(key);
    }
    context.gate.use_keys(Arc::new(RemoteKeys(context.peers.clone())));
    let url = context.peers.get(Daemon::Authd).url().to_owned();
    let needs = context.health.needs(format!("the keys of authd at {url}, which verify tokens"));
    let context = context.clone();
    context.tasks.clone().spawn("keys", async move {
        let mut wait = Duration::from_millis(20);
        while !context.gate.has_keys().await {
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(2)),
            }
        }
        needs.met();
        // Fetched now, so that the first call does not wait for it; a failure shows at that call.
        let authd = context.peers.get(Daemon::Authd);
        if let Err(error) = authd.bearer().await {
            tracing::warn!(%error, "authd gave no token yet");
        }
    });
    Ok(())
}

/// The keys, as authd publishes them.
#[derive(Debug)]
struct RemoteKeys(Peers);

#[async_trait]
impl KeySource for RemoteKeys {
    async fn keys(&self) -> Result<Jwks, String> {
        let authd = self.0.get(Daemon::Authd).without_credential();
        let answer = authd.call(&authd::JWKS, &Nothing {}).await;
        let document = answer.map_err(|error| crate::chain(&error))?;
        serde_json::from_value(document).map_err(|error| error.to_string())
    }
}

/// Keeps secrets out of core dumps and of other processes' reach: no core dumps, not dumpable, so
/// that `/proc/PID/mem` and `environ` are root's alone.
///
/// # Errors
/// The kernel refused.
pub fn harden() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}
