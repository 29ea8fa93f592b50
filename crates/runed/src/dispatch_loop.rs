//! Takes up runs whose turn it is. Woken by every change of the database, and by nothing else.

use crate::app::App;
use crate::{drive, sweep_loop};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait after the database did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Goes on with the runs that an earlier runed had in hand, and then with those that wait, until the stop.
pub(crate) async fn run(app: Arc<App>) {
    let mut changes = app.store.changes();
    while let Err(error) = take_up(&app).await {
        tracing::error!(error = kit::chain(&error), "cannot read the runs in progress");
        tokio::time::sleep(AGAIN).await;
    }
    app.tasks.spawn("runed.sweep", sweep_loop::run(app.clone()));
    loop {
        changes.mark_unchanged();
        match app.store.claim(app.values.capacity, app.clock.now()).await {
            Ok(claimed) => {
                for row in claimed {
                    app.tasks.spawn("runed.run", drive::start(app.clone(), row));
                }
            }
            Err(error) => {
                tracing::error!(error = kit::chain(&error), "cannot take up runs");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        }
        if let Ok(counts) = app.store.counts().await {
            app.figures.show(counts);
        }
        if let Ok(paused) = app.store.paused(app.clock.now()).await {
            app.figures.show_paused(paused);
        }
        // The sender lives as long as the store, which this holds.
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Every run that is in hand according to the database gets somebody who has it in hand.
async fn take_up(app: &Arc<App>) -> Result<(), db::Error> {
    for row in app.store.in_hand().await? {
        app.tasks.spawn("runed.run", drive::go_on(app.clone(), row));
    }
    Ok(())
}
