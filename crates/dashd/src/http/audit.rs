//! What was done.

use crate::{
    look::Here,
    pages::audit::{self as view, CSV_HEAD, Chain, Checked},
    parts::{address, choice, field, filter, pager},
    query::{self, blank},
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use axum::{
    body::{Body, Bytes},
    http::header,
    response::IntoResponse,
};
use futures::StreamExt;
use maud::html;
use proto::{
    Daemon, Endpoint,
    routd::{AuditPage, AuditQuery, AuditRow},
};
use serde::{Deserialize, Serialize};

type Log = Endpoint<AuditQuery, AuditPage>;

/// The daemons that keep a log.
const LOGS: [(Daemon, Log); 4] = [
    (Daemon::Routd, proto::routd::AUDIT),
    (Daemon::Authd, proto::authd::AUDIT),
    (Daemon::Runed, proto::runed::AUDIT),
    (Daemon::Onbod, proto::onbod::AUDIT),
];
/// Rows that are shown on a page, and that are asked for at a time.
const PAGE: usize = 100;
const ASKED: u32 = 500;
/// How many pages of an owner are looked through for one page here, so that a rare word ends too.
const LOOKS: usize = 20;

/// Which rows.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    daemon: String,
    #[serde(default)]
    who: String,
    #[serde(default)]
    what: String,
    #[serde(default)]
    to: String,
    #[serde(default, deserialize_with = "blank")]
    before: Option<i64>,
    #[serde(default)]
    format: String,
}

impl Which {
    fn log(&self) -> (Daemon, Log) {
        LOGS.into_iter().find(|(daemon, _)| daemon.name() == self.daemon).unwrap_or(LOGS[0])
    }

    fn wants(&self, row: &AuditRow) -> bool {
        let has = |text: &str, part: &str| text.contains(part.trim());
        has(&row.actor, &self.who)
            && has(&row.action, &self.what)
            && (has(&row.target, &self.to) || has(&row.detail, &self.to))
    }

    fn address(&self, path: &str, more: &[(&str, &str)]) -> String {
        let (daemon, _) = self.log();
        let mut all = vec![
            ("daemon", daemon.name()),
            ("who", self.who.trim()),
            ("what", self.what.trim()),
            ("to", self.to.trim()),
        ];
        all.extend(more);
        address(path, &all)
    }
}

/// A page of one log.
pub(super) async fn page(visit: Visit, which: Which) -> Outcome {
    let (daemon, log) = which.log();
    let (mut rows, mut before) = (Vec::new(), which.before);
    let mut next = None;
    for look in 0..LOOKS {
        let request = AuditQuery { before, limit: Some(ASKED) };
        let page = visit.call(daemon, &log, &request).await?;
        let wanted = page.rows.into_iter().filter(|row| which.wants(row));
        rows.extend(wanted.take(PAGE + 1 - rows.len()));
        if rows.len() > PAGE {
            rows.truncate(PAGE);
            next = rows.last().map(|row| row.id);
            break;
        }
        before = page.next;
        if before.is_none() {
            break;
        }
        if look + 1 == LOOKS {
            next = before;
        }
    }
    let names: Vec<_> = LOGS.iter().map(|(daemon, _)| (daemon.name(), daemon.name())).collect();
    let fields = html! {
        (choice("daemon", "Log of", "daemon", &names, daemon.name()))
        (field("who", "Who has", "who", which.who.trim(), ""))
        (field("what", "What has", "what", which.what.trim(), ""))
        (field("to", "To what has", "to", which.to.trim(), ""))
    };
    let first = which.address("/dash/audit", &[]);
    let next = next.map(|next| which.address("/dash/audit", &[("before", &next.to_string())]));
    let export = |format| which.address("/dash/audit/export", &[("format", format)]);
    let body = html! {
        (filter("/dash/audit", &fields))
        div.row {
            a.button href=(export("csv")) { "Export as CSV" }
            a.button href=(export("jsonl")) { "Export as JSON lines" }
            a.button href="/dash/audit/verify" { "Verify the logs" }
        }
        (view::list(&rows))
        (pager(next, which.before.is_none(), &first))
    };
    shown(Here::Audit, "Audit", body)
}

/// A row with where it is from.
#[derive(Serialize)]
struct Told {
    daemon: Daemon,
    #[serde(flatten)]
    row: AuditRow,
}

/// An export under way.
struct Export {
    visit: Visit,
    which: Which,
    before: Option<i64>,
    is_over: bool,
}

/// All rows that are wanted, as a file that is written while it is read. What breaks off ends without its last line's
/// end, so that nobody takes it for the whole.
pub(super) async fn export(visit: Visit, which: Which) -> Outcome {
    let csv = which.format != "jsonl";
    let (daemon, _) = which.log();
    let (kind, ending) =
        if csv { ("text/csv; charset=utf-8", "csv") } else { ("application/x-ndjson", "jsonl") };
    let export = Export { visit, which, before: None, is_over: false };
    // Asked once before anything is sent: whoever may not read the log gets a page that says so.
    let first = piece(export, csv).await?;
    let rest = match first {
        Some((bytes, export)) => {
            let head = if csv { Bytes::from_static(CSV_HEAD.as_bytes()) } else { Bytes::new() };
            let begin = futures::stream::iter([Ok(head), Ok(bytes)]);
            let more = futures::stream::try_unfold(export, move |export| async move {
                piece(export, csv).await.map_err(|trouble| std::io::Error::other(trouble.line()))
            });
            Body::from_stream(begin.chain(more))
        }
        None => Body::empty(),
    };
    let name = format!("attachment; filename=\"audit-{daemon}.{ending}\"");
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok(Answer::Raw((headers, rest).into_response()))
}

async fn piece(mut export: Export, csv: bool) -> Result<Option<(Bytes, Export)>, Trouble> {
    if export.is_over {
        return Ok(None);
    }
    let (daemon, log) = export.which.log();
    let request = AuditQuery { before: export.before, limit: Some(ASKED) };
    let page = export.visit.call(daemon, &log, &request).await?;
    (export.before, export.is_over) = (page.next, page.next.is_none());
    let mut text = String::new();
    for row in page.rows.into_iter().filter(|row| export.which.wants(row)) {
        if csv {
            text.push_str(&view::csv(daemon, &row));
        } else if let Ok(line) = serde_json::to_string(&Told { daemon, row }) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    Ok(Some((text.into(), export)))
}

/// Whether each log is as it was written.
pub(super) async fn verify(visit: Visit, _: query::None) -> Outcome {
    let mut all = Vec::new();
    for (daemon, log) in LOGS {
        let checked = check(&visit, daemon, &log).await;
        if let Err(Trouble::Owner(error)) = &checked
            && matches!(error.status(), Some(401 | 403))
        {
            return checked.map(|_| Answer::See("/dash/audit".into()));
        }
        all.push((daemon, checked.map_err(|trouble| trouble.line())));
    }
    let body = html! {
        p { "Each row carries the hash of itself and of the row before it. All of them were read just now, and the \
             hashes made anew here." }
        (view::checked(&all))
        p.quiet { "Keep the newest hashes elsewhere: they show later whether rows were taken from the end." }
        p { a.button href="/dash/audit" { "Back to the log" } }
    };
    shown(Here::Audit, "The logs, verified", body)
}

async fn check(visit: &Visit, daemon: Daemon, log: &Log) -> Result<Checked, Trouble> {
    let (mut chain, mut before) = (Chain::default(), None);
    loop {
        let page = visit.call(daemon, log, &AuditQuery { before, limit: Some(ASKED) }).await?;
        page.rows.into_iter().for_each(|row| chain.read(row));
        match page.next {
            Some(next) if before.is_none_or(|before| next < before) => before = Some(next),
            _ => return Ok(chain.end()),
        }
    }
}
