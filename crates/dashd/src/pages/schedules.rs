//! Schedules, and what they did.

use crate::{
    parts::{Mark, address, code, facts, mark, or_dash, table},
    shown::{head, time},
};
use maud::{Markup, html};
use proto::routd::{RunOutcome, Schedule, ScheduleRun, ScheduleState};

/// The rules of missed firings, as a form offers them.
pub(crate) const MISSED: [(&str, &str); 3] = [
    ("once", "all of them are one firing"),
    ("skip", "they are passed over"),
    ("all", "each fires, of the last day"),
];

pub(crate) fn state(schedule: &Schedule) -> Markup {
    match schedule.state {
        ScheduleState::Active => mark(Mark::Good, "active"),
        ScheduleState::Paused => mark(Mark::Doubtful, "paused"),
        ScheduleState::Done => mark(Mark::Quiet, "done"),
    }
}

/// Schedules, by id.
pub(crate) fn list(schedules: &[Schedule]) -> Markup {
    let row = |schedule: &Schedule| {
        vec![
            html! {
                a href=(address("/dash/schedules/one", &[("id", schedule.id.as_str())])) {
                    (head(&schedule.content, 60))
                }
            },
            html! {
                a href=(address("/dash/folders/one", &[("folder", schedule.folder.as_str())])) { (schedule.folder) }
            },
            html! { (code(&schedule.when)) small { (schedule.zone) } },
            state(schedule),
            schedule.next_at.map_or_else(|| or_dash(None), time),
        ]
    };
    let heads = ["Message", "Folder", "When", "State", "Next"];
    table("Schedules", &heads, schedules.iter().map(row).collect(), "No schedule is like that.")
}

/// One schedule.
pub(crate) fn one(schedule: &Schedule) -> Markup {
    html! {
        (facts(&[
            ("State", state(schedule)),
            ("Next", schedule.next_at.map_or_else(|| or_dash(None), time)),
            ("When", html! { (code(&schedule.when)) " " (schedule.zone) }),
            ("Missed firings", html! {
                (MISSED.iter().find(|(name, _)| *name == schedule.missed.name()).map_or("", |(_, text)| *text))
            }),
            ("Folder", html! {
                a href=(address("/dash/folders/one", &[("folder", schedule.folder.as_str())])) { (schedule.folder) }
            }),
            ("Replies go to", html! {
                a href=(address("/dash/messages", &[("chat", schedule.chat_jid.as_str())])) {
                    (code(schedule.chat_jid.as_str()))
                }
            }),
            ("Made", html! { (time(schedule.created_at)) " by " (schedule.created_by) }),
        ]))
        h2 { "The message" }
        pre.log tabindex="0" { (schedule.content) }
    }
}

/// What a schedule did last.
pub(crate) fn runs(schedule: &Schedule, runs: &[ScheduleRun]) -> Markup {
    let row = |run: &ScheduleRun| {
        let life = run.message_id.as_ref().map(|id| {
            address("/dash/trace", &[("id", id.as_str()), ("chat", schedule.chat_jid.as_str())])
        });
        vec![
            time(run.due_at),
            time(run.at),
            match run.outcome {
                RunOutcome::Fired => mark(Mark::Good, "fired"),
                RunOutcome::Manual => mark(Mark::Good, "fired by hand"),
                RunOutcome::Skipped => mark(Mark::Doubtful, "passed over"),
                RunOutcome::Refused => mark(Mark::Bad, "its folder was not in service"),
            },
            html! { @if let Some(life) = life { a href=(life) { "Its message's life" } } },
        ]
    };
    let heads = ["Due", "Done", "What became of it", ""];
    table("What it did last", &heads, runs.iter().map(row).collect(), "Nothing yet.")
}
