//! The loop that removes files whose time is over.

use crate::{app::App, fault::Fault, store::files};
use std::{sync::Arc, time::Duration};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(15 * 60);

/// Runs until the daemon stops.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.context.stop.clone();
    while !stop.is_cancelled() {
        if let Err(fault) = pass(&app).await {
            tracing::error!(error = %kit::chain(&fault), "files whose time is over stay");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn pass(app: &Arc<App>) -> Result<(), Fault> {
    let now = app.now();
    let keep = i64::try_from(app.settings.files.keep.as_millis()).unwrap_or(i64::MAX);
    let before = now.plus(keep.saturating_neg());
    let gone = app.db.try_write("files", move |tx| Ok::<_, Fault>(files::let_go(tx, before, now)?));
    let gone = gone.await?;
    let kept = app.db.read(files::kept).await?;
    let files = app.clone();
    // The rows come first: a file that a row tells of is there.
    let swept = tokio::task::spawn_blocking(move || files.files.sweep(&kept)).await;
    if swept.is_err() {
        tracing::warn!("the sweep of files broke off");
    }
    if gone > 0 {
        tracing::info!(gone, "files whose time is over are removed");
    }
    Ok(())
}
