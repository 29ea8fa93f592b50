//! Calls of tools that wait for a person.

use crate::{
    look::Here,
    pages::approvals as view,
    parts::{address, choice, field, filter, pager},
    query::{self, One, blank},
    visit::{Answer, Outcome, Visit, page as shown},
};
use maud::{Markup, html};
use proto::{
    Daemon, Folder, Opaque,
    routd::{
        APPROVE, Approval, ApprovalState, Approvals, DENY, Decide, GET_APPROVAL, LIST_APPROVALS,
        ListApprovals, OneApproval,
    },
};
use serde::Deserialize;

/// Rows of a page.
const PAGE: u32 = 50;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default, deserialize_with = "blank")]
    folder: Option<Folder>,
    #[serde(default, deserialize_with = "blank")]
    state: Option<ApprovalState>,
    #[serde(default, deserialize_with = "blank")]
    before: Option<i64>,
}

/// How many calls wait that this person sees, of the newest.
pub(super) async fn waiting(visit: &Visit) -> usize {
    let state = Some(ApprovalState::Pending);
    let request = ListApprovals { folder: None, state, before: None, limit: Some(PAGE) };
    let found = visit.call(Daemon::Routd, &LIST_APPROVALS, &request).await;
    found.map(|page| page.approvals.len()).unwrap_or_default()
}

/// The calls: those that wait first, unless something else is asked for.
pub(super) async fn page(visit: Visit, Which { folder, state, before }: Which) -> Outcome {
    let ask = async |state, before| {
        let request = ListApprovals { folder: folder.clone(), state, before, limit: Some(PAGE) };
        visit.call(Daemon::Routd, &LIST_APPROVALS, &request).await
    };
    let folder_text = folder.as_ref().map(Folder::to_string).unwrap_or_default();
    let state_text = state.map_or("", ApprovalState::name);
    let here = |before: &str| {
        let query = [("folder", folder_text.as_str()), ("state", state_text), ("before", before)];
        address("/dash/approvals", &query)
    };
    let Approvals { approvals, next } = ask(state, before).await?;
    // A page of all begins with those that wait, wherever else they stand.
    let begins = state.is_none() && before.is_none();
    let pending = match begins {
        true => ask(Some(ApprovalState::Pending), None).await?.approvals,
        false => Vec::new(),
    };
    let listed: Vec<&Approval> =
        approvals.iter().filter(|held| !begins || held.state != ApprovalState::Pending).collect();
    let fields = html! {
        (choice("state", "State", "state", &view::STATES, state_text))
        (field("of", "Folder", "folder", &folder_text, ""))
    };
    let body = html! {
        p { "Rows of " a href="/dash/access" { "Access" } " with the effect hold have these calls wait. What is approved is \
             done once, with exactly the arguments that are shown." }
        (filter("/dash/approvals", &fields))
        @if begins {
            h2 { "Waiting for a person" }
            (view::list(&pending.iter().collect::<Vec<_>>(), "Nothing waits."))
            h2 { "Decided, or lapsed" }
        }
        (view::list(&listed, "No call is like that."))
        (pager(next.map(|next| here(&next.to_string())), before.is_none(), &here("")))
    };
    shown(Here::Approvals, "Approvals", body)
}

async fn find(visit: &Visit, id: &Opaque) -> Result<Approval, crate::trouble::Trouble> {
    visit.call(Daemon::Routd, &GET_APPROVAL, &OneApproval { id: id.clone() }).await
}

/// One call, with all its arguments.
pub(super) async fn one(visit: Visit, One { id }: One) -> Outcome {
    let held = find(&visit, &id).await?;
    let query = [("id", id.as_str())];
    let body = html! {
        (view::one(&held))
        @if held.state == ApprovalState::Pending {
            div.row {
                a.button href=(address("/dash/approvals/approve", &query)) { "Approve…" }
                a.button href=(address("/dash/approvals/deny", &query)) { "Deny…" }
            }
        }
    };
    shown(Here::Approvals, "A held call", body)
}

/// Asks before a call is approved.
pub(super) async fn ask_approve(visit: Visit, One { id }: One) -> Outcome {
    let held = find(&visit, &id).await?;
    let what = "It is made once, with exactly these arguments, in the name of the folder's agent. That cannot be taken \
                back.";
    ask(&visit, &held, "Approve this call?", what, ("/dash/approvals/approve", "Approve it"))
}

/// Asks before a call is denied.
pub(super) async fn ask_deny(visit: Visit, One { id }: One) -> Outcome {
    let held = find(&visit, &id).await?;
    let what = "It is never made, and the agent is told.";
    ask(&visit, &held, "Deny this call?", what, ("/dash/approvals/deny", "Deny it"))
}

fn ask(
    visit: &Visit,
    held: &Approval,
    title: &str,
    what: &str,
    (action, text): (&str, &str),
) -> Outcome {
    let back = address("/dash/approvals/one", &[("id", held.id.as_str())]);
    let body = html! {
        div.ask {
            p { (what) }
            (view::one(held))
            (form(visit, held, action, text))
            div.row { a.button href=(back) { "Leave it as it is" } }
        }
    };
    shown(Here::Approvals, title, body)
}

fn form(visit: &Visit, held: &Approval, action: &str, text: &str) -> Markup {
    html! {
        form.fields method="post" action=(action) {
            input type="hidden" name="csrf" value=(visit.code());
            input type="hidden" name="id" value=(held.id);
            (field("reason", "Why", "reason", "", "The agent reads it. May be left blank."))
            button.danger type="submit" { (text) }
        }
    }
}

/// A decision, as a form has it.
#[derive(Debug, Deserialize)]
pub(super) struct Decided {
    #[serde(deserialize_with = "query::text")]
    id: Opaque,
    #[serde(default, deserialize_with = "blank")]
    reason: Option<String>,
}

/// Approves a call.
pub(super) async fn approve(visit: Visit, Decided { id, reason }: Decided) -> Outcome {
    let held = visit.call(Daemon::Routd, &APPROVE, &Decide { id, reason }).await?;
    let query = [("id", held.id.as_str()), ("done", "approved")];
    Ok(Answer::See(address("/dash/approvals/one", &query)))
}

/// Denies a call.
pub(super) async fn deny(visit: Visit, Decided { id, reason }: Decided) -> Outcome {
    let held = visit.call(Daemon::Routd, &DENY, &Decide { id, reason }).await?;
    let query = [("id", held.id.as_str()), ("done", "denied")];
    Ok(Answer::See(address("/dash/approvals/one", &query)))
}
