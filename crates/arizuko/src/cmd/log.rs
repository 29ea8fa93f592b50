//! `arizuko trace`.

use crate::{
    failure::Failure,
    instance::Instance,
    output::{Output, table},
    session::Session,
    whereabouts::{self, Whereabouts},
};
use proto::{
    Daemon, Jid, Opaque,
    routd::{self, TRACE, TraceQuery},
};
use serde::Serialize;

/// A message's life, and where it is now.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    trace: routd::Trace,
    #[serde(flatten)]
    now: Whereabouts,
}

pub(super) async fn trace(
    instance: &Instance,
    id: Opaque,
    chat_jid: Option<Jid>,
    output: Output,
) -> Result<(), Failure> {
    let routd = Session::begin(instance).await?.peer(Daemon::Routd);
    let trace = routd.call(&TRACE, &TraceQuery { id, chat_jid }).await?;
    let now = whereabouts::of(&trace.steps);
    output.print(&Told { trace, now }, |Told { trace, now }| {
        let folder = trace.folder.as_ref().map_or("no folder".into(), ToString::to_string);
        let head = format!("{} in {} (arrival {}), {folder}", trace.id, trace.chat_jid, trace.seq);
        let step = |step: &routd::TraceStep| {
            vec![step.at.to_string(), step.what.clone(), step.detail.clone()]
        };
        let rows: Vec<_> = trace.steps.iter().map(step).collect();
        let steps = table(&["TIME", "WHAT", "MORE"], &rows);
        format!("{head}\n{steps}\nnow: {}; next: {}", now.owner, now.next)
    })
}
