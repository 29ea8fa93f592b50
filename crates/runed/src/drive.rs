//! One run, from the order to its end. Each has a task of its own, and the database has every step before the next.

use crate::app::App;
use crate::backend::{BackendError, NotStarted};
use crate::run::{Ended, How, RunId};
use crate::store::{Row, State, end_name};
use proto::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How much later than its time a run is ended from here. Its launcher ends it in time; this is for one that hangs.
const SLACK: Duration = Duration::from_secs(60);
/// The first wait after the backend did not answer; it doubles.
const AGAIN: Duration = Duration::from_millis(500);
/// The longest.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// Starts a run that was claimed, and follows it. Ends early, and leaves the run as it is, when runed stops.
pub(crate) async fn start(app: Arc<App>, row: Row) {
    let stop = app.stop.clone();
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = begin(&app, row) => {}
    }
}

/// Goes on with a run that an earlier runed had in hand.
pub(crate) async fn go_on(app: Arc<App>, row: Row) {
    let stop = app.stop.clone();
    let work = async {
        let wish = app.take_in_hand(&row.id);
        // Read again: who asked for its end before it was in hand had nobody to tell.
        let row = retried(&app, &row.id, || app.store.get(&row.id)).await;
        let Some(row) = row else { return };
        tracing::info!(run = %row.id, state = ?row.state, "taken up again");
        match row.state {
            State::Pending | State::Ended => app.let_go(&row.id),
            // Starting is idempotent: what runs is not started again.
            State::Starting => begin(&app, row).await,
            State::Running => follow(&app, &row, wish).await,
            State::Ending => {
                wish.cancel();
                follow(&app, &row, wish).await;
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = work => {}
    }
}

async fn begin(app: &App, row: Row) {
    let wish = app.take_in_hand(&row.id);
    let began = Instant::now();
    match app.backend.start(&row.spec).await {
        Ok(()) => app.figures.start_seconds.observe(began.elapsed().as_secs_f64()),
        Err(error) => {
            let permanent = matches!(error, NotStarted::Refused(_));
            let detail = Some(error.chain());
            let ended = Ended { detail, ..Ended::now_unknown(How::NotStarted { permanent }) };
            return finish(app, &row.id, ended).await;
        }
    }
    let now = app.clock.now();
    let recorded = retried(app, &row.id, || app.store.started(&row.id, now)).await;
    if !recorded {
        // Somebody asked for its end while it started.
        wish.cancel();
    }
    follow(app, &Row { started_at: Some(now), ..row }, wish).await;
}

/// Waits for the end of a run that runs, or brings it about.
async fn follow(app: &App, row: &Row, wish: CancellationToken) {
    let id = &row.id;
    let watched = tokio::select! {
        biased;
        ended = watch(app, id) => Some(ended),
        () = wish.cancelled() => None,
        () = overdue(app, row) => None,
    };
    let late = !wish.is_cancelled();
    let ended = match watched {
        Some(ended) => ended,
        None => {
            retried(app, id, || app.backend.cancel(id)).await;
            let ended = watch(app, id).await;
            match ended.how {
                // It was not asked for by anybody: its time was over, and its launcher did not see to it.
                How::Stopped | How::Lost if late => Ended { how: How::TimedOut, ..ended },
                _ => ended,
            }
        }
    };
    finish(app, id, ended).await;
}

async fn watch(app: &App, id: &RunId) -> Ended {
    retried(app, id, || app.backend.watch(id)).await
}

/// Returns when the run should have ended by itself some time ago.
async fn overdue(app: &App, row: &Row) {
    let limit = Duration::from_secs(u64::from(row.spec.limits.wall_clock_seconds));
    let began = row.started_at.unwrap_or(row.created_at);
    let passed = Duration::from_secs(app.clock.now().seconds_since(began));
    tokio::time::sleep((limit + SLACK).saturating_sub(passed)).await;
}

/// Writes the end down, and lets the run go.
async fn finish(app: &App, id: &RunId, ended: Ended) {
    let now: Timestamp = app.clock.now();
    retried(app, id, || app.store.ended(id, ended.clone(), now)).await;
    app.let_go(id);
    // Read again for its verdict, which depends on who asked.
    let row = app.store.get(id).await.ok().flatten();
    if let Some((end, row)) = row.and_then(|row| Some((row.end?, row))) {
        app.figures.ended(end);
        app.end_telling(id, end_name(end));
        let detail = row.detail.unwrap_or_default();
        tracing::info!(run = %id, folder = %row.folder, ?end, detail, "run ended");
    }
}

/// Asks until there is an answer. What is asked here must be known some day: a run is gone, or its end is written.
async fn retried<T, E, F, Fut>(app: &App, id: &RunId, ask: F) -> T
where
    E: Trouble,
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut wait = AGAIN;
    let mut troubled = false;
    loop {
        match ask().await {
            Ok(answer) => {
                if troubled {
                    app.health.degraded(&part(id), None);
                }
                return answer;
            }
            Err(error) => {
                troubled = true;
                let trouble = error.text();
                tracing::error!(run = %id, error = trouble, "no answer about a run; asking again");
                app.health.degraded(&part(id), Some(trouble));
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(AGAIN_MAX);
            }
        }
    }
}

fn part(id: &RunId) -> String {
    format!("run {id}")
}

/// An error that is tried again.
trait Trouble {
    fn text(&self) -> String;
}

impl Trouble for BackendError {
    fn text(&self) -> String {
        kit::chain(self)
    }
}

impl Trouble for db::Error {
    fn text(&self) -> String {
        kit::chain(self)
    }
}
