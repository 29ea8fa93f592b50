//! The loop that puts the words of new messages into the index by which they are found.
//!
//! A message is acknowledged before that, so that nobody waits for the index; whoever looks for words has all of them
//! indexed first, so that nobody misses a message either.

use crate::{app::App, fault::Fault, store::words};
use std::{sync::Arc, time::Duration};

/// Messages of one pass: what holds the writer for some milliseconds.
const AT_ONCE: u32 = 256;
/// How long new messages are gathered: many at once cost less.
const GATHER: Duration = Duration::from_secs(1);
/// The wait after a pass that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs until the daemon stops.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.context.stop.clone();
    // What an earlier life left is there without anybody's waking.
    app.wake.words.notify_one();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.wake.words.notified() => {}
        }
        let wait = match catch_up(&app).await {
            Ok(()) => GATHER,
            Err(fault) => {
                tracing::warn!(why = kit::chain(&fault), "new messages were not indexed");
                app.wake.words.notify_one();
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Indexes what was written before this call.
///
/// # Errors
/// The database cannot be read or written.
pub(crate) async fn catch_up(app: &App) -> Result<(), Fault> {
    let Some(newest) = app.db.read(words::newest_left).await? else { return Ok(()) };
    while app.db.write("words", move |tx| words::index(tx, newest, AT_ONCE)).await? {}
    Ok(())
}
