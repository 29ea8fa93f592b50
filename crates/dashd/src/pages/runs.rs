//! Runs of agents.

use crate::{
    parts::{Mark, address, code, facts, mark, or_dash, table},
    shown::{span, time},
};
use maud::{Markup, html};
use proto::{
    Timestamp,
    runed::{Run, RunEnd, RunLog, RunState},
};

/// The states, by the names that addresses have for them.
pub(crate) const STATES: [(RunState, &str); 4] = [
    (RunState::Pending, "pending"),
    (RunState::Running, "running"),
    (RunState::Ending, "ending"),
    (RunState::Ended, "ended"),
];

/// How a run stands, in a word.
pub(crate) fn state(run: &Run) -> Markup {
    match (run.state, run.end) {
        (RunState::Pending, _) => mark(Mark::Quiet, "waits"),
        (RunState::Running, _) => mark(Mark::Doubtful, "runs"),
        (RunState::Ending, _) => mark(Mark::Doubtful, "is ending"),
        (RunState::Ended, Some(RunEnd::Completed)) => mark(Mark::Good, "completed"),
        (RunState::Ended, Some(RunEnd::Cancelled)) => mark(Mark::Quiet, "stopped"),
        (RunState::Ended, Some(end)) => mark(Mark::Bad, named(end)),
        (RunState::Ended, None) => mark(Mark::Quiet, "ended"),
    }
}

const fn named(end: RunEnd) -> &'static str {
    match end {
        RunEnd::Completed => "completed",
        RunEnd::Crashed => "crashed",
        RunEnd::TimedOut => "ran out of time",
        RunEnd::OutOfMemory => "ran out of memory",
        RunEnd::Cancelled => "stopped",
        RunEnd::StartFailed => "could not start",
        RunEnd::Refused => "refused",
    }
}

/// How long it has run, or ran.
fn took(run: &Run, now: Timestamp) -> Option<String> {
    let from = run.started_at?;
    let seconds = run.ended_at.unwrap_or(now).seconds_since(from);
    // In steps while it runs, so that what is kept up to date does not change for the sake of seconds.
    Some(span(if run.ended_at.is_none() { seconds / 5 * 5 } else { seconds }))
}

/// Runs, newest first.
pub(crate) fn list(runs: &[Run], now: Timestamp) -> Markup {
    let row = |run: &Run| {
        let one = address("/dash/runs/one", &[("id", run.id.as_str())]);
        let stop = address("/dash/runs/stop", &[("id", run.id.as_str())]);
        vec![
            html! { a href=(one) { (code(run.id.as_str())) } },
            html! {
                a href=(address("/dash/folders/one", &[("folder", run.folder.as_str())])) { (run.folder) }
            },
            html! { (state(run)) @if let Some(detail) = &run.detail { small { (detail) } } },
            html! { (run.attempt) },
            time(run.created_at),
            or_dash(took(run, now).as_deref()),
            html! {
                @if matches!(run.state, RunState::Pending | RunState::Running) {
                    a href=(stop) { "Stop…" span.unseen { " run " (run.id) } }
                }
            },
        ]
    };
    let heads = ["Run", "Folder", "State", "Attempt", "Asked for", "Took", ""];
    table("Runs", &heads, runs.iter().map(row).collect(), "No run is like that.")
}

/// One run, with what it wrote.
pub(crate) fn one(run: &Run, log: Result<&RunLog, &str>, now: Timestamp) -> Markup {
    html! {
        (facts(&[
            ("State", state(run)),
            ("Folder", html! {
                a href=(address("/dash/folders/one", &[("folder", run.folder.as_str())])) { (run.folder) }
            }),
            ("Turn", code(run.turn_id.as_str())),
            ("Attempt", html! { (run.attempt) }),
            ("Asked for", time(run.created_at)),
            ("Started", run.started_at.map_or_else(|| or_dash(None), time)),
            ("Ended", run.ended_at.map_or_else(|| or_dash(None), time)),
            ("Took", or_dash(took(run, now).as_deref())),
            ("More", or_dash(run.detail.as_deref())),
        ]))
        h2 { "What it wrote" }
        @match log {
            Ok(log) if log.text.is_empty() => p.empty { "Nothing." },
            Ok(log) => {
                @if log.dropped_bytes > 0 {
                    p.quiet { (crate::shown::grouped(log.dropped_bytes)) " bytes before or within this were not kept." }
                }
                pre.log tabindex="0" { (log.text) }
            }
            Err(why) => p.alert { (why) },
        }
    }
}
