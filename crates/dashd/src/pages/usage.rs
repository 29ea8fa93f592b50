//! What models were used, and what that cost.

use crate::{
    chart::{self, Bar},
    parts::{or_dash, table},
    shown::{dollars, grouped, head},
};
use maud::{Markup, html};
use proto::routd::{UsageBy, UsageRow};

/// What usage is summed up by, as the address has it.
pub(crate) const BY: [(UsageBy, &str, &str); 4] = [
    (UsageBy::Day, "day", "day"),
    (UsageBy::Folder, "folder", "folder"),
    (UsageBy::Person, "person", "person"),
    (UsageBy::Model, "model", "model"),
];

/// Bars that are drawn below each other.
const BARS: usize = 15;

/// What a row is of.
fn name(row: &UsageRow, by: UsageBy) -> &str {
    match by {
        UsageBy::Day => &row.day,
        UsageBy::Folder => &row.folder,
        UsageBy::Person => &row.person,
        UsageBy::Model => &row.model,
    }
}

/// The sums of one way to sum up, drawn and in figures.
pub(crate) fn sums(rows: &[UsageRow], by: UsageBy, what: &str) -> Markup {
    // Where no price is known, tokens are all there is to draw.
    let priced = rows.iter().any(|row| row.micro_dollars > 0);
    let tokens = |row: &UsageRow| {
        row.input_tokens + row.output_tokens + row.cache_read_tokens + row.cache_write_tokens
    };
    let bar = |row: &UsageRow| {
        let name = match name(row, by) {
            "" => "nobody alone".to_owned(),
            day if by == UsageBy::Day => day.get(5..).unwrap_or(day).to_owned(),
            other => head(other, 40),
        };
        if priced {
            Bar { name, value: row.micro_dollars, shown: dollars(row.micro_dollars) }
        } else {
            Bar { name, value: tokens(row), shown: format!("{} tokens", grouped(tokens(row))) }
        }
    };
    let mut bars: Vec<Bar> = rows.iter().map(bar).collect();
    let label = format!("{} by {what}", if priced { "Cost" } else { "Tokens" });
    html! {
        @if by == UsageBy::Day {
            (chart::columns(&label, &bars))
        } @else {
            @let () = bars.sort_by_key(|bar| std::cmp::Reverse(bar.value));
            (chart::rows(&label, bars.get(..BARS).unwrap_or(&bars)))
        }
        (figures(rows, by, what))
    }
}

fn figures(rows: &[UsageRow], by: UsageBy, what: &str) -> Markup {
    let row = |row: &UsageRow| {
        let number = |count: u64| html! { span.number { (grouped(count)) } };
        vec![
            or_dash(Some(name(row, by))),
            number(row.requests),
            number(row.input_tokens),
            number(row.output_tokens),
            number(row.cache_read_tokens),
            number(row.cache_write_tokens),
            html! {
                span.number { (dollars(row.micro_dollars)) }
                @if row.unpriced_requests > 0 {
                    small { (grouped(row.unpriced_requests)) " requests have no known price" }
                }
            },
        ]
    };
    let mut first = what.to_owned();
    if let Some(letter) = first.get_mut(..1) {
        letter.make_ascii_uppercase();
    }
    let heads =
        [first.as_str(), "Requests", "Input", "Output", "Cache read", "Cache write", "Cost"];
    let rows = rows.iter().map(row).collect();
    table(&format!("Usage by {what}"), &heads, rows, "Nothing was used.")
}
