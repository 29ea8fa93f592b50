//! Following a run to its end, ending it, and writing down how it ended.

use super::pod::{self, Exit, PodFacts, PodState};
use super::trouble::Trouble;
use super::view::OfRun;
use super::{Inner, Standing};
use crate::backend::{BackendError, Log, Sweep};
use crate::output::{self, Output};
use crate::record::{Claim, Record};
use crate::run::{Ended, How, RunId};
use crate::run_dir::RunDir;
use proto::runed::Limits;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long the API may keep runed from removing a Job.
const REMOVE: Duration = Duration::from_secs(30);
/// How long the kubelet may take to end what it was told to end, beyond the agent's own time for it.
const KILL: Duration = Duration::from_secs(60);
/// How often a log is asked for that does not come.
const LOG_TRIES: u32 = 5;
/// How often a run is looked at of which nothing is heard.
const LOOK: Duration = Duration::from_secs(60);
/// How often Jobs are looked for whose run has ended.
const REAP: Duration = Duration::from_secs(20);

fn unwritten(id: &RunId) -> impl Fn(io::Error) -> BackendError + use<'_> {
    move |error| BackendError::new(format!("cannot write down what becomes of {id}"), error)
}

impl Inner {
    /// Waits for the end of a run, and brings it about when its time is over or it cannot start.
    pub(super) async fn follow(&self, id: &RunId) -> Result<Ended, BackendError> {
        let mut news = self.view.changes();
        loop {
            news.mark_unchanged();
            let wait = match self.standing(id).await? {
                Standing::Over(ended) => return Ok(ended),
                Standing::Nothing => return Ok(Ended::now_unknown(How::Lost)),
                Standing::Claimed => return self.conclude(id, None, lost()).await,
                Standing::Failed(exit) => return self.conclude(id, None, exit).await,
                Standing::Ended(pod, exit) => return self.conclude(id, Some(&pod), exit).await,
                Standing::Leaving => LOOK,
                Standing::Waiting(pod) => match self.given_up(id, pod.as_ref()) {
                    Some((how, why)) => return self.end(id, how, Some(why)).await,
                    None => self.look_again(id, pod.as_ref()),
                },
                Standing::Running { since_ms } => match self.left(id, since_ms)? {
                    Duration::ZERO => return self.end(id, How::TimedOut, None).await,
                    left => left.min(LOOK),
                },
            };
            // Looked at again all the same when nothing is heard.
            let _quiet = timeout(wait, news.changed()).await.is_err();
        }
    }

    /// Why a run that waits for its pod will not be waited for any longer.
    pub(super) fn given_up(&self, id: &RunId, pod: Option<&PodFacts>) -> Option<(How, String)> {
        let (began, now) = (self.record(id).began_ms(), self.config.clock.now().0);
        pod::given_up(pod, began, self.patience_ms(), now)
    }

    pub(super) fn look_again(&self, id: &RunId, pod: Option<&PodFacts>) -> Duration {
        let (began, now) = (self.record(id).began_ms(), self.config.clock.now().0);
        let wait = pod::look_again(pod, began, self.patience_ms(), now);
        Duration::from_millis(u64::try_from(wait).unwrap_or_default())
    }

    fn patience_ms(&self) -> i64 {
        i64::try_from(self.config.slack.as_millis()).unwrap_or(i64::MAX)
    }

    /// How much is left of a run's time.
    fn left(&self, id: &RunId, since_ms: Option<i64>) -> Result<Duration, BackendError> {
        let record = self.record(id);
        let order = record.ordered().map_err(unwritten(id))?;
        let limits = order.map_or_else(Limits::default, |order| order.limits);
        let began = since_ms.unwrap_or_else(|| record.began_ms());
        let until = began.saturating_add(i64::from(limits.wall_clock_seconds) * 1000);
        let left = until.saturating_sub(self.config.clock.now().0);
        Ok(Duration::from_millis(u64::try_from(left).unwrap_or_default()))
    }

    /// Writes down how a run ended and what it wrote, and removes its Job. A repeat does it again.
    async fn conclude(
        &self,
        id: &RunId,
        pod: Option<&PodFacts>,
        exit: Exit,
    ) -> Result<Ended, BackendError> {
        let record = self.record(id);
        let ended = pod::ended(exit, record.reason().map_err(unwritten(id))?);
        if let Some(pod) = pod {
            self.keep_log(id, &record, &pod.name).await?;
        }
        record.write_end(&ended).map_err(unwritten(id))?;
        // It is over whether or not this goes well; what stays is looked for later, and the cluster removes it too.
        if let Err(error) = self.cluster.remove(&self.instance.job_name(id), false, REMOVE).await {
            tracing::warn!(run = %id, error = kit::chain(&error), "a Job is left behind");
        }
        Ok(ended)
    }

    /// Ends a run, and sees to it that it does not begin after this.
    pub(super) async fn end_for_good(&self, id: &RunId, how: How) -> Result<(), BackendError> {
        let record = self.record(id);
        if record.end().map_err(unwritten(id))?.is_none() {
            let nobody = Claim { by: String::new(), at_ms: self.config.clock.now().0 };
            record.claim(&nobody).map_err(unwritten(id))?;
        }
        self.end(id, how, None).await.map(drop)
    }

    /// Ends a run, and returns once its Job and its pods are gone.
    async fn end(
        &self,
        id: &RunId,
        how: How,
        detail: Option<String>,
    ) -> Result<Ended, BackendError> {
        let (record, name) = (self.record(id), self.instance.job_name(id));
        self.seen_whole().await?;
        let seen = self.view.of_run(id, &name);
        let known = record.end().map_err(unwritten(id))?;
        if known.is_none() && !seen.is_gone() {
            // Written first: whoever finds it ended knows that it was ended, and why.
            record.give_reason(&how).map_err(unwritten(id))?;
            if let Some(pod) = seen.pod.as_ref().filter(|pod| has_begun(pod)) {
                self.keep_log(id, &record, &pod.name).await?;
            }
        }
        if !seen.is_gone() {
            let failed = |error: Trouble| BackendError::new(format!("cannot end {id}"), error);
            self.cluster.remove(&name, true, REMOVE).await.map_err(failed)?;
            self.until_gone(id, &name).await?;
        }
        if let Some(ended) = known {
            return Ok(ended);
        }
        let started_at_ms = seen.pod.as_ref().and_then(since_ms);
        let how = record.reason().map_err(unwritten(id))?.unwrap_or(how);
        let ended_at_ms = Some(self.config.clock.now().0);
        let ended = Ended { how, detail, started_at_ms, ended_at_ms };
        record.write_end(&ended).map_err(unwritten(id))?;
        Ok(ended)
    }

    /// Returns once nothing of a run is seen.
    async fn until_gone(&self, id: &RunId, name: &str) -> Result<(), BackendError> {
        let until = Instant::now() + self.config.grace + KILL;
        let mut news = self.view.changes();
        loop {
            news.mark_unchanged();
            let OfRun { job, pod } = self.view.of_run(id, name);
            if job.is_none() && pod.is_none() {
                return Ok(());
            }
            if tokio::time::timeout_at(until, news.changed()).await.is_err() {
                let what = format!("the pod of {id} does not end");
                return Err(BackendError { what, source: None });
            }
        }
    }

    /// Copies a pod's log into the run's directory. One that the cluster cannot give is an empty one.
    async fn keep_log(&self, id: &RunId, record: &Record, pod: &str) -> Result<(), BackendError> {
        let Some(order) = record.ordered().map_err(unwritten(id))? else { return Ok(()) };
        let mut tries = LOG_TRIES;
        loop {
            tries -= 1;
            match self.log_into(record.dir(), pod, order.limits.output_bytes).await {
                Ok(()) => return Ok(()),
                Err(error) if tries == 0 => {
                    tracing::warn!(run = %id, error = kit::chain(&error), "the log of a run is lost");
                    return Ok(());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    async fn log_into(&self, dir: &RunDir, pod: &str, bound: u32) -> Result<(), Trouble> {
        let full = |error: io::Error| Trouble::Said {
            code: 507,
            reason: "NoRoom".into(),
            message: error.to_string(),
        };
        output::clear(dir.path()).map_err(full)?;
        let mut log = Output::new(dir.path(), bound);
        self.cluster.copy_log(pod, &mut log).await.map(drop)
    }

    /// What a run that has not ended has written so far.
    pub(super) async fn log_so_far(&self, id: &RunId, bound: u32) -> Result<Log, BackendError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let seen = self.view.of_run(id, &self.instance.job_name(id));
        let Some(pod) = seen.pod.filter(has_begun) else { return Ok(Log::default()) };
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = RunDir::at(self.record(id).dir().file(&format!("look.{next}")));
        let failed =
            |error: io::Error| BackendError::new(format!("cannot read the log of {id}"), error);
        crate::homes::make_private(dir.path()).map_err(failed)?;
        let kept = self.log_into(&dir, &pod.name, bound).await;
        let log = output::read(dir.path(), bound);
        dir.remove().map_err(failed)?;
        kept.map_err(|error| BackendError::new(format!("cannot read the log of {id}"), error))?;
        log.map_err(failed)
    }

    /// See [`crate::backend::Backend::sweep`].
    pub(super) async fn sweep_all(&self, sweep: Sweep<'_>) -> Result<Vec<RunId>, BackendError> {
        let unread =
            |error: io::Error| BackendError::new("cannot read the runs' directories", error);
        self.seen_whole().await?;
        let mut ended = Vec::new();
        for (name, job) in self.view.jobs() {
            let id = job.run;
            if self.instance.job_name(&id) != name {
                tracing::warn!(job = name, "a Job has our labels and no run's name; it stays");
                continue;
            }
            let record = self.record(&id);
            if sweep.keep.contains(&id) {
                continue;
            }
            let ordered = record.ordered().map_err(unread)?.map(|order| order.at_ms);
            let began = ordered.unwrap_or(job.made_at_ms).max(record.began_ms());
            if began >= sweep.began_before.0 {
                continue;
            }
            if matches!(self.standing(&id).await?, Standing::Running { .. }) {
                ended.push(id.clone());
            }
            self.end_for_good(&id, How::Stopped).await?;
        }
        for id in self.place.ids().map_err(unread)? {
            let record = self.record(&id);
            if !sweep.keep.contains(&id) && record.began_ms() < sweep.forget_before.0 {
                record.dir().remove().map_err(unread)?;
            }
        }
        Ok(ended)
    }

    /// Removes Jobs whose run has ended, for ever: what could not be removed then, and what a request made that came
    /// late.
    pub(super) async fn reap(&self) {
        loop {
            tokio::time::sleep(REAP.min(self.config.slack)).await;
            for (name, job) in self.view.jobs() {
                let over = self.record(&job.run).end().is_ok_and(|end| end.is_some());
                if !over || job.leaving || self.instance.job_name(&job.run) != name {
                    continue;
                }
                if let Err(error) = self.cluster.remove(&name, false, REMOVE).await {
                    tracing::warn!(job = name, error = kit::chain(&error), "a Job stays for now");
                }
            }
        }
    }
}

/// The end of a run of which nothing is known.
fn lost() -> Exit {
    Exit::default()
}

fn has_begun(pod: &PodFacts) -> bool {
    !matches!(pod.state, PodState::Waiting(_))
}

fn since_ms(pod: &PodFacts) -> Option<i64> {
    match &pod.state {
        PodState::Running { since_ms } => *since_ms,
        PodState::Ended(exit) => exit.started_at_ms,
        PodState::Waiting(_) => None,
    }
}
