//! Chats that onbod is to be told of, and people who were let in.

use super::{messages, parsed, parsed_if_there};
use proto::{Folder, Jid, Opaque, Timestamp, onbod::Knock};
use rusqlite::{Connection, OptionalExtension};

/// Characters of a message that whoever decides is shown.
const EXCERPT: usize = 280;

/// Onbod is to be told of this message. Of several in a chat, it is told of the newest.
pub(crate) fn knock(conn: &Connection, chat: &Jid, seq: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO knocks (chat_jid, message_seq) VALUES (?1, ?2)
         ON CONFLICT (chat_jid) DO UPDATE SET message_seq = ?2",
    )?
    .execute((chat.as_str(), seq))?;
    Ok(())
}

/// What onbod is to be told of, oldest first, each with its message's place.
pub(crate) fn pending(conn: &Connection, limit: u32) -> rusqlite::Result<Vec<(i64, Knock)>> {
    let places = conn
        .prepare_cached("SELECT message_seq FROM knocks ORDER BY message_seq LIMIT ?1")?
        .query_map([limit], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    let mut knocks = Vec::with_capacity(places.len());
    for seq in places {
        let message = messages::get(conn, seq)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let excerpt = message.content.chars().take(EXCERPT).collect();
        let knock = Knock {
            message_id: message.id,
            chat_jid: message.chat_jid,
            sender: message.sender,
            sender_name: message.sender_name,
            excerpt,
        };
        knocks.push((seq, knock));
    }
    Ok(knocks)
}

/// Onbod was told of the message at this place. A newer one of the chat stays to be told of.
pub(crate) fn told(conn: &Connection, chat: &Jid, seq: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM knocks WHERE chat_jid = ?1 AND message_seq = ?2")?
        .execute((chat.as_str(), seq))?;
    Ok(())
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) subject: String,
    pub(crate) folder: Folder,
    pub(crate) chat_jid: Option<Jid>,
}

/// What was done under this admission, if it was.
pub(crate) fn admitted(conn: &Connection, id: &Opaque) -> rusqlite::Result<Option<Admitted>> {
    conn.prepare_cached("SELECT subject, folder, chat_jid FROM admissions WHERE id = ?1")?
        .query_row([id.as_str()], |row| {
            Ok(Admitted {
                subject: row.get("subject")?,
                folder: parsed(row, "folder")?,
                chat_jid: parsed_if_there(row, "chat_jid")?,
            })
        })
        .optional()
}

/// Whether this folder was made for this person.
pub(crate) fn is_theirs(
    conn: &Connection,
    folder: &Folder,
    subject: &str,
) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM admissions WHERE folder = ?1 AND subject = ?2 LIMIT 1";
    super::exists(conn, sql, (folder.as_str(), subject))
}

/// Whether this chat was given to somebody before.
pub(crate) fn was_given(conn: &Connection, chat: &Jid) -> rusqlite::Result<bool> {
    super::exists(conn, "SELECT 1 FROM admissions WHERE chat_jid = ?1", [chat.as_str()])
}

/// Keeps that somebody was let in.
pub(crate) fn admit(
    conn: &Connection,
    id: &Opaque,
    who: &Admitted,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO admissions (id, subject, folder, chat_jid, admitted_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((
        id.as_str(),
        &who.subject,
        who.folder.as_str(),
        who.chat_jid.as_ref().map(Jid::as_str),
        now.0,
    ))?;
    Ok(())
}
