//! Reading what was said: `inspect_messages`.

use super::{
    arguments::Arguments,
    chat,
    tool::{Answer, Look, Tool},
};
use crate::{fault::Fault, say::AGENT, store::messages};
use proto::Jid;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// Messages that one look shows when it does not say, and at most.
const INSPECT: u32 = 20;
const INSPECT_MAX: u32 = 100;
/// Bytes of one message that one look shows, and of all of them.
const SHOWN_MAX: usize = 32 * 1024;
const SHOWN_ALL: usize = 512 * 1024;

pub(super) fn tools() -> Vec<Tool> {
    vec![Tool::reads(
        "inspect_messages",
        "Recent messages of a chat of this folder, oldest first.",
        inspect,
    )]
}

/// Arguments of `inspect_messages`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Inspect {
    /// The chat; this turn's own when left out.
    #[serde(default)]
    pub(super) chat_jid: Option<Jid>,
    /// How many, 1 to 100; 20 when left out.
    #[serde(default)]
    pub(super) limit: Option<u32>,
    /// Only messages before this `seq`.
    #[serde(default)]
    pub(super) before: Option<i64>,
}

impl Arguments for Inspect {
    fn check(&self) -> Result<(), Fault> {
        check_limit(self.limit)
    }
}

fn check_limit(limit: Option<u32>) -> Result<(), Fault> {
    if limit.is_none_or(|limit| (1..=INSPECT_MAX).contains(&limit)) {
        return Ok(());
    }
    Err(Fault::Invalid(format!("`limit` is 1 to {INSPECT_MAX}")))
}

fn inspect(look: &Look<'_>, asked: Inspect) -> Result<Answer, Fault> {
    let chat = asked.chat_jid.unwrap_or_else(|| look.turn.chat_jid.clone());
    let folder = chat::owner(look, &chat)?;
    look.require(&folder)?;
    let before = asked.before.unwrap_or(i64::MAX);
    let limit = asked.limit.unwrap_or(INSPECT);
    let found = messages::recent(look.conn, &chat, &folder, before, limit)?;
    let mut room = SHOWN_ALL;
    let mut messages: Vec<Value> = Vec::new();
    // The newest first, as far as there is room; `before` asks for the others.
    for message in found.into_iter().rev() {
        let Some(left) = room.checked_sub(message.content.len().min(SHOWN_MAX)) else { break };
        room = left;
        messages.push(shown(message));
    }
    messages.reverse();
    Ok(Answer::value(json!({ "messages": messages })))
}

fn shown(mut message: messages::Message) -> Value {
    let whole = message.content.len();
    message.content.truncate(message.content.floor_char_boundary(SHOWN_MAX));
    json!({
        "cut": whole > message.content.len(),
        "seq": message.seq,
        "id": message.id,
        "chat_jid": message.chat_jid,
        "sender": message.sender,
        "sender_name": message.sender_name,
        "from_agent": message.outbound && message.sender == AGENT,
        "content": message.content,
        "verb": message.verb,
        "topic": message.topic,
        "reply_to": message.reply_to,
        "sent_at": message.sent_at,
    })
}
