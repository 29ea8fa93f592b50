//! The backend that runs each agent in a Job of a Kubernetes cluster.
//!
//! runed makes the Job under a name that follows from the run, and sees what becomes of it by two watches that all
//! runs share. The pod is watched, not the Job's completion, which comes later. The cluster's word is the truth about a
//! run that lasts, and the run's directory below `run/r` about one that has ended: how it ended and the kept part of
//! its log are written there before the Job is removed.
//!
//! A run is started at most once. Before the Job is asked for, that is written down; a Job that is asked for twice is
//! made once, because of its name; and a run that was claimed and has no Job is over. An agent that the cluster starts
//! all the same, or starts twice, gets no turn: routd gives the turn to the first pod that asks for it, and only while
//! runed says that the pod is a run's that goes on.
//!
//! Which run a pod is follows from the token that the kubelet gives it, which the cluster reviews, and from the Job
//! that made it. The pod is given nothing else: no secret is in the Job, the image or the environment.
//!
//! Of the cluster it needs: Jobs (create, get, list, watch, delete), pods (list, watch) and their logs (get) in its
//! namespace, reviews of tokens (create), and RuntimeClasses (get) where one is set.

mod cluster;
mod ending;
mod job;
mod pod;
mod starting;
mod trouble;
mod view;

use crate::backend::{
    Backend, BackendError, Cause, Description, Found, Log, NotStarted, Pod, Refusal, Sweep,
};
use crate::homes::Owner;
use crate::output;
use crate::place::Place;
use crate::record::Record;
use crate::run::{Ended, How, RunId, RunSpec};
use crate::users::{self, Ids, Remap};
use async_trait::async_trait;
use cluster::Cluster;
use job::Instance;
use kit::Clock;
use pod::{Exit, PodFacts, PodState};
use proto::runed::TURN_AUDIENCE;
use proto::turn::Harness;
use serde_json::Value;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use view::View;

/// How long the API may keep runed from seeing the cluster.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a question that somebody waits for may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What the operator set of agents' pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobSettings {
    /// The service account of agents, which needs no right at all.
    pub service_account: String,
    /// The claim that holds the instance's data directory.
    pub claim: String,
    /// Where in the claim the data directory is; empty for the claim itself.
    pub claim_path: String,
    /// The RuntimeClass.
    pub runtime_class: Option<String>,
    /// Labels that a node must have.
    pub node_selector: Vec<(String, String)>,
    /// The one node that agents may be on.
    pub node: Option<String>,
    /// Tolerations, as the API has them.
    pub tolerations: Vec<Value>,
    /// Secrets that open the registry of the image, for the kubelet.
    pub pull_secrets: Vec<String>,
    /// What a node must have free: processors in thousandths, mebibytes of memory.
    pub requests: (u32, u32),
    /// Further labels of Jobs and pods.
    pub labels: Vec<(String, String)>,
    /// The value of the label `arizuko.egress` of pods that are granted egress.
    pub egress: Option<String>,
}

/// What the Kubernetes backend needs to know.
#[derive(Clone, Debug)]
pub struct KubernetesConfig {
    /// The instance's data directory. Homes are in `homes`, runs in `run/r`.
    pub data_dir: PathBuf,
    /// The instance's name.
    pub instance: String,
    /// The address of the cluster's API.
    pub api_url: String,
    /// The directory with runed's own account: `token`, `ca.crt`, `namespace`.
    pub account_dir: PathBuf,
    /// The namespace of agents; the account's own if it is not set.
    pub namespace: Option<String>,
    /// Agents' pods.
    pub jobs: JobSettings,
    /// As whom agents run, where runed is root.
    pub user: Option<crate::AgentUser>,
    /// How long a run may wait for a node and an image.
    pub slack: Duration,
    /// How long an agent has between the polite signal and the other one.
    pub grace: Duration,
    /// The time.
    pub clock: Clock,
}

/// Why there is no Kubernetes backend.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// A directory cannot be made.
    #[error("cannot make the directories of runs")]
    Directories(#[source] io::Error),
    /// A file of runed's account cannot be read.
    #[error("cannot read {path}, a part of runed's account in the cluster", path = path.display())]
    Account {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The API's address is none.
    #[error("{0} is no address of an API")]
    Address(String),
    /// There is no client for it.
    #[error("cannot set up the client of the cluster's API")]
    Client(#[source] Cause),
    /// The RuntimeClass is not there.
    #[error("the cluster has no RuntimeClass {0}")]
    NoRuntimeClass(String),
}

/// Runs agents in Jobs. Its watches end when it is dropped.
#[derive(Debug)]
pub struct KubernetesBackend {
    inner: Arc<Inner>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Inner {
    config: KubernetesConfig,
    place: Arc<Place>,
    instance: Instance,
    cluster: Cluster,
    view: View,
    /// As whom agents run, or why none can.
    user: Result<Ids, String>,
    /// The name under which this object claims starts. No other has it.
    token: String,
}

/// What is known of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// It was never started.
    Nothing,
    /// It was to be started, and there is nothing of it.
    Claimed,
    /// Its Job is there, and its agent does not run yet.
    Waiting(Option<PodFacts>),
    /// It runs.
    Running { since_ms: Option<i64> },
    /// Its agent has ended and its pod is still there.
    Ended(PodFacts, Exit),
    /// Its Job failed, and there is no pod.
    Failed(Exit),
    /// The cluster is removing its Job.
    Leaving,
    /// It is over, and how was written down.
    Over(Ended),
}

impl KubernetesBackend {
    /// Makes the directories, and begins to watch the cluster.
    ///
    /// # Errors
    /// A directory cannot be made, the account is not there, or the RuntimeClass that was set is not. An API that does
    /// not answer is no error: it may be starting. Runs fail until it answers.
    pub async fn new(config: KubernetesConfig) -> Result<Self, KubernetesError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let place = Arc::new(Place::make(&config.data_dir).map_err(KubernetesError::Directories)?);
        let cluster = Cluster::open(&config)?;
        if let Some(class) = &config.jobs.runtime_class {
            match cluster.has_class(class, PATIENCE).await {
                Ok(true) => {}
                Ok(false) => return Err(KubernetesError::NoRuntimeClass(class.clone())),
                // The cluster looks too, when it makes a pod.
                Err(trouble) => {
                    tracing::warn!(
                        class,
                        error = kit::chain(&trouble),
                        "the RuntimeClass is not known to be there"
                    );
                }
            }
        }
        let instance = Instance {
            name: config.instance.clone(),
            settings: config.jobs.clone(),
            slack: config.slack,
            grace: config.grace,
        };
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let token = format!("{}-{}-{next}", std::process::id(), config.clock.now().0);
        let Owner { uid, gid } = Owner::own();
        let user = users::agents(Ids { uid, gid }, config.user, Remap::None);
        let user = user.map(|user| user.container);
        let mut tasks = JoinSet::new();
        let view = View::begin(&cluster, &instance.selector(), &config.clock, &mut tasks);
        let inner = Arc::new(Inner { config, place, instance, cluster, view, user, token });
        let reaper = inner.clone();
        tasks.spawn(async move { reaper.reap().await });
        Ok(Self { inner, _tasks: tasks })
    }
}

impl Inner {
    fn record(&self, id: &RunId) -> Record {
        Record::new(self.place.dir(id))
    }

    /// Returns once the cluster was seen whole.
    async fn seen_whole(&self) -> Result<(), BackendError> {
        match self.view.whole(PATIENCE).await {
            true => Ok(()),
            false => Err(BackendError {
                what: "the cluster's API has not yet shown its Jobs and pods".into(),
                source: None,
            }),
        }
    }

    /// What the directory and the cluster know of a run.
    async fn standing(&self, id: &RunId) -> Result<Standing, BackendError> {
        let record = self.record(id);
        let unread =
            |error| BackendError::new(format!("cannot read what is written of {id}"), error);
        if let Some(ended) = record.end().map_err(unread)? {
            return Ok(Standing::Over(ended));
        }
        self.seen_whole().await?;
        let seen = self.view.of_run(id, &self.instance.job_name(id));
        // It may have ended, and its Job have gone, between the two looks.
        if let Some(ended) = record.end().map_err(unread)? {
            return Ok(Standing::Over(ended));
        }
        let claimed = record.claimed().map_err(unread)?.is_some();
        Ok(match (seen.pod, seen.job) {
            (Some(pod), job) => match pod.state.clone() {
                PodState::Running { since_ms } => Standing::Running { since_ms },
                PodState::Ended(exit) => Standing::Ended(pod, exit),
                PodState::Waiting(_) if job.is_none_or(|job| job.leaving) => Standing::Leaving,
                PodState::Waiting(_) => Standing::Waiting(Some(pod)),
            },
            (None, Some(job)) => match job.failed {
                Some(exit) => Standing::Failed(exit),
                None if job.leaving => Standing::Leaving,
                None => Standing::Waiting(None),
            },
            (None, None) if claimed => Standing::Claimed,
            (None, None) => Standing::Nothing,
        })
    }

    /// Whose pod showed this token.
    async fn whose(&self, token: &str) -> Result<Option<Pod>, BackendError> {
        let failed =
            |error| BackendError::new("the cluster cannot be asked whose token this is", error);
        let review = self.cluster.review(token, ANSWER).await.map_err(failed)?;
        let Some(status) = review.status.filter(|status| status.authenticated == Some(true)) else {
            return Ok(None);
        };
        let audiences = status.audiences.unwrap_or_default();
        let user = status.user.unwrap_or_default();
        let agent = format!(
            "system:serviceaccount:{}:{}",
            self.cluster.namespace, self.config.jobs.service_account
        );
        let for_us = audiences.iter().any(|audience| audience == TURN_AUDIENCE);
        if !for_us || user.username != Some(agent) {
            return Ok(None);
        }
        let extra = user.extra.unwrap_or_default();
        let uid = extra.get("authentication.kubernetes.io/pod-uid").and_then(|uids| uids.first());
        let Some(uid) = uid else { return Ok(None) };
        let Some(pod) = self.view.pod(uid, ANSWER).await else { return Ok(None) };
        // What says that it is a run's, and was not made by that run's Job, is not.
        let made_by_job = pod.job.as_ref() == Some(&self.instance.job_name(&pod.run));
        let lives = !matches!(pod.state, PodState::Ended(_));
        Ok((made_by_job && lives).then_some(Pod { run: pod.run, uid: pod.uid }))
    }
}

#[async_trait]
impl Backend for KubernetesBackend {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn describe(&self) -> Description {
        let settings = &self.inner.config.jobs;
        let text = |text: &str| text.to_owned();
        let mut enforced = vec![
            text("a pod of its own, as a user that is not root"),
            text("a root that cannot be written"),
            text("no capabilities and no new privileges"),
            text("the runtime's filter of system calls"),
            text("bounds on memory and processors"),
            text("no rights at the cluster's API"),
        ];
        enforced.extend(
            settings.runtime_class.as_ref().map(|class| format!("the RuntimeClass {class}")),
        );
        let mut missing = vec![
            text(
                "what agents reach on the network is decided by the cluster's network policies, which runed does not see; without any, agents reach everything that pods reach",
            ),
            text("how many processes an agent may have is decided by the node (podPidsLimit)"),
        ];
        missing.extend(self.inner.user.clone().err());
        let harnesses = match self.inner.user {
            Ok(_) => Harness::ALL.map(Harness::name).to_vec(),
            Err(_) => Vec::new(),
        };
        Description { enforced, missing, harnesses, ..Description::default() }
    }

    async fn trouble(&self) -> Option<String> {
        let answered = self.inner.cluster.answers().await;
        answered.err().map(|trouble| kit::chain(&trouble))
    }

    fn validate(&self, run: &RunSpec) -> Result<(), Refusal> {
        self.inner.validated(run).map(drop)
    }

    async fn start(&self, run: &RunSpec) -> Result<(), NotStarted> {
        self.inner.begin(run).await
    }

    async fn find(&self, id: &RunId) -> Result<Found, BackendError> {
        Ok(match self.inner.standing(id).await? {
            Standing::Nothing => Found::Nothing,
            Standing::Claimed => Found::Lost,
            Standing::Waiting(_) | Standing::Running { .. } | Standing::Leaving => Found::Alive,
            Standing::Ended(_, exit) | Standing::Failed(exit) => {
                let reason = self.inner.record(id).reason().map_err(|error| {
                    BackendError::new(format!("cannot read what is written of {id}"), error)
                })?;
                Found::Ended(pod::ended(exit, reason))
            }
            Standing::Over(ended) => Found::Ended(ended),
        })
    }

    async fn watch(&self, id: &RunId) -> Result<Ended, BackendError> {
        self.inner.follow(id).await
    }

    async fn cancel(&self, id: &RunId) -> Result<(), BackendError> {
        self.inner.end_for_good(id, How::Stopped).await
    }

    async fn log(&self, id: &RunId) -> Result<Log, BackendError> {
        let failed = |error| BackendError::new(format!("cannot read {id}'s log"), error);
        let record = self.inner.record(id);
        let Some(order) = record.ordered().map_err(failed)? else { return Ok(Log::default()) };
        let bound = order.limits.output_bytes;
        if record.end().map_err(failed)?.is_some() {
            return output::read(record.dir().path(), bound).map_err(failed);
        }
        self.inner.log_so_far(id, bound).await
    }

    async fn sweep(&self, sweep: Sweep<'_>) -> Result<Vec<RunId>, BackendError> {
        self.inner.sweep_all(sweep).await
    }

    async fn whose(&self, token: &str) -> Result<Option<Pod>, BackendError> {
        self.inner.whose(token).await
    }
}
