//! Messages, in and out, in the order of their arrival.

use super::{json, parsed, parsed_if_there, time};
use crate::{
    origin::Origin,
    prompt::{Attached, Line},
    route::Earlier,
};
use proto::{Folder, Jid, Opaque, Timestamp, Topic, routd::Attachment};
use rusqlite::{Connection, OptionalExtension, Row};

/// A message on its way into the table.
#[derive(Clone, Debug)]
pub(crate) struct Inbound<'a> {
    pub(crate) id: &'a Opaque,
    pub(crate) chat_jid: &'a Jid,
    pub(crate) sender: &'a str,
    pub(crate) sender_name: Option<&'a str>,
    pub(crate) content: &'a str,
    pub(crate) verb: &'a str,
    pub(crate) thread: &'a Topic,
    pub(crate) topic: &'a Topic,
    pub(crate) folder: Option<&'a Folder>,
    pub(crate) disposition: &'static str,
    pub(crate) turn_id: Option<&'a str>,
    pub(crate) reply_to: Option<&'a Opaque>,
    pub(crate) is_group: bool,
    pub(crate) attachments: &'a [Attachment],
    pub(crate) sent_at: Timestamp,
    pub(crate) rule: &'a str,
    pub(crate) origin: Origin,
    /// The delegation that it asks for, or whose result it is.
    pub(crate) delegation: Option<&'a str>,
}

/// Something that routd says in a chat.
#[derive(Clone, Debug)]
pub(crate) struct Outbound<'a> {
    pub(crate) id: &'a str,
    pub(crate) chat_jid: &'a Jid,
    /// `agent`, or `system` for the suite's own lines.
    pub(crate) sender: &'static str,
    pub(crate) content: &'a str,
    pub(crate) attachments: &'a [Attachment],
    pub(crate) thread: &'a Topic,
    pub(crate) topic: &'a Topic,
    /// Whose chat it is. None, where it is nobody's yet.
    pub(crate) folder: Option<&'a Folder>,
    pub(crate) turn_id: Option<&'a str>,
    pub(crate) for_sender: Option<&'a str>,
    pub(crate) reply_to: Option<&'a str>,
}

/// A message, as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) seq: i64,
    pub(crate) id: Opaque,
    pub(crate) chat_jid: Jid,
    pub(crate) outbound: bool,
    pub(crate) sender: String,
    pub(crate) sender_name: Option<String>,
    pub(crate) content: String,
    pub(crate) verb: String,
    pub(crate) topic: Topic,
    pub(crate) folder: Option<Folder>,
    pub(crate) disposition: String,
    pub(crate) turn_id: Option<Opaque>,
    pub(crate) reply_to: Option<Opaque>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) sent_at: Timestamp,
    pub(crate) received_at: Timestamp,
    pub(crate) rule: String,
    pub(crate) origin: Origin,
    /// Whether it was taken back.
    pub(crate) deleted: bool,
}

/// Who wrote last in a chat, and where.
#[derive(Clone, Debug)]
pub(crate) struct Newest {
    pub(crate) sender: String,
    pub(crate) thread: Topic,
    pub(crate) topic: Topic,
}

pub(super) const COLUMNS: &str = "seq, id, chat_jid, outbound, sender, sender_name, content, verb, topic, \
    folder, disposition, turn_id, reply_to, attachments, sent_at, received_at, rule, origin, deleted_at";

/// The place of a message that is there already.
pub(crate) fn place(conn: &Connection, chat: &Jid, id: &Opaque) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT seq FROM messages WHERE chat_jid = ?1 AND id = ?2")?
        .query_row((chat.as_str(), id.as_str()), |row| row.get(0))
        .optional()
}

/// Writes a message that came in, and answers its place.
pub(crate) fn add(
    conn: &Connection,
    message: &Inbound<'_>,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    conn.prepare_cached(
        "INSERT INTO messages (id, chat_jid, outbound, sender, sender_name, content, verb, thread,
             topic, folder, disposition, turn_id, reply_to, is_group, attachments, sent_at,
             received_at, rule, origin, delegation)
         VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
             ?19)",
    )?
    .execute(rusqlite::params![
        message.id.as_str(),
        message.chat_jid.as_str(),
        message.sender,
        message.sender_name,
        message.content,
        message.verb,
        message.thread.as_str(),
        message.topic.as_str(),
        message.folder.map(Folder::as_str),
        message.disposition,
        message.turn_id,
        message.reply_to.map(Opaque::as_str),
        message.is_group,
        super::to_json(&message.attachments)?,
        message.sent_at.0,
        now.0,
        message.rule,
        message.origin.name(),
        message.delegation,
    ])?;
    Ok(conn.last_insert_rowid())
}

/// Writes something that is said, and answers its place.
pub(crate) fn say(
    conn: &Connection,
    message: &Outbound<'_>,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    conn.prepare_cached(
        "INSERT INTO messages (id, chat_jid, outbound, sender, content, verb, thread, topic, folder,
             disposition, turn_id, for_sender, reply_to, is_group, sent_at, received_at, rule,
             origin, attachments)
         VALUES (?1, ?2, 1, ?3, ?4, 'message', ?5, ?6, ?7, 'said', ?8, ?9, ?10, 0, ?11, ?11, '',
             CASE ?3 WHEN 'agent' THEN 'agent' ELSE 'system' END, ?12)",
    )?
    .execute(rusqlite::params![
        message.id,
        message.chat_jid.as_str(),
        message.sender,
        message.content,
        message.thread.as_str(),
        message.topic.as_str(),
        message.folder.map(Folder::as_str),
        message.turn_id,
        message.for_sender,
        message.reply_to,
        now.0,
        super::to_json(&message.attachments)?,
    ])?;
    Ok(conn.last_insert_rowid())
}

/// Replaces the text of something that was said.
pub(crate) fn edit(
    conn: &Connection,
    seq: i64,
    content: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE messages SET content = ?2, edited_at = ?3
         WHERE seq = ?1 AND outbound = 1 AND deleted_at IS NULL",
    )?
    .execute((seq, content, now.0))?;
    Ok(())
}

/// Takes something back that was said: its text goes, its row stays.
pub(crate) fn delete(conn: &Connection, seq: i64, now: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE messages SET content = '', attachments = '[]', deleted_at = ?2
         WHERE seq = ?1 AND outbound = 1 AND deleted_at IS NULL",
    )?
    .execute((seq, now.0))?;
    Ok(())
}

/// The platform's id of a message: its own where it came in, what the platform gave it where it went out.
pub(crate) fn platform_id(conn: &Connection, seq: i64) -> rusqlite::Result<Option<Opaque>> {
    conn.prepare_cached(
        "SELECT CASE m.outbound WHEN 0 THEN m.id ELSE
             (SELECT platform_id FROM sent_ids WHERE message_seq = m.seq ORDER BY platform_id LIMIT 1)
         END AS id FROM messages AS m WHERE m.seq = ?1",
    )?
    .query_row([seq], |row| parsed_if_there(row, "id"))
}

/// The message at this place.
pub(crate) fn get(conn: &Connection, seq: i64) -> rusqlite::Result<Option<Message>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM messages WHERE seq = ?1"))?
        .query_row([seq], read)
        .optional()
}

/// The messages with this id, in this chat or in any: at most two, which is enough to know that it is not one.
pub(crate) fn find(
    conn: &Connection,
    id: &Opaque,
    chat: Option<&Jid>,
) -> rusqlite::Result<Vec<Message>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages WHERE id = ?1 AND (?2 IS NULL OR chat_jid = ?2) LIMIT 2"
    ))?
    .query_map((id.as_str(), chat.map(Jid::as_str)), read)?
    .collect()
}

/// What came last in a chat.
pub(crate) fn newest_inbound(conn: &Connection, chat: &Jid) -> rusqlite::Result<Option<Newest>> {
    conn.prepare_cached(
        "SELECT sender, thread, topic FROM messages WHERE chat_jid = ?1 AND outbound = 0
         ORDER BY seq DESC LIMIT 1",
    )?
    .query_row([chat.as_str()], |row| {
        Ok(Newest {
            sender: row.get("sender")?,
            thread: parsed(row, "thread")?,
            topic: parsed(row, "topic")?,
        })
    })
    .optional()
}

/// What a turn is to answer, oldest first.
pub(crate) fn of_turn(conn: &Connection, turn_id: &str) -> rusqlite::Result<Vec<Message>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages WHERE turn_id = ?1 AND outbound = 0 ORDER BY seq"
    ))?
    .query_map([turn_id], read)?
    .collect()
}

/// The one who wrote all that a turn answers, if it is one. What is synthetic counts as somebody else, whatever sender it
/// names.
pub(crate) fn writer_of_turn(conn: &Connection, turn_id: &str) -> rusqlite::Result<Option<String>> {
    let mut writers = conn
        .prepare_cached(
            "SELECT DISTINCT CASE WHEN origin IN ('person', 'program') THEN sender END
             FROM messages WHERE turn_id = ?1 AND outbound = 0 LIMIT 2",
        )?
        .query_map([turn_id], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<Option<String>>>>()?;
    let first = writers.pop().flatten();
    Ok(first.filter(|_| writers.is_empty()))
}

/// What was said in a turn in this chat, oldest first.
pub(crate) fn said_in(
    conn: &Connection,
    turn_id: &str,
    chat: &Jid,
) -> rusqlite::Result<Vec<Message>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages
         WHERE turn_id = ?1 AND outbound = 1 AND chat_jid = ?2 AND deleted_at IS NULL ORDER BY seq"
    ))?
    .query_map((turn_id, chat.as_str()), read)?
    .collect()
}

/// Whether the agent said something in a turn, in the turn's own chat.
pub(crate) fn agent_spoke(conn: &Connection, turn_id: &str, chat: &Jid) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM messages
        WHERE turn_id = ?1 AND outbound = 1 AND chat_jid = ?2 AND sender = 'agent'";
    super::exists(conn, sql, (turn_id, chat.as_str()))
}

/// Whether the agent said this very text in a turn, in the turn's own chat.
pub(crate) fn agent_said(
    conn: &Connection,
    turn_id: &str,
    chat: &Jid,
    text: &str,
) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM messages WHERE turn_id = ?1 AND outbound = 1 AND chat_jid = ?2
        AND sender = 'agent' AND trim(content, char(9, 10, 13, 32)) = ?3";
    super::exists(conn, sql, (turn_id, chat.as_str(), text.trim()))
}

/// What the message with this platform id was, where the agent said it.
pub(crate) fn said_as(
    conn: &Connection,
    chat: &Jid,
    platform_id: &Opaque,
) -> rusqlite::Result<Option<Earlier>> {
    conn.prepare_cached(
        "SELECT folder, topic, for_sender AS sender FROM messages
         WHERE outbound = 1 AND sender = 'agent' AND seq = coalesce(
             (SELECT message_seq FROM sent_ids WHERE chat_jid = ?1 AND platform_id = ?2),
             (SELECT seq FROM messages WHERE chat_jid = ?1 AND id = ?2))",
    )?
    .query_row((chat.as_str(), platform_id.as_str()), earlier)
    .optional()
}

/// A row of `folder`, `topic`, `sender`.
pub(super) fn earlier(row: &Row<'_>) -> rusqlite::Result<Earlier> {
    Ok(Earlier {
        folder: parsed(row, "folder")?,
        topic: parsed(row, "topic")?,
        sender: row.get::<_, Option<String>>("sender")?.filter(|sender| !sender.is_empty()),
    })
}

/// The newest messages of a chat that belong to this folder, before a cursor; oldest first.
pub(crate) fn recent(
    conn: &Connection,
    chat: &Jid,
    folder: &Folder,
    before: i64,
    limit: u32,
) -> rusqlite::Result<Vec<Message>> {
    let mut newest = conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM messages
             WHERE chat_jid = ?1 AND folder = ?2 AND seq < ?3 AND deleted_at IS NULL
             ORDER BY seq DESC LIMIT ?4"
        ))?
        .query_map((chat.as_str(), folder.as_str(), before, limit), read)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    newest.reverse();
    Ok(newest)
}

/// Whose chat this is: `own` where any message of it belongs to that folder, else the folder of its newest message.
pub(crate) fn folder_of_chat(
    conn: &Connection,
    chat: &Jid,
    own: &Folder,
) -> rusqlite::Result<Option<Folder>> {
    let sql = "SELECT 1 FROM messages WHERE chat_jid = ?1 AND folder = ?2 LIMIT 1";
    if super::exists(conn, sql, (chat.as_str(), own.as_str()))? {
        return Ok(Some(own.clone()));
    }
    conn.prepare_cached(
        "SELECT folder FROM messages
         WHERE chat_jid = ?1 AND folder IS NOT NULL ORDER BY seq DESC LIMIT 1",
    )?
    .query_row([chat.as_str()], |row| parsed(row, "folder"))
    .optional()
}

/// Every folder that messages of this chat went to.
pub(crate) fn folders_of_chat(conn: &Connection, chat: &Jid) -> rusqlite::Result<Vec<Folder>> {
    conn.prepare_cached(
        "SELECT DISTINCT folder FROM messages WHERE chat_jid = ?1 AND folder IS NOT NULL",
    )?
    .query_map([chat.as_str()], |row| parsed(row, "folder"))?
    .collect()
}

/// A message that has the words, and the place where it has them.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) message: Message,
    pub(crate) snippet: String,
}

/// The messages that have these words, the newest first, before a cursor; `take` says for each whether it is wanted, and
/// ends the search by an error of its own. At most `scan` are looked at: answers where to go on, if there may be more.
pub(crate) fn search(
    conn: &Connection,
    words: &str,
    before: i64,
    scan: u32,
    mut take: impl FnMut(Found) -> bool,
) -> rusqlite::Result<Option<i64>> {
    let columns = COLUMNS.replace(", ", ", m.");
    let mut statement = conn.prepare_cached(&format!(
        "SELECT m.{columns}, snippet(messages_words, 0, '', '', '…', 32) AS snippet
         FROM messages_words CROSS JOIN messages AS m ON m.seq = messages_words.rowid
         WHERE messages_words MATCH ?1 AND messages_words.rowid < ?2
         ORDER BY messages_words.rowid DESC LIMIT ?3"
    ))?;
    let rows = statement.query_map((words, before, scan), |row| {
        Ok(Found { message: read(row)?, snippet: row.get("snippet")? })
    })?;
    let (mut seen, mut last) = (0, None);
    for found in rows {
        let found = found?;
        let seq = found.message.seq;
        seen += 1;
        last = Some(seq);
        if !take(found) {
            return Ok(last);
        }
    }
    Ok(last.filter(|_| seen == scan))
}

impl Message {
    /// What was said, and the names of the files that came with it.
    pub(crate) fn told(self) -> String {
        let files = self.attachments.iter().map(|file| format!("[file: {}]", file.filename));
        let parts = Some(self.content.clone()).into_iter().filter(|text| !text.is_empty());
        parts.chain(files).collect::<Vec<_>>().join("\n")
    }
}

impl From<Message> for Line {
    fn from(message: Message) -> Self {
        let (seq, outbound) = (message.seq, message.outbound);
        let attached = |(index, file): (usize, Attachment)| Attached {
            id: file.url.filter(|_| !outbound).map(|_| format!("{seq}-{index}")),
            name: file.filename,
            mime: file.mime,
            size: file.size,
            path: None,
        };
        Self {
            chat_jid: message.chat_jid.into(),
            id: message.id.into(),
            sender: message.sender,
            sender_name: message.sender_name,
            content: message.content,
            sent_at: message.sent_at,
            verb: message.verb,
            origin: message.origin,
            reply_to: message.reply_to.map(String::from),
            attachments: message.attachments.into_iter().enumerate().map(attached).collect(),
        }
    }
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        seq: row.get("seq")?,
        id: parsed(row, "id")?,
        chat_jid: parsed(row, "chat_jid")?,
        outbound: row.get("outbound")?,
        sender: row.get("sender")?,
        sender_name: row.get("sender_name")?,
        content: row.get("content")?,
        verb: row.get("verb")?,
        topic: parsed(row, "topic")?,
        folder: parsed_if_there(row, "folder")?,
        disposition: row.get("disposition")?,
        turn_id: parsed_if_there(row, "turn_id")?,
        reply_to: parsed_if_there(row, "reply_to")?,
        attachments: json(row, "attachments")?,
        sent_at: time(row, "sent_at")?,
        received_at: time(row, "received_at")?,
        rule: row.get("rule")?,
        origin: parsed(row, "origin")?,
        deleted: row.get::<_, Option<i64>>("deleted_at")?.is_some(),
    })
}
