//! What was done, by whom.

use crate::{
    parts::{Mark, code, mark, table},
    shown::{grouped, time},
};
use maud::{Markup, html};
use proto::{Daemon, routd::AuditRow};

/// What became of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) rows: u64,
    /// The hash of the newest row: kept elsewhere, it shows later whether rows were taken from the end.
    pub(crate) newest: String,
    /// The first row that is not what was written, or not where it was.
    pub(crate) broken: Option<i64>,
}

/// Reads a log from its newest row to its oldest, and says whether each names the one before it.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    found: Checked,
    later: Option<AuditRow>,
}

impl Chain {
    /// The next older row.
    pub(crate) fn read(&mut self, row: AuditRow) {
        self.found.rows += 1;
        if self.found.newest.is_empty() {
            self.found.newest.clone_from(&row.hash);
        }
        if let Some(later) = self.later.take()
            && (later.id != row.id + 1 || !later.fits(&row.hash))
        {
            self.found.broken = Some(later.id);
        }
        self.later = Some(row);
    }

    /// What came of it, once the oldest row was read.
    pub(crate) fn end(mut self) -> Checked {
        if let Some(first) = self.later
            && (first.id != 1 || !first.fits(""))
        {
            self.found.broken = Some(first.id);
        }
        self.found
    }
}

/// Rows, newest first.
pub(crate) fn list(rows: &[AuditRow]) -> Markup {
    let row = |row: &AuditRow| {
        vec![
            time(row.at),
            code(&row.actor),
            html! { (row.action) },
            html! { (row.target) @if !row.detail.is_empty() { small { (row.detail) } } },
            html! { (row.id) },
        ]
    };
    let heads = ["When", "Who", "What", "To what", "Row"];
    table(
        "What was done",
        &heads,
        rows.iter().map(row).collect(),
        "Nothing like that is in this part of the log.",
    )
}

/// Whether the logs are as they were written.
pub(crate) fn checked(all: &[(Daemon, Result<Checked, String>)]) -> Markup {
    let row = |(daemon, log): &(Daemon, Result<Checked, String>)| match log {
        Ok(log) => vec![
            html! { strong { (daemon) } },
            match log.broken {
                None => mark(Mark::Good, "as it was written"),
                Some(id) => mark(Mark::Bad, format!("broken at row {id}")),
            },
            html! { span.number { (grouped(log.rows)) } },
            code(&log.newest),
        ],
        Err(why) => vec![
            html! { strong { (daemon) } },
            html! { (mark(Mark::Doubtful, "not read")) small { (why) } },
            html! {},
            html! {},
        ],
    };
    let heads = ["Daemon", "Log", "Rows", "Newest hash"];
    table("The logs", &heads, all.iter().map(row).collect(), "There is no log.")
}

/// One row as a line of CSV (RFC 4180). A cell that a spreadsheet would take for a formula begins with an apostrophe.
pub(crate) fn csv(daemon: Daemon, row: &AuditRow) -> String {
    let cells = [
        daemon.to_string(),
        row.id.to_string(),
        row.at.to_string(),
        row.actor.clone(),
        row.action.clone(),
        row.target.clone(),
        row.detail.clone(),
        row.hash.clone(),
    ];
    let cell = |text: &String| {
        let guarded = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        format!("\"{guarded}{}\"", text.replace('"', "\"\""))
    };
    let mut line = cells.iter().map(cell).collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// The first line of CSV.
pub(crate) const CSV_HEAD: &str = "daemon,row,at,actor,action,target,detail,hash\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{Timestamp, routd::chained};

    fn log(count: i64) -> Vec<AuditRow> {
        let (mut rows, mut before) = (Vec::new(), String::new());
        for id in 1..=count {
            let at = Timestamp(id * 1000);
            let hash = chained(id, at, ["operator:local", "route.add", "1", ""], &before);
            before.clone_from(&hash);
            let text = str::to_owned;
            rows.push(AuditRow {
                id,
                at,
                actor: text("operator:local"),
                action: text("route.add"),
                target: text("1"),
                detail: String::new(),
                hash,
            });
        }
        rows
    }

    fn read(rows: Vec<AuditRow>) -> Checked {
        let mut chain = Chain::default();
        rows.into_iter().rev().for_each(|row| chain.read(row));
        chain.end()
    }

    #[test]
    fn an_edit_a_gap_and_a_missing_beginning_are_found() {
        let whole = read(log(4));
        assert_eq!((whole.rows, whole.broken), (4, None));
        assert_eq!(whole.newest, log(4)[3].hash);
        assert_eq!(read(Vec::new()), Checked::default());
        let mut edited = log(4);
        edited[1].actor = "nobody".into();
        assert_eq!(read(edited).broken, Some(2));
        let mut gap = log(4);
        gap.remove(1);
        assert_eq!(read(gap).broken, Some(3));
        let mut late = log(4);
        late.remove(0);
        assert_eq!(read(late).broken, Some(2));
    }

    #[test]
    fn a_cell_is_text_to_a_spreadsheet_too() {
        let mut row = log(1).remove(0);
        row.detail = "=HYPERLINK(\"x\"),\r\nmore".into();
        let line = csv(Daemon::Routd, &row);
        assert!(line.contains(",\"'=HYPERLINK(\"\"x\"\"),\r\nmore\","), "{line}");
    }
}
