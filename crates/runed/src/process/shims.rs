//! The shims of this machine: starting one, waiting for one to be gone, ending one.

use super::proc_fs;
use super::{Begun, RunDir};
use crate::backend::NotStarted;
use crate::run::RunId;
use crate::shim::Answer;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// How long a shim may take to say whether the run began. It gives its launcher less.
const ANSWER: Duration = Duration::from_secs(40);
/// Bytes of that answer that are read.
const ANSWER_MAX: u64 = 64 * 1024;
/// How much longer than its own grace a shim may take to end a run before it is killed with it.
const PATIENCE: Duration = Duration::from_secs(35);
/// How long what a killed shim left may take to be gone.
const LEFTOVERS: Duration = Duration::from_secs(30);
/// How soon to look again for it.
const AGAIN: Duration = Duration::from_millis(20);

/// The shims that this process started, kept so that they are reaped. Losing this loses nothing else.
#[derive(Debug, Default)]
pub(super) struct Shims {
    children: Mutex<HashMap<RunId, Child>>,
}

impl Shims {
    /// Starts a shim for the run in `dir`, and waits until it says whether the agent runs.
    pub async fn start(
        &self,
        launcher: &Path,
        id: &RunId,
        dir: &RunDir,
    ) -> Result<Answer, NotStarted> {
        let shown = launcher.display();
        let mut command = Command::new(launcher);
        command.arg0("arizuko").arg("shim").arg("--dir").arg(dir.path());
        // The shim hands no variable on, so that none can reach an agent.
        command.env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command
            .spawn()
            .map_err(|error| NotStarted::failed(format!("cannot start the shim {shown}"), error))?;
        let mut text = String::new();
        let mut said = child.stdout.take().map(|said| said.take(ANSWER_MAX));
        let answered = async {
            match &mut said {
                Some(said) => said.read_to_string(&mut text).await,
                None => Ok(0),
            }
        };
        let answered = tokio::time::timeout(ANSWER, answered).await;
        self.keep(id, child);
        let unclear = |error: io::Error| {
            NotStarted::failed(format!("the shim {shown} gave no answer"), error)
        };
        answered.map_err(|_| unclear(io::ErrorKind::TimedOut.into()))?.map_err(unclear)?;
        serde_json::from_str(&text).map_err(|error| unclear(error.into()))
    }

    fn keep(&self, id: &RunId, child: Child) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.insert(id.clone(), child);
    }

    /// Reaps the shim of a run that has ended, if it is this process's child.
    pub async fn forget(&self, id: &RunId) {
        let child = self.children.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(mut child) = child {
            // It has exited; what it had to say is in the run's directory.
            let _said = child.wait().await.is_ok();
        }
    }
}

/// Whether this very shim still runs, and not another process with its number.
pub(super) fn is_alive(begun: &Begun) -> bool {
    let same_boot = proc_fs::boot_id().is_ok_and(|boot| boot == begun.boot_id);
    same_boot
        && proc_fs::stat(begun.pid)
            .is_some_and(|stat| stat.start_ticks == begun.start_ticks && !stat.is_dead())
}

/// A handle on the shim that no other process can take over; none when it is gone.
fn handle(begun: &Begun) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(begun.pid) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Err(rustix::io::Errno::SRCH) => Ok(None),
        handle => {
            let handle = handle?;
            // Looked at while the handle is held: if it is the shim now, the handle is the shim's.
            Ok(is_alive(begun).then_some(handle))
        }
    }
}

/// Returns once the shim is gone.
pub(super) async fn until_gone(begun: &Begun) -> io::Result<()> {
    match handle(begun)? {
        Some(handle) => exited(&registered(handle)?).await,
        None => Ok(()),
    }
}

#[expect(
    deprecated,
    reason = "the sound constructor for any type is unsafe; an OwnedFd is sound with this one"
)]
fn registered(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(handle, Interest::READABLE)
}

/// A pidfd is readable once its process has ended.
async fn exited(handle: &AsyncFd<OwnedFd>) -> io::Result<()> {
    handle.readable().await.map(|_| ())
}

/// Tells the shim to end its run, and waits until both are gone. A shim that does not manage is killed, and the kernel
/// ends its run with it.
pub(super) async fn end(begun: &Begun, grace: Duration) -> io::Result<()> {
    let Some(handle) = handle(begun)? else { return Ok(()) };
    let handle = registered(handle)?;
    tell(&handle, Signal::TERM)?;
    match tokio::time::timeout(grace + PATIENCE, exited(&handle)).await {
        Ok(gone) => gone,
        Err(_) => {
            tracing::warn!(shim = begun.pid, "a shim did not end its run in time and is killed");
            tell(&handle, Signal::KILL)?;
            tokio::time::timeout(PATIENCE, exited(&handle)).await?
        }
    }
}

fn tell(handle: &AsyncFd<OwnedFd>, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(handle.get_ref(), signal) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        told => Ok(told?),
    }
}

/// Ends what a shim that was killed left behind. In a PID namespace the kernel has done so already; elsewhere the run's
/// processes are known by the shim's session, and by the home they were started with.
pub(super) async fn end_leftovers(dir: &RunDir) -> io::Result<()> {
    let (Some(begun), Ok(order)) = (dir.begun()?, dir.order()) else { return Ok(()) };
    if proc_fs::boot_id()? != begun.boot_id {
        return Ok(());
    }
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let of_run = |pid: i32| {
        proc_fs::stat(pid).is_some_and(|stat| {
            let since = stat.start_ticks >= begun.start_ticks;
            let ours = stat.session == begun.pid || proc_fs::has_home(pid, &order.home);
            since && ours && !stat.is_dead() && pid != own
        })
    };
    let until = Instant::now() + LEFTOVERS;
    loop {
        let left: Vec<i32> = proc_fs::all().into_iter().filter(|pid| of_run(*pid)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for pid in left.into_iter().filter_map(Pid::from_raw) {
            // One that has just ended is what was wanted.
            let _gone = kill_process(pid, Signal::KILL).is_err();
        }
        // They are nobody's children here: there is nothing to wait on but the table of processes.
        tokio::time::sleep(AGAIN).await;
    }
}
