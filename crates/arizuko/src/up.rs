//! `arizuko up`: the whole suite in one process; and `arizuko run`: one daemon of it.

use crate::{
    addresses::{self, Addresses},
    cli::Up,
    daemons::{self, PROGRAMS},
    failure::{Exit, Failure},
    instance::{Environment, Instance},
    output::Output,
    session, sources,
};
use kit::{Bound, Clock, Process, Program, StartError, parse};
use proto::Daemon;
use proxyd::PROXYD_TLS_ADDR;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    net,
};
use secrets::{Keeper, Policy, WallClock};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IsTerminal},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// The edge's port for TLS.
const TLS_PORT: u16 = 8443;
/// The first wait before a daemon that failed starts again; it doubles up to [`RESTART_MAX`].
const RESTART_MIN: Duration = Duration::from_millis(200);
/// The longest such wait.
const RESTART_MAX: Duration = Duration::from_secs(30);

/// One daemon with its sockets, ready to start.
struct Place {
    program: &'static Program,
    listener: TcpListener,
    bound: Bound,
    process: Process,
}

/// Runs every daemon until SIGTERM or SIGINT.
///
/// # Errors
/// The instance cannot be made, an address is taken, or a daemon does not start.
pub async fn up(
    instance: &Instance,
    environment: &Environment,
    args: &Up,
    output: Output,
) -> Result<(), Failure> {
    let made = instance.create(environment).await?;
    if made.directory {
        output.note(&format!("made the instance {} in {}", instance.name, instance.dir.display()));
    }
    let _only_one = lock(instance)?;
    let stop = CancellationToken::new();
    let mut keeper_tasks = JoinSet::new();
    let process = process(instance, environment, &stop, &mut keeper_tasks)?;
    let (places, found) = places(instance, process, args)?;
    let written = found.write(instance)?;
    let (ready, mut all_ready) = mpsc::channel(PROGRAMS.len());
    let mut running = JoinSet::new();
    let (count, keeper) = (places.len(), places.first().map(|place| place.process.keeper.clone()));
    for place in places {
        running.spawn(supervised(place, stop.clone(), ready.clone()));
    }
    drop(ready);
    let mut signals = Signals::new()?;
    let announce = async {
        for _ in 0..count {
            if all_ready.recv().await.is_none() {
                return Ok(());
            }
        }
        announce(instance, &found, output).await
    };
    tokio::pin!(announce);
    let mut announced = false;
    let outcome = loop {
        tokio::select! {
            said = &mut announce, if !announced => {
                announced = true;
                if let Err(failure) = said { break Err(failure); }
            }
            ended = running.join_next() => match ended {
                Some(Ok(Err(failure))) => break Err(failure),
                Some(Err(error)) => break Err(Failure::new(Exit::Software, error.to_string())),
                Some(Ok(Ok(()))) => {}
                None => break Ok(()),
            },
            signal = signals.next() => match signal {
                Signal::Refresh => if let Some(keeper) = &keeper { keeper.refresh("SIGHUP").await },
                Signal::Stop => break Ok(()),
            },
        }
    };
    drop(written);
    finish(stop, running, keeper_tasks).await;
    outcome
}

/// Runs one daemon until SIGTERM or SIGINT.
///
/// # Errors
/// Its address is taken, or it does not start.
pub async fn run(
    instance: &Instance,
    environment: &Environment,
    daemon: Daemon,
    output: Output,
) -> Result<(), Failure> {
    let program = daemons::program(daemon).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{daemon} is not part of this build of arizuko"))
    })?;
    if !instance.dir.is_dir() {
        let line = format!(
            "there is no instance in {}; make it with `arizuko create {}`",
            instance.dir.display(),
            instance.name
        );
        return Err(Failure::new(Exit::Config, line));
    }
    let stop = CancellationToken::new();
    let mut keeper_tasks = JoinSet::new();
    let mut process = process(instance, environment, &stop, &mut keeper_tasks)?;
    process.urls = Addresses::find(instance)?.daemons;
    let address = address(instance, daemon, "LISTEN_ADDR", default_address(daemon))?;
    let (listener, bound) = match daemon {
        Daemon::Proxyd => {
            let admin = instance.settings.get(&daemons::PROXYD_ADMIN_ADDR)?;
            (bind(admin)?, Bound { plain: Some(Arc::new(bind(address)?)), tls: None })
        }
        _ => (bind(address)?, Bound::default()),
    };
    let keeper = process.keeper.clone();
    let place = Place { program, listener, bound, process };
    let (ready, mut is_ready) = mpsc::channel(1);
    let mut running = JoinSet::new();
    running.spawn(supervised(place, stop.clone(), ready));
    let mut signals = Signals::new()?;
    let outcome = loop {
        tokio::select! {
            Some(()) = is_ready.recv() => output.line(&format!("ready {daemon} {address}"))?,
            ended = running.join_next() => match ended {
                Some(Ok(Err(failure))) => break Err(failure),
                Some(Err(error)) => break Err(Failure::new(Exit::Software, error.to_string())),
                _ => break Ok(()),
            },
            signal = signals.next() => match signal {
                Signal::Refresh => keeper.refresh("SIGHUP").await,
                Signal::Stop => break Ok(()),
            },
        }
    };
    finish(stop, running, keeper_tasks).await;
    outcome
}

/// Makes sure that no other `up` has this instance. The kernel lets go of the lock when the process
/// ends, however it ends.
fn lock(instance: &Instance) -> Result<File, Failure> {
    let path = instance.run_dir().join("up.lock");
    let failed = |error: io::Error| Failure::io("lock", &path, &error);
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            let by = Addresses::find(instance).map(|found| found.pid).unwrap_or_default();
            let line = format!(
                "the instance {} runs already, as process {by}; stop that one, or name another with --instance",
                instance.name
            );
            Err(Failure::new(Exit::TryAgain, line))
        }
        Err(error) => Err(failed(error.into())),
    }
}

/// What the daemons of this process share; the keeper of secrets runs from here on.
fn process(
    instance: &Instance,
    environment: &Environment,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> Result<Process, Failure> {
    let clock = Clock::real();
    let wall = clock.clone();
    let policy =
        sources::policy(&instance.settings, Policy::new(WallClock::new(move || wall.system())))?;
    let (keeper, handle) = Keeper::new(sources::chain(instance, environment)?, policy);
    tasks.spawn(keeper.run(stop.clone()));
    Ok(Process {
        instance: instance.name.clone(),
        data_dir: instance.dir.clone(),
        settings: instance.settings.clone(),
        clock,
        keeper: handle,
        urls: BTreeMap::new(),
    })
}

/// Binds every socket before anything starts, so that each daemon knows where the others are.
fn places(
    instance: &Instance,
    process: Process,
    args: &Up,
) -> Result<(Vec<Place>, Addresses), Failure> {
    let mut found = Addresses { pid: std::process::id(), ..Addresses::default() };
    let mut bound = Vec::new();
    for program in PROGRAMS {
        let daemon = program.daemon;
        let port = shifted(daemons::port(daemon), args.port_base);
        let loopback = SocketAddr::from(([127, 0, 0, 1], port));
        let (listener, public) = if daemon == Daemon::Proxyd {
            let edge_port = shifted(daemon.default_port(), args.port_base);
            let default = SocketAddr::from(([127, 0, 0, 1], edge_port));
            let edge = address(instance, daemon, "PROXYD_LISTEN_ADDR", default)?;
            (bind(loopback)?, edge_sockets(instance, edge, args, &mut found)?)
        } else {
            let setting = format!("{}_LISTEN_ADDR", daemon.name().to_uppercase());
            (bind(address(instance, daemon, &setting, loopback)?)?, Bound::default())
        };
        found.daemons.insert(daemon, url("http", &listener)?);
        bound.push((program, listener, public));
    }
    for (daemon, url) in &mut found.daemons {
        if let Some(set) = addresses::set_url(&instance.settings, *daemon)? {
            *url = set;
        }
    }
    let tls = tls_address(instance, args)?.to_string();
    let settings = process.settings.with(PROXYD_TLS_ADDR.name, tls);
    let process = Process { urls: found.daemons.clone(), settings, ..process };
    let place =
        |(program, listener, bound)| Place { program, listener, bound, process: process.clone() };
    Ok((bound.into_iter().map(place).collect(), found))
}

/// The public sockets of the edge. The one for TLS is bound here only where its port must be known.
fn edge_sockets(
    instance: &Instance,
    edge: SocketAddr,
    args: &Up,
    found: &mut Addresses,
) -> Result<Bound, Failure> {
    let plain = bind(edge)?;
    found.edge = url("http", &plain)?;
    let mut tls = None;
    if args.port_base.is_some() {
        let listener = reserve(tls_address(instance, args)?)?;
        found.edge_tls = Some(url("https", &listener)?);
        tls = Some(Arc::new(listener));
    }
    Ok(Bound { plain: Some(Arc::new(plain)), tls })
}

/// Where the edge serves TLS in `up`: on loopback, unless it was set.
fn tls_address(instance: &Instance, args: &Up) -> Result<SocketAddr, Failure> {
    if instance.settings.raw(PROXYD_TLS_ADDR.name, "").0.is_empty() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], shifted(TLS_PORT, args.port_base))));
    }
    Ok(instance.settings.get(&PROXYD_TLS_ADDR)?)
}

/// Takes `address` without listening, so that its port is known and whoever connects before the
/// edge has a certificate is refused at once.
fn reserve(address: SocketAddr) -> Result<TcpListener, Failure> {
    let take = || -> io::Result<TcpListener> {
        let family = match address {
            SocketAddr::V4(_) => net::AddressFamily::INET,
            SocketAddr::V6(_) => net::AddressFamily::INET6,
        };
        let flags = net::SocketFlags::CLOEXEC;
        let socket = net::socket_with(family, net::SocketType::STREAM, flags, None)?;
        net::sockopt::set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &address)?;
        Ok(TcpListener::from(socket))
    };
    take().map_err(|source| StartError::Listen { address, source }.into())
}

/// A default port, moved to where `--port-base` wants it; 0 for any free one.
fn shifted(port: u16, base: Option<u16>) -> u16 {
    match (base, port) {
        (None, port) => port,
        (Some(0), _) => 0,
        // The edge's TLS port comes right after the others.
        (Some(base), TLS_PORT) => base.saturating_add(12),
        (Some(base), port) => base.saturating_add(port - 8080),
    }
}

/// Where a daemon that runs by itself listens, unless it is told.
fn default_address(daemon: Daemon) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], daemon.default_port()))
}

/// The address that `setting` names, in the environment or the file, or `default`.
fn address(
    instance: &Instance,
    daemon: Daemon,
    setting: &str,
    default: SocketAddr,
) -> Result<SocketAddr, Failure> {
    let (text, place) = instance.settings.raw(setting, "");
    if text.is_empty() {
        return Ok(default);
    }
    parse::socket_addr(&text).ok_or_else(|| {
        let line = format!(
            "the setting {setting} of {daemon} is `{text}`, from {}; expected {}",
            place.name(),
            daemons::LISTEN_ADDR.expects
        );
        Failure::new(Exit::Config, line)
    })
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|source| StartError::Listen { address, source }.into())
}

fn url(scheme: &str, listener: &TcpListener) -> Result<String, Failure> {
    let address = listener.local_addr();
    let address = address.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
    // Something that listens everywhere is reached at the loopback address.
    let host =
        if address.ip().is_unspecified() { "127.0.0.1".into() } else { address.ip().to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(format!("{scheme}://{host}:{}", address.port()))
}

/// Runs one daemon, again when it fails after it was ready. A failure before that is final.
async fn supervised(
    place: Place,
    stop: CancellationToken,
    ready: mpsc::Sender<()>,
) -> Result<(), Failure> {
    let was_ready = CancellationToken::new();
    let mut wait = RESTART_MIN;
    loop {
        let listener = place.listener.try_clone();
        let listener = listener.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
        let (flag, ready) = (was_ready.clone(), ready.clone());
        let say = move || {
            flag.cancel();
            // Nobody listens any more once every daemon has been ready.
            let _unheard = ready.try_send(()).is_err();
        };
        let run = kit::run(
            place.program,
            &place.process,
            listener,
            place.bound.clone(),
            stop.clone(),
            say,
        );
        let daemon = place.program.daemon;
        match run.await {
            Ok(()) => return Ok(()),
            Err(error) if !was_ready.is_cancelled() => {
                let failure = Failure::from(error);
                return Err(Failure {
                    code: failure.code,
                    line: format!("{daemon}: {}", failure.line),
                });
            }
            Err(error) => {
                tracing::error!(%daemon, error = kit::chain(&error), "a daemon failed; starting it again");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(RESTART_MAX),
        }
    }
}

/// Says that everything works, and on a terminal how to get in.
async fn announce(instance: &Instance, found: &Addresses, output: Output) -> Result<(), Failure> {
    output.line(&format!("ready {}", found.edge))?;
    if io::stdout().is_terminal() {
        let link = session::login_link(instance).await?;
        output.line(&format!("log in once, within ten minutes: {}{}", found.edge, link.path))?;
    }
    Ok(())
}

/// Stops everything and waits for it, for as long as the daemons' own grace and a little.
async fn finish(
    stop: CancellationToken,
    mut running: JoinSet<Result<(), Failure>>,
    mut keeper: JoinSet<()>,
) {
    stop.cancel();
    let all = async {
        while running.join_next().await.is_some() {}
        while keeper.join_next().await.is_some() {}
    };
    if tokio::time::timeout(kit::GRACE + Duration::from_secs(5), all).await.is_err() {
        tracing::warn!("stopped before everything had ended; what is stored is whole");
    }
}

enum Signal {
    Refresh,
    Stop,
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let on = |kind| {
            signal(kind)
                .map_err(|error| Failure::new(Exit::Software, format!("no signals: {error}")))
        };
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Refresh,
        }
    }
}
