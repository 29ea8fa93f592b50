//! Runs of agents.

use crate::{
    live,
    look::Here,
    pages::runs::{self as view, STATES},
    parts::{address, choice, filter, pager},
    query::{One, blank},
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use maud::{Markup, html};
use proto::{
    Daemon,
    runed::{END_RUN, EndRun, GET_RUN, GetRun, LIST_RUNS, ListRuns, RUN_LOG, Run, RunState, Runs},
};
use serde::Deserialize;
use std::time::Duration;

/// How often what is shown is asked again.
const EVERY: Duration = Duration::from_secs(1);
/// Rows of a page.
const PAGE: u32 = 50;
/// How long runed waits until a run is gone.
const END_WAIT: Duration = Duration::from_secs(25);

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    state: String,
    #[serde(default, deserialize_with = "blank")]
    before: Option<i64>,
}

impl Which {
    fn state(&self) -> Option<(RunState, &'static str)> {
        STATES.into_iter().find(|(_, name)| *name == self.state)
    }
}

/// The runs; the newest page is kept up to date.
pub(super) async fn page(visit: Visit, which: Which) -> Outcome {
    let page = list(&visit, &which).await?;
    let state = which.state().map_or("", |(_, name)| name);
    let here = |before: &str| address("/dash/runs", &[("state", state), ("before", before)]);
    let mut states = vec![("", "anything")];
    states.extend(STATES.map(|(_, name)| (name, name)));
    let shown_now = view::list(&page.runs, visit.app.clock.now());
    let now = address("/dash/runs/now", &[("state", state)]);
    let body = html! {
        (filter("/dash/runs", &choice("state", "State", "state", &states, state)))
        @if which.before.is_none() {
            (live::part(&visit, &now, "Runs", &shown_now))
        } @else {
            (shown_now)
        }
        (pager(page.next.map(|next| here(&next.to_string())), which.before.is_none(), &here("")))
    };
    shown(Here::Runs, "Runs", body)
}

/// The newest page, kept up to date.
pub(super) async fn now(visit: Visit, which: Which) -> Outcome {
    let make = move |visit: Visit| {
        let which = which.clone();
        async move {
            let page = list(&visit, &which).await?;
            Ok::<Markup, Trouble>(view::list(&page.runs, visit.app.clock.now()))
        }
    };
    live::follow(visit, EVERY, make)
}

async fn list(visit: &Visit, which: &Which) -> Result<Runs, Trouble> {
    let state = which.state().map(|(state, _)| state);
    let request = ListRuns { state, before: which.before, limit: Some(PAGE) };
    visit.call(Daemon::Runed, &LIST_RUNS, &request).await
}

async fn get(visit: &Visit, One { id }: &One) -> Result<Run, Trouble> {
    let request = GetRun { id: id.clone(), wait_seconds: 0, unless_state: None };
    visit.call(Daemon::Runed, &GET_RUN, &request).await
}

/// One run, with what it wrote; kept up to date until it has ended.
pub(super) async fn one(visit: Visit, one: One) -> Outcome {
    let run = get(&visit, &one).await?;
    let now = address("/dash/runs/one/now", &[("id", one.id.as_str())]);
    let content = whole(&visit, &run).await;
    let body = html! {
        @if run.state == RunState::Ended {
            (content)
        } @else {
            (live::part(&visit, &now, "The run", &content))
        }
        div.row { a.button href="/dash/runs" { "All runs" } }
    };
    shown(Here::Runs, format!("Run {}", run.id), body)
}

/// The same, kept up to date.
pub(super) async fn one_now(visit: Visit, One { id }: One) -> Outcome {
    let make = move |visit: Visit| {
        let one = One { id: id.clone() };
        async move {
            let run = get(&visit, &one).await?;
            Ok::<Markup, Trouble>(whole(&visit, &run).await)
        }
    };
    live::follow(visit, EVERY, make)
}

async fn whole(visit: &Visit, run: &Run) -> Markup {
    let log = visit.call(Daemon::Runed, &RUN_LOG, &EndRun { id: run.id.clone() }).await;
    let log = log.map_err(|trouble| trouble.line());
    let stop = address("/dash/runs/stop", &[("id", run.id.as_str())]);
    html! {
        (view::one(run, log.as_ref().map_err(String::as_str), visit.app.clock.now()))
        @if run.state != RunState::Ended { div.row { a.button href=(stop) { "Stop this run…" } } }
    }
}

/// Asks first.
pub(super) async fn ask_stop(visit: Visit, one: One) -> Outcome {
    let run = get(&visit, &one).await?;
    let what = html! {
        p { "The agent of " strong { (run.folder) } " is ended where it is. Its turn ends with a line in the chat that \
             says so; what it has done stays done." }
        (crate::parts::facts(&[("State", view::state(&run)), ("Attempt", html! { (run.attempt) })]))
    };
    let (id, back) = (one.id.as_str(), address("/dash/runs/one", &[("id", one.id.as_str())]));
    let does = ("/dash/runs/stop", "Stop the run");
    visit.ask(Here::Runs, format!("Stop run {}?", run.id), &what, does, &[("id", id)], &back)
}

/// Stops a run.
pub(super) async fn stop(visit: Visit, One { id }: One) -> Outcome {
    let request = EndRun { id: id.clone() };
    visit.call_waiting(Daemon::Runed, &END_RUN, &request, END_WAIT).await?;
    Ok(Answer::See(address("/dash/runs/one", &[("id", id.as_str()), ("done", "stopped")])))
}
