//! Conversations, as somebody looks through them: by chat, by message, by turn, by what is to be sent.

use super::{
    messages::{self, Message},
    parsed, parsed_if_there, time, turns,
};
use proto::{
    Folder, Jid, Timestamp,
    routd::{Chat, Disposition, OutboxRow, TurnEnd, TurnRow},
};
use rusqlite::{Connection, Row, types::Value};

/// Characters of a chat's newest message that a list of chats has.
const PREVIEW: u32 = 200;

/// The conditions of a query, and what they are filled with.
#[derive(Debug, Default)]
struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds a condition, in which `?` stands for the value wherever it is.
    fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        let place = format!("?{}", self.values.len());
        self.bare(&condition.replace('?', &place));
    }

    /// Adds a condition without a value.
    fn bare(&mut self, condition: &str) {
        self.text.push_str(if self.text.is_empty() { " WHERE " } else { " AND " });
        self.text.push_str(condition);
    }

    /// A folder, and those below it. Not `LIKE`, to which `_` is any character.
    fn below(&mut self, folder: Option<&Folder>, column: &str) {
        if let Some(folder) = folder {
            let below = format!("({column} = ? OR substr({column}, 1, length(?) + 1) = ? || '/')");
            self.and(&below, folder.to_string());
        }
    }

    fn before(&mut self, cursor: Option<i64>, column: &str) {
        if let Some(cursor) = cursor {
            self.and(&format!("{column} < ?"), cursor);
        }
    }
}

/// Chats, those with the newest messages first, before a cursor.
pub(crate) fn chats(
    conn: &Connection,
    folder: Option<&Folder>,
    part: Option<&str>,
    before: Option<i64>,
    limit: u32,
) -> rusqlite::Result<Vec<Chat>> {
    let mut wanted = Conditions::default();
    wanted.below(folder, "m.folder");
    wanted.before(before, "m.seq");
    if let Some(part) = part {
        wanted.and("instr(m.chat_jid, ?) > 0", part.to_owned());
    }
    // From one chat's name to the next in the index, instead of over every message.
    conn.prepare_cached(&format!(
        "WITH RECURSIVE named (jid) AS (
             SELECT min(chat_jid) FROM messages
             UNION ALL
             SELECT (SELECT min(chat_jid) FROM messages WHERE chat_jid > named.jid)
             FROM named WHERE named.jid IS NOT NULL)
         SELECT m.chat_jid, m.folder, m.seq, m.received_at, m.sender, m.sender_name,
             substr(m.content, 1, {PREVIEW}) AS content
         FROM named JOIN messages AS m
             ON m.seq = (SELECT max(seq) FROM messages WHERE chat_jid = named.jid)
         {} ORDER BY m.seq DESC LIMIT {limit}",
        wanted.text
    ))?
    .query_map(rusqlite::params_from_iter(wanted.values), |row| {
        Ok(Chat {
            jid: parsed(row, "chat_jid")?,
            folder: parsed_if_there(row, "folder")?,
            seq: row.get("seq")?,
            at: time(row, "received_at")?,
            sender: row.get("sender")?,
            sender_name: row.get("sender_name")?,
            content: row.get("content")?,
        })
    })?
    .collect()
}

/// Messages before a cursor, newest first.
pub(crate) fn page(
    conn: &Connection,
    chat: Option<&Jid>,
    folder: Option<&Folder>,
    disposition: Option<Disposition>,
    before: Option<i64>,
    limit: u32,
) -> rusqlite::Result<Vec<Message>> {
    let mut wanted = Conditions::default();
    if let Some(chat) = chat {
        wanted.and("chat_jid = ?", chat.to_string());
    }
    wanted.below(folder, "folder");
    if let Some(disposition) = disposition {
        // As it stands, since an index covers only what has it so.
        wanted.bare(&format!("disposition = '{}'", disposition.name()));
    }
    wanted.before(before, "seq");
    conn.prepare_cached(&format!(
        "SELECT {} FROM messages{} ORDER BY seq DESC LIMIT {limit}",
        messages::COLUMNS,
        wanted.text
    ))?
    .query_map(rusqlite::params_from_iter(wanted.values), messages::read)?
    .collect()
}

/// The outbox before a cursor, newest first.
pub(crate) fn outbox(
    conn: &Connection,
    state: Option<&str>,
    before: Option<i64>,
    limit: u32,
) -> rusqlite::Result<Vec<OutboxRow>> {
    let mut wanted = Conditions::default();
    if let Some(state) = state {
        wanted.and("o.state = ?", state.to_owned());
    }
    wanted.before(before, "o.seq");
    conn.prepare_cached(&format!(
        "SELECT o.seq, o.id, o.chat_jid, m.id AS message_id, o.state, o.attempts, o.detail,
             o.created_at
         FROM outbox AS o JOIN messages AS m ON m.seq = o.message_seq
         {} ORDER BY o.seq DESC LIMIT {limit}",
        wanted.text
    ))?
    .query_map(rusqlite::params_from_iter(wanted.values), |row| {
        Ok(OutboxRow {
            seq: row.get("seq")?,
            id: parsed(row, "id")?,
            chat_jid: parsed(row, "chat_jid")?,
            message_id: parsed(row, "message_id")?,
            state: row.get("state")?,
            attempts: row.get("attempts")?,
            detail: row.get("detail")?,
            created_at: time(row, "created_at")?,
        })
    })?
    .collect()
}

/// Which turns.
#[derive(Debug)]
pub(crate) struct WantedTurns<'a> {
    pub(crate) folder: Option<&'a Folder>,
    pub(crate) outcome: Option<TurnEnd>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) before: Option<i64>,
    pub(crate) limit: u32,
}

/// Turns before a cursor, newest first.
pub(crate) fn turns(conn: &Connection, asked: &WantedTurns<'_>) -> rusqlite::Result<Vec<TurnRow>> {
    let mut wanted = Conditions::default();
    wanted.below(asked.folder, "t.folder");
    if let Some(outcome) = asked.outcome {
        wanted.and("t.outcome = ?", turns::end_name(outcome).to_owned());
    }
    if let Some(since) = asked.since {
        wanted.and("(t.ended_at IS NULL OR t.ended_at >= ?)", since.0);
    }
    wanted.before(asked.before, "t.seq");
    conn.prepare_cached(&format!(
        "SELECT t.seq, t.id, t.folder, t.chat_jid, t.topic, t.state, t.outcome, t.attempt, t.run_id,
             t.created_at, t.ended_at, t.detail,
             (SELECT id FROM messages WHERE turn_id = t.id AND outbound = 0 ORDER BY seq LIMIT 1)
                 AS message_id
         FROM turns AS t{} ORDER BY t.seq DESC LIMIT {}",
        wanted.text, asked.limit
    ))?
    .query_map(rusqlite::params_from_iter(wanted.values), turn)?
    .collect()
}

fn turn(row: &Row<'_>) -> rusqlite::Result<TurnRow> {
    let outcome: Option<String> = row.get("outcome")?;
    Ok(TurnRow {
        seq: row.get("seq")?,
        id: parsed(row, "id")?,
        folder: parsed(row, "folder")?,
        chat_jid: parsed(row, "chat_jid")?,
        topic: parsed(row, "topic")?,
        state: row.get("state")?,
        outcome: outcome.as_deref().and_then(turns::end_named),
        attempt: row.get("attempt")?,
        run_id: parsed_if_there(row, "run_id")?,
        message_id: parsed_if_there(row, "message_id")?,
        created_at: time(row, "created_at")?,
        ended_at: row.get::<_, Option<i64>>("ended_at")?.map(Timestamp),
        detail: row.get("detail")?,
    })
}
