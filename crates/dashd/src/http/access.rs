//! Who may do what.

use crate::{
    look::Here,
    pages::access as view,
    parts::{address, choice, code, field, filter},
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use axum::response::{Html, IntoResponse};
use maud::{Markup, html};
use proto::{
    Daemon, Nothing,
    routd::{
        ADD_RULE, AclAnswer, AclEffect, AclRow, AclRule, CHECK_ACL, CheckAcl, LIST_ACL, REMOVE_RULE,
    },
};
use serde::Deserialize;

/// Rows of a page.
const PAGE: usize = 100;

/// What the page is asked: which rows, and who may do what.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    /// The rows about this principal or folder.
    #[serde(default)]
    part: String,
    #[serde(default, deserialize_with = "crate::query::blank")]
    after: Option<usize>,
    #[serde(default)]
    who: String,
    #[serde(default)]
    what: String,
    #[serde(default)]
    folder: String,
}

/// The rights, and the answer to a question.
pub(super) async fn page(visit: Visit, asked: Asked) -> Outcome {
    let table = visit.call(Daemon::Routd, &LIST_ACL, &Nothing {}).await?;
    let answer = answered(&visit, &asked).await;
    let part = asked.part.trim();
    let has = |text: &String| text.contains(part);
    let fits = |row: &&AclRow| has(&row.principal) || has(&row.scope) || has(&row.action);
    let from = asked.after.unwrap_or_default();
    let mut rules: Vec<&AclRow> =
        table.rules.iter().filter(fits).skip(from).take(PAGE + 1).collect();
    let more = rules.len() > PAGE;
    rules.truncate(PAGE);
    let body = html! {
        (question(&visit, &asked, &answer))
        h2 { "Rights" }
        (filter("/dash/access", &field("part", "Row has", "part", part, "")))
        (view::rules(&rules))
        @if more {
            nav.pager aria-label="Pages" {
                a rel="next" href=(address("/dash/access", &[("part", part), ("after", &(from + PAGE).to_string())])) { "More" }
            }
        }
        @if visit.is_operator() { h2 { "Who belongs to what" } (view::members(&table.members)) }
        (new_form(&visit))
    };
    shown(Here::Access, "Access", body)
}

type Answered = Result<Option<AclAnswer>, Trouble>;

/// The answer; nothing where nothing whole is asked yet.
async fn answered(visit: &Visit, asked: &Asked) -> Answered {
    let [who, what, folder] = [&asked.who, &asked.what, &asked.folder].map(|text| text.trim());
    if who.is_empty() || what.is_empty() || folder.is_empty() {
        return Ok(None);
    }
    let folder =
        folder.parse().map_err(|error: proto::IdError| Trouble::Invalid(error.to_string()))?;
    let request = CheckAcl { principal: who.into(), action: what.into(), folder };
    visit.call(Daemon::Routd, &CHECK_ACL, &request).await.map(Some)
}

fn question(visit: &Visit, asked: &Asked, answer: &Answered) -> Markup {
    html! {
        section.try {
            h2 { "May somebody do something, and why?" }
            form.fields method="get" action="/dash/access" hx-get="/dash/access/may" hx-target="#verdict"
                hx-trigger="input delay:250ms, submit" hx-nonce=(visit.nonce()) {
                (field("who", "Who", "who", &asked.who, "Such as folder:main (its agent), user:ID or role:NAME."))
                (field("what", "What", "what", &asked.what, "Such as admin, egress or mcp:send."))
                (field("folder", "To which folder", "folder", &asked.folder, ""))
                button type="submit" { "Ask" }
            }
            div #verdict .verdict role="status" { (verdict(answer)) }
        }
    }
}

fn verdict(answer: &Answered) -> Markup {
    match answer {
        Ok(None) => html! { p.quiet { "Fill in all three." } },
        Ok(Some(answer)) => view::answer(answer),
        Err(trouble) => html! { p.alert { (trouble.line()) } },
    }
}

/// The answer, while the question is typed.
pub(super) async fn may(visit: Visit, asked: Asked) -> Outcome {
    let answer = answered(&visit, &asked).await;
    Ok(Answer::Raw(Html(verdict(&answer).into_string()).into_response()))
}

/// The effects of a row, as a form offers them.
const EFFECTS: [(&str, &str); 3] = [
    ("allow", "allow"),
    ("hold", "hold what is allowed until a person approves it"),
    ("deny", "deny, whatever other rows say"),
];

fn new_form(visit: &Visit) -> Markup {
    html! {
        h2 { "A new right" }
        form.fields method="post" action="/dash/access" {
            input type="hidden" name="csrf" value=(visit.code());
            (field("principal", "Who", "principal", "", "folder:NAME, user:ID, person:ADDRESS, role:NAME, service:DAEMON or operator:NAME."))
            (field("action", "What", "action", "", "Such as admin, approve, egress or mcp:send; mcp:* for all tools, * for everything."))
            (field("scope", "To which folders", "scope", "", "team/name, or with * for a part of a segment and ** for anything."))
            (choice("effect", "Effect", "effect", &EFFECTS, "allow"))
            button type="submit" { "Add the right" }
        }
    }
}

/// A row, as a form has it.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    principal: String,
    action: String,
    scope: String,
    effect: AclEffect,
}

impl Row {
    fn rule(&self) -> AclRule {
        let text = |text: &String| text.trim().to_owned();
        AclRule {
            principal: text(&self.principal),
            action: text(&self.action),
            scope: text(&self.scope),
            effect: self.effect,
        }
    }
}

/// Adds a row.
pub(super) async fn grant(visit: Visit, row: Row) -> Outcome {
    visit.call(Daemon::Routd, &ADD_RULE, &row.rule()).await?;
    Ok(Answer::See("/dash/access?done=added".into()))
}

/// Asks first.
pub(super) async fn ask_revoke(visit: Visit, row: Row) -> Outcome {
    let verb = match row.effect {
        AclEffect::Allow => "may",
        AclEffect::Hold => "must ask a person before it may",
        AclEffect::Deny => "may not",
    };
    let what = html! {
        p { "The row that says that " (code(&row.principal)) " " (verb) " do " (code(&row.action)) " to "
            (code(&row.scope)) " is taken away. It counts with the next call." }
    };
    let fields = [
        ("principal", row.principal.as_str()),
        ("action", &row.action),
        ("scope", &row.scope),
        ("effect", row.effect.name()),
    ];
    let does = ("/dash/access/remove", "Take it away");
    visit.ask(Here::Access, "Take this right away?", &what, does, &fields, "/dash/access")
}

/// Takes a row away.
pub(super) async fn revoke(visit: Visit, row: Row) -> Outcome {
    visit.call(Daemon::Routd, &REMOVE_RULE, &row.rule()).await?;
    Ok(Answer::See("/dash/access?done=removed".into()))
}
