//! The loop that makes the calls that people approved, and lets those lapse that nobody decided on.
//!
//! Level, not edge: each pass reads the rows. A call is claimed in a transaction before it is made, and its tool keeps
//! its answer under the approval's id, so that no call is made twice, whatever ends in the middle. A row that says that
//! a call is being made, and that nobody here makes, is one that a routd before this one left: its answer is taken where
//! there is one; a call whose every effect would be a row is made again; and of one that goes outside it is said that
//! its fate is not known.

use crate::{
    app::App,
    approving,
    attempt::Attempt,
    fault::Fault,
    mcp,
    store::{approvals, tools},
    wake::Wake,
};
use db::Tx;
use proto::{
    Timestamp,
    routd::{Approval, ApprovalState as State},
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Calls that are made at once.
const HANDS: usize = 8;
/// Rows of one pass, of each kind.
const AT_ONCE: u32 = 64;
/// How long it can be read what became of a call: 90 days. Who decided on it is in the audit for good.
const KEEP_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// How long the loop sleeps when nothing is due.
const BACKSTOP: Duration = Duration::from_secs(15);
/// The wait after a pass that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Which calls are being made here, by the approval's id.
type Busy = Arc<Mutex<HashSet<String>>>;

/// Runs until the daemon stops.
pub(crate) async fn run(app: Arc<App>) {
    let busy = Busy::default();
    let stop = app.context.stop.clone();
    while !stop.is_cancelled() {
        let wait = match pass(&app, &busy).await {
            Ok(wait) => {
                app.context.health.degraded("approvals", None);
                wait
            }
            Err(fault) => {
                let trouble = kit::chain(&fault);
                tracing::error!(trouble, "what was approved cannot be done");
                app.context.health.degraded("approvals", Some(trouble));
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.wake.approvals.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Does what is due. Answers how long nothing will be.
async fn pass(app: &Arc<App>, busy: &Busy) -> Result<Duration, Fault> {
    let now = app.now();
    let due = app.db.read(approvals::due).await?;
    let keep = now.plus(-KEEP_MS);
    let over = due.lapses.is_some_and(|at| at <= now) || due.oldest.is_some_and(|at| at < keep);
    if due.open || over {
        let (wake, here, free) = {
            let here = lock(busy).clone();
            let free = HANDS.saturating_sub(here.len());
            (app.wake.clone(), here, free)
        };
        let claimed = app.db.try_write("approvals", move |tx| {
            for held in approvals::lapsed(tx, now, AT_ONCE)? {
                let to = (State::Pending, State::Expired);
                approving::settle(tx, &wake, held.id.as_str(), to, "", now)?;
            }
            for held in approvals::in_state(tx, State::Running, AT_ONCE)? {
                if !here.contains(held.id.as_str()) {
                    take_up(tx, &wake, &held, now)?;
                }
            }
            approvals::forget(tx, keep, AT_ONCE)?;
            let mut claimed = Vec::new();
            for held in approvals::in_state(tx, State::Approved, AT_ONCE)?.into_iter().take(free) {
                if approving::claim(tx, &held)? {
                    claimed.push(held);
                }
            }
            Ok::<_, Fault>(claimed)
        });
        for held in claimed.await? {
            let hand = Hand::take(held.id.as_str(), busy, &app.wake);
            let app = app.clone();
            // A stop waits for what is under way, so that it does not end in doubt.
            app.context.tasks.clone().spawn("approved call", async move {
                let _hand = hand;
                make(&app, &held).await;
            });
        }
    }
    let due = app.db.read(approvals::due).await?;
    let wait = due.lapses.map(|at| at.0.saturating_sub(now.0).max(1).unsigned_abs());
    Ok(wait.map_or(BACKSTOP, Duration::from_millis).min(BACKSTOP))
}

/// Takes up a call that was being made when nobody was left to make it.
fn take_up(tx: &Tx<'_>, wake: &Wake, held: &Approval, now: Timestamp) -> Result<(), Fault> {
    let id = held.id.as_str();
    if let Some(kept) = tools::answer_of_key(tx, held.turn_id.as_str(), &mcp::key_of(id))? {
        let answer = mcp::text_of(&kept)?;
        return approving::settle(tx, wake, id, (State::Running, State::Done), &answer, now);
    }
    if mcp::goes_outside(&held.tool) {
        let to = (State::Running, State::Interrupted);
        return approving::settle(tx, wake, id, to, "", now);
    }
    approvals::step(tx, id, State::Running, State::Approved)?;
    Ok(())
}

/// Makes a call, and writes what came of it.
async fn make(app: &Arc<App>, held: &Approval) {
    let id = held.id.as_str().to_owned();
    let made = async {
        let held = held.clone();
        let turn = app.db.try_read(move |conn| approving::turn_of(conn, &held)).await?;
        let attempt = Attempt::approved(app, &turn, &id);
        Ok(attempt)
    };
    let made = match made.await {
        Ok(attempt) => mcp::make(&attempt, held, &id).await,
        Err(fault) => Err(fault),
    };
    let (to, answer) = match made {
        Ok(answer) => (State::Done, answer),
        Err(fault) if fault.is_for_the_caller() => (State::Failed, fault.to_string()),
        Err(fault) => {
            let failure = kit::Failure::internal(&fault);
            let reference = failure.problem().reference.clone().unwrap_or_default();
            (State::Failed, format!("routd failed; its log has the cause under {reference}"))
        }
    };
    let (wake, now) = (app.wake.clone(), app.now());
    let settled = app.db.try_write("approval.settle", move |tx| {
        approving::settle(tx, &wake, &id, (State::Running, to), &answer, now)
    });
    if let Err(fault) = settled.await {
        // The row says that it is being made, so that the next pass takes it up.
        tracing::error!(error = %kit::chain(&fault), "what came of an approved call is not written");
    }
}

/// One call under way. Its end has the loop look again.
struct Hand {
    id: String,
    busy: Busy,
    wake: Wake,
}

impl Hand {
    fn take(id: &str, busy: &Busy, wake: &Wake) -> Self {
        lock(busy).insert(id.to_owned());
        Self { id: id.to_owned(), busy: busy.clone(), wake: wake.clone() }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        lock(&self.busy).remove(&self.id);
        self.wake.approvals.notify_one();
    }
}

fn lock(busy: &Busy) -> MutexGuard<'_, HashSet<String>> {
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}
