//! The loop that starts turns and sees to it that each one in progress is driven.
//!
//! Level, not edge: each pass reads the rows. It claims what may start, and starts a driver for every turn with a
//! socket that has none. A driver that died is replaced by the next pass; a restart is nothing else.

use crate::{
    app::App, drive, fault::Fault, progress::Progress, store::turns, traced, turn::Event,
    wake::Wake,
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long the loop sleeps when nothing is due: a pass that was not asked for costs two queries.
const BACKSTOP: Duration = Duration::from_secs(15);
/// The wait after a pass that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Which attempts have a driver, by the number of their socket.
type Driven = Arc<Mutex<HashSet<i64>>>;

/// Runs until the daemon stops.
pub(crate) async fn run(app: Arc<App>) {
    let driven = Driven::default();
    let stop = app.context.stop.clone();
    while !stop.is_cancelled() {
        let wait = match pass(&app, &driven).await {
            Ok(wait) => {
                app.context.health.degraded("turns", None);
                wait
            }
            Err(fault) => {
                let trouble = kit::chain(&fault);
                tracing::error!(trouble, "turns cannot be started");
                app.context.health.degraded("turns", Some(trouble));
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.wake.turns.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Claims what may start and drives what is in progress. Answers how long nothing will be due.
async fn pass(app: &Arc<App>, driven: &Driven) -> Result<Duration, Fault> {
    let (progress, now, max) = (Progress::of(app), app.now(), app.settings.active_max);
    let claim = move |tx: &db::Tx<'_>| {
        let active = turns::with_endpoint(tx)?.len();
        let free = max.saturating_sub(u32::try_from(active).unwrap_or(u32::MAX));
        for turn in turns::startable(tx, now, free)? {
            // The rows were read in this very transaction: a turn that is not where it was is a defect.
            if let Err(ignored) = progress.tell(tx, &turn, &Event::Claimed, now)? {
                return Err(Fault::Defect(format!("turn {} cannot start: {ignored:?}", turn.id)));
            }
        }
        Ok((turns::with_endpoint(tx)?, turns::next_due(tx, now)?))
    };
    let (active, next_due) = app.db.try_write("turns.claim", claim).await?;
    for turn in active {
        let Some(number) = turn.endpoint else { continue };
        if !lock(driven).insert(number) {
            continue;
        }
        let span = traced::turn(app, &turn).await;
        if let Err(error) = app.endpoints.ensure(app, &turn, &span) {
            // Without waking the loop, which is to wait before it tries again.
            lock(driven).remove(&number);
            let error = kit::chain(&error);
            return Err(Fault::Conflict(format!("a turn's socket cannot be bound: {error}")));
        }
        let guard = Guard { number, driven: driven.clone(), wake: app.wake.clone() };
        let app = app.clone();
        app.context.tasks.clone().spawn("turn", async move {
            let _guard = guard;
            span.around(drive::drive(&app, &turn.id, number)).await;
            span.end();
        });
    }
    let wait = next_due.map(|due| due.0.saturating_sub(now.0).max(1).unsigned_abs());
    Ok(wait.map_or(BACKSTOP, Duration::from_millis).min(BACKSTOP))
}

/// Says, when it goes, that a turn has no driver any more, and has the loop look again.
struct Guard {
    number: i64,
    driven: Driven,
    wake: Wake,
}

impl Drop for Guard {
    fn drop(&mut self) {
        lock(&self.driven).remove(&self.number);
        self.wake.turns.notify_one();
    }
}

fn lock(driven: &Driven) -> std::sync::MutexGuard<'_, HashSet<i64>> {
    driven.lock().unwrap_or_else(PoisonError::into_inner)
}
