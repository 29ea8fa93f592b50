//! The route table.

use crate::{
    look::Here,
    pages::routes as view,
    parts::{code, field},
    query::{self, blank},
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use axum::response::{Html, IntoResponse};
use maud::{Markup, html};
use proto::{
    Daemon, Jid, Nothing,
    routd::{
        ADD_ROUTE, EXPLAIN_ROUTE, ExplainRoute, Explanation, LIST_ROUTES, NewRoute, REMOVE_ROUTE,
        RemoveRoute, RouteRow,
    },
};
use serde::Deserialize;

/// A message to try. As text: what is half typed is no error yet.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Tried {
    #[serde(default)]
    jid: String,
    #[serde(default, deserialize_with = "blank")]
    sender: Option<String>,
    #[serde(default, deserialize_with = "blank")]
    verb: Option<String>,
}

async fn rows(visit: &Visit) -> Result<Vec<RouteRow>, Trouble> {
    Ok(visit.call(Daemon::Routd, &LIST_ROUTES, &Nothing {}).await?.routes)
}

/// What becomes of the message; nothing where none is named yet.
async fn explain(visit: &Visit, tried: &Tried) -> Result<Option<Explanation>, Trouble> {
    if tried.jid.trim().is_empty() {
        return Ok(None);
    }
    let jid: Jid = tried.jid.trim().parse().map_err(|error: proto::JidError| {
        Trouble::Invalid(format!("“{}” is no chat's address: {error}.", tried.jid.trim()))
    })?;
    let request = ExplainRoute { jid, sender: tried.sender.clone(), verb: tried.verb.clone() };
    visit.call(Daemon::Routd, &EXPLAIN_ROUTE, &request).await.map(Some)
}

/// The table, and which row takes the message that the address names.
pub(super) async fn page(visit: Visit, tried: Tried) -> Outcome {
    let rows = rows(&visit).await?;
    let explained = explain(&visit, &tried).await;
    let taken = explained.as_ref().ok().and_then(|found| found.as_ref()?.route_id);
    let body = html! {
        @if visit.is_operator() { (try_form(&visit, &tried, &explained)) }
        h2 { "The table" }
        (view::list(&rows, taken, visit.is_operator()))
        @if visit.is_operator() { (new_form(&visit)) }
    };
    shown(Here::Routes, "Routes", body)
}

fn try_form(
    visit: &Visit,
    tried: &Tried,
    explained: &Result<Option<Explanation>, Trouble>,
) -> Markup {
    html! {
        section.try {
            h2 { "Which rule takes a message?" }
            form.fields method="get" action="/dash/routes" hx-get="/dash/routes/which" hx-target="#verdict"
                hx-trigger="input delay:250ms, submit" hx-nonce=(visit.nonce()) {
                (field("jid", "Chat", "jid", &tried.jid, "Such as telegram:group/7 or web:main."))
                (field("sender", "Sender", "sender", tried.sender.as_deref().unwrap_or_default(), "Such as telegram:user/42; may be left blank."))
                (field("verb", "Kind", "verb", tried.verb.as_deref().unwrap_or_default(), "message when left blank."))
                button type="submit" { "Try" }
            }
            div #verdict .verdict role="status" { (verdict(explained)) }
        }
    }
}

fn verdict(explained: &Result<Option<Explanation>, Trouble>) -> Markup {
    match explained {
        Ok(None) => html! { p.quiet { "Type a chat's address." } },
        Ok(Some(found)) => view::which(found),
        Err(trouble) => html! { p.alert { (trouble.line()) } },
    }
}

/// Which rule takes the message, while it is typed.
pub(super) async fn which(visit: Visit, tried: Tried) -> Outcome {
    let explained = explain(&visit, &tried).await;
    Ok(Answer::Raw(Html(verdict(&explained).into_string()).into_response()))
}

fn new_form(visit: &Visit) -> Markup {
    html! {
        h2 { "A new route" }
        form.fields method="post" action="/dash/routes" {
            input type="hidden" name="csrf" value=(visit.code());
            (field("seq", "Order", "seq", "0", "The lowest is tried first."))
            (field("match", "Match", "match", "", "Pairs such as platform=telegram; all must hold. Blank: every message."))
            (field("target", "Target", "target", "", "folder, folder#observe or folder#topic; {sender} makes a folder for each person."))
            button type="submit" { "Add the route" }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct New {
    #[serde(default, deserialize_with = "blank")]
    seq: Option<i64>,
    #[serde(rename = "match", default)]
    pattern: String,
    target: String,
}

/// Adds a row.
pub(super) async fn add(visit: Visit, New { seq, pattern, target }: New) -> Outcome {
    let request = NewRoute {
        seq: seq.unwrap_or_default(),
        pattern: pattern.trim().to_owned(),
        target: target.trim().to_owned(),
    };
    visit.call(Daemon::Routd, &ADD_ROUTE, &request).await?;
    Ok(Answer::See("/dash/routes?done=added".into()))
}

#[derive(Debug, Deserialize)]
pub(super) struct Row {
    #[serde(deserialize_with = "query::text")]
    id: i64,
}

/// Asks first.
pub(super) async fn ask_remove(visit: Visit, Row { id }: Row) -> Outcome {
    let rows = rows(&visit).await?;
    let Some(row) = rows.iter().find(|row| row.id == id) else {
        return Err(Trouble::NotFound(format!("There is no route {id}.")));
    };
    let what = html! {
        p { "Messages that match " @if row.pattern.is_empty() { "nothing else" } @else { (code(&row.pattern)) }
            " go to " (code(&row.target)) " no more. The rules after it are tried for them instead." }
    };
    let does = ("/dash/routes/remove", "Remove the route");
    visit.ask(
        Here::Routes,
        "Remove this route?",
        &what,
        does,
        &[("id", &id.to_string())],
        "/dash/routes",
    )
}

/// Removes a row.
pub(super) async fn remove(visit: Visit, Row { id }: Row) -> Outcome {
    visit.call(Daemon::Routd, &REMOVE_ROUTE, &RemoveRoute { id }).await?;
    Ok(Answer::See("/dash/routes?done=removed".into()))
}
