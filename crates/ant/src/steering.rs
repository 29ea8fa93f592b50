//! Messages that come while the harness works, asked for beside it.
//!
//! One answer is in the harness's hands at a time. Once the harness has put it into the conversation it says so, and
//! the next call tells routd. What was shown and not taken up is not lost: routd keeps it for the next turn.

use crate::files::Inbox;
use crate::link::Link;
use proto::turn::{SteerAsk, Steered, TurnInput};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How long one call waits for a message.
const WAIT_SECONDS: u32 = 25;
/// How long to wait where a call was not answered.
const PAUSE: Duration = Duration::from_secs(2);

/// Where new messages come from.
#[derive(Debug)]
pub(crate) struct Steering {
    told: mpsc::Receiver<Steered>,
    taken: watch::Sender<i64>,
    /// Ends with this.
    _asking: JoinSet<()>,
}

impl Steering {
    /// Begins to ask.
    pub fn begin(link: &Link, input: &TurnInput, inbox: Inbox) -> Self {
        let (tell, told) = mpsc::channel(1);
        let (taken, take) = watch::channel(0);
        let mut asking = JoinSet::new();
        asking.spawn(ask(link.clone(), input.attempt, inbox, tell, take));
        Self { told, taken, _asking: asking }
    }

    /// Waits for new messages. Whoever drops this future misses none.
    pub async fn next(&mut self) -> Steered {
        match self.told.recv().await {
            Some(steered) => steered,
            // Nobody asks any more, so nothing comes.
            None => std::future::pending().await,
        }
    }

    /// New messages, if there are some by now.
    pub fn now(&mut self) -> Option<Steered> {
        self.told.try_recv().ok()
    }

    /// Those up to `upto` are in the conversation.
    pub fn took(&self, upto: i64) {
        self.taken.send_replace(upto);
    }

    /// What was taken up.
    pub fn taken(&self) -> i64 {
        *self.taken.borrow()
    }
}

async fn ask(
    link: Link,
    attempt: u32,
    inbox: Inbox,
    tell: mpsc::Sender<Steered>,
    mut take: watch::Receiver<i64>,
) {
    loop {
        let taken = *take.borrow_and_update();
        let asked = SteerAsk { attempt, taken, wait_seconds: WAIT_SECONDS };
        match link.steer(&asked).await {
            None => tokio::time::sleep(PAUSE).await,
            Some(steered) if steered.messages.is_empty() => {}
            Some(mut steered) => {
                inbox.fill_later(&link, &mut steered).await;
                let upto = steered.upto;
                if tell.send(steered).await.is_err()
                    || take.wait_for(|by| *by >= upto).await.is_err()
                {
                    return;
                }
            }
        }
    }
}
