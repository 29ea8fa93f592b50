//! The launcher that gives up every right an agent does not need, and then becomes the agent.
//!
//! It is a process of its own because what it gives up cannot be had back, and single-threaded because namespaces and
//! Landlock belong to a thread. In order:
//!
//! 1. It dies with its shim, and closes every descriptor but the first three.
//! 2. It enters user, mount, PID, network, IPC and UTS namespaces of its own and starts itself again in them. There it
//!    is PID 1: when it dies, the kernel ends everything that is left.
//! 3. It builds a root of its own: the system's programs and libraries to read, the home to write, the turn's socket,
//!    a few devices, nothing else. What is not in it has no name: no database, no `.env`, no other home or socket.
//! 4. Limits, no capabilities, no new privileges, a filter of system calls, and Landlock over the same paths, for where
//!    the root is missing.
//! 5. It starts the agent with an environment of three variables, and reaps until the agent has ended.
//!
//! Each layer is entered where the kernel has it; what is missing is said on the report pipe and never glossed over.
//! Whether what is left is enough is not decided here: see `process::containment`.

mod confine;
mod filter;
mod loopback;
mod namespaces;
mod paths;
pub mod probe;
mod report;
mod root;
mod rules;

pub use report::{Report, Word};

use crate::process::{Order, RunDir};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, wait};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// `PATH` of every agent.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// `LANG` of every agent.
const LANG: &str = "C.UTF-8";
/// The exit code of a launcher that could not become the agent (`EX_OSERR`).
const FAILED: u8 = 71;

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// Whether trying again is pointless.
    pub permanent: bool,
    /// What failed.
    pub what: String,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Failure {
    fn passing(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { permanent: false, what: what.into(), source: source.into() }
    }
}

/// Turns an error of the system into a passing failure of a named step.
fn failed<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Failure {
    move |source| Failure::passing(what, source)
}

/// What stands between the agent and the machine, as it was found possible.
#[derive(Debug, Default)]
struct Layers {
    enforced: Vec<String>,
    missing: Vec<String>,
    /// It is PID 1 of a namespace.
    processes: bool,
    /// It has a network with nothing but a loopback interface that is up.
    loopback: bool,
    /// It has a network of its own.
    network: bool,
    /// It has user ids of its own, and so limits that are counted for it alone.
    users: bool,
    /// It has a root of its own.
    root: bool,
}

/// Runs `sandbox --dir DIR`, or one of the steps it starts itself for. `args` are those behind the word `sandbox`.
///
/// To be called before anything made a thread.
pub fn sandbox_main(args: &[OsString]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(|arg| arg.to_str().unwrap_or_default()).collect();
    match words.as_slice() {
        ["probe", rest @ ..] => probe::run(rest),
        ["--dir", dir] => launch(dir, None),
        ["--dir", dir, "--inside", seen] => launch(dir, Some(seen)),
        _ => ExitCode::from(64),
    }
}

/// Whether this is the first step (outside) or the second (inside, with what the first has seen).
fn launch(dir: &str, inside: Option<&str>) -> ExitCode {
    let Ok(mut report) = Report::take() else { return ExitCode::from(FAILED) };
    let outcome = match inside {
        None => outside(dir, &mut report),
        Some(seen) => within(dir, seen, &mut report),
    };
    outcome.unwrap_or_else(|failure| {
        report.say(&Word::Failed { permanent: failure.permanent, what: kit::chain(&failure) });
        ExitCode::from(FAILED)
    })
}

fn outside(dir: &str, report: &mut Report) -> Result<ExitCode, Failure> {
    die_with_parent()?;
    confine::close_inherited(report).map_err(failed("cannot close inherited descriptors"))?;
    let place = RunDir::at(dir);
    let order = place.order().map_err(failed("cannot read the run's order"))?;
    let shim = place.begun().map_err(failed("cannot read whose run this is"))?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent.is_none() || parent != shim.map(|shim| shim.pid) {
        // It died before the wish to die with it was heard, or this is no shim's doing at all.
        let orphan = io::Error::from(io::ErrorKind::NotConnected);
        return Err(Failure::passing("this launcher has no shim", orphan));
    }
    let mut layers = Layers::default();
    if order.without.namespaces {
        layers.missing.push("no namespaces: they are left out by order".into());
    } else {
        namespaces::enter(&mut layers)?;
    }
    if !layers.processes {
        confine::confine(&order, &mut layers)?;
        return become_agent(&order, &layers, report);
    }
    namespaces::keep_mounting(&layers)?;
    let seen = format!("{}{}", u8::from(layers.users), u8::from(layers.loopback));
    let mut inside = Command::new("/proc/self/exe");
    inside.arg0("arizuko").args(["sandbox", "--dir", dir, "--inside", &seen]).env_clear();
    inside.stdin(Stdio::from(report.give().map_err(failed("cannot hand the report on"))?));
    let mut child = inside.spawn().map_err(failed("cannot start inside the namespaces"))?;
    // With these go this process's ends of the pipe, whose end says that the agent runs.
    drop(inside);
    report.close();
    let status = child.wait().map_err(failed("cannot wait for the agent"))?;
    Ok(code(WaitCode::of_std(status)))
}

fn within(dir: &str, seen: &str, report: &mut Report) -> Result<ExitCode, Failure> {
    die_with_parent()?;
    let dir = RunDir::at(dir);
    let order = dir.order().map_err(failed("cannot read the run's order"))?;
    let mut layers = Layers { processes: true, network: true, ..Layers::default() };
    layers.users = seen.starts_with('1');
    layers.loopback = seen.ends_with('1');
    namespaces::describe(&mut layers);
    match root::build(&dir.file("root"), &order, &mut layers) {
        Ok(()) => layers.root = true,
        Err(error) => layers.missing.push(format!("no root of its own: {}", kit::chain(&error))),
    }
    confine::confine(&order, &mut layers)?;
    // An agent that could look into PID 1 could speak for it.
    confine::close_to_others()?;
    let mut command = agent(&order, &layers);
    let child = command.spawn().map_err(|source| not_run(&order, source))?;
    report.say(&Word::from_layers(&layers));
    report.close();
    let agent = i32::try_from(child.id()).unwrap_or(i32::MAX);
    reap_until(agent)
}

/// Without a PID namespace, this very process becomes the agent; its shim ends what it leaves behind.
fn become_agent(order: &Order, layers: &Layers, report: &mut Report) -> Result<ExitCode, Failure> {
    report.say(&Word::from_layers(layers));
    Err(not_run(order, agent(order, layers).exec()))
}

fn not_run(order: &Order, source: io::Error) -> Failure {
    use io::ErrorKind::{InvalidInput, NotFound, PermissionDenied};
    // Also ENOEXEC, which has no kind: the file is no program.
    let permanent = matches!(source.kind(), NotFound | PermissionDenied | InvalidInput)
        || source.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error());
    let what = format!("cannot run the agent {}", order.agent.program.display());
    Failure { permanent, what, source }
}

/// The agent, with nothing but what it needs: no variable here is a secret, nor any argument.
fn agent(order: &Order, layers: &Layers) -> Command {
    let mut command = Command::new(&order.agent.program);
    command.arg0(&order.agent.name).args(&order.agent.args);
    command.arg("--socket-dir").arg(&order.turn_dir).arg("--home").arg(&order.home);
    if order.agent.bridges && layers.loopback {
        command.arg("--bridge");
    }
    if let (true, Some(claude)) = (order.agent.bridges, &order.shown.claude) {
        command.arg("--claude").arg(claude);
    }
    if let (true, Some(skills)) = (order.agent.bridges, skills(order, layers)) {
        command.arg("--skills").arg(skills);
    }
    command.env_clear().env("PATH", PATH).env("HOME", &order.home).env("LANG", LANG);
    command.current_dir(&order.home).stdin(Stdio::null());
    command
}

/// Where this run finds its skills.
fn skills<'a>(order: &'a Order, layers: &Layers) -> Option<&'a Path> {
    let real = order.shown.skills.as_deref()?;
    Some(if layers.root { Path::new(paths::SKILLS) } else { real })
}

/// Reaps every process that ends until the agent does, and exits as it did.
fn reap_until(agent: i32) -> Result<ExitCode, Failure> {
    let agent = Pid::from_raw(agent);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid) == agent => {
                return Ok(code(WaitCode::of(status)));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::passing("cannot wait for the agent", error)),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitCode {
    /// By itself.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
}

impl WaitCode {
    /// Of a status that the kernel gave.
    pub fn of(status: WaitStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Signalled(signal.unwrap_or(0)),
        }
    }

    fn of_std(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        match status.code() {
            Some(code) => Self::Exited(code),
            None => Self::Signalled(status.signal().unwrap_or(0)),
        }
    }
}

/// The exit code that passes an end on. A signal becomes 128 and its number, as with shells.
fn code(ended: WaitCode) -> ExitCode {
    let code = match ended {
        WaitCode::Exited(code) => code,
        WaitCode::Signalled(signal) => 128 + signal,
    };
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(FAILED))
}

/// The kernel ends this process when the one that started it dies, however that dies.
fn die_with_parent() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(failed("cannot ask to die with the parent"))
}
