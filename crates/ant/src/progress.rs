//! Progress, for the person who waits: told without waiting, posted beside the work.

use crate::{AntError, link::Link};
use proto::turn::{TurnEvent, TurnEvents};
use tokio::sync::mpsc;

/// As many characters of a report are kept as routd keeps.
const LONGEST: usize = 500;
/// Reports that may wait. One more is dropped: they are old news by then.
const WAITING: usize = 64;

/// Where a harness tells how it goes.
#[derive(Clone, Debug)]
pub(crate) struct Progress(mpsc::Sender<TurnEvent>);

impl Progress {
    /// The two ends: [`report`] posts what is told here, until every sender is gone.
    pub fn channel() -> (Self, mpsc::Receiver<TurnEvent>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Tells a step. Never waits; an empty line is nothing to tell.
    pub fn tell(&self, status: &str) {
        let status: String = status.trim().chars().take(LONGEST).collect();
        if !status.is_empty() && self.0.try_send(TurnEvent { status }).is_err() {
            tracing::debug!("a report was dropped: too many are waiting");
        }
    }
}

/// Posts what is told, in order, until nobody can tell any more. Fails when the attempt was given
/// up; whatever else happens to a report, the work goes on.
pub(crate) async fn report(
    link: &Link,
    attempt: u32,
    mut told: mpsc::Receiver<TurnEvent>,
) -> Result<(), AntError> {
    let mut events = Vec::new();
    while told.recv_many(&mut events, WAITING).await > 0 {
        let batch = TurnEvents { attempt, events: std::mem::take(&mut events) };
        link.report(&batch).await?;
    }
    Ok(())
}
