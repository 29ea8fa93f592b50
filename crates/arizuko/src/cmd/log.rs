//! `arizuko trace`.

use crate::{
    failure::Failure,
    instance::Instance,
    output::{Output, table},
    session::Session,
};
use proto::{
    Daemon, Jid, Opaque,
    routd::{self, TRACE, TraceQuery},
};

pub(super) async fn trace(
    instance: &Instance,
    id: Opaque,
    chat_jid: Option<Jid>,
    output: Output,
) -> Result<(), Failure> {
    let routd = Session::begin(instance).await?.peer(Daemon::Routd);
    let trace = routd.call(&TRACE, &TraceQuery { id, chat_jid }).await?;
    output.print(&trace, |trace| {
        let folder = trace.folder.as_ref().map_or("no folder".into(), ToString::to_string);
        let head = format!("{} in {} (arrival {}), {folder}", trace.id, trace.chat_jid, trace.seq);
        let step = |step: &routd::TraceStep| {
            vec![step.at.to_string(), step.what.clone(), step.detail.clone()]
        };
        let rows: Vec<_> = trace.steps.iter().map(step).collect();
        format!("{head}\n{}", table(&["TIME", "WHAT", "MORE"], &rows))
    })
}
