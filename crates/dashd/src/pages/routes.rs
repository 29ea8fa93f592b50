//! The route table, and which rule takes a message.

use crate::parts::{Mark, address, code, facts, mark, or_dash, table};
use maud::{Markup, html};
use proto::routd::{Explanation, RouteRow};

/// The table, in the order in which it is tried. The row `taken` is marked.
pub(crate) fn list(rows: &[RouteRow], taken: Option<i64>, may_change: bool) -> Markup {
    let row = |row: &RouteRow| {
        let remove = address("/dash/routes/remove", &[("id", &row.id.to_string())]);
        vec![
            html! { (row.seq) },
            html! {
                @if row.pattern.is_empty() { "every message" } @else { (code(&row.pattern)) }
                @if taken == Some(row.id) { " " (mark(Mark::Good, "takes it")) }
            },
            code(&row.target),
            html! {
                @if may_change { a href=(remove) { "Remove…" span.unseen { " route " (row.id) } } }
            },
        ]
    };
    let rows = rows.iter().map(row).collect();
    table(
        "Routes, in the order in which they are tried",
        &["Order", "Match", "Target", ""],
        rows,
        "There is no route.",
    )
}

/// Which rule takes a message, and why.
pub(crate) fn which(explained: &Explanation) -> Markup {
    let how = match explained.effect.as_str() {
        "turn" => Mark::Good,
        "unrouted" => Mark::Doubtful,
        _ => Mark::Quiet,
    };
    html! {
        (facts(&[
            ("What becomes of it", mark(how, &explained.effect)),
            ("Folder", or_dash(explained.folder.as_ref().map(proto::Folder::as_str))),
            ("Topic", or_dash(explained.topic.as_deref())),
            ("Route", or_dash(explained.route_id.map(|id| id.to_string()).as_deref())),
        ]))
        ol.steps { @for step in &explained.steps { li { (step) } } }
    }
}
