//! Schedules are made, changed and fired. What each of these does is one transaction.
//!
//! A firing is its message, the turn that answers it, a line of the log and the schedule's next time, committed
//! together: see `docs/decisions/0007-a-firing-is-one-transaction.md`.

use crate::{
    fault::Fault,
    ids,
    origin::Origin,
    record::record,
    schedule::{Plan, PlanError},
    store::{feed, groups, messages, schedules, turns},
    wake::Wake,
};
use db::Tx;
use proto::{
    Jid, Opaque, Timestamp,
    routd::{Fired, NewSchedule, RunOutcome, Schedule, ScheduleRun, ScheduleState},
};
use rusqlite::Connection;
use std::{collections::HashMap, time::Duration};

/// Bytes of a schedule's message.
const CONTENT_MAX: usize = 65_536;
/// Bytes of the key under which somebody has a schedule fire.
const KEY_MAX: usize = 64;
/// The zone of a schedule that names none.
const UTC: &str = "UTC";

/// What a folder may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Schedules that may still fire.
    pub(crate) of_folder: u32,
    /// The shortest time between two firings of one.
    pub(crate) shortest: Duration,
}

/// Makes a schedule.
pub(crate) fn make(
    tx: &Tx<'_>,
    wake: &Wake,
    wanted: NewSchedule,
    limits: Limits,
    by: &str,
    now: Timestamp,
) -> Result<Schedule, Fault> {
    let NewSchedule { folder, chat_jid, topic, when, zone, missed, content } = wanted;
    if content.trim().is_empty() || content.len() > CONTENT_MAX {
        let text = format!("`content` has 1 to {CONTENT_MAX} bytes, and not only spaces");
        return Err(Fault::Invalid(text));
    }
    if !groups::in_service(tx, &folder)? {
        return Err(Fault::NotFound(format!("there is no folder {folder} in service")));
    }
    if schedules::count_of(tx, &folder)? >= limits.of_folder {
        let most = limits.of_folder;
        let text =
            format!("the folder {folder} has {most} schedules, which is its most; remove one");
        return Err(Fault::Conflict(text));
    }
    let zone = zone.unwrap_or_else(|| UTC.into());
    let invalid = |error: PlanError| Fault::Invalid(error.to_string());
    let plan = Plan::parse(&when, &zone).map_err(invalid)?;
    if plan.shortest(now).is_some_and(|shortest| shortest < limits.shortest) {
        let seconds = limits.shortest.as_secs();
        let text =
            format!("`{when}` fires too often: there are {seconds} s between two firings at least");
        return Err(Fault::Invalid(text));
    }
    let next = plan.next(now, now);
    let next = next.ok_or_else(|| Fault::Invalid(format!("`{when}` never fires from now on")))?;
    let id = ids::opaque(&ids::fresh("s"))?;
    let chat_jid = match chat_jid {
        Some(chat) => chat,
        None => Jid::web(&folder, id.as_str()).map_err(|e| Fault::Invalid(e.to_string()))?,
    };
    let schedule = Schedule {
        id,
        folder,
        chat_jid,
        topic,
        when,
        zone,
        missed,
        content,
        state: ScheduleState::Active,
        next_at: Some(next),
        created_at: now,
        created_by: by.into(),
    };
    schedules::add(tx, &schedule)?;
    let detail = format!("{} {} in {}", schedule.when, schedule.zone, schedule.folder);
    record(tx, now, by, "schedule.add", schedule.id.as_str(), &detail)?;
    wake.schedules(tx);
    Ok(schedule)
}

/// Has a schedule fire no more until it is resumed.
pub(crate) fn pause(
    tx: &Tx<'_>,
    schedule: Schedule,
    by: &str,
    now: Timestamp,
) -> Result<Schedule, Fault> {
    match schedule.state {
        ScheduleState::Paused => return Ok(schedule),
        ScheduleState::Done => return Err(over(&schedule)),
        ScheduleState::Active => {}
    }
    stand(tx, &schedule, ScheduleState::Paused, None)?;
    record(tx, now, by, "schedule.pause", schedule.id.as_str(), "")?;
    Ok(Schedule { state: ScheduleState::Paused, next_at: None, ..schedule })
}

/// Has a paused schedule fire again, from now on.
pub(crate) fn resume(
    tx: &Tx<'_>,
    wake: &Wake,
    schedule: Schedule,
    by: &str,
    now: Timestamp,
) -> Result<Schedule, Fault> {
    match schedule.state {
        ScheduleState::Active => return Ok(schedule),
        ScheduleState::Done => return Err(over(&schedule)),
        ScheduleState::Paused => {}
    }
    let next = plan_of(&schedule)?.next(schedule.created_at, after_all_of(tx, &schedule, now)?);
    let Some(next) = next else { return Err(over(&schedule)) };
    stand(tx, &schedule, ScheduleState::Active, Some(next))?;
    record(tx, now, by, "schedule.resume", schedule.id.as_str(), "")?;
    wake.schedules(tx);
    Ok(Schedule { state: ScheduleState::Active, next_at: Some(next), ..schedule })
}

/// Has a schedule fire now, once under one key.
pub(crate) fn run_now(
    tx: &Tx<'_>,
    wake: &Wake,
    schedule: &Schedule,
    key: &Opaque,
    by: &str,
    now: Timestamp,
) -> Result<ScheduleRun, Fault> {
    if key.as_str().len() > KEY_MAX {
        return Err(Fault::Invalid(format!("`key` has at most {KEY_MAX} bytes")));
    }
    let firing = format!("now.{key}");
    if let Some(done) = schedules::run(tx, &schedule.id, &firing)? {
        return Ok(done);
    }
    let run = put_in(tx, wake, schedule, &firing, now, now, RunOutcome::Manual)?;
    schedules::log(tx, &schedule.id, &firing, &run)?;
    record(tx, now, by, "schedule.run", schedule.id.as_str(), &firing)?;
    Ok(run)
}

/// Removes a schedule.
pub(crate) fn remove(
    tx: &Tx<'_>,
    schedule: &Schedule,
    by: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    schedules::remove(tx, &schedule.id)?;
    let detail = format!("{} {} in {}", schedule.when, schedule.zone, schedule.folder);
    record(tx, now, by, "schedule.remove", schedule.id.as_str(), &detail)?;
    Ok(())
}

/// Fires what is due, at most `limit` firings.
pub(crate) fn fire(tx: &Tx<'_>, wake: &Wake, now: Timestamp, limit: u32) -> Result<Fired, Fault> {
    let mut done = 0;
    // What is due at one moment is often written alike, and to understand it takes longer than to write it down.
    let mut plans = HashMap::new();
    let due = schedules::due(tx, now, limit)?;
    for schedule in &due {
        let written = (schedule.when.as_str(), schedule.zone.as_str());
        let plan = plans.entry(written).or_insert_with(|| Plan::parse(written.0, written.1));
        fire_one(tx, wake, schedule, plan, now)?;
        done += 1;
    }
    Ok(Fired { done, next_at: schedules::next_due(tx)? })
}

fn fire_one(
    tx: &Tx<'_>,
    wake: &Wake,
    schedule: &Schedule,
    plan: &Result<Plan, PlanError>,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(due) = schedule.next_at else { return Ok(()) };
    let plan = match plan {
        Ok(plan) => plan,
        // A zone that this version does not know any more: the others fire on.
        Err(error) => {
            tracing::error!(schedule = %schedule.id, %error, "a schedule is paused");
            return stand(tx, schedule, ScheduleState::Paused, None);
        }
    };
    let verdict = plan.decide(schedule.created_at, schedule.missed, due, now);
    let state = verdict.next.map_or(ScheduleState::Done, |_| ScheduleState::Active);
    stand(tx, schedule, state, verdict.next)?;
    let firing = due.0.to_string();
    let run = if verdict.fires {
        put_in(tx, wake, schedule, &firing, due, now, RunOutcome::Fired)?
    } else {
        ScheduleRun { due_at: due, at: now, outcome: RunOutcome::Skipped, message_id: None }
    };
    Ok(schedules::log(tx, &schedule.id, &firing, &run)?)
}

/// Puts the message in, with the turn that answers it. Its id is made of the schedule and the firing.
fn put_in(
    tx: &Tx<'_>,
    wake: &Wake,
    schedule: &Schedule,
    firing: &str,
    due: Timestamp,
    now: Timestamp,
    outcome: RunOutcome,
) -> Result<ScheduleRun, Fault> {
    let Schedule { folder, chat_jid, topic, content, .. } = schedule;
    if !groups::in_service(tx, folder)? {
        let outcome = RunOutcome::Refused;
        return Ok(ScheduleRun { due_at: due, at: now, outcome, message_id: None });
    }
    let id = ids::opaque(&format!("sched.{}.{firing}", schedule.id))?;
    let run = ScheduleRun { due_at: due, at: now, outcome, message_id: Some(id.clone()) };
    if messages::place(tx, chat_jid, &id)?.is_some() {
        return Ok(run);
    }
    let sender = format!("schedule:{}", schedule.id);
    let asked = turns::Asked {
        folder,
        topic,
        chat_jid,
        thread: topic,
        sender: &sender,
        per_person: false,
        bytes: content.len(),
    };
    let (turn_id, _) = turns::join_or_add(tx, &asked, now)?;
    let rule = format!("schedule {}", schedule.id);
    let row = messages::Inbound {
        id: &id,
        chat_jid,
        sender: &sender,
        sender_name: None,
        content,
        verb: "schedule",
        thread: topic,
        topic,
        folder: Some(folder),
        disposition: "turn",
        turn_id: Some(&turn_id),
        reply_to: None,
        is_group: false,
        attachments: &[],
        sent_at: due,
        rule: &rule,
        origin: Origin::Schedule,
        delegation: None,
    };
    let seq = messages::add(tx, &row, now)?;
    feed::message(tx, chat_jid, topic, seq, now)?;
    wake.chat(tx, chat_jid.as_str());
    wake.turns(tx);
    Ok(run)
}

/// The time after which a schedule may fire: now, or its newest firing where the clock was set back since.
fn after_all_of(
    conn: &Connection,
    schedule: &Schedule,
    now: Timestamp,
) -> Result<Timestamp, Fault> {
    let runs = schedules::runs(conn, &schedule.id)?;
    let own = runs.iter().filter(|run| run.outcome != RunOutcome::Manual);
    Ok(own.map(|run| run.due_at).max().map_or(now, |newest| newest.max(now)))
}

fn stand(
    conn: &Connection,
    schedule: &Schedule,
    state: ScheduleState,
    next: Option<Timestamp>,
) -> Result<(), Fault> {
    match schedules::step(conn, schedule, state, next)? {
        true => Ok(()),
        false => Err(Fault::Conflict(format!("the schedule {} changed meanwhile", schedule.id))),
    }
}

fn plan_of(schedule: &Schedule) -> Result<Plan, Fault> {
    Plan::parse(&schedule.when, &schedule.zone).map_err(|error| Fault::Invalid(error.to_string()))
}

fn over(schedule: &Schedule) -> Fault {
    let id = &schedule.id;
    Fault::Conflict(format!("the last time of the schedule {id} has passed; make another"))
}
