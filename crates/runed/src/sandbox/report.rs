//! The pipe on which the launcher says what it did. It arrives as standard input, so that it needs no descriptor number
//! of its own, and is moved away before anything else runs: an agent must not be able to speak for its launcher.

use super::Layers;
use rustix::io::fcntl_dupfd_cloexec;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// One line on the pipe. The pipe ends when the agent runs, or will not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The agent runs, or is about to, within this.
    Sandboxed {
        /// What is enforced, one short phrase each.
        enforced: Vec<String>,
        /// What is not, one sentence each.
        missing: Vec<String>,
        /// Whether the agent is in a PID namespace, where the launcher stays beside it.
        processes: bool,
    },
    /// The agent does not run.
    Failed {
        /// Whether trying again is pointless.
        permanent: bool,
        /// What failed, with its causes.
        what: String,
    },
}

impl Word {
    pub(super) fn from_layers(layers: &Layers) -> Self {
        Self::Sandboxed {
            enforced: layers.enforced.clone(),
            missing: layers.missing.clone(),
            processes: layers.processes,
        }
    }
}

/// The launcher's end of the pipe.
#[derive(Debug)]
pub struct Report {
    pipe: Option<OwnedFd>,
}

impl Report {
    /// Moves standard input to a descriptor that no program inherits, and puts `/dev/null` in its place.
    pub(super) fn take() -> io::Result<Self> {
        let pipe = fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Self { pipe: Some(pipe) })
    }

    /// Writes one word. Nobody may be listening any more, which is no reason to stop.
    pub(super) fn say(&mut self, word: &Word) {
        let Some(pipe) = self.pipe.take() else { return };
        let mut pipe = File::from(pipe);
        let mut line = serde_json::to_vec(word).unwrap_or_default();
        line.push(b'\n');
        // The shim is gone if this fails, and then so is this process.
        let _gone = pipe.write_all(&line).is_err();
        self.pipe = Some(pipe.into());
    }

    /// A second descriptor of the pipe, for the next step.
    pub(super) fn give(&self) -> io::Result<OwnedFd> {
        let pipe = self.pipe.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        pipe.try_clone()
    }

    /// Its descriptor's number, to be left open.
    pub(super) fn number(&self) -> Option<RawFd> {
        self.pipe.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Says that there is no more to say.
    pub(super) fn close(&mut self) {
        self.pipe = None;
    }
}
