//! `arizuko task`: messages that come at their time.

use crate::{
    cli::Task,
    failure::Failure,
    instance::Instance,
    output::{Output, table},
    session::Session,
};
use kit::Peer;
use proto::{
    Daemon, Opaque,
    routd::{self, Missed, OneSchedule, Schedule},
};

/// Schedules that one question asks for.
const PAGE: u32 = 500;

pub(super) async fn run(instance: &Instance, command: Task, output: Output) -> Result<(), Failure> {
    let routd = Session::begin(instance).await?.peer(Daemon::Routd);
    match command {
        Task::Add { when, text, folder, chat, topic, zone, missed } => {
            let wanted = routd::NewSchedule {
                folder,
                chat_jid: chat,
                topic: topic.unwrap_or_default(),
                when,
                zone,
                missed,
                content: text,
            };
            let made = routd.call(&routd::ADD_SCHEDULE, &wanted).await?;
            output.print(&made, |made| {
                format!(
                    "{} fires first at {}; replies go to {}",
                    made.id,
                    next(made),
                    made.chat_jid
                )
            })
        }
        Task::List { folder } => {
            let schedules = all(&routd, folder).await?;
            let listed = routd::Schedules { schedules, after: None };
            output.print(&listed, |listed| {
                let rows: Vec<_> = listed.schedules.iter().map(row).collect();
                table(&["ID", "FOLDER", "WHEN", "ZONE", "MISSED", "NEXT", "CHAT"], &rows)
            })
        }
        Task::Log { id } => {
            let runs = routd.call(&routd::SCHEDULE_RUNS, &OneSchedule { id }).await?;
            output.print(&runs, |runs| {
                let row = |run: &routd::ScheduleRun| {
                    let message = run.message_id.as_ref().map_or("-".into(), Opaque::to_string);
                    let outcome = run.outcome.name().to_owned();
                    vec![run.due_at.to_string(), run.at.to_string(), outcome, message]
                };
                let rows: Vec<_> = runs.runs.iter().map(row).collect();
                table(&["DUE", "DONE", "OUTCOME", "MESSAGE"], &rows)
            })
        }
        Task::Pause { id } => {
            let paused = routd.call(&routd::PAUSE_SCHEDULE, &OneSchedule { id }).await?;
            output.print(&paused, |it| format!("{} fires no more until it is resumed", it.id))
        }
        Task::Resume { id } => {
            let resumed = routd.call(&routd::RESUME_SCHEDULE, &OneSchedule { id }).await?;
            output.print(&resumed, |it| format!("{} fires next at {}", it.id, next(it)))
        }
        Task::Run { id } => {
            let key = format!("{:016x}", rand::random::<u64>());
            let key = key.parse().map_err(|error: proto::IdError| {
                Failure::new(crate::failure::Exit::Software, error.to_string())
            })?;
            let run = routd.call(&routd::RUN_SCHEDULE, &routd::RunSchedule { id, key }).await?;
            output.print(&run, |run| match &run.message_id {
                Some(message) => format!("fired; follow it with `arizuko trace {message}`"),
                None => "not fired: its folder is not in service".into(),
            })
        }
        Task::Rm { id } => {
            let one = OneSchedule { id: id.clone() };
            let answer = routd.call(&routd::REMOVE_SCHEDULE, &one).await?;
            output.print(&answer, |_| format!("the schedule {id} is removed"))
        }
    }
}

/// All schedules, a page at a time.
async fn all(routd: &Peer, folder: Option<proto::Folder>) -> Result<Vec<Schedule>, Failure> {
    let mut query = routd::ListSchedules { folder, after: None, limit: Some(PAGE) };
    let mut all = Vec::new();
    loop {
        let page = routd.call(&routd::LIST_SCHEDULES, &query).await?;
        all.extend(page.schedules);
        query.after = page.after;
        if query.after.is_none() {
            return Ok(all);
        }
    }
}

fn next(schedule: &Schedule) -> String {
    schedule.next_at.map_or_else(|| schedule.state.name().into(), |at| at.to_string())
}

fn row(schedule: &Schedule) -> Vec<String> {
    vec![
        schedule.id.to_string(),
        schedule.folder.to_string(),
        schedule.when.clone(),
        schedule.zone.clone(),
        Missed::name(schedule.missed).into(),
        next(schedule),
        schedule.chat_jid.to_string(),
    ]
}
