//! Calls of tools that wait for a person, and what became of them.

use crate::{
    parts::{Mark, address, code, facts, mark, or_dash, table},
    shown::{head, time},
};
use maud::{Markup, html};
use proto::routd::{Approval, ApprovalState, readable};

/// The states, as a form offers them.
pub(crate) const STATES: [(&str, &str); 9] = [
    ("", "any"),
    ("pending", "waiting"),
    ("approved", "approved"),
    ("running", "being made"),
    ("done", "made"),
    ("failed", "failed"),
    ("denied", "denied"),
    ("expired", "lapsed"),
    ("interrupted", "of unknown fate"),
];

fn state(held: &Approval) -> Markup {
    let name = held.state.name();
    let word = STATES.iter().find(|(known, _)| *known == name).map_or(name, |(_, word)| *word);
    let how = match held.state {
        ApprovalState::Pending => Mark::Doubtful,
        ApprovalState::Approved | ApprovalState::Running | ApprovalState::Done => Mark::Good,
        ApprovalState::Failed | ApprovalState::Interrupted => Mark::Bad,
        ApprovalState::Denied | ApprovalState::Expired => Mark::Quiet,
    };
    mark(how, word)
}

fn folder(held: &Approval) -> Markup {
    html! {
        a href=(address("/dash/folders/one", &[("folder", held.folder.as_str())])) { (held.folder) }
    }
}

/// Calls, newest first.
pub(crate) fn list(held: &[&Approval], empty: &str) -> Markup {
    let row = |held: &&Approval| {
        let line = readable(&held.arguments).split_whitespace().collect::<Vec<_>>().join(" ");
        vec![
            html! {
                a href=(address("/dash/approvals/one", &[("id", held.id.as_str())])) { (held.tool) }
                small { (head(&line, 80)) }
            },
            state(held),
            folder(held),
            html! { (readable(&held.asked_for)) },
            time(held.held_at),
            match (&held.decided_by, held.state) {
                (Some(by), _) => html! { (by) },
                (None, ApprovalState::Pending) => html! { "lapses " (time(held.expires_at)) },
                (None, _) => or_dash(None),
            },
        ]
    };
    let heads = ["Call", "State", "Folder", "For", "Held", "Decided by"];
    table("Calls that are held", &heads, held.iter().map(row).collect(), empty)
}

/// One call, whole.
pub(crate) fn one(held: &Approval) -> Markup {
    html! {
        (facts(&[
            ("Tool", code(&held.tool)),
            ("State", state(held)),
            ("Folder", folder(held)),
            ("For", html! { (readable(&held.asked_for)) }),
            ("Chat", html! {
                a href=(address("/dash/messages", &[("chat", held.chat_jid.as_str())])) {
                    (code(held.chat_jid.as_str()))
                }
            }),
            ("Held", time(held.held_at)),
            ("Lapses", time(held.expires_at)),
            ("Decided", html! {
                @match (&held.decided_by, held.decided_at) {
                    (Some(by), Some(at)) => { (time(at)) " by " (by) },
                    _ => (or_dash(None)),
                }
            }),
            ("Why", or_dash(held.reason.as_deref())),
            ("SHA-256", code(&held.digest)),
        ]))
        h2 { "Its arguments" }
        pre.log tabindex="0" { (readable(&held.arguments)) }
        @if let Some(answer) = held.answer.as_ref().filter(|answer| !answer.is_empty()) {
            h2 { "What it answered" }
            pre.log tabindex="0" { (readable(answer)) }
        }
    }
}
