//! The backend that runs agents as child processes of this machine, each beside a shim and within a sandbox.
//!
//! runed starts a shim, `PROGRAM shim --dir DIR`, and never looks after it: the shim and its run go on when runed ends,
//! and are found again by their directory below `run/r`. What the backend answers, it reads from there; how a run is
//! waited for is the shim's pidfd, not a look every second.
//!
//! What it cannot do is in [`Description::missing`], as found by trying: see [`containment`]. Its bounds are per
//! process, and for the run as a whole by a look every half second; there are no control groups here.

pub mod containment;
pub(crate) mod proc_fs;
mod shims;

pub use crate::run_dir::{AgentCommand, Begun, Order, RunDir, Shown, Started, Without};

use crate::backend::{Backend, BackendError, Description, Found, Log, NotStarted, Refusal, Sweep};
use crate::homes::Owner;
use crate::output;
use crate::run::{Ended, How, RunId, RunSpec};
use crate::shim::Answer;
use async_trait::async_trait;
use containment::Containment;
use proto::Timestamp;
use proto::runed::Egress;
use shims::Shims;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
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
    /// What else of the machine agents may read.
    pub shown: Shown,
}

/// Runs agents as processes.
#[derive(Debug)]
pub struct ProcessBackend {
    place: Arc<Place>,
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
        let mut place = Place::make(config)?;
        let shims = Shims::default();
        let runs = place.dirs.runs().to_owned();
        let (containment, without) = containment::try_out(&place.config, &runs, &shims).await;
        place.config.without = without;
        Ok(Self { place: Arc::new(place), containment, shims })
    }

    /// What a sandbox holds on this machine.
    pub fn containment(&self) -> &Containment {
        &self.containment
    }

    /// Does what may block where blocking is no harm.
    async fn blocking<T, E>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<io::Error> + Send + 'static,
    {
        let place = self.place.clone();
        let done = tokio::task::spawn_blocking(move || work(&place)).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }
}

/// The directories, and what is done in them.
#[derive(Debug)]
struct Place {
    config: ProcessConfig,
    dirs: crate::place::Place,
}

impl Place {
    fn make(config: ProcessConfig) -> io::Result<Self> {
        let dirs = crate::place::Place::make(&config.data_dir)?;
        let data_dir = dirs.data_dir().to_owned();
        Ok(Self { config: ProcessConfig { data_dir, ..config }, dirs })
    }

    fn dir(&self, id: &RunId) -> RunDir {
        self.dirs.dir(id)
    }

    /// Makes the home and the run's directory, and writes the order.
    fn prepare(&self, run: &RunSpec) -> Result<RunDir, NotStarted> {
        let turn_dir = self.dirs.turn_dir(run)?;
        let home = self.dirs.home(run, Owner::own())?;
        let order = Order {
            run: run.id.to_string(),
            agent: self.config.agent.clone(),
            home,
            turn_dir,
            limits: run.limits,
            grace_ms: u64::try_from(self.config.grace.as_millis()).unwrap_or(u64::MAX),
            without: self.config.without,
            shown: self.config.shown.clone(),
        };
        let dir = self.dir(&run.id);
        dir.prepare(&order).map_err(|error| {
            NotStarted::failed(format!("cannot write {}", dir.path().display()), error)
        })?;
        Ok(dir)
    }

    /// The run's log.
    fn log(&self, id: &RunId) -> io::Result<Log> {
        let dir = self.dir(id);
        match dir.order() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Log::default()),
            order => output::read(dir.path(), order?.limits.output_bytes),
        }
    }

    /// The runs that are not in `keep` and began before `before`, and whether each is alive.
    fn others(&self, keep: &BTreeSet<RunId>, before: Timestamp) -> io::Result<Vec<(RunId, bool)>> {
        let is_new = |id: &RunId| self.began_ms(id) >= before.0;
        let ids = self.dirs.ids()?.into_iter().filter(|id| !keep.contains(id) && !is_new(id));
        Ok(ids
            .map(|id| {
                let alive = matches!(look(&self.dir(&id)), Ok(Found::Alive));
                (id, alive)
            })
            .collect())
    }

    /// Removes what is left of a run that began before `before`. One that never began, or is not understood, is of no
    /// use to anybody.
    fn forget(&self, id: &RunId, before: Timestamp) -> io::Result<()> {
        if self.began_ms(id) < before.0 { self.dir(id).remove() } else { Ok(()) }
    }

    /// When a run began; 0 for one that never did.
    fn began_ms(&self, id: &RunId) -> i64 {
        self.dir(id).begun().ok().flatten().map_or(0, |begun| begun.at_ms)
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
        self.place.dirs.could_be_turn_dir(run)?;
        self.containment.admits(run.harness)
    }

    async fn start(&self, run: &RunSpec) -> Result<(), NotStarted> {
        let found = |error| NotStarted::failed("cannot read the run's directory", error);
        match self.find(&run.id).await.map_err(found)? {
            Found::Nothing => {}
            Found::Alive | Found::Ended(_) | Found::Lost => return Ok(()),
        }
        self.validate(run)?;
        let spec = run.clone();
        let dir = self.blocking(move |place| place.prepare(&spec)).await?;
        match self.shims.start(&self.place.config.launcher, &run.id, &dir).await? {
            // Another shim of this run was faster: the run was started, which is what was asked for.
            Answer::Started(_) | Answer::Taken => Ok(()),
            Answer::Failed { permanent: true, what } => Err(Refusal(what).into()),
            Answer::Failed { permanent: false, what } => {
                Err(NotStarted::Failed { what, source: None })
            }
        }
    }

    async fn find(&self, id: &RunId) -> Result<Found, BackendError> {
        look(&self.place.dir(id))
            .map_err(|error| BackendError::new(format!("cannot look at {id}"), error))
    }

    async fn watch(&self, id: &RunId) -> Result<Ended, BackendError> {
        let dir = self.place.dir(id);
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
        let dir = self.place.dir(id);
        let failed = |error: io::Error| BackendError::new(format!("cannot end {id}"), error);
        // A shim that an earlier runed started a moment ago may still be on its way: it must find the run taken.
        let nobody_runs_it =
            dir.begun().map_err(failed)?.is_none() && dir.begin_never().map_err(failed)?;
        if !nobody_runs_it && let Some(begun) = dir.begun().map_err(failed)? {
            shims::end(&begun, self.place.config.grace).await.map_err(failed)?;
        }
        if look(&dir).map_err(failed)? == Found::Lost {
            shims::end_leftovers(&dir).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn log(&self, id: &RunId) -> Result<Log, BackendError> {
        let wanted = id.clone();
        let log = self.blocking(move |place| place.log(&wanted)).await;
        log.map_err(|error: io::Error| BackendError::new(format!("cannot read {id}'s log"), error))
    }

    async fn sweep(&self, sweep: Sweep<'_>) -> Result<Vec<RunId>, BackendError> {
        let runs = self.place.dirs.runs().display();
        let failed = |error: io::Error| BackendError::new(format!("cannot sweep {runs}"), error);
        let (keep, before) = (sweep.keep.clone(), sweep.began_before);
        let others =
            self.blocking(move |place| place.others(&keep, before)).await.map_err(failed)?;
        let mut ended = Vec::new();
        for (id, alive) in others {
            if alive {
                self.cancel(&id).await?;
                ended.push(id.clone());
            }
            let forget = move |place: &Place| place.forget(&id, sweep.forget_before);
            self.blocking(forget).await.map_err(failed)?;
        }
        Ok(ended)
    }
}
