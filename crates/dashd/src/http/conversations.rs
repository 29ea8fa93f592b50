//! Conversations.

use crate::{
    look::Here,
    pages::conversations as view,
    parts::{address, choice, field, filter, pager},
    query::blank,
    visit::{Outcome, Visit, page as shown},
};
use maud::{Markup, html};
use proto::{
    Daemon, Folder, Jid, Opaque,
    routd::{
        Disposition, LIST_CHATS, LIST_MESSAGES, LIST_OUTBOX, LIST_TURNS, ListChats, ListMessages,
        ListOutbox, ListTurns, TRACE, TraceQuery, TurnEnd,
    },
};
use serde::Deserialize;

/// Rows of a page.
const PAGE: u32 = 50;

/// The other pages about conversations.
fn tabs() -> Markup {
    html! {
        nav.tabs aria-label="Conversations" {
            a href="/dash/chats" { "Chats" }
            a href="/dash/messages" { "Messages" }
            a href="/dash/turns" { "Turns" }
            a href="/dash/outbox" { "Outbox" }
        }
    }
}

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

#[derive(Debug, Deserialize)]
pub(super) struct Chats {
    #[serde(default, deserialize_with = "blank")]
    folder: Option<Folder>,
    #[serde(default, deserialize_with = "blank")]
    jid: Option<String>,
    #[serde(default, deserialize_with = "blank")]
    before: Option<i64>,
}

/// The chats.
pub(super) async fn chats(visit: Visit, asked: Chats) -> Outcome {
    let Chats { folder, jid, before } = asked;
    let request = ListChats { folder, jid, before, limit: Some(PAGE) };
    let page = visit.call(Daemon::Routd, &LIST_CHATS, &request).await?;
    let (folder, jid) = (text(request.folder.as_ref()), request.jid.unwrap_or_default());
    let here = |before: &str| {
        address("/dash/chats", &[("folder", &folder), ("jid", &jid), ("before", before)])
    };
    let fields = html! {
        (field("jid", "Address has", "jid", &jid, ""))
        (field("folder", "Folder", "folder", &folder, ""))
    };
    let body = html! {
        (tabs())
        (filter("/dash/chats", &fields))
        (view::chats(&page.chats))
        (pager(page.next.map(|next| here(&next.to_string())), before.is_none(), &here("")))
    };
    shown(Here::Conversations, "Chats", body)
}

#[derive(Debug, Deserialize)]
pub(super) struct Messages {
    #[serde(default, deserialize_with = "blank")]
    chat: Option<Jid>,
    #[serde(default, deserialize_with = "blank")]
    folder: Option<Folder>,
    #[serde(default, deserialize_with = "blank")]
    words: Option<String>,
    #[serde(default)]
    disposition: String,
    #[serde(default, deserialize_with = "blank")]
    before: Option<i64>,
}

/// Messages.
pub(super) async fn messages(visit: Visit, asked: Messages) -> Outcome {
    let Messages { chat, folder, words, disposition, before } = asked;
    let request = ListMessages {
        chat_jid: chat,
        folder,
        words,
        disposition: Disposition::ALL.into_iter().find(|one| one.name() == disposition),
        before,
        limit: Some(PAGE),
    };
    let page = visit.call(Daemon::Routd, &LIST_MESSAGES, &request).await?;
    let (chat, folder) = (text(request.chat_jid.as_ref()), text(request.folder.as_ref()));
    let (words, kind) =
        (text(request.words.as_ref()), request.disposition.map_or("", Disposition::name));
    let here = |before: &str| {
        let query = [
            ("chat", chat.as_str()),
            ("folder", &folder),
            ("words", &words),
            ("disposition", kind),
            ("before", before),
        ];
        address("/dash/messages", &query)
    };
    let kinds = [
        ("", "anything"),
        ("turn", "answered by a turn"),
        ("observed", "stored for context"),
        ("unrouted", "no route"),
        ("said", "said by the agent"),
    ];
    let fields = html! {
        (field("words", "Words", "words", &words, "All of them; rot* stands for all that begin so."))
        (field("chat", "Chat", "chat", &chat, ""))
        (field("folder", "Folder", "folder", &folder, ""))
        (choice("disposition", "Became", "disposition", &kinds, kind))
    };
    let body = html! {
        (tabs())
        (filter("/dash/messages", &fields))
        (view::messages(&page.messages))
        (pager(page.next.map(|next| here(&next.to_string())), before.is_none(), &here("")))
    };
    shown(Here::Conversations, "Messages", body)
}

#[derive(Debug, Deserialize)]
pub(super) struct OneMessage {
    #[serde(deserialize_with = "crate::query::text")]
    id: Opaque,
    #[serde(default, deserialize_with = "blank")]
    chat: Option<Jid>,
}

/// The whole life of a message.
pub(super) async fn trace(visit: Visit, OneMessage { id, chat }: OneMessage) -> Outcome {
    let request = TraceQuery { id, chat_jid: chat };
    let trace = visit.call(Daemon::Routd, &TRACE, &request).await?;
    shown(Here::Conversations, "A message's life", html! { (tabs()) (view::trace(&trace)) })
}

#[derive(Debug, Deserialize)]
pub(super) struct Outbox {
    #[serde(default, deserialize_with = "blank")]
    state: Option<String>,
    #[serde(default, deserialize_with = "blank")]
    before: Option<i64>,
}

/// What is to be sent, or could not be.
pub(super) async fn outbox(visit: Visit, Outbox { state, before }: Outbox) -> Outcome {
    let request = ListOutbox { state, before, limit: Some(PAGE) };
    let page = visit.call(Daemon::Routd, &LIST_OUTBOX, &request).await?;
    let state = request.state.unwrap_or_default();
    let here = |before: &str| address("/dash/outbox", &[("state", &state), ("before", before)]);
    let states = [
        ("", "anything"),
        ("pending", "pending"),
        ("sending", "sending"),
        ("sent", "sent"),
        ("ambiguous", "ambiguous: perhaps sent"),
        ("failed", "failed"),
        ("unsupported", "unsupported"),
    ];
    let body = html! {
        (tabs())
        (filter("/dash/outbox", &choice("state", "State", "state", &states, &state)))
        (view::outbox(&page.rows))
        (pager(page.next.map(|next| here(&next.to_string())), before.is_none(), &here("")))
    };
    shown(Here::Conversations, "Outbox", body)
}

#[derive(Debug, Deserialize)]
pub(super) struct Turns {
    #[serde(default, deserialize_with = "blank")]
    folder: Option<Folder>,
    #[serde(default)]
    outcome: String,
    #[serde(default, deserialize_with = "blank")]
    before: Option<i64>,
}

const ENDS: [(TurnEnd, &str); 5] = [
    (TurnEnd::Answered, "answered"),
    (TurnEnd::Silent, "silent"),
    (TurnEnd::Failed, "failed"),
    (TurnEnd::Interrupted, "interrupted"),
    (TurnEnd::Cancelled, "cancelled"),
];

/// Turns.
pub(super) async fn turns(visit: Visit, Turns { folder, outcome, before }: Turns) -> Outcome {
    let end = ENDS.into_iter().find(|(_, name)| *name == outcome);
    let request = ListTurns {
        folder,
        outcome: end.map(|(end, _)| end),
        before,
        limit: Some(PAGE),
        since: None,
    };
    let page = visit.call(Daemon::Routd, &LIST_TURNS, &request).await?;
    let (folder, outcome) = (text(request.folder.as_ref()), end.map_or("", |(_, name)| name));
    let here = |before: &str| {
        address("/dash/turns", &[("folder", &folder), ("outcome", outcome), ("before", before)])
    };
    let mut ends = vec![("", "anything")];
    ends.extend(ENDS.map(|(_, name)| (name, name)));
    let fields = html! {
        (field("folder", "Folder", "folder", &folder, ""))
        (choice("outcome", "Ended", "outcome", &ends, outcome))
    };
    let body = html! {
        (tabs())
        (filter("/dash/turns", &fields))
        (view::turns(&page.turns))
        (pager(page.next.map(|next| here(&next.to_string())), before.is_none(), &here("")))
    };
    shown(Here::Conversations, "Turns", body)
}
