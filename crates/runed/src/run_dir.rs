//! The directory of one run: what runed ordered, and what the shim says of it.
//!
//! Two processes share it, and either may be killed at any instant. `order.json` is written by runed before the shim
//! exists. `begun.json` appears whole and once, by a link: whoever makes it runs the agent, and nobody else ever does.
//! `end.json` is the shim's last act. What the directory says is therefore the truth about a run, also for a runed
//! that was not there when it began.

use crate::run::Ended;
use proto::runed::Limits;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The most that is read of one of these files, in bytes.
const FILE_MAX: u64 = 256 * 1024;

/// A run's directory, below `run/r`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

/// What the shim is to do. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The run's id.
    pub run: String,
    /// The agent.
    pub agent: AgentCommand,
    /// Its home: the one directory it may write.
    pub home: PathBuf,
    /// The directory with the turn's socket.
    pub turn_dir: PathBuf,
    /// Its bounds.
    pub limits: Limits,
    /// Milliseconds from the polite signal to the other one.
    pub grace_ms: u64,
    /// Layers of the sandbox to leave out.
    pub without: Without,
    /// What else of the machine it may read.
    #[serde(default)]
    pub shown: Shown,
}

/// What of the machine agents may read apart from the system's programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The directory of their skills: `/workspace` where the run has a root of its own, else under its own path.
    pub skills: Option<PathBuf>,
    /// The Claude Code CLI, where it is not among the system's programs: one file.
    pub claude: Option<PathBuf>,
}

/// The program of an agent. `--socket-dir DIR --home DIR` follows its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentCommand {
    /// The program's absolute path.
    pub program: PathBuf,
    /// The name it is called by; a multi-call binary answers to it.
    pub name: String,
    /// Its first arguments. Never a secret: every user of the machine can read them.
    pub args: Vec<String>,
    /// Whether it is `ant`, and so understands `--bridge`, which says that this run has a loopback network of its own,
    /// and what says where its skills and the CLI are.
    pub bridges: bool,
}

/// Layers of the sandbox that are left out, as on a machine that does not have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Without {
    /// No namespaces.
    pub namespaces: bool,
    /// No Landlock.
    pub landlock: bool,
}

/// The shim that runs a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Its process id.
    pub pid: i32,
    /// When that process started, in clock ticks since the boot: tells it from a later one with the same id.
    pub start_ticks: u64,
    /// Which boot.
    pub boot_id: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// What the shim says once the agent runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// What the sandbox enforces, one short phrase each.
    pub enforced: Vec<String>,
    /// What it could not, one sentence each.
    pub missing: Vec<String>,
}

impl RunDir {
    /// The directory at `path`, which may not be there.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or directory in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the directory, and in it the empty one that becomes the sandbox's root, and writes the order. A repeat
    /// writes the order anew.
    pub fn prepare(&self, order: &Order) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(self.file("root"))?;
        self.write("order.json", order)
    }

    /// The order.
    pub fn order(&self) -> io::Result<Order> {
        self.read("order.json")?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Claims the run for this shim. False when another has begun it.
    pub fn begin(&self, begun: &Begun) -> io::Result<bool> {
        self.claim("begun.json", begun)
    }

    /// Writes a file that nobody has written yet, whole and once. False when it is there.
    pub(crate) fn claim(&self, name: &str, value: &impl Serialize) -> io::Result<bool> {
        // Also two claims of one process have two names.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let own = format!("{name}.{}.{next}.new", std::process::id());
        match fs::remove_file(self.file(&own)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.write_new(&own, value)?;
        let linked = fs::hard_link(self.file(&own), self.file(name));
        fs::remove_file(self.file(&own))?;
        match linked {
            Ok(()) => self.sync().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Claims the run for nobody, so that a shim that is still on its way does not begin it. False when one has begun.
    pub fn begin_never(&self) -> io::Result<bool> {
        let nobody = Begun { pid: 0, start_ticks: 0, boot_id: String::new(), at_ms: 0 };
        // A shim is started after its directory is made.
        if self.path.exists() { self.begin(&nobody) } else { Ok(true) }
    }

    /// The shim that began the run.
    pub fn begun(&self) -> io::Result<Option<Begun>> {
        self.read("begun.json")
    }

    /// Says what the sandbox is made of, for an operator.
    pub fn write_started(&self, started: &Started) -> io::Result<()> {
        self.write("started.json", started)
    }

    /// What the sandbox is made of.
    pub fn started(&self) -> io::Result<Option<Started>> {
        self.read("started.json")
    }

    /// Says how the run ended.
    pub fn write_end(&self, ended: &Ended) -> io::Result<()> {
        self.write("end.json", ended)
    }

    /// How the run ended.
    pub fn end(&self) -> io::Result<Option<Ended>> {
        self.read("end.json")
    }

    /// Removes the directory. One that is gone is fine.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Replaces a file whole: it is complete under its name, or not there.
    pub(crate) fn write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let new = format!("{name}.{}.new", std::process::id());
        // What an earlier process with this id left half done.
        match fs::remove_file(self.file(&new)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.write_new(&new, value)?;
        fs::rename(self.file(&new), self.file(name))?;
        self.sync()
    }

    fn write_new(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(self.file(name))?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let file = match File::open(self.file(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(FILE_MAX).read_to_end(&mut bytes)?;
        Ok(Some(serde_json::from_slice(&bytes)?))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::How;

    fn begun(pid: i32) -> Begun {
        Begun { pid, start_ticks: 7, boot_id: "b".into(), at_ms: 1 }
    }

    #[test]
    fn a_run_is_begun_once_whoever_tries_again() {
        let place = tempfile::tempdir().unwrap();
        let dir = RunDir::at(place.path());
        assert_eq!(dir.begun().unwrap(), None);
        assert!(dir.begin(&begun(10)).unwrap());
        assert!(!dir.begin(&begun(11)).unwrap(), "the second must not run it");
        assert!(!dir.begin(&begun(10)).unwrap(), "nor the first again");
        assert_eq!(dir.begun().unwrap(), Some(begun(10)));
        let names: Vec<_> =
            fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["begun.json"], "nothing half done is left");
    }

    #[test]
    fn a_run_that_is_claimed_for_nobody_is_begun_by_nobody() {
        let place = tempfile::tempdir().unwrap();
        let dir = RunDir::at(place.path());
        assert!(dir.begin_never().unwrap());
        assert!(!dir.begin(&begun(10)).unwrap(), "a shim that comes late does nothing");
        assert!(RunDir::at(place.path().join("gone")).begin_never().unwrap(), "nothing to claim");
    }

    #[test]
    fn an_end_is_read_as_it_was_written_and_a_broken_one_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let dir = RunDir::at(place.path());
        assert_eq!(dir.end().unwrap(), None);
        let ended = Ended::now_unknown(How::Exited { code: 4 });
        dir.write_end(&ended).unwrap();
        assert_eq!(dir.end().unwrap(), Some(ended));
        fs::write(dir.file("end.json"), "{").unwrap();
        assert!(dir.end().is_err(), "a broken file is not the same as none");
        dir.remove().unwrap();
        dir.remove().unwrap();
    }
}
