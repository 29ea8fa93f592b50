//! Saying something in a chat: the message, its outbox row, its place in the feed and the engagement are one
//! transaction. See `docs/decisions/0002-web-delivery-is-the-commit.md`.

use crate::{
    fault::Fault,
    ids,
    store::{context, feed, messages, outbox, turns::Turn},
    wake::Wake,
};
use db::Tx;
use proto::{
    Address, Folder, Jid, Timestamp, Topic,
    routd::{Attachment, Notice},
};
use sha2::{Digest, Sha256};

/// Bytes of one message.
pub(crate) const CONTENT_MAX: usize = 262_144;
/// The agent, as a sender.
pub(crate) const AGENT: &str = "agent";
/// The suite itself, as a sender: the one line that says what failed.
pub(crate) const SYSTEM: &str = "system";

/// What is said, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saying<'a> {
    /// [`AGENT`] or [`SYSTEM`].
    pub(crate) sender: &'static str,
    pub(crate) content: &'a str,
    /// Files that come with it.
    pub(crate) attachments: &'a [Attachment],
    pub(crate) chat: &'a Jid,
    pub(crate) thread: &'a Topic,
    pub(crate) topic: &'a Topic,
    /// Whose chat it is.
    pub(crate) folder: &'a Folder,
    pub(crate) reply_to: Option<&'a str>,
    /// The turn in which it is said, if it is one.
    pub(crate) turn_id: Option<&'a str>,
    /// The one person it is for, where the folder is that person's alone.
    pub(crate) for_sender: Option<&'a str>,
}

/// Says something, and answers the message's id.
pub(crate) fn say(
    tx: &Tx<'_>,
    wake: &Wake,
    saying: &Saying<'_>,
    now: Timestamp,
) -> Result<String, Fault> {
    say_at(tx, wake, saying, now).map(|(id, _)| id)
}

/// Says something, and answers the message's id and place.
pub(crate) fn say_at(
    tx: &Tx<'_>,
    wake: &Wake,
    saying: &Saying<'_>,
    now: Timestamp,
) -> Result<(String, i64), Fault> {
    let id = ids::fresh("m");
    let Saying { sender, content, chat, thread, topic, folder, .. } = *saying;
    let message = messages::Outbound {
        id: &id,
        chat_jid: chat,
        sender,
        content,
        attachments: saying.attachments,
        thread,
        topic,
        folder: Some(folder),
        turn_id: saying.turn_id,
        for_sender: saying.for_sender,
        reply_to: saying.reply_to,
    };
    let seq = messages::say(tx, &message, now)?;
    let delivered = chat.is_shown_here();
    outbox::add(tx, seq, chat, delivered, now)?;
    feed::message(tx, chat, topic, seq, now)?;
    wake.chat(tx, chat.as_str());
    if !delivered {
        wake.outbox(tx);
    }
    Ok((id, seq))
}

/// Says a line in a chat that is nobody's yet, once under `key`: answers the message's id, and whether it was said
/// before. Only where somebody wrote: nobody is written to out of the blue.
pub(crate) fn notice(
    tx: &Tx<'_>,
    wake: &Wake,
    notice: &Notice,
    key: &str,
    now: Timestamp,
) -> Result<(String, bool), Fault> {
    let chat = &notice.chat_jid;
    let digest = hex::encode(Sha256::digest(key.as_bytes()));
    let id = format!("n-{}", digest.get(..32).unwrap_or(&digest));
    if messages::place(tx, chat, &ids::opaque(&id)?)?.is_some() {
        return Ok((id, true));
    }
    if !matches!(chat.address(), Address::Platform) {
        return Err(Fault::Invalid(format!("{chat} is a chat of the suite's own, and a folder's")));
    }
    let Some(newest) = messages::newest_inbound(tx, chat)? else {
        return Err(Fault::NotFound(format!("nobody wrote in the chat {chat}")));
    };
    // What is shown here has no other place than the history.
    let delivered = chat.is_shown_here();
    let kept = notice.kept.as_deref().filter(|_| !delivered);
    let message = messages::Outbound {
        id: &id,
        chat_jid: chat,
        sender: SYSTEM,
        content: kept.unwrap_or(&notice.content),
        attachments: &[],
        thread: &newest.thread,
        topic: &newest.topic,
        folder: None,
        turn_id: None,
        for_sender: None,
        reply_to: None,
    };
    let seq = messages::say(tx, &message, now)?;
    // The whole text stays with what is to be sent, and goes when that is settled.
    let whole = kept.map(|_| notice.content.as_str());
    outbox::add_change(tx, seq, chat, outbox::Kind::Send, whole, delivered, now)?;
    feed::message(tx, chat, &newest.topic, seq, now)?;
    wake.chat(tx, chat.as_str());
    if !delivered {
        wake.outbox(tx);
    }
    Ok((id, false))
}

/// Says something in the chat that a turn answers.
pub(crate) fn reply(
    tx: &Tx<'_>,
    wake: &Wake,
    turn: &Turn,
    sender: &'static str,
    content: &str,
    now: Timestamp,
) -> Result<String, Fault> {
    let answered = answered(tx, turn)?;
    let saying = Saying {
        sender,
        content,
        attachments: &[],
        chat: &turn.chat_jid,
        thread: &turn.thread,
        topic: &turn.topic,
        folder: &turn.folder,
        reply_to: answered.as_deref(),
        turn_id: Some(&turn.id),
        for_sender: turn.for_sender(),
    };
    say(tx, wake, &saying, now)
}

/// The message that a turn's answers answer: its last.
pub(crate) fn answered(tx: &Tx<'_>, turn: &Turn) -> Result<Option<String>, Fault> {
    Ok(messages::of_turn(tx, &turn.id)?.pop().map(|last| String::from(last.id)))
}

/// The agent spoke in the turn's chat: what follows there is for it.
pub(crate) fn engage(tx: &Tx<'_>, turn: &Turn, until: Timestamp) -> rusqlite::Result<()> {
    if !matches!(turn.chat_jid.address(), Address::Platform) {
        // The address says where its messages go, whoever spoke there.
        return Ok(());
    }
    let sender = turn.for_sender().unwrap_or_default();
    let place = (&turn.folder, &turn.topic);
    context::engage(tx, &turn.chat_jid, &turn.thread, sender, place, until)
}

/// The text, or as much of it as one message holds.
pub(crate) fn within_limit(text: &str) -> String {
    const MORE: &str = "\n…";
    if text.len() <= CONTENT_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(CONTENT_MAX - MORE.len());
    format!("{}{MORE}", text.get(..end).unwrap_or_default())
}
