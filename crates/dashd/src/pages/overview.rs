//! What is wrong first, then how much there is to do.

use super::{secrets, services::Service};
use crate::{
    parts::{Mark, address, mark, tile},
    shown::time,
};
use maud::{Markup, html};
use proto::{
    routd::{Group, RoutdStatus, TurnRow},
    runed::RunedStatus,
};

/// What the owners said.
#[derive(Debug)]
pub(crate) struct Overview {
    pub(crate) services: Vec<Service>,
    pub(crate) secrets: secrets::Said,
    pub(crate) routd: Result<RoutdStatus, String>,
    pub(crate) runed: Result<RunedStatus, String>,
    /// Turns that failed within a day, newest first.
    pub(crate) failed: Vec<TurnRow>,
    /// Newcomers who wait; nothing where there is no queue.
    pub(crate) newcomers: Option<u64>,
}

/// Something that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) how: Mark,
    pub(crate) what: String,
    pub(crate) more: String,
    pub(crate) href: String,
}

/// Everything that is wrong, the worst first.
pub(crate) fn problems(all: &Overview) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut add = |how, what: String, more: String, href: String| {
        found.push(Problem { how, what, more, href });
    };
    for service in &all.services {
        let (how, word) = service.state();
        if how == Mark::Bad {
            let more = service.troubles().join("; ");
            add(how, format!("{} is {word}", service.daemon), more, "/dash/services".into());
        }
    }
    for (name, held) in secrets::by_name(&all.secrets) {
        let troubles: Vec<String> = held
            .iter()
            .filter_map(|(daemon, _, s)| Some(format!("{daemon}: {}", s.error.as_ref()?)))
            .collect();
        if !troubles.is_empty() {
            let href = address("/dash/secrets/one", &[("name", name)]);
            add(Mark::Bad, format!("The secret {name} is in trouble"), troubles.join("; "), href);
        }
    }
    if let Ok(status) = &all.routd {
        if status.outbox_ambiguous > 0 {
            let what = format!(
                "Of {} replies it is not known whether they were sent",
                status.outbox_ambiguous
            );
            let more = "Whether to send them again is for a person to say.".into();
            add(Mark::Bad, what, more, address("/dash/outbox", &[("state", "ambiguous")]));
        }
        if status.approvals_pending > 0 {
            let what = format!("Calls that wait for a person: {}", status.approvals_pending);
            let more = "Their agents go on without them until somebody decides.".into();
            add(Mark::Doubtful, what, more, "/dash/approvals".into());
        }
        if status.unrouted > 0 {
            let what = format!("Messages of the last day that found no route: {}", status.unrouted);
            let more = "They are stored, and nobody answers them.".into();
            add(
                Mark::Doubtful,
                what,
                more,
                address("/dash/messages", &[("disposition", "unrouted")]),
            );
        }
    }
    if let Some(newest) = all.failed.first() {
        let count = all.failed.len();
        let what = format!(
            "{count} {} within a day",
            if count == 1 { "turn failed" } else { "turns failed" }
        );
        let more = format!("The newest is of {}: {}", newest.folder, newest.detail);
        add(Mark::Bad, what, more, address("/dash/turns", &[("outcome", "failed")]));
    }
    found.sort_by_key(|problem| problem.how != Mark::Bad);
    found
}

/// The part of the page that is kept up to date.
pub(crate) fn board(all: &Overview) -> Markup {
    let problems = problems(all);
    html! {
        @if problems.is_empty() {
            p.allgood { (mark(Mark::Good, "all good")) " Every daemon is ready, every secret is good, and nothing failed within a day." }
        } @else {
            h2 { "What is wrong" }
            ul.problems {
                @for problem in &problems {
                    li.doubtful[problem.how != Mark::Bad] {
                        a href=(problem.href) { (problem.what) }
                        @if !problem.more.is_empty() { small { (problem.more) } }
                    }
                }
            }
        }
        h2 { "What there is to do" }
        div.tiles { (tiles(all)) }
        @if !all.failed.is_empty() {
            h2 { "Turns that failed" }
            (super::conversations::turns(all.failed.get(..5).unwrap_or(&all.failed)))
        }
    }
}

fn tiles(all: &Overview) -> Markup {
    let ready = all.services.iter().filter(|s| !s.is_off && s.state().0 != Mark::Bad).count();
    let known = all.services.iter().filter(|s| !s.is_off).count();
    let how = if ready < known { Mark::Bad } else { Mark::Quiet };
    let some = |count: u64, how| if count > 0 { how } else { Mark::Quiet };
    html! {
        (tile("daemons ready", &format!("{ready} of {known}"), "/dash/services", how))
        @match &all.routd {
            Ok(status) => {
                (tile("turns running", &status.turns_running.to_string(), "/dash/turns", Mark::Quiet))
                (tile("turns waiting", &status.turns_queued.to_string(), "/dash/turns", Mark::Quiet))
                (tile("replies waiting to be sent", &status.outbox_pending.to_string(), "/dash/outbox?state=pending", Mark::Quiet))
                (tile("replies of unknown fate", &status.outbox_ambiguous.to_string(), "/dash/outbox?state=ambiguous", some(status.outbox_ambiguous, Mark::Bad)))
                (tile("calls waiting for approval", &status.approvals_pending.to_string(), "/dash/approvals", some(status.approvals_pending, Mark::Doubtful)))
                (tile("messages without a route", &status.unrouted.to_string(), "/dash/messages?disposition=unrouted", some(status.unrouted, Mark::Doubtful)))
            }
            Err(why) => p.alert { "routd does not say how much there is to do: " (why) },
        }
        @match &all.runed {
            Ok(status) => {
                (tile("runs in progress", &format!("{} of {}", status.running, status.capacity), "/dash/runs", Mark::Quiet))
                (tile("runs waiting", &status.pending.to_string(), "/dash/runs?state=pending", Mark::Quiet))
            }
            Err(why) => p.alert { "runed does not say what runs: " (why) },
        }
        @if let Some(waiting) = all.newcomers {
            (tile("newcomers waiting", &waiting.to_string(), "/dash/newcomers", some(waiting, Mark::Doubtful)))
        }
    }
}

/// What somebody sees who is no operator: their folders.
pub(crate) fn of_person(groups: &[Group], waiting: usize) -> Markup {
    html! {
        @if waiting > 0 {
            p { a href="/dash/approvals" { "Calls that wait for your approval: " (waiting) } }
        }
        @if groups.is_empty() {
            p { "No folder is yours yet. When somebody gives you the right to administer one, it is shown here." }
        } @else {
            p { "These folders are yours. The pages show what is of them, and nothing else." }
            ul.problems.plain {
                @for group in groups {
                    li {
                        a href=(address("/dash/folders/one", &[("folder", group.folder.as_str())])) { (group.folder) }
                        small { "since " (time(group.created_at)) }
                    }
                }
            }
        }
    }
}
