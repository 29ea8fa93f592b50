//! The run while it lasts: its output, its clock, what it uses, and who wants it to end.

use super::ending::{self, Reaper};
use super::{Answer, answer, now_ms};
use crate::output::Output;
use crate::process::{Order, RunDir, Started, proc_fs};
use crate::run::{Ended, How};
use crate::sandbox::{WaitCode, Word};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

/// How long the launcher may take to become the agent.
const LAUNCH: Duration = Duration::from_secs(30);
/// How often what the run uses is added up.
const LOOK: Duration = Duration::from_millis(500);
/// How long the last output may take to arrive once nothing is left that could write.
const LAST_OUTPUT: Duration = Duration::from_secs(2);
/// Bytes of the launcher's report that are read.
const REPORT_MAX: u64 = 64 * 1024;

/// Starts the run and returns how it ended, once nothing of it is left.
pub(super) async fn run(dir: &RunDir, order: &Order) -> io::Result<Ended> {
    let mut watch = Watch::new(order)?;
    let (report, output) = watch.launch(dir)?;
    let output = pump(output, Output::new(dir.path(), order.limits.output_bytes));
    let mut output = std::pin::pin!(output);
    let mut until_gone = std::pin::pin!(watch.until_gone(dir, report));
    let mut closed = false;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut until_gone => break ended,
            // An agent may close its output and go on.
            () = &mut output, if !closed => closed = true,
        }
    };
    if !closed {
        // What the agent wrote last is in the pipe; nobody is left who could hold it open.
        let _late = tokio::time::timeout(LAST_OUTPUT, output).await.is_err();
    }
    Ok(ended)
}

/// Keeps what the run writes until nobody can write any more.
async fn pump(mut output: Receiver, mut log: Output) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        // A full disk must not stop the run: what cannot be kept is counted as dropped.
        let _lost = log.append(buffer.get(..length).unwrap_or_default()).is_err();
    }
}

struct Watch<'a> {
    order: &'a Order,
    reaper: Reaper,
    stop: Signal,
    interrupt: Signal,
    deadline: Instant,
    /// The launcher, which is the agent itself where there is no PID namespace.
    launcher: i32,
    started_at_ms: Option<i64>,
}

impl<'a> Watch<'a> {
    fn new(order: &'a Order) -> io::Result<Self> {
        Ok(Self {
            order,
            reaper: Reaper::new()?,
            stop: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            deadline: Instant::now()
                + Duration::from_secs(u64::from(order.limits.wall_clock_seconds)),
            launcher: 0,
            started_at_ms: None,
        })
    }

    /// Starts the launcher. Returns its report and its output.
    fn launch(&mut self, dir: &RunDir) -> io::Result<(Receiver, Receiver)> {
        let (report, report_in) = io::pipe()?;
        let (output, output_in) = io::pipe()?;
        let mut launcher = Command::new("/proc/self/exe");
        launcher.arg0("arizuko").args(["sandbox", "--dir"]).arg(dir.path());
        launcher.env_clear().current_dir("/").stdin(report_in);
        launcher.stdout(output_in.try_clone()?).stderr(output_in);
        let child = launcher.spawn()?;
        // With it go this process's ends of the pipes.
        drop(launcher);
        self.launcher = i32::try_from(child.id()).map_err(io::Error::other)?;
        let receiver = |pipe: io::PipeReader| Receiver::from_owned_fd(OwnedFd::from(pipe));
        Ok((receiver(report)?, receiver(output)?))
    }

    async fn until_gone(&mut self, dir: &RunDir, report: Receiver) -> Ended {
        let launched = tokio::select! {
            biased;
            () = stopped(&mut self.stop, &mut self.interrupt) => Err(How::Stopped),
            launched = tokio::time::timeout(LAUNCH, read_report(report)) => Ok(launched),
        };
        let launched = match launched {
            Err(how) => {
                self.end_all(Duration::ZERO).await;
                answer(&Answer::Failed { permanent: false, what: "told to end".into() });
                return Ended::now_unknown(how);
            }
            Ok(launched) => launched.unwrap_or_else(|_| Launched::failed("the launcher hangs")),
        };
        let (started, beside) = match launched {
            Launched::Running { started, beside } => (started, beside),
            Launched::Failed { permanent, what } => {
                self.end_all(Duration::ZERO).await;
                answer(&Answer::Failed { permanent, what: what.clone() });
                let how = How::NotStarted { permanent };
                return Ended { detail: Some(what), ..Ended::now_unknown(how) };
            }
        };
        self.started_at_ms = Some(now_ms());
        // For operators only; a full disk must not end the run.
        let _unsaid = dir.write_started(&started).is_err();
        answer(&Answer::Started(started));
        let how = self.until_it_ends(beside).await;
        Ended { how, detail: None, started_at_ms: self.started_at_ms, ended_at_ms: None }
    }

    /// `beside` says that the launcher stays beside the agent and must not be signalled politely.
    async fn until_it_ends(&mut self, beside: bool) -> How {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let why = loop {
            tokio::select! {
                biased;
                ended = self.reaper.ended(self.launcher) => {
                    // The agent is gone; whatever it left is not wanted.
                    ending::kill_all(&mut self.reaper).await;
                    return of_exit(ended);
                }
                () = stopped(&mut self.stop, &mut self.interrupt) => break How::Stopped,
                () = tokio::time::sleep_until(self.deadline) => break How::TimedOut,
                _ = look.tick() => match self.excess() {
                    Some(how) => break how,
                    None => continue,
                },
            }
        };
        if matches!(why, How::Stopped | How::TimedOut) {
            let spared = beside.then_some(self.launcher);
            ending::ask_all(spared);
            self.end_all(Duration::from_millis(self.order.grace_ms)).await;
        } else {
            self.end_all(Duration::ZERO).await;
        }
        why
    }

    /// What the run uses too much of, all its processes together.
    fn excess(&self) -> Option<How> {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let used = proc_fs::usage(&proc_fs::descendants(own));
        let limits = &self.order.limits;
        if used.memory_bytes > u64::from(limits.memory_mib) << 20 {
            return Some(How::OutOfMemory);
        }
        // The launcher's own two processes are not the agent's.
        (used.tasks > u64::from(limits.pids) + 2).then_some(How::TooManyProcesses)
    }

    /// Gives the run `grace` to end, and then ends it.
    async fn end_all(&mut self, grace: Duration) {
        if !grace.is_zero() {
            let asked = self.reaper.ended(self.launcher);
            let _stubborn = tokio::time::timeout(grace, asked).await.is_err();
        }
        ending::kill_all(&mut self.reaper).await;
    }
}

async fn stopped(stop: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = stop.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn of_exit(ended: WaitCode) -> How {
    match ended {
        // The launcher passes a signal on as shells do.
        WaitCode::Exited(code @ 129..=192) => How::Signalled { signal: code - 128 },
        WaitCode::Exited(code) => How::Exited { code },
        WaitCode::Signalled(signal) => How::Signalled { signal },
    }
}

enum Launched {
    Running { started: Started, beside: bool },
    Failed { permanent: bool, what: String },
}

impl Launched {
    fn failed(what: impl Into<String>) -> Self {
        Self::Failed { permanent: false, what: what.into() }
    }
}

/// Reads the launcher's report to its end, which is when the agent runs or will not.
async fn read_report(report: Receiver) -> Launched {
    let mut text = String::new();
    if let Err(error) = report.take(REPORT_MAX).read_to_string(&mut text).await {
        return Launched::failed(format!("the launcher's report broke off: {error}"));
    }
    let mut words = text.lines().rev().filter_map(|line| serde_json::from_str(line).ok());
    let nothing = || Launched::failed("the launcher ended without a word; see the run's log");
    words.next().map_or_else(nothing, |word| match word {
        Word::Sandboxed { enforced, missing, processes } => {
            Launched::Running { started: Started { enforced, missing }, beside: processes }
        }
        Word::Failed { permanent, what } => Launched::Failed { permanent, what },
    })
}
