//! Following a run to its end, and writing down how it ended.

use super::state::{self, Exit};
use super::trouble::Trouble;
use super::{DockerBackend, Standing};
use crate::backend::{BackendError, Log};
use crate::output::{self, Output};
use crate::record::Record;
use crate::run::{Ended, How, RunId};
use crate::run_dir::RunDir;
use futures::StreamExt;
use proto::runed::Limits;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How soon to look again at what is on its way.
const AGAIN: Duration = Duration::from_millis(50);
/// How often a run is looked at of which nothing is heard: an engine may forget to say.
const LOOK: Duration = Duration::from_secs(15);

impl DockerBackend {
    /// Waits for the end of a run, and brings it about when its time or its memory is over.
    pub(super) async fn follow(&self, id: &RunId) -> Result<Ended, BackendError> {
        loop {
            match self.standing(id).await? {
                Standing::Over(ended) => return Ok(ended),
                Standing::Nothing => return Ok(Ended::now_unknown(How::Lost)),
                Standing::Claimed { .. } => return self.lost(id).await,
                Standing::Ended(exit) => return self.conclude(id, exit).await,
                Standing::Going => tokio::time::sleep(AGAIN).await,
                Standing::Running { since_ms } => self.until_news(id, since_ms).await?,
            }
        }
    }

    /// A run that was claimed and does not run: it is made sure that it never will.
    async fn lost(&self, id: &RunId) -> Result<Ended, BackendError> {
        let failed =
            |error| BackendError::new(format!("cannot remove what is left of {id}"), error);
        self.engine.remove(&self.instance.container(id)).await.map_err(failed)?;
        let ended = Ended::now_unknown(How::Lost);
        let unwritten = |error| BackendError::new(format!("cannot write the end of {id}"), error);
        self.record(id).write_end(&ended).map_err(unwritten)?;
        Ok(ended)
    }

    /// Returns when the run should be looked at again.
    async fn until_news(&self, id: &RunId, since_ms: Option<i64>) -> Result<(), BackendError> {
        let failed = |error| BackendError::new(format!("cannot watch {id}"), error);
        let unread =
            |error: io::Error| BackendError::new(format!("cannot read the order of {id}"), error);
        let record = self.record(id);
        let order = record.ordered().map_err(unread)?;
        let limits = order.map_or_else(Limits::default, |order| order.limits);
        let began = since_ms.unwrap_or_else(|| record.began_ms());
        let until = began.saturating_add(i64::from(limits.wall_clock_seconds) * 1000);
        let left = until.saturating_sub(self.config.clock.now().0);
        let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
        let name = self.instance.container(id);
        // From a second before it began: its first events are among them, whatever was heard until now.
        let events = self.engine.events(&name, began / 1000 - 1).await.map_err(failed)?;
        let mut events = std::pin::pin!(events);
        tokio::select! {
            event = events.next() => match event.and_then(|event| event.action).as_deref() {
                Some("oom") => self.end(id, How::OutOfMemory).await,
                // It has ended, or the engine broke off.
                _ => {
                    tokio::time::sleep(AGAIN).await;
                    Ok(())
                }
            },
            () = tokio::time::sleep(left) => self.end(id, How::TimedOut).await,
            () = tokio::time::sleep(LOOK) => Ok(()),
        }
    }

    /// Writes down how a run ended and what it wrote, and removes its container. A repeat does it again.
    pub(super) async fn conclude(&self, id: &RunId, exit: Exit) -> Result<Ended, BackendError> {
        let unwritten =
            |error: io::Error| BackendError::new(format!("cannot write the end of {id}"), error);
        let (record, name) = (self.record(id), self.instance.container(id));
        let order = record.ordered().map_err(unwritten)?;
        let ended = state::ended(exit, record.reason().map_err(unwritten)?);
        if let Some(order) = order {
            let bound = order.limits.output_bytes;
            self.keep_log(&name, record.dir(), bound).await.map_err(|error| {
                BackendError::new(format!("cannot keep the log of {id}"), error)
            })?;
        }
        record.write_end(&ended).map_err(unwritten)?;
        // It is over whether or not this goes well; the sweep removes what stays.
        if let Err(error) = self.engine.remove(&name).await {
            tracing::warn!(
                container = name,
                error = kit::chain(&error),
                "a container is left behind"
            );
        }
        Ok(ended)
    }

    /// Copies a container's log into a directory. One that the engine cannot give is an empty one.
    async fn keep_log(&self, name: &str, dir: &RunDir, bound: u32) -> Result<(), Trouble> {
        let clear = |error: io::Error| Trouble::Said { status: 507, message: error.to_string() };
        output::clear(dir.path()).map_err(clear)?;
        match self.engine.copy_log(name, &mut Output::new(dir.path(), bound)).await {
            Err(Trouble::Said { message, .. }) => {
                tracing::warn!(container = name, message, "the engine has no log of a run");
                Ok(())
            }
            copied => copied,
        }
    }

    /// What a run that has not ended has written so far.
    pub(super) async fn log_so_far(
        &self,
        record: &Record,
        container: &str,
        bound: u32,
    ) -> Result<Log, BackendError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = RunDir::at(record.dir().file(&format!("look.{next}")));
        let failed = |error: io::Error| {
            BackendError::new(format!("cannot read the log of {container}"), error)
        };
        crate::homes::make_private(dir.path()).map_err(failed)?;
        let kept = self.keep_log(container, &dir, bound).await;
        let log = output::read(dir.path(), bound);
        dir.remove().map_err(failed)?;
        kept.map_err(|error| {
            BackendError::new(format!("cannot read the log of {container}"), error)
        })?;
        log.map_err(failed)
    }
}
