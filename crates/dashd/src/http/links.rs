//! Capability links.

use crate::{
    look::Here,
    pages::links as view,
    parts::{address, choice, code, field, filter},
    query::{self, One, blank},
    trouble::Trouble,
    visit::{Answer, Outcome, Visit, page as shown},
};
use maud::{Markup, html};
use proto::{
    Daemon, Folder, Nothing,
    routd::{
        ISSUE_LINK, IssueLink, LIST_LINKS, Link, LinkKind, REVOKE_LINK, RevokeLink, Signature,
    },
};
use serde::Deserialize;

/// Rows of a page.
const PAGE: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    part: String,
    #[serde(default, deserialize_with = "blank")]
    before: Option<String>,
}

async fn links(visit: &Visit) -> Result<Vec<Link>, Trouble> {
    let mut links = visit.call(Daemon::Routd, &LIST_LINKS, &Nothing {}).await?.links;
    links.reverse();
    Ok(links)
}

/// The links.
pub(super) async fn page(visit: Visit, Which { part, before }: Which) -> Outcome {
    let links = links(&visit).await?;
    let part = part.trim().to_owned();
    let fits = |link: &&Link| {
        link.folder.as_str().contains(&part) || link.chat_jid.as_str().contains(&part)
    };
    let until = |link: &&Link| before.as_ref().is_some_and(|before| link.id.as_str() != before);
    let skip = links.iter().take_while(until).count() + usize::from(before.is_some());
    let mut rows: Vec<&Link> = links.iter().skip(skip).filter(fits).take(PAGE + 1).collect();
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let next = rows
        .last()
        .filter(|_| more)
        .map(|last| address("/dash/links", &[("part", &part), ("before", last.id.as_str())]));
    let body = html! {
        p { "A link is an address that carries its own right to one chat or one webhook." }
        (filter("/dash/links", &field("part", "Folder or chat has", "part", &part, "")))
        (view::list(&rows))
        (crate::parts::pager(next, before.is_none(), &address("/dash/links", &[("part", &part)])))
        (new_form(&visit))
    };
    shown(Here::Links, "Links", body)
}

fn new_form(visit: &Visit) -> Markup {
    let kinds = [("chat", "a chat, for a person"), ("hook", "a webhook, for a program")];
    let signatures = [
        ("", "not at all"),
        ("github", "as GitHub does"),
        ("standard", "as standardwebhooks.com says"),
    ];
    html! {
        h2 { "A new link" }
        form.fields method="post" action="/dash/links" {
            input type="hidden" name="csrf" value=(visit.code());
            (choice("kind", "Opens", "kind", &kinds, "chat"))
            (field("folder", "Folder", "folder", "", ""))
            (field("source", "Program behind a webhook", "source", "", "Such as ci; may be left blank."))
            (choice("signature", "Deliveries of a webhook are signed", "signature", &signatures, ""))
            button type="submit" { "Make the link" }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct New {
    #[serde(deserialize_with = "query::text")]
    kind: LinkKind,
    #[serde(deserialize_with = "query::text")]
    folder: Folder,
    #[serde(default, deserialize_with = "blank")]
    source: Option<String>,
    #[serde(default, deserialize_with = "blank")]
    signature: Option<Signature>,
}

/// Makes a link, and shows it once: by the answer itself, so that no address and no history has it.
pub(super) async fn issue(visit: Visit, new: New) -> Outcome {
    let New { kind, folder, source, signature } = new;
    let request = IssueLink { signature, ..IssueLink::unsigned(kind, folder, source) };
    let issued = visit.call(Daemon::Routd, &ISSUE_LINK, &request).await?;
    shown(Here::Links, "The new link", view::made(&issued))
}

/// Asks first.
pub(super) async fn ask_revoke(visit: Visit, One { id }: One) -> Outcome {
    let links = links(&visit).await?;
    let Some(link) = links.iter().find(|link| link.id == id) else {
        return Err(Trouble::NotFound(format!("There is no link {id}, or it has ended.")));
    };
    let what = html! {
        p { "The " (link.kind.name()) " link to " (code(link.chat_jid.as_str())) " opens nothing any more, within two \
             seconds, for whoever has it. It cannot be given back; a new one can be made." }
    };
    let does = ("/dash/links/revoke", "End the link");
    visit.ask(Here::Links, "End this link?", &what, does, &[("id", id.as_str())], "/dash/links")
}

/// Ends a link.
pub(super) async fn revoke(visit: Visit, One { id }: One) -> Outcome {
    visit.call(Daemon::Routd, &REVOKE_LINK, &RevokeLink { id }).await?;
    Ok(Answer::See("/dash/links?done=revoked".into()))
}
