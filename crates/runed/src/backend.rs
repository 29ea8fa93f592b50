//! What a backend must do: the one seam between runed and the thing that runs agents.
//!
//! Every implementation passes the same conformance suite (`tests/it/conformance.rs`). A backend holds no truth of its
//! own: what it answers about a run, it reads from the machine, so that a new object over the same place goes on where
//! the old one was.

mod none;

pub use none::NoBackend;

use crate::run::{Ended, RunId, RunSpec};
use async_trait::async_trait;
use proto::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

/// What runs agents.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Its name in `CONTAINER_BACKEND`.
    fn name(&self) -> &'static str;

    /// What it isolates, as found on this machine. Never more than is enforced.
    fn describe(&self) -> Description;

    /// Whether this run could ever start here. Looks at nothing that may pass.
    fn validate(&self, run: &RunSpec) -> Result<(), Refusal>;

    /// Starts the run, and returns once the agent runs or cannot. Idempotent by the run's id: a run that was started
    /// once, by this object or another, is never started again.
    async fn start(&self, run: &RunSpec) -> Result<(), NotStarted>;

    /// What the machine knows of a run.
    async fn find(&self, id: &RunId) -> Result<Found, BackendError>;

    /// Returns once nothing of the run is left, with how it ended. A run that was never started ends as lost.
    async fn watch(&self, id: &RunId) -> Result<Ended, BackendError>;

    /// Ends the run, whatever it does, and returns once nothing of it is left. A repeat answers alike.
    async fn cancel(&self, id: &RunId) -> Result<(), BackendError>;

    /// The kept part of what the run wrote. Empty for a run that wrote nothing or is not known.
    async fn log(&self, id: &RunId) -> Result<Log, BackendError>;

    /// Ends every run of this instance that nobody knows, and removes what is left of those that are old. What is left
    /// of a younger one stays, so that it is known not to be run again. Returns the ids of those that were still alive.
    async fn sweep(&self, sweep: Sweep<'_>) -> Result<Vec<RunId>, BackendError>;

    /// Whose run a pod is that showed this token. `None`: nobody's that is known here, as where there are no pods.
    async fn whose(&self, _token: &str) -> Result<Option<Pod>, BackendError> {
        Ok(None)
    }

    /// What keeps every run from starting now, in one line, where it may pass. Asked every few seconds.
    async fn trouble(&self) -> Option<String> {
        None
    }
}

/// A pod of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The run.
    pub run: RunId,
    /// The pod's own id in its cluster.
    pub uid: String,
}

/// What a sweep takes.
#[derive(Clone, Copy, Debug)]
pub struct Sweep<'a> {
    /// Runs that are known.
    pub keep: &'a BTreeSet<RunId>,
    /// Runs that began at this time or later are left alone: `keep` was read before they were known.
    pub began_before: Timestamp,
    /// What is left of runs that began before this is removed.
    pub forget_before: Timestamp,
}

/// What a backend isolates on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// What is enforced, one short phrase each.
    pub enforced: Vec<String>,
    /// What is not, and what follows from it, one sentence each.
    pub missing: Vec<String>,
    /// The harnesses that may run.
    pub harnesses: Vec<&'static str>,
    /// What it runs agents with, and its versions, as far as it is known.
    pub versions: BTreeMap<&'static str, String>,
}

/// A run that can never start as it is. The text is for the operator: what, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Why a run did not start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// It can never start as it is.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Trying again may help. Counted by the breaker.
    #[error("{what}")]
    Failed {
        /// What failed, and where.
        what: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
}

/// A cause of which only the text matters.
pub type Cause = Box<dyn Error + Send + Sync>;

impl NotStarted {
    /// A passing failure.
    pub(crate) fn failed(what: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self::Failed { what: what.into(), source: Some(source.into()) }
    }

    /// The whole chain of causes in one line, for the run's `detail`.
    pub fn chain(&self) -> String {
        kit::chain(self)
    }
}

impl From<std::io::Error> for NotStarted {
    fn from(source: std::io::Error) -> Self {
        Self::failed("the machine did not do what starting needs", source)
    }
}

/// The machine did not answer a question about a run. Ask again.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct BackendError {
    /// What was asked, of which run.
    pub what: String,
    /// The cause.
    #[source]
    pub source: Option<Cause>,
}

impl BackendError {
    /// A question that failed for a reason.
    pub(crate) fn new(what: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self { what: what.into(), source: Some(source.into()) }
    }

    /// The whole chain of causes in one line.
    pub fn chain(&self) -> String {
        kit::chain(self)
    }
}

/// What the machine knows of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was never started. Starting it is safe.
    Nothing,
    /// It runs, or is about to: it must not be started again.
    Alive,
    /// It is gone, and left word of how.
    Ended(Ended),
    /// It was started and is gone, and nothing says how.
    Lost,
}

/// The kept part of a run's output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The bytes as they were written, head and tail, with a line between them where some are missing.
    pub bytes: Vec<u8>,
    /// Bytes that were written and not kept.
    pub dropped: u64,
}
