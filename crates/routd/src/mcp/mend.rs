//! Changing what stands in a chat: `edit`, `delete`, `react`.
//!
//! In a chat of the suite's own the change is its commit. On a platform it goes through the outbox to the adapter, in
//! the chat's own order, and only where the adapter has said that it can do that.

use super::{
    arguments::{Arguments, check_content},
    chat,
    tool::{Answer, Change, Tool},
};
use crate::{
    fault::Fault,
    record::record,
    store::{
        channels, feed,
        messages::{self, Message},
        outbox::{self, Kind},
    },
};
use proto::{Jid, Opaque};
use schemars::JsonSchema;
use serde::Deserialize;

/// Bytes of a reaction: an emoji, or a platform's name for one.
const EMOJI_MAX: usize = 64;

pub(super) fn tools() -> Vec<Tool> {
    vec![
        Tool::changes("edit", "Replace the text of a message that you said.", edit)
            .hint(|hints| hints.destructive(true).idempotent(true).open_world(true)),
        Tool::changes("delete", "Take back a message that you said.", delete)
            .hint(|hints| hints.destructive(true).idempotent(true).open_world(true)),
        Tool::changes("react", "React to a message with an emoji.", react)
            .hint(|hints| hints.idempotent(true).open_world(true)),
    ]
}

/// Arguments of `edit`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Edit {
    /// The message's id, as `reply`, `send` or `inspect_messages` told it.
    id: Opaque,
    /// The chat; this turn's own when left out.
    #[serde(default)]
    chat_jid: Option<Jid>,
    /// The whole new text, as Markdown.
    content: String,
}

impl Arguments for Edit {
    fn check(&self) -> Result<(), Fault> {
        check_content(&self.content)
    }
}

/// Arguments of `delete`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Delete {
    /// The message's id.
    id: Opaque,
    /// The chat; this turn's own when left out.
    #[serde(default)]
    chat_jid: Option<Jid>,
}

impl Arguments for Delete {}

/// Arguments of `react`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct React {
    /// The message's id.
    id: Opaque,
    /// The chat; this turn's own when left out.
    #[serde(default)]
    chat_jid: Option<Jid>,
    /// The emoji.
    emoji: String,
}

impl Arguments for React {
    fn check(&self) -> Result<(), Fault> {
        let plain = !self.emoji.chars().any(|c| c.is_whitespace() || c.is_control());
        if plain && (1..=EMOJI_MAX).contains(&self.emoji.len()) {
            return Ok(());
        }
        Err(Fault::Invalid("`emoji` is one emoji, without spaces".into()))
    }
}

fn edit(change: &Change<'_>, asked: Edit) -> Result<Answer, Fault> {
    let message = target(change, &asked.id, asked.chat_jid)?;
    own(&message)?;
    messages::edit(change.tx, message.seq, &asked.content, change.now)?;
    carry(change, &message, Kind::Edit, Some(&asked.content))
}

fn delete(change: &Change<'_>, asked: Delete) -> Result<Answer, Fault> {
    let message = target(change, &asked.id, asked.chat_jid)?;
    own(&message)?;
    messages::delete(change.tx, message.seq, change.now)?;
    outbox::withdraw(change.tx, message.seq, change.now)?;
    carry(change, &message, Kind::Delete, None)
}

fn react(change: &Change<'_>, asked: React) -> Result<Answer, Fault> {
    let message = target(change, &asked.id, asked.chat_jid)?;
    carry(change, &message, Kind::React, Some(&asked.emoji))
}

/// The message, if it stands in a chat, and with a folder, that the caller may do this to.
fn target(change: &Change<'_>, id: &Opaque, chat: Option<Jid>) -> Result<Message, Fault> {
    let chat = chat.unwrap_or_else(|| change.turn.chat_jid.clone());
    let folder = chat::owner(change, &chat)?;
    change.require(&folder)?;
    let found = messages::find(change.tx, id, Some(&chat))?.pop();
    // What another folder said in a shared chat is not there for this one.
    let found =
        found.filter(|message| message.folder.as_ref() == Some(&folder) && !message.deleted);
    found.ok_or_else(|| Fault::NotFound(format!("there is no message {id} in {chat}")))
}

/// Refuses to change what somebody else said.
fn own(message: &Message) -> Result<(), Fault> {
    if message.outbound && message.sender == crate::say::AGENT {
        return Ok(());
    }
    Err(Fault::Forbidden(format!("{} was not said by you", message.id)))
}

/// Carries a change to whoever shows the chat.
fn carry(
    change: &Change<'_>,
    message: &Message,
    kind: Kind,
    text: Option<&str>,
) -> Result<Answer, Fault> {
    let (tx, now, chat) = (change.tx, change.now, &message.chat_jid);
    let delivered = chat.is_shown_here();
    if !delivered {
        let able = channels::of_chat(tx, chat)?;
        if !able.is_some_and(|one| one.can(kind.name())) {
            let text = format!(
                "unsupported: the adapter of {} chats has not said that it can {}; say it in a new message instead",
                chat.platform(),
                kind.name()
            );
            return Err(Fault::Conflict(text));
        }
    }
    outbox::add_change(tx, message.seq, chat, kind, text, delivered, now)?;
    feed::changed(tx, message, kind, text, now)?;
    let wake = &change.progress.wake;
    wake.chat(tx, chat.as_str());
    if !delivered {
        wake.outbox(tx);
    }
    let action = format!("message.{}", kind.name());
    record(tx, now, &change.actor(), &action, chat.as_str(), message.id.as_str())?;
    Ok(Answer::line(format!("{} of {}", kind.done(), message.id)))
}
