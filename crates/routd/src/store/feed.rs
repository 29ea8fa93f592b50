//! The feed: what happened in a chat, in order, with numbers that grow and never repeat.

use super::{json, messages, outbox::Kind, parsed, parsed_if_there, time, turns};
use proto::{
    Jid, Timestamp, Topic,
    routd::{FeedEvent, FeedItem, TurnEnd},
};
use rusqlite::{Connection, Row};

/// Bytes of text after which a page ends, whatever its limit says.
const PAGE_BYTES: usize = 4 << 20;

/// A message was written.
pub(crate) fn message(
    conn: &Connection,
    chat: &Jid,
    topic: &Topic,
    message_seq: i64,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO feed (chat_jid, topic, at, kind, message_seq) VALUES (?1, ?2, ?3, 'message', ?4)",
    )?
    .execute((chat.as_str(), topic.as_str(), now.0, message_seq))?;
    Ok(())
}

/// A message was changed. One that was taken back is not told to anybody who has not seen it.
pub(crate) fn changed(
    conn: &Connection,
    message: &messages::Message,
    kind: Kind,
    text: Option<&str>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let kind = match kind {
        Kind::Send => return Ok(()),
        Kind::Edit => "edited",
        Kind::Delete => {
            conn.prepare_cached("DELETE FROM feed WHERE message_seq = ?1")?
                .execute([message.seq])?;
            "deleted"
        }
        Kind::React => "reacted",
    };
    let text = text.filter(|_| kind == "reacted");
    conn.prepare_cached(
        "INSERT INTO feed (chat_jid, topic, at, kind, message_seq, text)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        message.chat_jid.as_str(),
        message.topic.as_str(),
        now.0,
        kind,
        message.seq,
        text,
    ))?;
    Ok(())
}

/// What a turn is doing. Replaces what it was doing before.
pub(crate) fn status(
    conn: &Connection,
    turn: &turns::Turn,
    text: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    clear_status(conn, &turn.id)?;
    conn.prepare_cached(
        "INSERT INTO feed (chat_jid, topic, at, kind, turn_id, text)
         VALUES (?1, ?2, ?3, 'status', ?4, ?5)",
    )?
    .execute((turn.chat_jid.as_str(), turn.topic.as_str(), now.0, &turn.id, text))?;
    Ok(())
}

/// A turn ended.
pub(crate) fn done(
    conn: &Connection,
    turn: &turns::Turn,
    how: TurnEnd,
    now: Timestamp,
) -> rusqlite::Result<()> {
    clear_status(conn, &turn.id)?;
    conn.prepare_cached(
        "INSERT INTO feed (chat_jid, topic, at, kind, turn_id, outcome)
         VALUES (?1, ?2, ?3, 'done', ?4, ?5)",
    )?
    .execute((
        turn.chat_jid.as_str(),
        turn.topic.as_str(),
        now.0,
        &turn.id,
        turns::end_name(how),
    ))?;
    Ok(())
}

/// Whether a turn says what it is doing.
pub(crate) fn has_status(conn: &Connection, turn_id: &str) -> rusqlite::Result<bool> {
    super::exists(conn, "SELECT 1 FROM feed WHERE turn_id = ?1 AND kind = 'status'", [turn_id])
}

fn clear_status(conn: &Connection, turn_id: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM feed WHERE turn_id = ?1 AND kind = 'status'")?
        .execute([turn_id])?;
    Ok(())
}

/// What happened in a chat after a cursor; without one, its newest page. In order.
pub(crate) fn page(
    conn: &Connection,
    chat: &Jid,
    after: Option<i64>,
    limit: u32,
) -> rusqlite::Result<Vec<FeedEvent>> {
    let order = if after.is_some() { "ASC" } else { "DESC" };
    let mut statement = conn.prepare_cached(&format!(
        "SELECT f.seq, f.at, f.topic, f.kind, f.turn_id, f.text, f.outcome, m.id, m.sender,
                 m.sender_name, m.outbound, m.content, m.reply_to, m.attachments
             FROM feed AS f LEFT JOIN messages AS m ON m.seq = f.message_seq
             WHERE f.chat_jid = ?1 AND f.seq > ?2 ORDER BY f.seq {order} LIMIT ?3"
    ))?;
    let rows = statement.query_map((chat.as_str(), after.unwrap_or(0), limit), read)?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    for event in rows {
        let event = event?;
        if let FeedItem::Message { content, .. } | FeedItem::Edited { content, .. } = &event.what {
            bytes += content.len();
        }
        // One event is always shown, so that a reader gets on.
        if bytes > PAGE_BYTES && !events.is_empty() {
            break;
        }
        events.push(event);
    }
    events.sort_by_key(|event| event.seq);
    Ok(events)
}

fn read(row: &Row<'_>) -> rusqlite::Result<FeedEvent> {
    let kind: String = row.get("kind")?;
    let what = match kind.as_str() {
        "message" => FeedItem::Message {
            id: parsed(row, "id")?,
            sender: row.get("sender")?,
            sender_name: row.get("sender_name")?,
            from_agent: row.get("outbound")?,
            content: row.get("content")?,
            reply_to: parsed_if_there(row, "reply_to")?,
            attachments: json(row, "attachments")?,
        },
        "edited" => FeedItem::Edited { id: parsed(row, "id")?, content: row.get("content")? },
        "deleted" => FeedItem::Deleted { id: parsed(row, "id")? },
        "reacted" => FeedItem::Reacted { id: parsed(row, "id")?, emoji: row.get("text")? },
        "status" => FeedItem::Status { turn_id: parsed(row, "turn_id")?, text: row.get("text")? },
        _ => {
            let outcome: String = row.get("outcome")?;
            let outcome = turns::end_named(&outcome).ok_or(rusqlite::Error::InvalidQuery)?;
            FeedItem::Done { turn_id: parsed(row, "turn_id")?, outcome }
        }
    };
    Ok(FeedEvent { seq: row.get("seq")?, at: time(row, "at")?, topic: parsed(row, "topic")?, what })
}
