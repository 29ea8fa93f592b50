//! The backend that runs agents as child processes of this machine, each beside a shim and within a sandbox.
//!
//! runed starts a shim, `PROGRAM shim --dir DIR`, and never looks after it: the shim and its run go on when runed ends,
//! and are found again by their directory below `run/r`. What the backend answers, it reads from there; how a run is
//! waited for is the shim's pidfd, not a look every second.
//!
//! What it cannot do is in [`Description::missing`], as found by trying: see [`containment`]. Its bounds are per
//! process, and for the run as a whole by a look every half second; there are no control groups here.

pub mod containment;
mod homes;
pub(crate) mod output;
pub(crate) mod proc_fs;
mod run_dir;
mod shims;

pub use homes::{HomeError, Homes};
pub use run_dir::{AgentCommand, Begun, Order, RunDir, Started, Without};

use crate::backend::{Backend, BackendError, Description, Found, Log, NotStarted, Refusal};
use crate::run::{Ended, How, RunId, RunSpec};
use crate::shim::Answer;
use async_trait::async_trait;
use containment::Containment;
use proto::Timestamp;
use proto::runed::Egress;
use shims::Shims;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an agent has between the polite signal and the other one.
pub const GRACE: Duration = Duration::from_secs(3);

/// What the process backend needs to know.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// The instance's data directory. Homes are in `homes`, runs in `run/r`, the turns' sockets below `run`.
    pub data_dir: PathBuf,
    /// The program that answers `shim …` and `sandbox …`: an absolute path.
    pub launcher: PathBuf,
    /// The agent.
    pub agent: AgentCommand,
    /// How long an agent has between the polite signal and the other one.
    pub grace: Duration,
    /// Layers of the sandbox to leave out, as on a machine that lacks them.
    pub without: Without,
}

/// Runs agents as processes.
#[derive(Debug)]
pub struct ProcessBackend {
    config: ProcessConfig,
    homes: Homes,
    runs: PathBuf,
    containment: Containment,
    shims: Shims,
}

impl ProcessBackend {
    /// Makes the directories, and tries out what a sandbox holds on this machine.
    ///
    /// # Errors
    /// A directory cannot be made. A sandbox that cannot be entered is no error: then no run is accepted, and the
    /// description says why.
    pub async fn new(config: ProcessConfig) -> io::Result<Self> {
        // Mounts and rules want the paths as they are; a link on the way would name another place.
        let data_dir = std::fs::canonicalize(&config.data_dir)?;
        let mut config = ProcessConfig { data_dir, ..config };
        let runs = config.data_dir.join("run/r");
        homes::make_private(&config.data_dir.join("run"))?;
        homes::make_private(&runs)?;
        let homes = Homes::open(&config.data_dir.join("homes"))?;
        let shims = Shims::default();
        let (containment, without) = containment::try_out(&config, &runs, &shims).await;
        config.without = without;
        Ok(Self { config, homes, runs, containment, shims })
    }

    /// What a sandbox holds on this machine.
    pub fn containment(&self) -> &Containment {
        &self.containment
    }

    fn dir(&self, id: &RunId) -> RunDir {
        RunDir::at(self.runs.join(id.as_str()))
    }

    /// The turn's directory as it is, without links: below `run`, and with nothing in it but the socket.
    fn turn_dir(&self, run: &RunSpec) -> Result<PathBuf, NotStarted> {
        let shown = run.turn_dir.display();
        let real = std::fs::canonicalize(&run.turn_dir)
            .map_err(|error| NotStarted::failed(format!("no turn directory {shown}"), error))?;
        if !self.may_be_turn_dir(&real) {
            return Err(self.foreign(&run.turn_dir).into());
        }
        let entries = std::fs::read_dir(&real)
            .map_err(|error| NotStarted::failed(format!("cannot read {shown}"), error))?;
        let others = entries.flatten().any(|entry| entry.file_name() != proto::turn::SOCKET);
        if others {
            let text = format!("{shown} holds more than the turn's socket; an agent would see it");
            return Err(Refusal(text).into());
        }
        Ok(real)
    }

    fn may_be_turn_dir(&self, path: &Path) -> bool {
        let run = self.config.data_dir.join("run");
        path != run && path.starts_with(&run) && !path.starts_with(&self.runs)
    }

    fn foreign(&self, path: &Path) -> Refusal {
        Refusal(format!(
            "{} is no turn's directory: those are below {}",
            path.display(),
            self.config.data_dir.join("run").display()
        ))
    }

    /// Everything that may block: directories and their files.
    fn prepare(&self, run: &RunSpec) -> Result<RunDir, NotStarted> {
        let turn_dir = self.turn_dir(run)?;
        let home = self.homes.make(&run.home).map_err(|error| match error {
            HomeError::NotOurs { .. } => NotStarted::Refused(Refusal(error.to_string())),
            HomeError::Io { .. } => NotStarted::failed("cannot prepare the home", error),
        })?;
        let order = Order {
            run: run.id.to_string(),
            agent: self.config.agent.clone(),
            home,
            turn_dir,
            limits: run.limits,
            grace_ms: u64::try_from(self.config.grace.as_millis()).unwrap_or(u64::MAX),
            without: self.config.without,
        };
        let dir = self.dir(&run.id);
        dir.prepare(&order).map_err(|error| {
            NotStarted::failed(format!("cannot write {}", dir.path().display()), error)
        })?;
        Ok(dir)
    }
}

/// What the files of a run and the process table say.
fn look(dir: &RunDir) -> io::Result<Found> {
    if let Some(ended) = dir.end()? {
        return Ok(Found::Ended(ended));
    }
    let Some(begun) = dir.begun()? else { return Ok(Found::Nothing) };
    if shims::is_alive(&begun) {
        return Ok(Found::Alive);
    }
    // It may have ended between the two looks.
    Ok(dir.end()?.map_or(Found::Lost, Found::Ended))
}

#[async_trait]
impl Backend for ProcessBackend {
    fn name(&self) -> &'static str {
        "process"
    }

    fn describe(&self) -> Description {
        self.containment.describe()
    }

    fn validate(&self, run: &RunSpec) -> Result<(), Refusal> {
        if let Some(image) = &run.image {
            tracing::debug!(run = %run.id, image, "processes have no image; it is not used");
        }
        if run.egress == Egress::Granted {
            return Err(Refusal(
                "the process backend has no network set apart for agents: ask for no egress, or use a backend with containers"
                    .into(),
            ));
        }
        // Not yet resolved: it need not be there yet. `start` looks again.
        let plain = run.turn_dir.components().all(|part| {
            matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_))
        });
        if !plain || !run.turn_dir.is_absolute() {
            return Err(self.foreign(&run.turn_dir));
        }
        self.containment.admits(run.harness)
    }

    async fn start(&self, run: &RunSpec) -> Result<(), NotStarted> {
        let found = |error| NotStarted::failed("cannot read the run's directory", error);
        match self.find(&run.id).await.map_err(found)? {
            Found::Nothing => {}
            Found::Alive | Found::Ended(_) | Found::Lost => return Ok(()),
        }
        self.validate(run)?;
        let dir = self.prepare(run)?;
        match self.shims.start(&self.config.launcher, &run.id, &dir).await? {
            // Another shim of this run was faster: the run was started, which is what was asked for.
            Answer::Started(_) | Answer::Taken => Ok(()),
            Answer::Failed { permanent: true, what } => Err(Refusal(what).into()),
            Answer::Failed { permanent: false, what } => {
                Err(NotStarted::Failed { what, source: None })
            }
        }
    }

    async fn find(&self, id: &RunId) -> Result<Found, BackendError> {
        look(&self.dir(id))
            .map_err(|error| BackendError::new(format!("cannot look at {id}"), error))
    }

    async fn watch(&self, id: &RunId) -> Result<Ended, BackendError> {
        let dir = self.dir(id);
        let failed = |error: io::Error| BackendError::new(format!("cannot watch {id}"), error);
        loop {
            match look(&dir).map_err(failed)? {
                Found::Ended(ended) => {
                    self.shims.forget(id).await;
                    return Ok(ended);
                }
                Found::Alive => {
                    if let Some(begun) = dir.begun().map_err(failed)? {
                        shims::until_gone(&begun).await.map_err(failed)?;
                    }
                }
                Found::Nothing => return Ok(Ended::now_unknown(How::Lost)),
                Found::Lost => {
                    shims::end_leftovers(&dir).await.map_err(failed)?;
                    self.shims.forget(id).await;
                    return Ok(Ended::now_unknown(How::Lost));
                }
            }
        }
    }

    async fn cancel(&self, id: &RunId) -> Result<(), BackendError> {
        let dir = self.dir(id);
        let failed = |error: io::Error| BackendError::new(format!("cannot end {id}"), error);
        if let Some(begun) = dir.begun().map_err(failed)? {
            shims::end(&begun, self.config.grace).await.map_err(failed)?;
        }
        if look(&dir).map_err(failed)? == Found::Lost {
            shims::end_leftovers(&dir).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn log(&self, id: &RunId) -> Result<Log, BackendError> {
        let dir = self.dir(id);
        let failed = |error: io::Error| BackendError::new(format!("cannot read {id}'s log"), error);
        match dir.order() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Log::default()),
            order => {
                let bound = order.map_err(failed)?.limits.output_bytes;
                output::read(dir.path(), bound).map_err(failed)
            }
        }
    }

    async fn sweep(
        &self,
        keep: &BTreeSet<RunId>,
        forget_before: Timestamp,
    ) -> Result<Vec<RunId>, BackendError> {
        let place = self.runs.display();
        let failed = |error: io::Error| BackendError::new(format!("cannot sweep {place}"), error);
        let mut ended = Vec::new();
        for entry in std::fs::read_dir(&self.runs).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let id = entry.file_name().to_str().and_then(|name| name.parse::<RunId>().ok());
            let Some(id) = id.filter(|id| !keep.contains(id)) else { continue };
            let dir = RunDir::at(entry.path());
            if matches!(look(&dir), Ok(Found::Alive)) {
                self.cancel(&id).await?;
                ended.push(id);
            }
            // One that never began, or is not understood, is of no use to anybody.
            let began = dir.begun().ok().flatten().map_or(0, |begun| begun.at_ms);
            if began < forget_before.0 {
                dir.remove().map_err(failed)?;
            }
        }
        Ok(ended)
    }
}
