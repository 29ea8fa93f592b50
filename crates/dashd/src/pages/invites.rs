//! Invites and gates. An invite's token is shown once, by the answer to the form that made it.

use crate::{
    parts::{Mark, address, code, facts, mark, table},
    shown::{grouped, time},
};
use maud::{Markup, html};
use proto::{
    Timestamp,
    onbod::{GateState, Invite, IssuedInvite},
};

/// How an invite stands, and whether it can still be ended.
fn state(invite: &Invite, now: Timestamp) -> (Mark, &'static str, bool) {
    if invite.revoked_at.is_some() {
        (Mark::Quiet, "ended", false)
    } else if invite.uses >= invite.uses_max {
        (Mark::Quiet, "used up", false)
    } else if invite.expires_at <= now {
        (Mark::Quiet, "over", false)
    } else {
        (Mark::Good, "open", true)
    }
}

/// Invites, in the order in which they were made.
pub(crate) fn list(invites: &[Invite], now: Timestamp) -> Markup {
    let row = |invite: &Invite| {
        let (how, word, is_open) = state(invite, now);
        let revoke = address("/dash/invites/revoke", &[("id", invite.id.as_str())]);
        vec![
            code(invite.id.as_str()),
            mark(how, word),
            html! { (grouped(invite.uses.into())) " of " (grouped(invite.uses_max.into())) },
            code(&invite.folder_template),
            time(invite.expires_at),
            html! { (invite.made_by) small { (time(invite.created_at)) } },
            html! {
                @if is_open { a href=(revoke) { "End…" span.unseen { " invite " (invite.id) } } }
            },
        ]
    };
    let heads = ["Invite", "State", "Came", "Folders", "Until", "Made by", ""];
    table("Invites", &heads, invites.iter().map(row).collect(), "There is no invite.")
}

/// An invite that was made just now.
pub(crate) fn made(issued: &IssuedInvite) -> Markup {
    let invite = &issued.invite;
    html! {
        p.alert { "Whoever has this address can use it. It is shown here and now, and never again: copy it before you \
                   leave this page." }
        (facts(&[
            ("Address", code(&issued.path)),
            ("For", html! { (grouped(invite.uses_max.into())) @if invite.uses_max == 1 { " person" } @else { " people" } }),
            ("Until", time(invite.expires_at)),
            ("Their folders", code(&invite.folder_template)),
        ]))
        p.quiet { "The address begins with the one that this page has in the browser." }
        p { a.button href="/dash/invites" { "All invites" } }
    }
}

/// The gates, by pattern.
pub(crate) fn gates(gates: &[GateState]) -> Markup {
    let row = |gate: &GateState| {
        let close = address("/dash/gates/close", &[("pattern", &gate.pattern)]);
        vec![
            match gate.pattern.as_str() {
                "*" => html! { "everybody" },
                one => code(one),
            },
            html! { (grouped(gate.per_day.into())) },
            html! {
                (grouped(gate.today.into()))
                @if gate.today >= gate.per_day { " " (mark(Mark::Doubtful, "full today")) }
            },
            html! { a href=(close) { "Close…" span.unseen { " the gate for " (gate.pattern) } } },
        ]
    };
    let heads = ["For", "A day", "Today", ""];
    table("Gates", &heads, gates.iter().map(row).collect(), "There is no gate: everybody waits.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_is_open_until_it_is_over_used_up_or_ended() {
        let invite = |uses, expires, revoked: Option<i64>| Invite {
            id: "i-1".parse().unwrap(),
            folder_template: "people/{person}".into(),
            uses,
            uses_max: 2,
            made_by: "operator:local".into(),
            created_at: Timestamp(0),
            expires_at: Timestamp(expires),
            revoked_at: revoked.map(Timestamp),
        };
        let word = |one: Invite| {
            let html = list(std::slice::from_ref(&one), Timestamp(100)).into_string();
            let (_, word, is_open) = state(&one, Timestamp(100));
            assert_eq!(html.contains("/dash/invites/revoke"), is_open, "{html}");
            word
        };
        assert_eq!(word(invite(1, 101, None)), "open");
        assert_eq!(word(invite(1, 100, None)), "over");
        assert_eq!(word(invite(2, 101, None)), "used up");
        assert_eq!(word(invite(0, 101, Some(5))), "ended");
    }
}
