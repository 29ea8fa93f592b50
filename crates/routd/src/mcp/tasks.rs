//! Messages to oneself at a later time: `schedule_task`, `list_tasks`, `pause_task`, `resume_task`, `cancel_task`.

use super::{
    arguments::{Arguments, check_content},
    chat,
    tool::{Answer, Change, Look, Tool},
};
use crate::{fault::Fault, scheduling, store::schedules as rows};
use proto::{
    Jid, Opaque, Topic,
    routd::{Missed, NewSchedule, Schedule},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// Schedules that one list shows.
const SHOWN: u32 = 100;

pub(super) fn tools() -> Vec<Tool> {
    vec![
        Tool::changes(
            "schedule_task",
            "Have a message come to this folder's agent at a later time, once or again and again. The reply to it goes \
             to the chat. Say everything in it that is needed then.",
            schedule,
        ),
        Tool::reads("list_tasks", "The scheduled messages of this folder.", list),
        Tool::changes(
            "pause_task",
            "Have a scheduled message come no more until it is resumed.",
            pause,
        )
        .hint(|hints| hints.idempotent(true)),
        Tool::changes("resume_task", "Have a paused message come again, from now on.", resume)
            .hint(|hints| hints.idempotent(true)),
        Tool::changes("cancel_task", "Remove a scheduled message.", cancel)
            .hint(|hints| hints.destructive(true).idempotent(true)),
    ]
}

/// Arguments of `schedule_task`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScheduleTask {
    /// When: five fields of cron (`0 9 * * mon-fri`), `@daily`, `every 15m`, or `at 2026-12-01T09:00`.
    when: String,
    /// The message.
    content: String,
    /// The time zone, such as `Europe/London`; `UTC` when left out.
    #[serde(default)]
    zone: Option<String>,
    /// What becomes of times that pass while nothing runs: `once` when left out.
    #[serde(default)]
    missed: Missed,
    /// A chat of this folder; this one when left out.
    #[serde(default)]
    chat_jid: Option<Jid>,
}

impl Arguments for ScheduleTask {
    fn check(&self) -> Result<(), Fault> {
        check_content(&self.content)
    }
}

/// Arguments of `list_tasks`: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListTasks {}

impl Arguments for ListTasks {}

/// Which task.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneTask {
    /// Its id, as `schedule_task` and `list_tasks` say it.
    id: Opaque,
}

impl Arguments for OneTask {}

fn schedule(change: &Change<'_>, wanted: ScheduleTask) -> Result<Answer, Fault> {
    change.require_own()?;
    let ScheduleTask { when, content, zone, missed, chat_jid } = wanted;
    let turn = change.turn;
    let folder = turn.folder.clone();
    let (chat_jid, topic) = match chat_jid {
        None => (turn.chat_jid.clone(), turn.thread.clone()),
        Some(chat) if chat == turn.chat_jid => (chat, turn.thread.clone()),
        Some(chat) => (chat, Topic::default()),
    };
    if chat::owner(change, &chat_jid)? != folder {
        return Err(Fault::Forbidden(format!("{chat_jid} is no chat of the folder {folder}")));
    }
    let chat_jid = Some(chat_jid);
    let wanted = NewSchedule { folder, chat_jid, topic, when, zone, missed, content };
    let (progress, by) = (change.progress, change.actor());
    let made =
        scheduling::make(change.tx, &progress.wake, wanted, progress.schedules, &by, change.now)?;
    let next = made.next_at.map(|at| at.to_string()).unwrap_or_default();
    let text = format!("scheduled as {}; it comes first at {next}", made.id);
    Ok(Answer { text, structured: Some(shown(&made)) })
}

fn list(look: &Look<'_>, ListTasks {}: ListTasks) -> Result<Answer, Fault> {
    look.require_own()?;
    let all = rows::list(look.conn, Some(&look.turn.folder), None, SHOWN)?;
    let tasks: Vec<Value> = all.iter().map(shown).collect();
    Ok(Answer::value(json!({ "tasks": tasks })))
}

fn pause(change: &Change<'_>, OneTask { id }: OneTask) -> Result<Answer, Fault> {
    let paused = scheduling::pause(change.tx, found(change, &id)?, &change.actor(), change.now)?;
    Ok(Answer { text: format!("{id} is paused"), structured: Some(shown(&paused)) })
}

fn resume(change: &Change<'_>, OneTask { id }: OneTask) -> Result<Answer, Fault> {
    let (found, by) = (found(change, &id)?, change.actor());
    let resumed = scheduling::resume(change.tx, &change.progress.wake, found, &by, change.now)?;
    Ok(Answer { text: format!("{id} is resumed"), structured: Some(shown(&resumed)) })
}

fn cancel(change: &Change<'_>, OneTask { id }: OneTask) -> Result<Answer, Fault> {
    scheduling::remove(change.tx, &found(change, &id)?, &change.actor(), change.now)?;
    Ok(Answer::line(format!("{id} is removed")))
}

/// A task that the caller may do this to.
fn found(look: &Look<'_>, id: &Opaque) -> Result<Schedule, Fault> {
    let found = rows::get(look.conn, id)?;
    let found = found.ok_or_else(|| Fault::NotFound(format!("there is no task {id}")))?;
    look.require(&found.folder)?;
    Ok(found)
}

fn shown(schedule: &Schedule) -> Value {
    json!({
        "id": schedule.id, "when": schedule.when, "zone": schedule.zone, "missed": schedule.missed,
        "chat_jid": schedule.chat_jid, "content": schedule.content, "state": schedule.state,
        "next_at": schedule.next_at,
    })
}
