//! A run: its id, what it is to be, how it ended. Decisions only: no clock, no file, no async.

use proto::runed::{Egress, Limits, RunEnd};
use proto::turn::Harness;
use proto::{Folder, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::{fmt, str::FromStr};

/// The id of a run, and the name of its directory: short, because socket paths are, and safe as a file's name.
///
/// Invariant: 1 to 32 characters of `[a-z0-9]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// The text is not the id of a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of a run has 1 to 32 characters of a-z and 0-9")]
pub struct NotARunId;

impl RunId {
    /// The id of an attempt at a turn. Derived, not drawn: the same attempt has the same id also after a restored
    /// backup, so that what an older database forgot is still found on the machine and not run twice.
    pub fn of_attempt(turn_id: &str, attempt: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(attempt.to_be_bytes());
        hash.update(turn_id.as_bytes());
        let mut text = hex::encode(hash.finalize());
        text.truncate(19);
        Self(format!("r{text}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = NotARunId;
    fn from_str(text: &str) -> Result<Self, NotARunId> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if text.is_empty() || text.len() > 32 || !text.bytes().all(allowed) {
            return Err(NotARunId);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for RunId {
    type Error = NotARunId;
    fn try_from(text: String) -> Result<Self, NotARunId> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a folder's home: one directory below `homes/`.
///
/// Invariant: 1 to 64 characters of `[a-z0-9._-]`, not beginning with `.` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HomeName(String);

/// The text is not the name of a home.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a home is one directory name: 1 to 64 characters of a-z, 0-9, `.`, `_` and `-`, not beginning with `.` or `-`"
)]
pub struct NotAHome;

impl HomeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HomeName {
    type Err = NotAHome;
    fn from_str(text: &str) -> Result<Self, NotAHome> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if text.is_empty() || text.len() > 64 || text.starts_with(['.', '-']) {
            return Err(NotAHome);
        }
        if !text.chars().all(allowed) {
            return Err(NotAHome);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for HomeName {
    type Error = NotAHome;
    fn try_from(text: String) -> Result<Self, NotAHome> {
        text.parse()
    }
}

impl From<HomeName> for String {
    fn from(home: HomeName) -> Self {
        home.0
    }
}

/// What a backend is to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The run.
    pub id: RunId,
    /// The folder, for labels; not in what older releases stored.
    #[serde(default)]
    pub folder: Option<Folder>,
    /// The folder's home.
    pub home: HomeName,
    /// The image, where the backend has images.
    pub image: Option<String>,
    /// Its bounds.
    pub limits: Limits,
    /// Whether it may reach a network.
    pub egress: Egress,
    /// The directory that holds the turn's socket `s`. Empty where the turn is at a listener.
    pub turn_dir: PathBuf,
    /// The listener where the turn is, for an agent that is not on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<TurnListener>,
    /// What the turn will ask for.
    pub harness: Harness,
}

/// Where an agent in a cluster finds its turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnListener {
    /// `https://HOST:PORT`.
    pub url: String,
    /// The SHA-256 of its certificate, in hexadecimal.
    pub certificate_sha256: String,
}

/// How a run ended, as the machine saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum How {
    /// It exited by itself.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// A signal ended it that its launcher did not send.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// Its wall-clock time was over.
    TimedOut,
    /// It used more memory than it may.
    OutOfMemory,
    /// It had more processes than it may.
    TooManyProcesses,
    /// Its launcher was told to end it, by runed or by somebody else.
    Stopped,
    /// It was started, it is gone, and nothing says how.
    Lost,
    /// The agent never ran.
    NotStarted {
        /// Whether it never can.
        permanent: bool,
    },
}

/// The end of a run, as the machine saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    #[serde(flatten)]
    pub how: How,
    /// More about it, for an operator.
    pub detail: Option<String>,
    /// When the agent started, where that is known.
    pub started_at_ms: Option<i64>,
    /// When it was gone, where that is known.
    pub ended_at_ms: Option<i64>,
}

impl Ended {
    /// An end of which no times are known.
    pub fn now_unknown(how: How) -> Self {
        Self { how, detail: None, started_at_ms: None, ended_at_ms: None }
    }

    /// When the agent started, where that is known.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.started_at_ms.map(Timestamp)
    }

    /// What this end is called on the wire, and the line that goes with it. `asked` says whether somebody asked runed
    /// for the end of this run.
    pub fn verdict(&self, asked: bool) -> (RunEnd, Option<String>) {
        let said = |text: &str| Some(self.detail.clone().unwrap_or_else(|| text.to_owned()));
        match &self.how {
            How::Exited { code: 0 } => (RunEnd::Completed, self.detail.clone()),
            How::Exited { code } => {
                (RunEnd::Crashed, said(&format!("the agent exited with code {code}")))
            }
            // The kernel's own way out when memory is short.
            How::Signalled { signal: 9 } => (
                RunEnd::Crashed,
                said("the agent was ended by signal 9; see whether the machine ran out of memory"),
            ),
            How::Signalled { signal } => {
                (RunEnd::Crashed, said(&format!("the agent was ended by signal {signal}")))
            }
            How::TimedOut => (RunEnd::TimedOut, said("the run's wall-clock time was over")),
            How::OutOfMemory => (RunEnd::OutOfMemory, said("the run used more memory than it may")),
            How::TooManyProcesses => {
                (RunEnd::Crashed, said("the run had more processes than it may, and was ended"))
            }
            How::Stopped | How::Lost if asked => (RunEnd::Cancelled, None),
            How::Stopped => (
                RunEnd::Crashed,
                said("the run's launcher was told to end by something other than runed"),
            ),
            How::Lost => {
                (RunEnd::Crashed, said("lost: the run is gone, and nothing says how it ended"))
            }
            How::NotStarted { .. } if asked => (RunEnd::Cancelled, self.detail.clone()),
            How::NotStarted { permanent: true } => (RunEnd::Refused, said("it cannot start")),
            How::NotStarted { permanent: false } => (RunEnd::StartFailed, said("it did not start")),
        }
    }
}

/// Bounds as they are applied: what was asked for, within what the operator allows.
pub fn bounded(asked: Limits, wall_clock_max_seconds: u32) -> Limits {
    Limits {
        wall_clock_seconds: asked.wall_clock_seconds.min(wall_clock_max_seconds),
        output_bytes: asked.output_bytes.clamp(OUTPUT_MIN, OUTPUT_MAX),
        ..asked
    }
}

/// The least output that is kept, in bytes: below it a log says nothing.
const OUTPUT_MIN: u32 = 4 * 1024;
/// The most output that is kept, in bytes.
const OUTPUT_MAX: u32 = 8 * 1024 * 1024;

/// Why bounds cannot be applied: one of them is nothing.
pub fn missing_bound(limits: &Limits) -> Option<&'static str> {
    let Limits { wall_clock_seconds, memory_mib, cpu_milli, pids, output_bytes } = *limits;
    [
        (wall_clock_seconds, "wall_clock_seconds"),
        (memory_mib, "memory_mib"),
        (cpu_milli, "cpu_milli"),
        (pids, "pids"),
        (output_bytes, "output_bytes"),
    ]
    .into_iter()
    .find(|(value, _)| *value == 0)
    .map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
