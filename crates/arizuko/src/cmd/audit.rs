//! `arizuko audit`: what was done and what was refused, from every owner's log.

use crate::{
    cli::{Audit, Since},
    failure::{Exit, Failure},
    instance::Instance,
    output::{Output, table},
    session::Session,
};
use kit::{Clock, Peer};
use proto::{
    Daemon, Endpoint, Timestamp,
    routd::{self, AuditPage, AuditQuery, AuditRow},
};
use serde::Serialize;

/// Rows that are asked for at a time.
const PAGE: u32 = 500;

type Log = Endpoint<AuditQuery, AuditPage>;

#[derive(Serialize)]
struct Row {
    daemon: Daemon,
    #[serde(flatten)]
    row: AuditRow,
}

/// What became of one log.
#[derive(Serialize)]
struct Checked {
    daemon: Daemon,
    rows: u64,
    /// The hash of the newest row: kept elsewhere, it shows later whether rows were taken from the end.
    newest: Option<String>,
    /// The first row that is not what was written, or not where it was.
    broken: Option<i64>,
}

/// The owners' logs, or the one that is asked for.
fn logs(of: Option<Daemon>) -> Result<Vec<(Daemon, Log)>, Failure> {
    let all = [
        (Daemon::Routd, routd::AUDIT),
        (Daemon::Authd, proto::authd::AUDIT),
        (Daemon::Runed, proto::runed::AUDIT),
        (Daemon::Onbod, proto::onbod::AUDIT),
    ];
    let wanted: Vec<_> =
        all.into_iter().filter(|(daemon, _)| of.is_none_or(|of| of == *daemon)).collect();
    if wanted.is_empty() {
        let line = "this daemon has no audit log of its own; name authd, routd, runed or onbod";
        return Err(Failure::new(Exit::Usage, line));
    }
    Ok(wanted)
}

pub(super) async fn run(instance: &Instance, args: &Audit, output: Output) -> Result<(), Failure> {
    let logs = logs(args.daemon)?;
    let session = Session::begin(instance).await?;
    if args.verify {
        return verify(&session, &logs, output).await;
    }
    let since = args.since.map(|since| match since {
        Since::Time(time) => time,
        Since::Ago(ago) => {
            let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            Clock::real().now().plus(ago.saturating_neg())
        }
    });
    let mut rows = Vec::new();
    for (daemon, log) in logs {
        let found = newest(&session.peer(daemon), &log, args.limit, since).await?;
        rows.extend(found.into_iter().map(|row| Row { daemon, row }));
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.row.at));
    rows.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
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

/// The newest rows of one log, `limit` of them at most, none from before `since`.
async fn newest(
    peer: &Peer,
    log: &Log,
    limit: u32,
    since: Option<Timestamp>,
) -> Result<Vec<AuditRow>, Failure> {
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut rows, mut before) = (Vec::new(), None);
    while rows.len() < wanted {
        let left = u32::try_from(wanted - rows.len()).unwrap_or(PAGE).min(PAGE);
        let page = peer.call(log, &AuditQuery { before, limit: Some(left) }).await?;
        let is_new = |row: &AuditRow| since.is_none_or(|since| row.at >= since);
        rows.extend(page.rows.into_iter().take_while(is_new));
        // A row that is too old ends the list; so does the end of the log.
        before = page.next.filter(|next| rows.last().is_some_and(|last| last.id == *next));
        if before.is_none() {
            break;
        }
    }
    Ok(rows)
}

async fn verify(session: &Session, logs: &[(Daemon, Log)], output: Output) -> Result<(), Failure> {
    let mut all = Vec::new();
    for (daemon, log) in logs {
        all.push(check(*daemon, &session.peer(*daemon), log).await?);
    }
    output.print(&all, |all| {
        let row = |log: &Checked| {
            let state = log.broken.map_or("whole".to_owned(), |id| format!("broken at row {id}"));
            let newest = log.newest.clone().unwrap_or_default();
            vec![log.daemon.to_string(), log.rows.to_string(), state, newest]
        };
        let rows: Vec<_> = all.iter().map(row).collect();
        table(&["DAEMON", "ROWS", "LOG", "NEWEST HASH"], &rows)
    })?;
    let broken = all.iter().filter_map(|log| log.broken.map(|id| (log.daemon, id)));
    let broken: Vec<String> =
        broken.map(|(daemon, id)| format!("the log of {daemon} is broken at row {id}")).collect();
    if broken.is_empty() {
        return Ok(());
    }
    let line = format!(
        "{}: this row, or the one before it, is not what was written; compare with a backup",
        broken.join("; ")
    );
    Err(Failure::new(Exit::Data, line))
}

/// Reads a whole log, newest first, and checks each row against the hash of the one before it.
async fn check(daemon: Daemon, peer: &Peer, log: &Log) -> Result<Checked, Failure> {
    let mut found = Checked { daemon, rows: 0, newest: None, broken: None };
    let (mut before, mut later) = (None, None::<AuditRow>);
    loop {
        let page = peer.call(log, &AuditQuery { before, limit: Some(PAGE) }).await?;
        for row in page.rows {
            found.rows += 1;
            found.newest.get_or_insert_with(|| row.hash.clone());
            if let Some(later) = later.take()
                && (later.id != row.id + 1 || !later.fits(&row.hash))
            {
                found.broken = Some(later.id);
            }
            later = Some(row);
        }
        match page.next {
            Some(next) if before.is_none_or(|before| next < before) => before = Some(next),
            _ => break,
        }
    }
    if let Some(first) = later
        && (first.id != 1 || !first.fits(""))
    {
        found.broken = Some(first.id);
    }
    Ok(found)
}
