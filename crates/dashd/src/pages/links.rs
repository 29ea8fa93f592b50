//! Capability links. A link's token is shown once, by the answer to the form that made it.

use crate::{
    parts::{address, code, facts, or_dash, table},
    shown::time,
};
use maud::{Markup, html};
use proto::routd::{IssuedLink, Link, Signature};

/// Links, newest first.
pub(crate) fn list(links: &[&Link]) -> Markup {
    let row = |link: &&Link| {
        vec![
            html! { (link.kind.name()) },
            html! {
                a href=(address("/dash/folders/one", &[("folder", link.folder.as_str())])) { (link.folder) }
            },
            html! {
                a href=(address("/dash/messages", &[("chat", link.chat_jid.as_str())])) {
                    (code(link.chat_jid.as_str()))
                }
            },
            or_dash(link.signature.map(Signature::name)),
            time(link.created_at),
            html! {
                a href=(address("/dash/links/revoke", &[("id", link.id.as_str())])) {
                    "End…" span.unseen { " link " (link.id) }
                }
            },
        ]
    };
    let heads = ["Opens a", "Folder", "Chat", "Signed", "Since", ""];
    table("Links", &heads, links.iter().map(row).collect(), "No link is like that.")
}

/// A link that was made just now.
pub(crate) fn made(issued: &IssuedLink) -> Markup {
    html! {
        p.alert { "Whoever has this address can use it. It is shown here and now, and never again: copy it before you \
                   leave this page." }
        (facts(&[
            ("Address", html! {
                @if issued.link.kind.name() == "chat" { a href=(issued.path) { (code(&issued.path)) } }
                @else { (code(&issued.path)) }
            }),
            ("Opens", html! { (issued.link.kind.name()) " of " (issued.link.folder) }),
        ]))
        p.quiet { "The address begins with the one that this page has in the browser." }
        @if let Some(secret) = &issued.signing_secret {
            (facts(&[("The sender signs with", code(secret))]))
        }
        p { a.button href="/dash/links" { "All links" } }
    }
}
