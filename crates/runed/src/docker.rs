//! The backend that runs each agent in a container of a Docker engine on this machine.
//!
//! runed makes the container under a name that follows from the run, starts it, and looks at it; the engine's word is
//! the truth about a run that lasts, and the run's directory below `run/r` about one that has ended: how it ended and
//! the kept part of its log are written there before the container is removed.
//!
//! A run is started at most once. Before runed asks the engine to start it, it writes down who asks; whoever finds a
//! container that was to be started by another and was not, removes it, for that request may still be on its way. The
//! run has ended as lost then, and its turn may have another attempt.
//!
//! Nobody but runed ends a container whose time is over. One that outlives its time while runed is away ends when
//! runed is back.

mod ending;
mod engine;
mod facts;
mod paths;
mod recipe;

mod starting;
mod state;
mod trouble;

mod watching;

use crate::backend::{Backend, BackendError, Description, Found, Log, NotStarted, Refusal, Sweep};
use crate::homes::Owner;
use crate::output;
use crate::place::Place;
use crate::record::Record;
use crate::run::{Ended, How, RunId, RunSpec};
use crate::users::Ids;
use async_trait::async_trait;
use engine::Engine;
use facts::Facts;
use kit::Clock;
use paths::HostPaths;
use proto::runed::Egress;
use recipe::Instance;
use state::{Exit, Seen};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use trouble::Trouble;

/// What the Docker backend needs to know.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The instance's data directory. Homes are in `homes`, runs in `run/r`, the turns' sockets below `run`.
    pub data_dir: PathBuf,
    /// The instance's name.
    pub instance: String,
    /// The engine's socket.
    pub socket: PathBuf,
    /// The data directory as the engine sees it, where runed is itself in a container.
    pub host_data_dir: Option<PathBuf>,
    /// The directory of the agents' skills, as the engine sees it.
    pub skills: Option<PathBuf>,
    /// The network of agents that are granted egress.
    pub network: Option<String>,
    /// As whom agents run, where runed is root.
    pub user: Option<crate::AgentUser>,
    /// How long an agent has between the polite signal and the other one.
    pub grace: Duration,
    /// The time.
    pub clock: Clock,
}

/// Runs agents in containers.
#[derive(Debug)]
pub struct DockerBackend {
    config: DockerConfig,
    place: Arc<Place>,
    paths: HostPaths,
    instance: Instance,
    engine: Engine,
    /// What the engine said of itself, once it has.
    facts: RwLock<Option<Facts>>,
    /// The name under which this object claims starts. No other has it.
    token: String,
}

/// Why there is no Docker backend.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// A directory cannot be made.
    #[error("cannot make the directories of runs")]
    Directories(#[source] io::Error),
    /// This user may not use the engine's socket.
    #[error("this user may not use the container engine's socket")]
    Forbidden,
    /// The paths are no text, as the engine's interface needs.
    #[error("the paths of the data directory and of the skills must be UTF-8")]
    NoText,
}

/// What is known of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// It was never started.
    Nothing,
    /// It was to be started, by this object or by another, and is not.
    Claimed { here: bool, made: bool },
    /// It runs.
    Running { since_ms: Option<i64> },
    /// Its container has ended and is still there.
    Ended(Exit),
    /// The engine is removing its container.
    Going,
    /// It is over, and how was written down.
    Over(Ended),
}

impl DockerBackend {
    /// Makes the directories, and asks the engine what it is.
    ///
    /// # Errors
    /// A directory cannot be made, or this user may not use the engine's socket. An engine that does not answer is no
    /// error: it may be starting. Runs fail until it answers.
    pub async fn new(config: DockerConfig) -> Result<Self, DockerError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let place = Place::make(&config.data_dir).map_err(DockerError::Directories)?;
        let paths = HostPaths::new(place.data_dir().to_owned(), config.host_data_dir.clone());
        let text =
            |path: &std::path::Path| path.to_str().map(str::to_owned).ok_or(DockerError::NoText);
        let instance = Instance {
            name: config.instance.clone(),
            data: text(paths.data_dir())?,
            network: config.network.clone(),
            skills: config.skills.as_deref().map(text).transpose()?,
        };
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let token = format!("{}-{}-{next}", std::process::id(), config.clock.now().0);
        let engine = Engine::new(config.socket.clone());
        let (place, facts) = (Arc::new(place), RwLock::default());
        let backend = Self { config, place, paths, instance, engine, facts, token };
        match backend.learn().await {
            Err(Trouble::Forbidden { .. }) => Err(DockerError::Forbidden),
            _ => Ok(backend),
        }
    }

    /// Asks the engine what it is.
    async fn learn(&self) -> Result<Facts, Trouble> {
        let Owner { uid, gid } = Owner::own();
        let facts = Facts::of(&self.engine.info().await?, Ids { uid, gid }, self.config.user);
        *self.facts.write().unwrap_or_else(PoisonError::into_inner) = Some(facts.clone());
        Ok(facts)
    }

    fn known(&self) -> Option<Facts> {
        self.facts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, id: &RunId) -> Record {
        Record::new(self.place.dir(id))
    }

    /// What the directory and the engine know of a run.
    async fn standing(&self, id: &RunId) -> Result<Standing, BackendError> {
        let record = self.record(id);
        let unread =
            |error| BackendError::new(format!("cannot read what is written of {id}"), error);
        if let Some(ended) = record.end().map_err(unread)? {
            return Ok(Standing::Over(ended));
        }
        let seen = self.engine.look(&self.instance.container(id)).await;
        let seen =
            seen.map_err(|error| BackendError::new(format!("cannot look at {id}"), error))?;
        let made = match seen {
            Some(Seen::Running { since_ms, .. }) => return Ok(Standing::Running { since_ms }),
            Some(Seen::Ended(exit)) => return Ok(Standing::Ended(exit)),
            Some(Seen::Going) => return Ok(Standing::Going),
            Some(Seen::Made) => true,
            None => false,
        };
        // It may have ended, and its container have gone, between the two looks.
        if let Some(ended) = record.end().map_err(unread)? {
            return Ok(Standing::Over(ended));
        }
        Ok(match record.claimed().map_err(unread)? {
            None => Standing::Nothing,
            Some(claim) => Standing::Claimed { here: claim.by == self.token, made },
        })
    }

    fn no_network(&self) -> Refusal {
        Refusal(
            "the run is granted egress, and no network is set apart for agents: make one in the engine and set EGRESS_NETWORK, or take the grant back"
                .into(),
        )
    }
}

#[async_trait]
impl Backend for DockerBackend {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn describe(&self) -> Description {
        let silent = || Description {
            missing: vec![format!(
                "the container engine at {} has not answered yet: no agent can be started",
                self.engine.socket().display()
            )],
            ..Description::default()
        };
        let (network, skills) = (self.instance.network.as_deref(), self.instance.skills.is_some());
        self.known().map_or_else(silent, |facts| facts.describe(network, skills))
    }

    async fn trouble(&self) -> Option<String> {
        self.learn().await.err().map(|trouble| kit::chain(&trouble))
    }

    fn validate(&self, run: &RunSpec) -> Result<(), Refusal> {
        if run.image.is_none() {
            return Err(Refusal("the run names no image; set CONTAINER_IMAGE".into()));
        }
        if run.egress == Egress::Granted && self.instance.network.is_none() {
            return Err(self.no_network());
        }
        self.place.could_be_turn_dir(run)?;
        // An engine that has not answered yet is asked when the run starts.
        self.known().map_or(Ok(()), |facts| facts.admits(run.harness).map(drop))
    }

    async fn start(&self, run: &RunSpec) -> Result<(), NotStarted> {
        self.begin(run).await
    }

    async fn find(&self, id: &RunId) -> Result<Found, BackendError> {
        Ok(match self.standing(id).await? {
            Standing::Nothing => Found::Nothing,
            Standing::Claimed { here: true, made: true }
            | Standing::Running { .. }
            | Standing::Going => Found::Alive,
            Standing::Claimed { .. } => Found::Lost,
            Standing::Ended(exit) => {
                let reason = self.record(id).reason();
                let reason = reason.map_err(|error| {
                    BackendError::new(format!("cannot read what is written of {id}"), error)
                })?;
                Found::Ended(state::ended(exit, reason))
            }
            Standing::Over(ended) => Found::Ended(ended),
        })
    }

    async fn watch(&self, id: &RunId) -> Result<Ended, BackendError> {
        self.follow(id).await
    }

    async fn cancel(&self, id: &RunId) -> Result<(), BackendError> {
        self.end_for_good(id, How::Stopped).await
    }

    async fn log(&self, id: &RunId) -> Result<Log, BackendError> {
        let failed = |error| BackendError::new(format!("cannot read {id}'s log"), error);
        let record = self.record(id);
        let Some(order) = record.ordered().map_err(failed)? else { return Ok(Log::default()) };
        let bound = order.limits.output_bytes;
        if record.end().map_err(failed)?.is_some() {
            return output::read(record.dir().path(), bound).map_err(failed);
        }
        self.log_so_far(&record, &order.container, bound).await
    }

    async fn sweep(&self, sweep: Sweep<'_>) -> Result<Vec<RunId>, BackendError> {
        self.sweep_all(sweep).await
    }
}
