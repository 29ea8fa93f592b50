//! The process beside each run: it starts the run, bounds it, ends it, and writes down how it ended.
//!
//! It needs nobody. runed may be restarted or killed: the shim's session, its log and its clock are its own, and what
//! it has to say it writes into the run's directory. It is told to end a run by SIGTERM. It exits when nothing of the
//! run is left, and not before: every orphan of the run becomes its child, so that none can hide.

mod ending;
mod watching;

use crate::process::{Begun, RunDir, Started, proc_fs};
use crate::run::{Ended, How};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// The one line on the shim's standard output: whether the run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// The agent runs.
    Started(Started),
    /// The agent does not run; `end.json` says the same.
    Failed {
        /// Whether trying again is pointless.
        permanent: bool,
        /// What failed, with its causes.
        what: String,
    },
    /// Another shim has begun this run.
    Taken,
}

/// Runs `shim --dir DIR`. `args` are those behind the word `shim`.
///
/// To be called before anything made a thread.
pub fn shim_main(args: &[OsString]) -> ExitCode {
    let [flag, dir] = args else { return ExitCode::from(64) };
    if flag != "--dir" {
        return ExitCode::from(64);
    }
    match run(&RunDir::at(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        // The run's directory is gone or full: there is no other place to say so.
        Err(error) => {
            answer(&Answer::Failed { permanent: false, what: format!("the shim failed: {error}") });
            ExitCode::from(74)
        }
    }
}

fn run(dir: &RunDir) -> io::Result<()> {
    // It is no session's leader yet, since it was just started.
    rustix::process::setsid()?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let order = dir.order()?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let stat = proc_fs::stat(pid).ok_or(io::ErrorKind::NotFound)?;
    let begun =
        Begun { pid, start_ticks: stat.start_ticks, boot_id: proc_fs::boot_id()?, at_ms: now_ms() };
    if !dir.begin(&begun)? {
        answer(&Answer::Taken);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(watching::run(dir, &order)).unwrap_or_else(|error| {
        let what = format!("the shim cannot run it: {error}");
        answer(&Answer::Failed { permanent: false, what: what.clone() });
        Ended { detail: Some(what), ..Ended::now_unknown(How::NotStarted { permanent: false }) }
    });
    dir.write_end(&Ended { ended_at_ms: Some(now_ms()), ..ended })
}

/// Tells runed, and nobody after that: standard output leads nowhere from then on.
fn answer(answer: &Answer) {
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    // runed may have been killed meanwhile. It will read the directory.
    let _gone = io::stdout().write_all(&line).and_then(|()| io::stdout().flush()).is_err();
    if let Ok(null) = File::open("/dev/null") {
        let _kept = rustix::stdio::dup2_stdout(null).is_err();
    }
}

#[expect(clippy::disallowed_methods, reason = "a shim has no kit: it is a process of its own")]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
