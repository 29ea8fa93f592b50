//! Ends what nobody asked for, and forgets what is old.

use crate::app::App;
use crate::backend::Sweep;
use std::sync::Arc;
use std::time::Duration;

/// How often. Orphans appear when a database is restored or lost, which is rare.
const EVERY: Duration = Duration::from_secs(3600);
/// How long an ended run and its log are kept, in milliseconds: a week.
const KEEP_MS: i64 = 7 * 24 * 3600 * 1000;
/// How many ended runs are kept at most, each with its directory and log; the oldest go first. Between two sweeps there
/// may be as many more as have ended since.
const KEEP_MAX: u32 = 10_000;

/// Sweeps now, and then every hour, until the stop.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        sweep(&app).await;
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn sweep(app: &App) {
    // Before the rows are read: a run that is taken up meanwhile is not among them, and is nobody's orphan.
    let now = app.clock.now();
    let trouble = match app.store.forget(now.plus(-KEEP_MS), KEEP_MAX).await {
        Ok((keep, before)) => match app
            .backend
            .sweep(Sweep { keep: &keep, began_before: now, forget_before: before })
            .await
        {
            Ok(ended) => {
                for id in ended {
                    tracing::warn!(run = %id, "a run that the database does not know was ended");
                }
                None
            }
            Err(error) => Some(kit::chain(&error)),
        },
        Err(error) => Some(kit::chain(&error)),
    };
    if let Some(trouble) = &trouble {
        tracing::error!(error = trouble, "cannot sweep");
    }
    app.health.degraded("sweep", trouble);
}
