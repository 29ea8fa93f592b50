//! What runed sees of the cluster: this instance's Jobs and pods, kept up to date by two watches that all runs share.
//!
//! The watches are `kube`'s: they list, watch from there, list again when the cluster says that the version they know
//! is gone, and back off while it does not answer. What they bring is taken as it comes; nothing is polled.

use super::cluster::Cluster;
use super::pod::{self, JobFacts, PodFacts, PodState};
use crate::run::RunId;
use futures::{Stream, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kit::Clock;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event, watcher};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Seconds of one watch. A connection that was lost without a word is noticed a little later than that.
const WATCH_SECONDS: u32 = 60;
/// Objects that are gone and remembered as that, so that late word of one does not bring it back.
const GONE: usize = 4096;

/// The shared view. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct View {
    seen: Arc<Mutex<Seen>>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By name.
    jobs: Shelf<JobFacts>,
    /// By id.
    pods: Shelf<PodFacts>,
    /// Ids of Jobs that are gone.
    gone: VecDeque<String>,
}

/// Objects of one kind.
#[derive(Debug)]
struct Shelf<T> {
    kept: HashMap<String, T>,
    /// What a new list has brought so far.
    listed: HashMap<String, T>,
    /// It was listed whole at least once.
    whole: bool,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { kept: HashMap::new(), listed: HashMap::new(), whole: false }
    }
}

/// What is seen of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct OfRun {
    /// Its Job.
    pub job: Option<JobFacts>,
    /// The pod that counts, should there be two: one that runs, else one that went well, else one that waits.
    pub pod: Option<PodFacts>,
}

impl OfRun {
    /// Whether nothing is left.
    pub fn is_gone(&self) -> bool {
        self.job.is_none() && self.pod.is_none()
    }
}

impl View {
    /// An empty view, and the two watches that fill it, in `tasks`.
    pub fn begin(
        cluster: &Cluster,
        selector: &str,
        clock: &Clock,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let view = Self { seen: Arc::default(), changes: watch::Sender::new(0) };
        let config = Config::default().labels(selector).timeout(WATCH_SECONDS);
        let (into, now) = (view.clone(), clock.clone());
        let pods = watcher(cluster.pods(), config.clone()).default_backoff();
        tasks.spawn(async move {
            each(pods, |event| {
                into.change(|seen| {
                    let facts = |found: &Pod| {
                        let new = pod::pod(found, now.now().0)?;
                        Some((new.uid.clone(), new))
                    };
                    let old = seen.pods.kept.clone();
                    seen.pods.take(event, facts);
                    for (uid, pod) in seen.pods.kept.iter_mut().chain(&mut seen.pods.listed) {
                        keep_since(pod, old.get(uid));
                    }
                });
            })
            .await;
        });
        let into = view.clone();
        let jobs = watcher(cluster.jobs(), config).default_backoff();
        tasks.spawn(async move {
            each(jobs, |event| {
                into.change(|seen| {
                    if let Event::Delete(job) = &event {
                        seen.forget(job.metadata.uid.clone().unwrap_or_default());
                    }
                    seen.jobs.take(event, pod::job);
                });
            })
            .await;
        });
        view
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen());
        self.changes.send_modify(|count| *count += 1);
    }

    /// Told of every change after it can be seen.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns once both kinds were listed whole. False when that takes too long.
    pub async fn whole(&self, patience: Duration) -> bool {
        let mut changes = self.changes();
        let whole = async {
            loop {
                changes.mark_unchanged();
                {
                    let seen = self.seen();
                    if seen.jobs.whole && seen.pods.whole {
                        return true;
                    }
                }
                if changes.changed().await.is_err() {
                    return false;
                }
            }
        };
        tokio::time::timeout(patience, whole).await.unwrap_or(false)
    }

    /// Takes in a Job that was just made, whether or not the watch has brought it yet.
    pub fn learn(&self, job: &Job) {
        self.change(|seen| {
            if let Some((name, facts)) = pod::job(job)
                && !seen.gone.contains(&facts.uid)
            {
                seen.jobs.kept.entry(name).or_insert(facts);
            }
        });
    }

    /// What is seen of a run whose Job has this name.
    pub fn of_run(&self, id: &RunId, job: &str) -> OfRun {
        let seen = self.seen();
        let rank = |pod: &&PodFacts| match &pod.state {
            PodState::Running { .. } => 3,
            PodState::Ended(exit) if exit.code == Some(0) => 2,
            PodState::Waiting(_) => 1,
            PodState::Ended(_) => 0,
        };
        let own = seen.pods.kept.values().filter(|pod| pod.run == *id);
        OfRun {
            job: seen.jobs.kept.get(job).filter(|job| job.run == *id).cloned(),
            pod: own.max_by_key(rank).cloned(),
        }
    }

    /// All Jobs, by name.
    pub fn jobs(&self) -> Vec<(String, JobFacts)> {
        let seen = self.seen();
        seen.jobs.kept.iter().map(|(name, facts)| (name.clone(), facts.clone())).collect()
    }

    /// The pod with this id, once it is seen. None when that takes too long.
    pub async fn pod(&self, uid: &str, patience: Duration) -> Option<PodFacts> {
        let mut changes = self.changes();
        let found = async {
            loop {
                changes.mark_unchanged();
                let pod = self.seen().pods.kept.get(uid).cloned();
                if pod.is_some() || changes.changed().await.is_err() {
                    return pod;
                }
            }
        };
        tokio::time::timeout(patience, found).await.unwrap_or(None)
    }
}

impl Seen {
    fn forget(&mut self, uid: String) {
        self.gone.push_back(uid);
        if self.gone.len() > GONE {
            self.gone.pop_front();
        }
    }
}

impl<T> Shelf<T> {
    fn take<K>(&mut self, event: Event<K>, facts: impl Fn(&K) -> Option<(String, T)>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => self.listed.extend(facts(&object)),
            Event::InitDone => {
                self.kept = std::mem::take(&mut self.listed);
                self.whole = true;
            }
            Event::Apply(object) => self.kept.extend(facts(&object)),
            Event::Delete(object) => {
                if let Some((key, _)) = facts(&object) {
                    self.kept.remove(&key);
                }
            }
        }
    }
}

/// A pod that is hindered as it was has been so for as long.
fn keep_since(pod: &mut PodFacts, old: Option<&PodFacts>) {
    let kind = |pod: &PodFacts| match &pod.state {
        PodState::Waiting(Some(hindrance)) => Some(std::mem::discriminant(hindrance)),
        _ => None,
    };
    if let Some(old) = old.filter(|old| kind(old).is_some() && kind(old) == kind(pod)) {
        pod.hindered_since_ms = old.hindered_since_ms;
    }
}

async fn each<K>(events: impl Stream<Item = watcher::Result<Event<K>>>, take: impl Fn(Event<K>)) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => take(event),
            Err(error) => {
                tracing::warn!(error = kit::chain(&error), "a watch of the cluster broke off")
            }
        }
    }
}
