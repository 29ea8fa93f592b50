//! `arizuko audit` and `arizuko trace`.

use crate::{
    failure::Failure,
    instance::Instance,
    output::{Output, table},
    session::Session,
};
use proto::{
    Daemon, Jid, Opaque,
    routd::{self, AuditQuery, AuditRow, TRACE, TraceQuery},
};
use serde::Serialize;

#[derive(Serialize)]
struct Row {
    daemon: Daemon,
    #[serde(flatten)]
    row: AuditRow,
}

pub(super) async fn audit(instance: &Instance, limit: u32, output: Output) -> Result<(), Failure> {
    let session = Session::begin(instance).await?;
    let query = AuditQuery { before: None, limit: Some(limit) };
    let mut rows = Vec::new();
    let owners = [
        (Daemon::Routd, routd::AUDIT),
        (Daemon::Authd, proto::authd::AUDIT),
        (Daemon::Runed, proto::runed::AUDIT),
    ];
    for (daemon, endpoint) in owners {
        let page = session.peer(daemon).call(&endpoint, &query).await?;
        rows.extend(page.rows.into_iter().map(|row| Row { daemon, row }));
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.row.at));
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    output.print(&rows, |rows| {
        let row = |Row { daemon, row }: &Row| {
            vec![
                row.at.to_string(),
                daemon.to_string(),
                row.actor.clone(),
                row.action.clone(),
                row.target.clone(),
                row.detail.clone(),
            ]
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        table(&["TIME", "DAEMON", "WHO", "WHAT", "TO", "MORE"], &rows)
    })
}

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
