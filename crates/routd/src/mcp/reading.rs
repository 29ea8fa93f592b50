//! Reading what was said: `inspect_messages`, `find_messages`.

use super::{
    arguments::Arguments,
    chat,
    tool::{Answer, Look, Tool},
};
use crate::{
    fault::Fault,
    say::AGENT,
    search,
    store::messages::{self, Found},
};
use proto::{Folder, Jid};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Messages that one look shows when it does not say, and at most.
const INSPECT: u32 = 20;
const INSPECT_MAX: u32 = 100;
/// Bytes of one message that one look shows, and of all of them.
const SHOWN_MAX: usize = 32 * 1024;
const SHOWN_ALL: usize = 512 * 1024;
/// Messages with the words that one search looks at, whosesoever they are; `next` goes on.
const SCAN_MAX: u32 = 2_000;
/// Bytes of the place where a message has the words: a word may be as long as a message.
const SNIPPET_MAX: usize = 2_000;

pub(super) fn tools() -> Vec<Tool> {
    vec![
        Tool::reads(
            "inspect_messages",
            "Recent messages of a chat of this folder, oldest first.",
            inspect,
        ),
        Tool::reads(
            "find_messages",
            "Messages that have all of these words, the newest first, each with the place where it has them.",
            find,
        )
        .that_needs_words(),
    ]
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

/// Arguments of `find_messages`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Find {
    /// The words; all must be there. One that ends in `*` stands for all that begin so.
    query: String,
    /// Only in this chat.
    #[serde(default)]
    chat_jid: Option<Jid>,
    /// Only from this sender.
    #[serde(default)]
    sender: Option<String>,
    /// How many, 1 to 100; 20 when left out.
    #[serde(default)]
    limit: Option<u32>,
    /// Only messages before this: `next` of the answer before.
    #[serde(default)]
    before: Option<i64>,
}

impl Arguments for Find {
    fn check(&self) -> Result<(), Fault> {
        if self.query.len() > search::QUERY_MAX {
            let text = format!("`query` has at most {} bytes", search::QUERY_MAX);
            return Err(Fault::Invalid(text));
        }
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

fn find(look: &Look<'_>, asked: Find) -> Result<Answer, Fault> {
    let Some(words) = search::words(&asked.query) else {
        return Err(Fault::Invalid("`query` has no word to look for".into()));
    };
    // That there is nothing is not said to whom nothing may be said.
    look.rights.require_somewhere(look.action)?;
    let limit = usize::try_from(asked.limit.unwrap_or(INSPECT)).unwrap_or_default();
    let mut may: BTreeMap<Folder, bool> = BTreeMap::new();
    let mut found = Vec::new();
    let wanted = |message: &messages::Message| {
        asked.chat_jid.as_ref().is_none_or(|chat| message.chat_jid == *chat)
            && asked.sender.as_ref().is_none_or(|sender| message.sender == *sender)
    };
    let before = asked.before.unwrap_or(i64::MAX);
    let next =
        messages::search(look.conn, &words, before, SCAN_MAX, |Found { message, snippet }| {
            if let Some(folder) = message.folder.clone().filter(|_| wanted(&message)) {
                let may =
                    may.entry(folder).or_insert_with_key(|one| look.rights.may(look.action, one));
                if *may {
                    found.push(hit(&message, &snippet));
                }
            }
            found.len() < limit
        })?;
    Ok(Answer::value(json!({ "messages": found, "next": next })))
}

fn hit(message: &messages::Message, snippet: &str) -> Value {
    json!({
        "seq": message.seq,
        "id": message.id,
        "chat_jid": message.chat_jid,
        "folder": message.folder,
        "sender": message.sender,
        "origin": message.origin.name(),
        "snippet": snippet.get(..snippet.floor_char_boundary(SNIPPET_MAX)).unwrap_or_default(),
        "sent_at": message.sent_at,
    })
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
        "origin": message.origin.name(),
        "verb": message.verb,
        "topic": message.topic,
        "reply_to": message.reply_to,
        "files": message.attachments.iter().map(|file| &file.filename).collect::<Vec<_>>(),
        "sent_at": message.sent_at,
    })
}
