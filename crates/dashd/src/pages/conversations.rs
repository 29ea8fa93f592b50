//! Conversations: chats, messages, a message's life, turns, what is to be sent.

use crate::{
    parts::{Mark, address, code, mark, or_dash, table},
    shown::{head, time},
};
use maud::{Markup, html};
use proto::routd::{Chat, OutboxRow, StoredMessage, Trace, TraceStep, TurnEnd, TurnRow};

/// Chats, by their newest message.
pub(crate) fn chats(chats: &[Chat]) -> Markup {
    let row = |chat: &Chat| {
        vec![
            html! {
                a href=(address("/dash/messages", &[("chat", chat.jid.as_str())])) { (code(chat.jid.as_str())) }
            },
            match &chat.folder {
                Some(folder) => html! {
                    a href=(address("/dash/folders/one", &[("folder", folder.as_str())])) { (folder) }
                },
                None => mark(Mark::Doubtful, "no route"),
            },
            html! {
                span.by { (chat.sender_name.as_deref().unwrap_or(&chat.sender)) ": " }
                (head(&chat.content, 120))
            },
            time(chat.at),
        ]
    };
    let heads = ["Chat", "Folder", "Newest message", "When"];
    table("Chats", &heads, chats.iter().map(row).collect(), "No chat is like that.")
}

/// Messages, newest first.
pub(crate) fn messages(messages: &[StoredMessage]) -> Markup {
    if messages.is_empty() {
        return html! { p.empty { "No message is like that." } };
    }
    html! {
        ol.messages {
            @for message in messages { li { (self::message(message)) } }
        }
    }
}

fn message(message: &StoredMessage) -> Markup {
    let trace =
        address("/dash/trace", &[("id", message.id.as_str()), ("chat", message.chat_jid.as_str())]);
    html! {
        article.said[message.disposition == "said"] {
            p.byline {
                strong { (message.sender_name.as_deref().unwrap_or(&message.sender)) } " "
                @if message.sender_name.is_some() { span.quiet { (message.sender) } " " }
                (time(message.at)) " "
                (disposition(&message.disposition))
            }
            @if message.deleted {
                p.quiet { "It was taken back." }
            } @else {
                p.text dir="auto" { (head(&message.content, 4_000)) }
            }
            @for file in &message.files { p.file { "File: " (file) } }
            p.more {
                a href=(trace) { "Its whole life" span.unseen { ", message " (message.id) } }
                " in " a href=(address("/dash/messages", &[("chat", message.chat_jid.as_str())])) {
                    (code(message.chat_jid.as_str()))
                }
                @if let Some(folder) = &message.folder { " of " (folder) }
                @if !message.topic.as_str().is_empty() { ", topic " (message.topic) }
            }
        }
    }
}

/// What became of a message, in a word.
fn disposition(name: &str) -> Markup {
    match name {
        "turn" => mark(Mark::Quiet, "answered by a turn"),
        "observed" => mark(Mark::Quiet, "stored for context"),
        "unrouted" => mark(Mark::Doubtful, "no route"),
        "said" => mark(Mark::Quiet, "said by the agent"),
        other => mark(Mark::Quiet, other),
    }
}

/// The whole life of a message.
pub(crate) fn trace(trace: &Trace) -> Markup {
    html! {
        (crate::parts::facts(&[
            ("Message", code(trace.id.as_str())),
            ("Chat", html! {
                a href=(address("/dash/messages", &[("chat", trace.chat_jid.as_str())])) {
                    (code(trace.chat_jid.as_str()))
                }
            }),
            ("Folder", or_dash(trace.folder.as_ref().map(proto::Folder::as_str))),
            ("Turn", or_dash(trace.turn_id.as_ref().map(proto::Opaque::as_str))),
            ("Place", html! { (trace.seq) }),
        ]))
        h2 { "What happened" }
        ol.timeline { @for step in &trace.steps { (self::step(step)) } }
    }
}

fn step(step: &TraceStep) -> Markup {
    let failed = ["failed", "ambiguous", "unsupported", "interrupted"];
    let how =
        if failed.iter().any(|word| step.what.ends_with(word)) { Mark::Bad } else { Mark::Quiet };
    html! { li { (time(step.at)) " " (mark(how, &step.what)) small { (step.detail) } } }
}

/// Turns, newest first.
pub(crate) fn turns(turns: &[TurnRow]) -> Markup {
    let row = |turn: &TurnRow| {
        let message = turn.message_id.as_ref().map(|id| {
            address("/dash/trace", &[("id", id.as_str()), ("chat", turn.chat_jid.as_str())])
        });
        vec![
            html! {
                a href=(address("/dash/folders/one", &[("folder", turn.folder.as_str())])) { (turn.folder) }
            },
            code(turn.chat_jid.as_str()),
            html! { (ended(turn)) @if !turn.detail.is_empty() { small { (turn.detail) } } },
            html! { (turn.attempt) },
            time(turn.created_at),
            turn.ended_at.map_or_else(|| or_dash(None), time),
            html! {
                @if let Some(href) = message { a href=(href) { "Life" span.unseen { " of its first message" } } }
                @if let Some(run) = &turn.run_id {
                    " " a href=(address("/dash/runs/one", &[("id", run.as_str())])) { "Run" }
                }
            },
        ]
    };
    let heads = ["Folder", "Chat", "State", "Attempts", "Began to wait", "Ended", ""];
    table("Turns", &heads, turns.iter().map(row).collect(), "No turn is like that.")
}

fn ended(turn: &TurnRow) -> Markup {
    match turn.outcome {
        None => mark(Mark::Quiet, &turn.state),
        Some(TurnEnd::Answered) => mark(Mark::Good, "answered"),
        Some(TurnEnd::Silent) => mark(Mark::Quiet, "silent on purpose"),
        Some(TurnEnd::Failed) => mark(Mark::Bad, "failed"),
        Some(TurnEnd::Interrupted) => mark(Mark::Bad, "interrupted"),
        Some(TurnEnd::Cancelled) => mark(Mark::Quiet, "stopped"),
    }
}

/// What is to be sent, or could not be.
pub(crate) fn outbox(rows: &[OutboxRow]) -> Markup {
    let row = |row: &OutboxRow| {
        let how = match row.state.as_str() {
            "sent" => Mark::Good,
            "pending" | "sending" => Mark::Quiet,
            _ => Mark::Bad,
        };
        let life = address(
            "/dash/trace",
            &[("id", row.message_id.as_str()), ("chat", row.chat_jid.as_str())],
        );
        vec![
            code(row.chat_jid.as_str()),
            html! { (mark(how, &row.state)) @if !row.detail.is_empty() { small { (row.detail) } } },
            html! { (row.attempts) },
            time(row.created_at),
            html! { a href=(life) { "Life" span.unseen { " of message " (row.message_id) } } },
        ]
    };
    let heads = ["Chat", "State", "Attempts", "Written", ""];
    table("The outbox", &heads, rows.iter().map(row).collect(), "Nothing is like that.")
}
