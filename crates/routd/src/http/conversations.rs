//! Looking through conversations. A token that is limited to a folder sees what went to folders that it reaches.

use super::{groups::reach, page};
use crate::{
    app::App,
    fault::Fault,
    search,
    store::{
        conversations::{self as rows, WantedTurns},
        messages::{self, Message},
        tools,
    },
    word_loop,
};
use kit::{Caller, Failure};
use proto::{
    Folder,
    routd::{
        Chats, ListChats, ListMessages, ListOutbox, ListTurns, Memory, MemoryOf, Messages, Outbox,
        StoredMessage, Turns,
    },
};
use std::sync::Arc;

/// Bytes of a part of an address that is looked for.
const PART_MAX: usize = 256;
/// Messages with the words that one search looks at.
const SCAN_MAX: u32 = 5_000;
/// What an outbox row can be.
const STATES: [&str; 6] = ["pending", "sending", "sent", "failed", "unsupported", "ambiguous"];

/// Where the next page begins, if this one is full.
fn next<T>(rows: &[T], limit: u32, seq: impl Fn(&T) -> i64) -> Option<i64> {
    let full = usize::try_from(limit).is_ok_and(|limit| rows.len() >= limit);
    rows.last().filter(|_| full).map(seq)
}

/// Whether the caller sees what went there: what went nowhere is for those who see everything.
fn sees(caller: &Caller, folder: Option<&Folder>) -> bool {
    folder.map_or_else(|| caller.reaches_all(), |folder| caller.reaches(folder))
}

fn reaches(caller: &Caller, folder: Option<&Folder>) -> Result<(), Failure> {
    folder.map_or(Ok(()), |folder| reach(caller, folder))
}

/// The chats.
pub(super) async fn chats(
    app: Arc<App>,
    caller: Caller,
    asked: ListChats,
) -> Result<Chats, Failure> {
    let ListChats { folder, jid, before, limit } = asked;
    reaches(&caller, folder.as_ref())?;
    if jid.as_ref().is_some_and(|part| part.len() > PART_MAX) {
        return Err(Failure::bad_request("`jid` has at most 256 bytes"));
    }
    let limit = page(limit);
    let read =
        app.db.read(move |conn| rows::chats(conn, folder.as_ref(), jid.as_deref(), before, limit));
    let mut chats = read.await.map_err(Fault::from)?;
    let next = next(&chats, limit, |chat| chat.seq);
    chats.retain(|chat| sees(&caller, chat.folder.as_ref()));
    Ok(Chats { chats, next })
}

/// Messages.
pub(super) async fn messages(
    app: Arc<App>,
    caller: Caller,
    asked: ListMessages,
) -> Result<Messages, Failure> {
    reaches(&caller, asked.folder.as_ref())?;
    if asked.words.as_ref().is_some_and(|words| words.len() > search::QUERY_MAX) {
        let text = format!("`words` has at most {} bytes", search::QUERY_MAX);
        return Err(Failure::bad_request(text));
    }
    let limit = page(asked.limit);
    let read = match asked.words.as_deref().map(search::words) {
        None => {
            let ListMessages { chat_jid, folder, disposition, before, .. } = asked;
            app.db
                .read(move |conn| {
                    let (chat, folder) = (chat_jid.as_ref(), folder.as_ref());
                    let found = rows::page(conn, chat, folder, disposition, before, limit)?;
                    let next = next(&found, limit, |message| message.seq);
                    Ok((found, next))
                })
                .await
        }
        Some(None) => Ok((Vec::new(), None)),
        Some(Some(words)) => {
            word_loop::catch_up(&app).await?;
            app.db.read(move |conn| found(conn, &words, &asked, limit)).await
        }
    };
    let (mut found, next) = read.map_err(Fault::from)?;
    found.retain(|message| sees(&caller, message.folder.as_ref()));
    Ok(Messages { messages: found.into_iter().map(shown).collect(), next })
}

/// Messages that have the words, and all else that is asked for.
fn found(
    conn: &rusqlite::Connection,
    words: &str,
    asked: &ListMessages,
    limit: u32,
) -> rusqlite::Result<(Vec<Message>, Option<i64>)> {
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let before = asked.before.unwrap_or(i64::MAX);
    let next = messages::search(conn, words, before, SCAN_MAX, |one| {
        let message = one.message;
        let here = asked.chat_jid.as_ref().is_none_or(|chat| *chat == message.chat_jid)
            && asked.disposition.is_none_or(|wanted| wanted.name() == message.disposition)
            && asked
                .folder
                .as_ref()
                .is_none_or(|folder| message.folder.as_ref().is_some_and(|of| folder.contains(of)));
        if here {
            found.push(message);
        }
        found.len() < wanted
    })?;
    Ok((found, next))
}

fn shown(message: Message) -> StoredMessage {
    StoredMessage {
        seq: message.seq,
        id: message.id,
        chat_jid: message.chat_jid,
        sender: message.sender,
        sender_name: message.sender_name,
        content: message.content,
        verb: message.verb,
        topic: message.topic,
        folder: message.folder,
        disposition: message.disposition,
        turn_id: message.turn_id,
        files: message.attachments.into_iter().map(|file| file.filename).collect(),
        at: message.received_at,
        deleted: message.deleted,
    }
}

/// What is to be sent, or could not be.
pub(super) async fn outbox(
    app: Arc<App>,
    caller: Caller,
    asked: ListOutbox,
) -> Result<Outbox, Failure> {
    if !caller.reaches_all() {
        return Err(Failure::forbidden("the outbox is of all folders, and this token is not"));
    }
    let ListOutbox { state, before, limit } = asked;
    if state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
        return Err(Failure::bad_request(format!("`state` is one of {}", STATES.join(", "))));
    }
    let limit = page(limit);
    let read = app.db.read(move |conn| rows::outbox(conn, state.as_deref(), before, limit)).await;
    let rows = read.map_err(Fault::from)?;
    let next = next(&rows, limit, |row| row.seq);
    Ok(Outbox { rows, next })
}

/// Turns.
pub(super) async fn turns(
    app: Arc<App>,
    caller: Caller,
    asked: ListTurns,
) -> Result<Turns, Failure> {
    let ListTurns { folder, outcome, since, before, limit } = asked;
    reaches(&caller, folder.as_ref())?;
    let limit = page(limit);
    let read = app.db.read(move |conn| {
        rows::turns(conn, &WantedTurns { folder: folder.as_ref(), outcome, since, before, limit })
    });
    let mut turns = read.await.map_err(Fault::from)?;
    let next = next(&turns, limit, |turn| turn.seq);
    turns.retain(|turn| caller.reaches(&turn.folder));
    Ok(Turns { turns, next })
}

/// What a folder's agent remembers.
pub(super) async fn memory(
    app: Arc<App>,
    caller: Caller,
    asked: MemoryOf,
) -> Result<Memory, Failure> {
    reach(&caller, &asked.folder)?;
    let read = app.db.read(move |conn| tools::memory(conn, &asked.folder)).await;
    Ok(Memory { content: read.map_err(Fault::from)?.unwrap_or_default() })
}
