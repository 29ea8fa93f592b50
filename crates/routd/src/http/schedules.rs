//! Schedules: for people, and for whoever fires them.

use super::{groups::reach, page, until};
use crate::{app::App, fault::Fault, scheduling, store::schedules as rows};
use kit::{Caller, Failure};
use proto::{
    Address, Nothing, Opaque, Timestamp,
    routd::{
        FireSchedules, Fired, ListSchedules, NewSchedule, OneSchedule, RunSchedule, Schedule,
        ScheduleRun, ScheduleRuns, Schedules,
    },
};
use rusqlite::Connection;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Firings of one transaction at most.
const FIRINGS_MAX: u32 = 500;

/// Makes a schedule.
pub(super) async fn add(
    app: Arc<App>,
    caller: Caller,
    wanted: NewSchedule,
) -> Result<Schedule, Failure> {
    reach(&caller, &wanted.folder)?;
    if let Some(chat) = &wanted.chat_jid {
        let own = match chat.address() {
            Address::Web(folder) | Address::Hook(folder, _) => folder == wanted.folder,
            // The chats of a platform are no one folder's, and a token that is limited to folders has none of them.
            Address::Platform => caller.reaches_all(),
        };
        if !own {
            let text = format!("{chat} is no chat of the folder {}", wanted.folder);
            return Err(Failure::forbidden(text));
        }
    }
    let (now, by, wake) = (app.now(), caller.subject().to_string(), app.wake.clone());
    let limits = app.settings.schedules;
    let made = app
        .db
        .try_write("schedule.add", move |tx| scheduling::make(tx, &wake, wanted, limits, &by, now));
    Ok(made.await?)
}

/// A page of the schedules that the caller may see.
pub(super) async fn list(
    app: Arc<App>,
    caller: Caller,
    query: ListSchedules,
) -> Result<Schedules, Failure> {
    let ListSchedules { folder, after, limit } = query;
    if let Some(folder) = &folder {
        reach(&caller, folder)?;
    }
    let limit = page(limit);
    let read =
        app.db.read(move |conn| rows::list(conn, folder.as_ref(), after.as_ref(), limit)).await;
    let mut schedules = read.map_err(Fault::from)?;
    let whole = usize::try_from(limit).is_ok_and(|limit| schedules.len() == limit);
    let after = schedules.last().filter(|_| whole).map(|last| last.id.clone());
    schedules.retain(|schedule| caller.reaches(&schedule.folder));
    Ok(Schedules { schedules, after })
}

/// Pauses one.
pub(super) async fn pause(
    app: Arc<App>,
    caller: Caller,
    OneSchedule { id }: OneSchedule,
) -> Result<Schedule, Failure> {
    let (now, by) = (app.now(), caller.subject().to_string());
    let paused = app.db.try_write("schedule.pause", move |tx| {
        scheduling::pause(tx, found(tx, &caller, &id)?, &by, now)
    });
    Ok(paused.await?)
}

/// Resumes one.
pub(super) async fn resume(
    app: Arc<App>,
    caller: Caller,
    OneSchedule { id }: OneSchedule,
) -> Result<Schedule, Failure> {
    let (now, by, wake) = (app.now(), caller.subject().to_string(), app.wake.clone());
    let resumed = app.db.try_write("schedule.resume", move |tx| {
        scheduling::resume(tx, &wake, found(tx, &caller, &id)?, &by, now)
    });
    Ok(resumed.await?)
}

/// Fires one now.
pub(super) async fn run(
    app: Arc<App>,
    caller: Caller,
    RunSchedule { id, key }: RunSchedule,
) -> Result<ScheduleRun, Failure> {
    let (now, by, wake) = (app.now(), caller.subject().to_string(), app.wake.clone());
    let run = app.db.try_write("schedule.run", move |tx| {
        scheduling::run_now(tx, &wake, &found(tx, &caller, &id)?, &key, &by, now)
    });
    Ok(run.await?)
}

/// Removes one.
pub(super) async fn remove(
    app: Arc<App>,
    caller: Caller,
    OneSchedule { id }: OneSchedule,
) -> Result<Nothing, Failure> {
    let (now, by) = (app.now(), caller.subject().to_string());
    let removed = app.db.try_write("schedule.remove", move |tx| {
        match rows::get(tx, &id)? {
            Some(schedule) if caller.reaches(&schedule.folder) => {
                scheduling::remove(tx, &schedule, &by, now)?;
            }
            // A repeat answers alike, and nobody learns what there is.
            Some(_) | None => {}
        }
        Ok::<_, Fault>(Nothing {})
    });
    Ok(removed.await?)
}

/// The log of one.
pub(super) async fn runs(
    app: Arc<App>,
    caller: Caller,
    OneSchedule { id }: OneSchedule,
) -> Result<ScheduleRuns, Failure> {
    let runs = app.db.try_read(move |conn| {
        let schedule = found(conn, &caller, &id)?;
        Ok::<_, Fault>(rows::runs(conn, &schedule.id)?)
    });
    Ok(ScheduleRuns { runs: runs.await? })
}

/// Fires what is due; waits for it where nothing is.
pub(super) async fn fire(
    app: Arc<App>,
    _: Caller,
    FireSchedules { limit, wait_seconds }: FireSchedules,
) -> Result<Fired, Failure> {
    let (deadline, limit) = (until(wait_seconds), limit.clamp(1, FIRINGS_MAX));
    // Listening comes before looking, so that a change between the two is not missed.
    let mut news = app.wake.listen_for_schedules();
    loop {
        let next_at = app.db.read(rows::next_due).await.map_err(Fault::from)?;
        let now = app.now();
        if next_at.is_some_and(|next| next <= now) {
            let wake = app.wake.clone();
            let fired = app
                .db
                .try_write("schedule.fire", move |tx| scheduling::fire(tx, &wake, now, limit));
            return Ok(fired.await?);
        }
        if Instant::now() >= deadline {
            return Ok(Fired { done: 0, next_at });
        }
        tokio::select! {
            () = news.woken() => {}
            () = app.context.stop.cancelled() => return Ok(Fired { done: 0, next_at }),
            () = tokio::time::sleep_until(deadline.min(moment(next_at, now, deadline))) => {}
        }
    }
}

/// When the next one is due, by the clock that timers go by.
fn moment(next: Option<Timestamp>, now: Timestamp, never: Instant) -> Instant {
    let wait = next.map(|next| u64::try_from(next.0.saturating_sub(now.0)).unwrap_or_default());
    wait.and_then(|wait| Instant::now().checked_add(Duration::from_millis(wait))).unwrap_or(never)
}

/// The schedule, if there is one and the caller reaches its folder.
fn found(conn: &Connection, caller: &Caller, id: &Opaque) -> Result<Schedule, Fault> {
    let found = rows::get(conn, id)?.filter(|schedule| caller.reaches(&schedule.folder));
    found.ok_or_else(|| Fault::NotFound(format!("there is no schedule {id}")))
}
