//! Saying something: `reply`, `send`.

use super::{
    arguments::{Arguments, check_content},
    chat,
    tool::{Answer, Change, Tool},
};
use crate::{
    fault::Fault,
    record::record,
    say::{self, AGENT, Saying},
};
use proto::{Jid, Topic};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

pub(super) fn tools() -> Vec<Tool> {
    vec![
        Tool::changes(
            "reply",
            "Say something to the person who asked, before the turn ends. The final answer need not be sent with \
             this: it is the turn's result.",
            reply,
        )
        .hint(|hints| hints.open_world(true)),
        Tool::changes("send", "Say something in another chat of this folder.", send)
            .hint(|hints| hints.open_world(true)),
    ]
}

/// Arguments of `reply`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reply {
    /// The text, as Markdown.
    pub(super) content: String,
}

impl Arguments for Reply {
    fn check(&self) -> Result<(), Fault> {
        check_content(&self.content)
    }
}

/// Arguments of `send`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    /// The chat, such as `web:team/name`.
    pub(super) chat_jid: Jid,
    /// The text, as Markdown.
    pub(super) content: String,
}

impl Arguments for Send {
    fn check(&self) -> Result<(), Fault> {
        check_content(&self.content)
    }
}

fn reply(change: &Change<'_>, Reply { content }: Reply) -> Result<Answer, Fault> {
    change.require_own()?;
    let Change { tx, progress, .. } = *change;
    let (turn, now) = (change.turn, change.now);
    let id = say::reply(tx, &progress.wake, turn, AGENT, &content, now)?;
    say::engage(tx, turn, now.plus(progress.engagement_ms))?;
    Ok(said(id))
}

fn send(change: &Change<'_>, Send { chat_jid, content }: Send) -> Result<Answer, Fault> {
    let folder = chat::owner(change, &chat_jid)?;
    change.require(&folder)?;
    let turn = change.turn;
    let nowhere = Topic::default();
    let own = chat_jid == turn.chat_jid;
    let saying = Saying {
        sender: AGENT,
        content: &content,
        attachments: &[],
        chat: &chat_jid,
        thread: if own { &turn.thread } else { &nowhere },
        topic: if own { &turn.topic } else { &nowhere },
        folder: &folder,
        reply_to: None,
        turn_id: Some(&turn.id),
        for_sender: if own { turn.for_sender() } else { None },
    };
    let id = say::say(change.tx, &change.progress.wake, &saying, change.now)?;
    record(change.tx, change.now, &change.actor(), "message.send", chat_jid.as_str(), &id)?;
    Ok(said(id))
}

fn said(id: String) -> Answer {
    Answer { text: format!("said as {id}"), structured: Some(json!({ "id": id })) }
}
