//! What models were used.

use super::limits::{self, Limits};
use crate::{
    look::Here,
    pages::{folders, usage as view},
    parts::{address, choice, field, filter, pager, table},
    query::blank,
    shown::time,
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use maud::html;
use proto::{
    Daemon, Folder, Nothing, Timestamp,
    routd::{Cap, CapLimits, CapOf, LIST_CAPS, SET_CAP, SetCap, USAGE, UsageQuery},
};
use serde::Deserialize;

/// Rows of a page.
const PAGE: u32 = 100;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const DAYS: [(&str, &str); 4] =
    [("1", "a day"), ("7", "a week"), ("30", "30 days"), ("365", "a year")];

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default, deserialize_with = "blank")]
    folder: Option<Folder>,
    #[serde(default)]
    by: String,
    #[serde(default, deserialize_with = "blank")]
    days: Option<i64>,
    #[serde(default, deserialize_with = "blank")]
    after: Option<String>,
}

/// Sums, drawn and in figures, and the caps.
pub(super) async fn page(visit: Visit, which: Which) -> Outcome {
    let Which { folder, by, days, after } = which;
    let chosen = view::BY.iter().find(|(_, name, _)| *name == by).unwrap_or(&view::BY[0]);
    let (by, name, what) = *chosen;
    let days = days.unwrap_or(30).clamp(1, 3_660);
    let now = visit.app.clock.now();
    let since = Timestamp(now.0 - days * DAY_MS);
    let folder_text = folder.as_ref().map(Folder::to_string).unwrap_or_default();
    let days_text = days.to_string();
    let here = |after: &str| {
        let query = [
            ("folder", folder_text.as_str()),
            ("by", name),
            ("days", &days_text),
            ("after", after),
        ];
        address("/dash/usage", &query)
    };
    let ways: Vec<_> = view::BY.iter().map(|(_, name, text)| (*name, *text)).collect();
    let fields = html! {
        (choice("by", "Summed up by", "by", &ways, name))
        (choice("days", "Over", "days", &DAYS, &days_text))
        (field("folder", "Folder", "folder", &folder_text, "With those below it."))
    };
    if folder.is_none() && !visit.is_operator() {
        let body = html! {
            p { "Name one of your folders." }
            (filter("/dash/usage", &fields))
        };
        return shown(Here::Usage, "Usage", body);
    }
    let request = UsageQuery { folder, by: Some(by), since: Some(since), after, limit: Some(PAGE) };
    let page = visit.call(Daemon::Routd, &USAGE, &request).await?;
    let caps = visit.call(Daemon::Routd, &LIST_CAPS, &Nothing {}).await.map(|all| all.caps);
    let body = html! {
        (filter("/dash/usage", &fields))
        p.quiet { "Requests that began since " (time(since)) "." }
        (view::sums(&page.rows, by, what))
        (pager(page.next.map(|next| here(&next)), request.after.is_none(), &here("")))
        h2 { "Caps" }
        (self::caps(&caps.unwrap_or_default()))
        @if visit.is_operator() { (cap_form(&visit)) }
    };
    shown(Here::Usage, "Usage", body)
}

fn caps(caps: &[Cap]) -> maud::Markup {
    let row = |cap: &Cap| {
        vec![
            match &cap.of {
                CapOf::Instance => html! { "the whole instance" },
                CapOf::Folder(folder) => html! {
                    a href=(address("/dash/folders/one", &[("folder", folder.as_str())])) { (folder) }
                },
                CapOf::Person(person) => html! { (person) small { "a person" } },
            },
            html! { (folders::limits(&cap.limits)) },
            folders::spent(&cap.today),
            folders::spent(&cap.this_month),
        ]
    };
    let heads = ["Whose", "May spend", "Today", "This month"];
    table("Caps", &heads, caps.iter().map(row).collect(), "There is no cap.")
}

/// Whose cap it may be, as a form offers it.
const WHOSE: [(&str, &str); 3] = [
    ("folder", "a folder, with those below it"),
    ("person", "a person, by the address they write from"),
    ("instance", "the whole instance"),
];

fn cap_form(visit: &Visit) -> maud::Markup {
    html! {
        details {
            summary { "Set a cap" }
            form.fields method="post" action="/dash/usage/cap" {
                input type="hidden" name="csrf" value=(visit.code());
                (choice("whose", "Whose", "whose", &WHOSE, "folder"))
                (field("name", "Folder or address", "name", "", "Such as team/name, or telegram:user/42; blank for the whole instance."))
                (limits::fields(&CapLimits::default(), "No limit when left blank; no cap when all are."))
                button type="submit" { "Set" }
            }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct NewCap {
    whose: String,
    #[serde(default)]
    name: String,
    #[serde(flatten)]
    limits: Limits,
}

/// Sets what somebody may spend.
pub(super) async fn cap(visit: Visit, new: NewCap) -> Outcome {
    let limits = new.limits.read()?;
    let whose = match new.name.trim() {
        "" => new.whose.clone(),
        name => format!("{}:{name}", new.whose),
    };
    let of = whose.parse().map_err(|error: proto::routd::OwnerError| {
        Trouble::Invalid(format!("“{whose}”: {error}"))
    })?;
    visit.call(Daemon::Routd, &SET_CAP, &SetCap { of, limits }).await?;
    Ok(Answer::See("/dash/usage?done=saved".into()))
}
