//! Invites and gates: how people come in without an operator.

use super::newcomers::{After, pager_onward};
use crate::{
    look::Here,
    pages::{
        invites as view,
        newcomers::{Tab, tabs},
    },
    parts::{address, code, field},
    query::{self, One, blank},
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use maud::{Markup, html};
use proto::{
    Daemon, Nothing, Opaque,
    onbod::{
        CREATE_INVITE, Gate, Invite, LIST_GATES, LIST_INVITES, NewInvite, Page, REMOVE_GATE,
        REVOKE_INVITE, RemoveGate, RevokeInvite, SET_GATE,
    },
};
use serde::Deserialize;

/// Rows of a page.
const PAGE: u32 = 50;
/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// The invites.
pub(super) async fn page(visit: Visit, After { after }: After) -> Outcome {
    let request = Page { after, limit: Some(PAGE) };
    let page = visit.call(Daemon::Onbod, &LIST_INVITES, &request).await?;
    let next = page.next.map(|next| address("/dash/invites", &[("after", &next.to_string())]));
    let body = html! {
        (tabs(Tab::Invites))
        p { "An invite is an address by which people come in without an operator, whatever the policy for strangers is." }
        (view::list(&page.invites, visit.app.clock.now()))
        (pager_onward(next, after.is_none(), "/dash/invites"))
        (new_form(&visit))
    };
    shown(Here::Newcomers, "Invites", body)
}

fn new_form(visit: &Visit) -> Markup {
    html! {
        h2 { "A new invite" }
        form.fields method="post" action="/dash/invites" {
            input type="hidden" name="csrf" value=(visit.code());
            (field("uses", "How many may come by it", "uses", "1", "1 to 10,000."))
            (field("days", "For how many days", "days", "7", "1 to 366."))
            (field("template", "Where their folders lie", "template", "", "Such as team/{person}; the instance's own place when left blank."))
            button type="submit" { "Make the invite" }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct New {
    #[serde(default, deserialize_with = "blank")]
    uses: Option<u32>,
    #[serde(default, deserialize_with = "blank")]
    days: Option<u64>,
    #[serde(default, deserialize_with = "blank")]
    template: Option<String>,
}

/// Makes an invite, and shows it once: by the answer itself, so that no address and no history has it.
pub(super) async fn create(visit: Visit, new: New) -> Outcome {
    let expires_in = new.days.map(|days| days.saturating_mul(DAY));
    let request = NewInvite { folder_template: new.template, uses: new.uses, expires_in };
    let issued = visit.call(Daemon::Onbod, &CREATE_INVITE, &request).await?;
    let body = html! { (tabs(Tab::Invites)) (view::made(&issued)) };
    shown(Here::Newcomers, "The new invite", body)
}

/// Finds one: by its id in the list of all.
async fn find(visit: &Visit, id: &Opaque) -> Result<Invite, Trouble> {
    let mut after = None;
    // As many as an instance may well have; each page is one of the owner's largest.
    for _ in 0..200 {
        let request = Page { after, limit: Some(500) };
        let page = visit.call(Daemon::Onbod, &LIST_INVITES, &request).await?;
        if let Some(found) = page.invites.into_iter().find(|invite| invite.id == *id) {
            return Ok(found);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Err(Trouble::NotFound(format!("There is no invite {id}.")))
}

/// Asks first.
pub(super) async fn ask_revoke(visit: Visit, One { id }: One) -> Outcome {
    let invite = find(&visit, &id).await?;
    let what = html! {
        p { "Of " (invite.uses_max) " who may come by the invite " (code(id.as_str())) ", " (invite.uses) " came. Nobody \
             else does any more. Who came by it stays. It cannot be given \
             back; a new one can be made." }
    };
    let does = ("/dash/invites/revoke", "End the invite");
    let fields = [("id", id.as_str())];
    visit.ask(Here::Newcomers, "End this invite?", &what, does, &fields, "/dash/invites")
}

/// Ends an invite.
pub(super) async fn revoke(visit: Visit, One { id }: One) -> Outcome {
    visit.call(Daemon::Onbod, &REVOKE_INVITE, &RevokeInvite { id }).await?;
    Ok(Answer::See("/dash/invites?done=uninvited".into()))
}

/// The gates.
pub(super) async fn gates(visit: Visit, _: query::None) -> Outcome {
    let gates = visit.call(Daemon::Onbod, &LIST_GATES, &Nothing {}).await?.gates;
    let body = html! {
        (tabs(Tab::Gates))
        p { "A gate lets so many newcomers in each day (UTC) without an operator; the others wait, and come in when the \
             next day begins. Without any gate, everybody who has logged in waits." }
        (view::gates(&gates))
        h2 { "Opening a gate, or changing one" }
        form.fields method="post" action="/dash/gates" {
            input type="hidden" name="csrf" value=(visit.code());
            (field("pattern", "For whom", "pattern", "*", "* for everybody, or one person's id, such as user:p0123456789abcdef01234567, which counts before *."))
            (field("per_day", "How many a day", "per_day", "", "0 holds them back."))
            button type="submit" { "Set the gate" }
        }
    };
    shown(Here::Newcomers, "Gates", body)
}

#[derive(Debug, Deserialize)]
pub(super) struct NewGate {
    #[serde(deserialize_with = "query::text")]
    pattern: String,
    #[serde(deserialize_with = "query::text")]
    per_day: u32,
}

/// Opens a gate, or changes it.
pub(super) async fn set_gate(visit: Visit, NewGate { pattern, per_day }: NewGate) -> Outcome {
    visit.call(Daemon::Onbod, &SET_GATE, &Gate { pattern, per_day }).await?;
    Ok(Answer::See("/dash/gates?done=saved".into()))
}

/// The gate that a page or a form is about.
#[derive(Debug, Deserialize)]
pub(super) struct OneGate {
    pattern: String,
}

/// Asks first.
pub(super) async fn ask_close(visit: Visit, OneGate { pattern }: OneGate) -> Outcome {
    let gates = visit.call(Daemon::Onbod, &LIST_GATES, &Nothing {}).await?.gates;
    if !gates.iter().any(|gate| gate.pattern == pattern) {
        return Err(Trouble::NotFound(format!("There is no gate for {pattern}.")));
    }
    let what = html! {
        p { "Nobody comes in by the gate for " (code(&pattern)) " any more: they wait for an operator, or come by \
             another gate. Who came by it stays." }
    };
    let does = ("/dash/gates/close", "Close the gate");
    let fields = [("pattern", pattern.as_str())];
    visit.ask(Here::Newcomers, "Close this gate?", &what, does, &fields, "/dash/gates")
}

/// Closes a gate.
pub(super) async fn close(visit: Visit, OneGate { pattern }: OneGate) -> Outcome {
    visit.call(Daemon::Onbod, &REMOVE_GATE, &RemoveGate { pattern }).await?;
    Ok(Answer::See("/dash/gates?done=removed".into()))
}
