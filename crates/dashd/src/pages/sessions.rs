//! Logins that last.

use crate::{
    parts::{address, code, or_dash, table},
    shown::time,
};
use maud::{Markup, html};
use proto::authd::SessionRow;

/// Sessions, newest first.
pub(crate) fn list(sessions: &[SessionRow]) -> Markup {
    let row = |one: &SessionRow| {
        let id = one.id.to_string();
        let end = address("/dash/sessions/end", &[("id", &id), ("subject", &one.subject)]);
        vec![
            code(&one.subject),
            html! { (one.kind) small { (one.rule.as_deref().unwrap_or("by a one-time link")) } },
            or_dash(Some(&one.begun_from)),
            html! { (time(one.begun_at)) small { "used " (time(one.used_at)) } },
            time(one.ends_at),
            html! { a href=(end) { "End…" span.unseen { " session " (id) } } },
        ]
    };
    let heads = ["Who", "How", "From", "Began", "Ends", ""];
    table("Logins", &heads, sessions.iter().map(row).collect(), "No login lasts that is like that.")
}
