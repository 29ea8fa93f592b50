//! Ending a run until nothing of it is left.

use crate::process::proc_fs;
use crate::sandbox::WaitCode;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;
use tokio::signal::unix::SignalKind;
use tokio::time::Instant;

/// How long the kernel may take to end what was killed. One that waits for a disk that is gone takes for ever.
const KILL: Duration = Duration::from_secs(30);
/// How soon to look again for processes that appeared while others were killed.
const AGAIN: Duration = Duration::from_millis(20);

/// Reaps the children of this process: those it started, and every orphan of the run.
pub(super) struct Reaper {
    child: tokio::signal::unix::Signal,
    ended: BTreeMap<i32, WaitCode>,
}

impl Reaper {
    pub fn new() -> io::Result<Self> {
        let child = tokio::signal::unix::signal(SignalKind::child())?;
        Ok(Self { child, ended: BTreeMap::new() })
    }

    /// Reaps all that have ended. True when there is no child left.
    fn reap(&mut self, remember: Option<i32>) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let pid = pid.as_raw_nonzero().get();
                    if remember == Some(pid) {
                        self.ended.insert(pid, WaitCode::of(status));
                    }
                }
                Err(rustix::io::Errno::CHILD) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(_) => return false,
            }
        }
    }

    /// Returns once the child `pid` has ended; at once for one that had. Safe to drop and to call again.
    pub async fn ended(&mut self, pid: i32) -> WaitCode {
        loop {
            let none_left = self.reap(Some(pid));
            if let Some(ended) = self.ended.get(&pid) {
                return *ended;
            }
            if none_left {
                // Somebody else reaped it. That is no success.
                return WaitCode::Signalled(0);
            }
            self.child.recv().await;
        }
    }
}

/// Asks every process of the run to end, but `spared`.
pub(super) fn ask_all(spared: Option<i32>) {
    for pid in of_run().into_iter().filter(|pid| Some(*pid) != spared) {
        signal(pid, Signal::TERM);
    }
}

/// Kills every process of the run, and again, until none is left.
pub(super) async fn kill_all(reaper: &mut Reaper) {
    let until = Instant::now() + KILL;
    loop {
        let left = of_run();
        for pid in &left {
            signal(*pid, Signal::KILL);
        }
        let none_left = reaper.reap(None);
        if (none_left && left.is_empty()) || Instant::now() > until {
            return;
        }
        // An end wakes it at once; a child that was born while its parent died is looked for again.
        let _none_ended = tokio::time::timeout(AGAIN, reaper.child.recv()).await.is_err();
    }
}

fn of_run() -> BTreeSet<i32> {
    proc_fs::descendants(rustix::process::getpid().as_raw_nonzero().get())
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended by itself; its number stays its own until it is reaped, which only this process does.
        let _gone = kill_process(pid, signal).is_err();
    }
}
