//! What earlier messages mean for later ones: engagements, pins, sessions, observed messages.

use super::{messages, parsed};
use crate::route::Earlier;
use proto::{Folder, Jid, Timestamp, Topic};
use rusqlite::{Connection, OptionalExtension};

/// Observed messages that a turn is shown at most.
const OBSERVED_MAX: u32 = 50;

/// Where the agent spoke a short while ago in this chat and thread: to this sender alone, or to everyone.
pub(crate) fn engaged(
    conn: &Connection,
    chat: &Jid,
    thread: &Topic,
    sender: &str,
    now: Timestamp,
) -> rusqlite::Result<Option<Earlier>> {
    conn.prepare_cached(
        "SELECT folder, topic, sender FROM engagements
         WHERE chat_jid = ?1 AND thread = ?2 AND sender IN ('', ?3) AND until > ?4
         ORDER BY sender DESC LIMIT 1",
    )?
    .query_row((chat.as_str(), thread.as_str(), sender, now.0), messages::earlier)
    .optional()
}

/// Every folder that somebody is engaged with in this chat.
pub(crate) fn engaged_folders(
    conn: &Connection,
    chat: &Jid,
    now: Timestamp,
) -> rusqlite::Result<Vec<Folder>> {
    conn.prepare_cached(
        "SELECT DISTINCT folder FROM engagements WHERE chat_jid = ?1 AND until > ?2",
    )?
    .query_map((chat.as_str(), now.0), |row| parsed(row, "folder"))?
    .collect()
}

/// The agent spoke: until then, what follows is for it. An empty `sender` is everyone.
pub(crate) fn engage(
    conn: &Connection,
    chat: &Jid,
    thread: &Topic,
    sender: &str,
    earlier: (&Folder, &Topic),
    until: Timestamp,
) -> rusqlite::Result<()> {
    let (folder, topic) = earlier;
    conn.prepare_cached(
        "INSERT INTO engagements (chat_jid, thread, sender, folder, topic, until)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (chat_jid, thread, sender) DO UPDATE
         SET folder = ?4, topic = ?5, until = ?6",
    )?
    .execute((
        chat.as_str(),
        thread.as_str(),
        sender,
        folder.as_str(),
        topic.as_str(),
        until.0,
    ))?;
    Ok(())
}

/// The folder that a chat is pinned to.
pub(crate) fn pinned(conn: &Connection, chat: &Jid) -> rusqlite::Result<Option<Folder>> {
    conn.prepare_cached("SELECT folder FROM pins WHERE chat_jid = ?1")?
        .query_row([chat.as_str()], |row| parsed(row, "folder"))
        .optional()
}

/// Pins a chat to a folder, or to none.
pub(crate) fn pin(
    conn: &Connection,
    chat: &Jid,
    folder: Option<&Folder>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    match folder {
        None => {
            conn.prepare_cached("DELETE FROM pins WHERE chat_jid = ?1")?
                .execute([chat.as_str()])?;
        }
        Some(folder) => {
            conn.prepare_cached(
                "INSERT INTO pins (chat_jid, folder, pinned_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (chat_jid) DO UPDATE SET folder = ?2, pinned_at = ?3",
            )?
            .execute((chat.as_str(), folder.as_str(), now.0))?;
        }
    }
    // What the agent said last must not hold the chat where it has just been taken from.
    conn.prepare_cached("DELETE FROM engagements WHERE chat_jid = ?1")?.execute([chat.as_str()])?;
    Ok(())
}

/// The session that this harness left for this topic.
pub(crate) fn session(
    conn: &Connection,
    folder: &Folder,
    topic: &Topic,
    harness: &str,
) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached(
        "SELECT session FROM sessions WHERE folder = ?1 AND topic = ?2 AND harness = ?3",
    )?
    .query_row((folder.as_str(), topic.as_str(), harness), |row| row.get(0))
    .optional()
}

/// Keeps the session of this harness for this topic.
pub(crate) fn keep_session(
    conn: &Connection,
    folder: &Folder,
    topic: &Topic,
    harness: &str,
    session: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO sessions (folder, topic, harness, session, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (folder, topic) DO UPDATE SET harness = ?3, session = ?4, updated_at = ?5",
    )?
    .execute((folder.as_str(), topic.as_str(), harness, session, now.0))?;
    Ok(())
}

/// The newest messages that were stored for context in a folder since its last turn, before `before`; oldest first.
pub(crate) fn observed(
    conn: &Connection,
    folder: &Folder,
    before: i64,
) -> rusqlite::Result<Vec<messages::Message>> {
    let mut newest = conn
        .prepare_cached(
            "SELECT seq, id, chat_jid, outbound, sender, sender_name, content, verb, topic, folder,
                 disposition, turn_id, reply_to, attachments, sent_at, received_at, rule, origin, deleted_at
             FROM messages
             WHERE folder = ?1 AND disposition = 'observed' AND seq < ?2 AND seq > coalesce(
                 (SELECT max(seq) FROM messages WHERE outbound = 0 AND turn_id =
                     (SELECT id FROM turns WHERE folder = ?1 AND state = 'ended'
                      ORDER BY seq DESC LIMIT 1)), 0)
             ORDER BY seq DESC LIMIT ?3",
        )?
        .query_map((folder.as_str(), before, OBSERVED_MAX), messages::read)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    newest.reverse();
    Ok(newest)
}
