//! The processes: each daemon is one, started, killed and stopped by its id.

use super::{
    clock::{self, FakeClock},
    containers,
};
use crate::{
    failure::{Exit, Failure},
    instance::Environment,
};
use proto::Daemon;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// In the order in which they start.
pub const DAEMONS: [Daemon; 7] = [
    Daemon::Authd,
    Daemon::Routd,
    Daemon::Runed,
    Daemon::Timed,
    Daemon::Onbod,
    Daemon::Webd,
    Daemon::Proxyd,
];
/// How long a daemon may take to its readiness before that is a finding.
const READY_MAX: Duration = Duration::from_secs(60);
/// Bytes beyond which no file grows while the disk is full.
const FULL_AT: u64 = 16 * 1024;

/// The suite's processes, in a directory and on an address of their own.
pub struct Fleet {
    dir: PathBuf,
    program: PathBuf,
    address: String,
    environment: Environment,
    /// What single daemons have instead.
    own: BTreeMap<Daemon, Environment>,
    running: BTreeMap<Daemon, Running>,
    clock: Option<FakeClock>,
    /// Whether agents are containers.
    contained: bool,
}

struct Running {
    child: Child,
    pid: Pid,
    // Kept, so that what it prints later does not meet a closed pipe.
    lines: Lines<BufReader<ChildStdout>>,
}

impl Fleet {
    /// A directory, an address, and nothing that runs.
    pub fn new() -> Result<Self, Failure> {
        let dir = std::env::temp_dir().join(format!("az-chaos-{:08x}", rand::random::<u32>()));
        let made = fs::DirBuilder::new().mode(0o700).create(&dir);
        made.map_err(|error| Failure::io("create", &dir, &error))?;
        let address = free_address()?;
        let program = own_program(&dir)?;
        let environment = environment(&dir, &address);
        let (own, running) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { dir, program, address, environment, own, running, clock: None, contained: false })
    }

    /// Gives every daemon that is started from now on a clock that can be set. Whether there is one.
    pub fn wind_clock(&mut self) -> bool {
        self.clock = FakeClock::find(&self.dir);
        self.clock.is_some()
    }

    /// Sets the daemons' clock so many seconds away from the machine's. Whether they have one.
    pub fn set_clock(&self, seconds: i64) -> bool {
        self.clock.as_ref().is_some_and(|clock| clock.set(seconds).is_ok())
    }

    /// The directory of this run.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The instance's data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("d")
    }

    /// The environment of every process.
    pub const fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Sets something for every process that is started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Sets something for one daemon, in place of what all have.
    pub fn set_for(&mut self, daemon: Daemon, name: &str, value: String) {
        self.own.entry(daemon).or_default().insert(name.to_owned(), value);
    }

    /// Has agents be containers of this image, from now on.
    pub fn contain(&mut self, image: &str) {
        self.set("CONTAINER_BACKEND", "docker");
        self.set("CONTAINER_IMAGE", image);
        self.contained = true;
    }

    /// Whether agents are containers.
    pub const fn is_contained(&self) -> bool {
        self.contained
    }

    /// The edge, as clients see it.
    pub fn edge(&self) -> String {
        format!("http://{}:{}", self.address, Daemon::Proxyd.default_port())
    }

    /// An address for a listener of this process.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts a daemon and waits for nothing.
    pub fn spawn(&mut self, daemon: Daemon) -> Result<(), Failure> {
        let log = self.log(daemon);
        let errors = fs::File::options().create(true).append(true).open(&log);
        let errors = errors.map_err(|error| Failure::io("open", &log, &error))?;
        let mut command = Command::new("/bin/sh");
        // A write beyond the file size limit is to be an error, as on a full disk, and no signal. The shell ends
        // where the daemon begins: it is the same process.
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(&self.program);
        command.arg("--data-dir").arg(self.data()).args(["run", daemon.name()]);
        command.env_clear().envs(&self.environment).kill_on_drop(true);
        command.envs(self.own.get(&daemon).into_iter().flatten());
        command.envs(self.clock.iter().flat_map(FakeClock::environment));
        command.env("LISTEN_ADDR", format!("{}:{}", self.address, daemon.default_port()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let failed =
            |what: &str| Failure::new(Exit::TryAgain, format!("cannot start {daemon}: {what}"));
        let mut child = command.spawn().map_err(|error| failed(&error.to_string()))?;
        let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let pid = id.ok_or_else(|| failed("it has no process id"))?;
        let out = child.stdout.take().ok_or_else(|| failed("it has no standard output"))?;
        self.running.insert(daemon, Running { child, pid, lines: BufReader::new(out).lines() });
        Ok(())
    }

    /// Waits until a daemon that was started says that it is ready.
    pub async fn ready(&mut self, daemon: Daemon) -> Result<(), Failure> {
        let log = self.log(daemon);
        let broken = |what: &str| {
            let line = format!("{daemon} {what}; see {}", log.display());
            Failure::new(Exit::Software, line)
        };
        let running = self.running.get_mut(&daemon).ok_or_else(|| broken("was not started"))?;
        let said = async {
            while let Ok(Some(line)) = running.lines.next_line().await {
                if line.starts_with("ready ") {
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(READY_MAX, said).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(broken("ended before it was ready")),
            Err(_) => Err(broken("was not ready within 60 seconds")),
        }
    }

    /// Ends a daemon with SIGKILL and waits until it is gone.
    pub async fn kill(&mut self, daemon: Daemon) -> Result<(), Failure> {
        let Some(mut running) = self.running.remove(&daemon) else { return Ok(()) };
        let gone = running.child.kill().await;
        clock::forget(running.pid);
        gone.map_err(|error| Failure::new(Exit::Software, format!("cannot kill {daemon}: {error}")))
    }

    /// Kills a daemon and starts it again; how long it took from the signal to its readiness.
    pub async fn restart(&mut self, daemon: Daemon) -> Result<Duration, Failure> {
        let began = Instant::now();
        self.kill(daemon).await?;
        self.spawn(daemon)?;
        self.ready(daemon).await?;
        Ok(began.elapsed())
    }

    /// The daemons that ended without having been asked to.
    pub fn ended(&mut self) -> Vec<(Daemon, String)> {
        let mut ended = Vec::new();
        for (daemon, running) in &mut self.running {
            if let Ok(Some(status)) = running.child.try_wait() {
                ended.push((*daemon, status.to_string()));
            }
        }
        ended
    }

    /// The process of a daemon.
    pub fn pid(&self, daemon: Daemon) -> Option<Pid> {
        self.running.get(&daemon).map(|running| running.pid)
    }

    /// The processes of agents that run now: those that were started with a turn's socket of this instance.
    pub fn agents(&self) -> Vec<Pid> {
        if self.contained {
            return containers::processes(&self.dir, false);
        }
        self.processes("--socket-dir")
    }

    /// The processes beside them; of containers, the first process of each.
    pub fn shims(&self) -> Vec<Pid> {
        if self.contained {
            return containers::processes(&self.dir, true);
        }
        self.processes("\0shim\0")
    }

    /// The processes whose command line has this, and the data directory of this instance.
    fn processes(&self, with: &str) -> Vec<Pid> {
        let marker = self.data().display().to_string();
        let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
        let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let is_ours = |id: &i32| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains(with) && line.contains(&marker)
        };
        ids.filter(is_ours).filter_map(Pid::from_raw).collect()
    }

    /// Ends everything.
    pub async fn end(&mut self) {
        for daemon in DAEMONS {
            // What cannot be killed is gone already.
            let _gone = self.kill(daemon).await.is_err();
        }
        for pid in self.agents() {
            signal(pid, Signal::KILL);
        }
    }

    /// Removes the directory.
    pub fn remove(&self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.dir).map_err(|error| Failure::io("remove", &self.dir, &error))
    }

    fn log(&self, daemon: Daemon) -> PathBuf {
        self.dir.join(format!("{daemon}.log"))
    }
}

/// Sends a signal to one process; whether it was there.
pub fn signal(pid: Pid, signal: Signal) -> bool {
    kill_process(pid, signal).is_ok()
}

/// Has every file of a process end where a full disk would end it, or grow again.
///
/// It is the limit on the size of a file (RLIMIT_FSIZE): a write beyond it fails with EFBIG. That harms nothing but
/// the one process, which a disk that is really full would not.
pub fn fill_disk(pid: Pid, full: bool) -> bool {
    let current = full.then_some(FULL_AT);
    prlimit(Some(pid), Resource::Fsize, Rlimit { current, maximum: None }).is_ok()
}

/// A second name of the program that runs, so that a build beside the run changes nothing.
fn own_program(dir: &Path) -> Result<PathBuf, Failure> {
    let found = std::env::current_exe();
    let found = found.map_err(|error| Failure::io("find", Path::new("/proc/self/exe"), &error))?;
    let program = dir.join("arizuko");
    let placed = fs::hard_link(&found, &program).or_else(|_| fs::copy(&found, &program).map(drop));
    placed.map_err(|error| Failure::io("copy", &found, &error))?;
    Ok(program)
}

/// A loopback address on which the default ports are free.
fn free_address() -> Result<String, Failure> {
    let ports = || DAEMONS.map(Daemon::default_port).into_iter().chain([8091, 8443]);
    for _ in 0..50 {
        let [b, c, d] = rand::random::<[u8; 3]>();
        // Away from 127.0.0.1 and its neighbours, which are other programs'.
        let address = format!("127.{}.{c}.{}", b | 128, d.clamp(2, 250));
        if ports().all(|port| TcpListener::bind((address.as_str(), port)).is_ok()) {
            return Ok(address);
        }
    }
    Err(Failure::new(Exit::TryAgain, "no loopback address has the default ports free"))
}

fn environment(dir: &Path, address: &str) -> Environment {
    let mut environment = Environment::new();
    let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
    set("PATH", "/usr/local/bin:/usr/bin:/bin".into());
    set("HOME", dir.display().to_string());
    set("INSTANCE_NAME", "chaos".into());
    set("LOG_FORMAT", "text".into());
    // No other source of this machine is asked.
    set("SECRETS_SOURCES", format!("dotenv://{}/d/.env", dir.display()));
    set("PROXYD_ADMIN_ADDR", format!("{address}:8091"));
    set("PROXYD_TLS_ADDR", format!("{address}:8443"));
    // All senders are one client to the edge.
    set("PROXYD_RATE", "100000".into());
    set("PROXYD_BURST", "100000".into());
    for daemon in DAEMONS {
        let port = crate::daemons::port(daemon);
        set(daemon.url_setting(), format!("http://{address}:{port}"));
    }
    environment
}
