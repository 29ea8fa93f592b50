//! What the harnesses that start a program have in common: its environment, its group, its end.

use crate::Options;
use crate::budget::Budget;
use proto::turn::TurnInput;
use rustix::process::{Pid, Signal, kill_process_group};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// How long a program may take between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// A clean environment: `PATH HOME LANG`, and which turn it is. The variables of this process are not passed on.
pub(crate) fn environment(command: &mut Command, options: &Options, input: &TurnInput) {
    command
        .env_clear()
        .env("PATH", &options.path)
        .env("HOME", &options.home)
        .env("LANG", &options.lang)
        .env("ARIZUKO_TURN_ID", input.turn_id.as_str())
        .env("ARIZUKO_FOLDER", input.folder.as_str())
        .env("ARIZUKO_TOPIC", input.topic.as_str());
}

/// When the program is told to end, so that it can until the budget is over.
pub(crate) fn work_end(budget: Budget) -> Instant {
    let left = budget.work.saturating_duration_since(Instant::now());
    budget.work - GRACE.min(left / 10)
}

/// A process group that is killed when this goes away.
pub(crate) struct Group(Option<Pid>);

impl Group {
    pub fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(group) = self.0
            && let Err(error) = kill_process_group(group, signal)
        {
            // The usual reason: all of it has ended already.
            tracing::debug!(error = &error as &dyn std::error::Error, "no group to signal");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
