//! Starting a run, at most once.

use super::cluster::Failed;
use super::{Inner, Standing};
use crate::backend::{NotStarted, Refusal};
use crate::homes::Owner;
use crate::record::{Claim, Order, Record};
use crate::run::{Ended, How, RunSpec};
use crate::users::Ids;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long an API that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a start waits for the agent to run. Whoever asks for its end meanwhile waits as long.
const UP: Duration = Duration::from_secs(10);

impl Inner {
    /// Makes the run's Job, unless it was made, and waits a little for its agent to run.
    pub(super) async fn begin(self: &Arc<Self>, run: &RunSpec) -> Result<(), NotStarted> {
        let over = self.record(&run.id).end().is_ok_and(|end| end.is_some());
        if over {
            return Ok(());
        }
        let user = self.validated(run)?;
        let standing = self.standing(&run.id).await;
        let standing = standing
            .map_err(|error| NotStarted::failed("cannot tell whether it was started", error))?;
        if standing != Standing::Nothing {
            return Ok(());
        }
        let image = run.image.clone().unwrap_or_default();
        let job = self.instance.job(run, &image, user)?;
        let record = self.prepare(run, user).await?;
        let claim = Claim { by: self.token.clone(), at_ms: self.config.clock.now().0 };
        if !record.claim(&claim)? {
            return Ok(());
        }
        match self.cluster.make(&job, PATIENCE).await {
            Ok(made) => self.view.learn(&made),
            // It was made, and the answer was lost; the watch brings it.
            Err(failed) if failed.trouble.is_there() => self.until_seen(run).await?,
            Err(failed) => return Err(self.not_made(run, &record, failed).await?),
        }
        self.until_up(run).await
    }

    /// What follows from a Job that was not made, or maybe was.
    async fn not_made(
        &self,
        run: &RunSpec,
        record: &Record,
        failed: Failed,
    ) -> Result<NotStarted, NotStarted> {
        let Failed { trouble, doubtful } = failed;
        let error = trouble.not_started(&self.cluster.namespace);
        if !doubtful {
            // No request is on its way: it may be tried again.
            record.unclaim()?;
            return Ok(error);
        }
        // One that comes late makes a Job whose run has ended: its agent is told so, and the Job is removed.
        let how = How::NotStarted { permanent: matches!(error, NotStarted::Refused(_)) };
        record.write_end(&Ended { detail: Some(error.chain()), ..Ended::now_unknown(how) })?;
        let name = self.instance.job_name(&run.id);
        if let Err(trouble) = self.cluster.remove(&name, false, Duration::ZERO).await {
            tracing::warn!(job = name, error = kit::chain(&trouble), "a Job may be left behind");
        }
        Ok(error)
    }

    /// Returns once a Job that is there is seen.
    async fn until_seen(&self, run: &RunSpec) -> Result<(), NotStarted> {
        let (name, mut news) = (self.instance.job_name(&run.id), self.view.changes());
        let until = Instant::now() + PATIENCE;
        loop {
            news.mark_unchanged();
            if !self.view.of_run(&run.id, &name).is_gone() {
                return Ok(());
            }
            if tokio::time::timeout_at(until, news.changed()).await.is_err() {
                // Whoever asks next sees what became of it.
                return Ok(());
            }
        }
    }

    /// Waits a little for the agent to run. One that cannot is ended; one that takes longer is left to whoever watches.
    async fn until_up(&self, run: &RunSpec) -> Result<(), NotStarted> {
        let mut news = self.view.changes();
        let until = Instant::now() + UP;
        loop {
            news.mark_unchanged();
            let Ok(Standing::Waiting(pod)) = self.standing(&run.id).await else { return Ok(()) };
            if self.given_up(&run.id, pod.as_ref()).is_some() {
                // Following it ends it, and says why.
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let wait = self.look_again(&run.id, pod.as_ref()).min(left);
            let _quiet = timeout(wait, news.changed()).await.is_err();
        }
    }

    /// Makes what the run is given, as the user that its agent is: its home, its directory.
    async fn prepare(&self, run: &RunSpec, user: Ids) -> Result<Record, NotStarted> {
        let (place, run) = (self.place.clone(), run.clone());
        let order = Order {
            container: self.instance.job_name(&run.id),
            limits: run.limits,
            at_ms: self.config.clock.now().0,
        };
        let record = self.record(&run.id);
        let work = tokio::task::spawn_blocking(move || {
            place.home(&run, Owner { uid: user.uid, gid: user.gid })?;
            record.order(&order)?;
            Ok(record)
        });
        work.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }

    /// As whom the run's agent is, if it could ever start here.
    pub(super) fn validated(&self, run: &RunSpec) -> Result<Ids, Refusal> {
        let image = run.image.as_deref().unwrap_or_default();
        if image.is_empty() {
            return Err(Refusal("the run names no image; set CONTAINER_IMAGE".into()));
        }
        if !run.turn_dir.as_os_str().is_empty() {
            return Err(Refusal(
                "a pod does not reach a turn's socket on this machine; set TURN_URL of routd to the address at which pods find its listener of turns"
                    .into(),
            ));
        }
        let user = self.user.clone().map_err(Refusal)?;
        self.instance.job(run, image, user).map(|_| user)
    }
}
