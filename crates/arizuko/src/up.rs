//! `arizuko up`: the whole suite in one process; and `arizuko run`: one daemon of it.

use crate::{
    addresses::{self, Addresses},
    cli::Up,
    daemons::{self, PROGRAMS},
    failure::{Exit, Failure},
    instance::{Environment, Instance, SETTINGS_FILE},
    otlp,
    output::Output,
    session, sources, strangers, tidy,
};
use kit::{Bound, Clock, Process, Program, parse};
use proto::Daemon;
use proxyd::PROXYD_TLS_ADDR;
use rustix::net;
use secrets::{Keeper, KeeperHandle, Policy, WallClock};
use std::{
    collections::BTreeMap,
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
    check_settings(instance, &PROGRAMS.iter().collect::<Vec<_>>(), output)?;
    for line in strangers::lacks(&instance.settings) {
        output.note(line);
    }
    let made = instance.create(environment).await?;
    if made.directory {
        output.note(&format!("made the instance {} in {}", instance.name, instance.dir.display()));
    }
    let _only_one = addresses::lock(instance).await?;
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let mut keeper_tasks = JoinSet::new();
    let process = process(instance, environment, &stop, &mut keeper_tasks)?;
    keeper_tasks.spawn(tidy::run(instance.clone(), environment.clone(), stop.clone()));
    let (places, found) = places(instance, process, args)?;
    let written = found.write(instance)?;
    let (ready, mut all_ready) = mpsc::channel(PROGRAMS.len());
    let mut running = JoinSet::new();
    let (count, keeper) = (places.len(), places.first().map(|place| place.process.keeper.clone()));
    for place in places {
        running.spawn(supervised(place, stop.clone(), ready.clone()));
    }
    drop(ready);
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
                Signal::Refresh => refresh(keeper.as_ref(), &mut keeper_tasks),
                Signal::Stop => break Ok(()),
            },
        }
    };
    finish(stop, running, keeper_tasks).await;
    // Only now: whoever looks for a daemon that is about to end must not find another instance's.
    drop(written);
    outcome
}

/// Runs one daemon until SIGTERM or SIGINT.
///
/// # Errors
/// Its address is taken, it does not start, or it cannot go on.
pub async fn run(
    instance: &Instance,
    environment: &Environment,
    daemon: Daemon,
    output: Output,
) -> Result<(), Failure> {
    let program = daemons::program(daemon).ok_or_else(|| {
        let names: Vec<_> = PROGRAMS.iter().map(|program| program.daemon.name()).collect();
        let line =
            format!("{daemon} is not part of this build of arizuko, which has {}", names.join(" "));
        Failure::new(Exit::Usage, line)
    })?;
    if !instance.dir.is_dir() {
        let line = format!(
            "there is no instance in {}; make it with `arizuko create {}`",
            instance.dir.display(),
            instance.name
        );
        return Err(Failure::new(Exit::Config, line));
    }
    instance.must_be_whole()?;
    check_settings(instance, &[program], output)?;
    let stop = CancellationToken::new();
    let mut keeper_tasks = JoinSet::new();
    let mut process = process(instance, environment, &stop, &mut keeper_tasks)?;
    process.urls = Addresses::find(instance)?.daemons;
    if daemon == Daemon::Authd {
        // One of the instance's processes does it: the one that a command line has to reach.
        keeper_tasks.spawn(tidy::run(instance.clone(), environment.clone(), stop.clone()));
    }
    let address = address(instance, daemon, "LISTEN_ADDR", default_address(daemon))?;
    let (listener, bound) = match daemon {
        Daemon::Proxyd => {
            let admin = instance.settings.get(&daemons::PROXYD_ADMIN_ADDR)?;
            let plain = Some(Arc::new(bind(address, "LISTEN_ADDR")?));
            (bind(admin, daemons::PROXYD_ADMIN_ADDR.name)?, Bound { plain, tls: None })
        }
        _ => (bind(address, "LISTEN_ADDR")?, Bound::default()),
    };
    let keeper = process.keeper.clone();
    let place = Place { program, listener, bound, process };
    let (ready, mut is_ready) = mpsc::channel(1);
    let mut running = JoinSet::new();
    running.spawn(once(place, stop.clone(), ready));
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
                Signal::Refresh => refresh(Some(&keeper), &mut keeper_tasks),
                Signal::Stop => break Ok(()),
            },
        }
    };
    finish(stop, running, keeper_tasks).await;
    outcome
}

/// Refuses a setting that does not parse, before anything starts, and names what the settings file
/// has in vain.
fn check_settings(
    instance: &Instance,
    programs: &[&Program],
    output: Output,
) -> Result<(), Failure> {
    daemons::check_settings(&instance.settings, programs)?;
    for name in daemons::unknown_settings(&instance.settings) {
        let file = instance.dir.join(SETTINGS_FILE);
        output.note(&format!(
            "{} sets {name}, which nothing reads; `arizuko settings` lists what is read",
            file.display()
        ));
    }
    Ok(())
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
        trace_to: otlp::wanted(&instance.settings)?,
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
            (bind(loopback, "--port-base")?, edge_sockets(instance, edge, args, &mut found)?)
        } else {
            let setting = format!("{}_LISTEN_ADDR", daemon.name().to_uppercase());
            let address = address(instance, daemon, &setting, loopback)?;
            (bind(address, &format!("{setting}, or all with --port-base"))?, Bound::default())
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
    let plain = bind(edge, "PROXYD_LISTEN_ADDR, or all with --port-base")?;
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
    take().map_err(|error| not_bound(address, &error, PROXYD_TLS_ADDR.name))
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

/// A listener on `address`; `setting` is what would choose another.
fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| not_bound(address, &error, setting))
}

fn not_bound(address: SocketAddr, error: &io::Error, setting: &str) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "end what has that port",
        io::ErrorKind::AddrNotAvailable => "give this machine that address",
        _ => "let this user listen there",
    };
    let line =
        format!("cannot listen on {address}: {error}; {hint}, or choose another with {setting}");
    Failure::new(Exit::TryAgain, line)
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
                return Err(failed(daemon, error));
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

/// Runs one daemon. When it fails, also after it was ready, the process ends: whoever runs single
/// daemons has something that starts them again, and should see that it was needed.
async fn once(
    place: Place,
    stop: CancellationToken,
    ready: mpsc::Sender<()>,
) -> Result<(), Failure> {
    let Place { program, listener, bound, process } = place;
    let say = move || {
        let _unheard = ready.try_send(()).is_err();
    };
    let ended = kit::run(program, &process, listener, bound, stop, say).await;
    ended.map_err(|error| failed(program.daemon, error))
}

fn failed(daemon: Daemon, error: kit::StartError) -> Failure {
    let failure = Failure::from(error);
    Failure { code: failure.code, line: format!("{daemon}: {}", failure.line) }
}

/// Has every source of secrets read again, beside everything else: one that does not answer must
/// not keep the process from stopping.
fn refresh(keeper: Option<&KeeperHandle>, tasks: &mut JoinSet<()>) {
    if let Some(keeper) = keeper.cloned() {
        tasks.spawn(async move { keeper.refresh("SIGHUP").await });
    }
}

/// Says that everything works, and on a terminal how to get in.
async fn announce(instance: &Instance, found: &Addresses, output: Output) -> Result<(), Failure> {
    output.line(&format!("ready {}", found.edge))?;
    if io::stdout().is_terminal() {
        let base = found.public(&instance.settings);
        match session::login_link(instance).await {
            Ok(link) => {
                output.line(&format!("log in once, within ten minutes: {base}{}", link.path))?;
            }
            // The suite works; how to get in can be asked for again.
            Err(failure) => output.note(&format!("{failure}; `arizuko login` makes a link")),
        }
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
        keeper.shutdown().await;
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
    /// Held so that a file that may not grow (RLIMIT_FSIZE) is an error, which daemons answer with,
    /// and not the end of the process.
    _too_large: tokio::signal::unix::Signal,
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
            _too_large: on(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
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
