//! Who may do what, and why.

use crate::{
    parts::{Mark, address, code, mark, table},
    shown::time,
};
use maud::{Markup, html};
use proto::routd::{AclAnswer, AclEffect, AclMember, AclRow};

/// The rows.
pub(crate) fn rules(rules: &[&AclRow]) -> Markup {
    let row = |row: &&AclRow| {
        let query = [
            ("principal", row.principal.as_str()),
            ("action", &row.action),
            ("scope", &row.scope),
            ("effect", row.effect.name()),
        ];
        vec![
            match row.effect {
                AclEffect::Allow => mark(Mark::Good, "may"),
                AclEffect::Hold => mark(Mark::Doubtful, "must ask a person"),
                AclEffect::Deny => mark(Mark::Bad, "may not"),
            },
            code(&row.principal),
            code(&row.action),
            code(&row.scope),
            html! { (time(row.added_at)) small { "by " (row.added_by) } },
            html! {
                a href=(address("/dash/access/remove", &query)) {
                    "Take away…" span.unseen { " " (row.effect.name()) " " (row.principal) " " (row.action) }
                }
            },
        ]
    };
    let heads = ["", "Who", "What", "To which folders", "Since", ""];
    table("Rights", &heads, rules.iter().map(row).collect(), "No row is like that.")
}

/// Who belongs to what.
pub(crate) fn members(members: &[AclMember]) -> Markup {
    let row = |member: &AclMember| vec![code(&member.child), code(&member.parent)];
    let rows = members.iter().map(row).collect();
    table("Who belongs to what", &["Who", "Belongs to"], rows, "Nobody belongs to a role.")
}

/// The answer to a question.
pub(crate) fn answer(answer: &AclAnswer) -> Markup {
    html! {
        p {
            @if answer.allowed { (mark(Mark::Good, "yes")) }
            @else if answer.held { (mark(Mark::Doubtful, "once a person approves it")) }
            @else { (mark(Mark::Bad, "no")) }
            " " (answer.because) "."
        }
    }
}
