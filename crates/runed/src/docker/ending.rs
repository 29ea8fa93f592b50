//! Ending runs until nothing of them is left.

use super::state::Seen;
use super::trouble::Trouble;
use super::{DockerBackend, Standing};
use crate::backend::{BackendError, Sweep};
use crate::record::Claim;
use crate::run::{How, RunId};
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// How long the engine and the kernel may take to end what was killed.
const KILL: Duration = Duration::from_secs(30);
/// How soon to look again.
const AGAIN: Duration = Duration::from_millis(50);

impl DockerBackend {
    /// Ends a run, and sees to it that it does not begin after this.
    pub(super) async fn end_for_good(&self, id: &RunId, how: How) -> Result<(), BackendError> {
        let unwritten =
            |error: io::Error| BackendError::new(format!("cannot write the end of {id}"), error);
        let record = self.record(id);
        if record.end().map_err(unwritten)?.is_none() {
            let nobody = Claim { by: String::new(), at_ms: self.config.clock.now().0 };
            record.claim(&nobody).map_err(unwritten)?;
        }
        self.end(id, how).await
    }

    /// Asks a run to end, ends it when it does not, and returns once its container is gone.
    pub(super) async fn end(&self, id: &RunId, how: How) -> Result<(), BackendError> {
        let failed = |error: Trouble| BackendError::new(format!("cannot end {id}"), error);
        let unwritten =
            |error: io::Error| BackendError::new(format!("cannot write why {id} is ended"), error);
        let (record, name) = (self.record(id), self.instance.container(id));
        let until = Instant::now() + self.config.grace + KILL;
        // What has used up its memory is in no state to tidy up.
        let mut polite = how != How::OutOfMemory;
        while let Some(seen) = self.engine.look(&name).await.map_err(failed)? {
            if Instant::now() > until {
                let what = format!("the container {name} does not end");
                return Err(BackendError { what, source: None });
            }
            match seen {
                Seen::Made => self.engine.remove(&name).await.map_err(failed)?,
                Seen::Going => tokio::time::sleep(AGAIN).await,
                Seen::Ended(exit) if record.end().map_err(unwritten)?.is_none() => {
                    self.conclude(id, exit).await?;
                }
                Seen::Ended(_) => self.engine.remove(&name).await.map_err(failed)?,
                Seen::Running { paused, .. } => {
                    // Written first: whoever finds it ended knows that it was ended, and why.
                    record.give_reason(&how).map_err(unwritten)?;
                    if paused {
                        self.engine.unpause(&name).await.map_err(failed)?;
                    }
                    let (signal, patience) =
                        if polite { ("SIGTERM", self.config.grace) } else { ("SIGKILL", KILL) };
                    polite = false;
                    self.engine.signal(&name, signal).await.map_err(failed)?;
                    self.engine.until_ended(&name, patience).await.map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// See [`crate::backend::Backend::sweep`].
    pub(super) async fn sweep_all(&self, sweep: Sweep<'_>) -> Result<Vec<RunId>, BackendError> {
        let failed =
            |error: Trouble| BackendError::new("cannot list the containers of runs", error);
        let unread =
            |error: io::Error| BackendError::new("cannot read the runs' directories", error);
        let mut ended = Vec::new();
        for container in self.engine.list(&self.instance.filter()).await.map_err(failed)? {
            let label = container.labels.get(super::recipe::RUN);
            let id = label.and_then(|label| label.parse::<RunId>().ok());
            let Some(id) = id.filter(|id| self.instance.container(id) == container.name) else {
                tracing::warn!(
                    container = container.name,
                    "a container has our labels and no run's name; it stays"
                );
                continue;
            };
            let record = self.record(&id);
            if sweep.keep.contains(&id) {
                if record.end().map_err(unread)?.is_some() {
                    self.engine.remove(&container.name).await.map_err(failed)?;
                }
                continue;
            }
            let ordered = record.ordered().map_err(unread)?.map_or(0, |order| order.at_ms);
            if ordered.max(record.began_ms()) >= sweep.began_before.0 {
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
}
