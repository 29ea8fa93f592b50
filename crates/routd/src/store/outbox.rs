//! What goes out to platforms: one row for each message, with its fate.

use super::{channels, epoch, json, messages, parsed, parsed_if_there, time};
use crate::{fault::Fault, ids};
use proto::{
    Jid, Opaque, Timestamp, Topic,
    routd::{Attachment, Sent},
};
use rusqlite::{Connection, Row};

/// How long a chat waits for a doubt about an earlier message to be cleared up, in milliseconds: some heartbeats of an
/// adapter, each of which has it asked.
pub(crate) const HOLD_MS: i64 = 60_000;
/// How often an adapter is asked before a chat waits for it no more: something about that message breaks it.
pub(crate) const ASKED_MAX: u32 = 5;

/// How long an adapter may ask to be left alone, in milliseconds: nothing waits longer for its time. What would was
/// put off by a clock that has been set back since, and is due.
pub(crate) const WAIT_MAX: i64 = 60 * 60 * 1_000;

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Send,
    Edit,
    Delete,
    React,
}

impl Kind {
    /// Its name in the database, and the capability of an adapter that can do it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::React => "react",
        }
    }

    /// What was done, as an agent is told.
    pub(crate) const fn done(self) -> &'static str {
        match self {
            Self::Send => "sending",
            Self::Edit => "new text",
            Self::Delete => "deletion",
            Self::React => "reaction",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let all = [Self::Send, Self::Edit, Self::Delete, Self::React];
        let found = all.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// The text names nothing that is done with a message.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is nothing that is done with a message")]
pub(crate) struct UnknownKind(String);

/// A message that is to be sent, or a change of one.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) kind: Kind,
    /// For a change: the platform's id of the message, where it has one.
    pub(crate) target: Option<Opaque>,
    pub(crate) seq: i64,
    /// Travels as `Idempotency-Key`.
    pub(crate) id: String,
    pub(crate) message_seq: i64,
    pub(crate) chat_jid: Jid,
    pub(crate) content: String,
    /// Files that go with it.
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) thread: Topic,
    pub(crate) reply_to: Option<Opaque>,
    /// Attempts before this one.
    pub(crate) attempts: u32,
    pub(crate) created_at: Timestamp,
}

/// The end of a parcel, or what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Sent(Sent),
    Failed(String),
    Unsupported(String),
    /// Whether the platform has it is not known.
    Ambiguous(String),
    /// The same, and its adapter can be asked again: until then its chat waits, so that its order is kept.
    Asking {
        hold_until: Timestamp,
        why: String,
    },
    /// Not yet: again at this time, or as soon as an adapter comes where there was none.
    Later {
        not_before: Timestamp,
        unreached: bool,
        why: String,
    },
}

impl Fate {
    /// Its name in the database.
    pub(crate) const fn state(&self) -> &'static str {
        match self {
            Self::Sent(_) => "sent",
            Self::Failed(_) => "failed",
            Self::Unsupported(_) => "unsupported",
            Self::Ambiguous(_) | Self::Asking { .. } => "ambiguous",
            Self::Later { .. } => "pending",
        }
    }
}

/// Puts a message into the outbox. In a chat of the suite's own the row is delivered by being committed: webd reads
/// the feed, so that there it is sent at once.
pub(crate) fn add(
    conn: &Connection,
    message_seq: i64,
    chat: &Jid,
    delivered: bool,
    now: Timestamp,
) -> rusqlite::Result<()> {
    add_change(conn, message_seq, chat, Kind::Send, None, delivered, now)
}

/// The same with a change of a message.
pub(crate) fn add_change(
    conn: &Connection,
    message_seq: i64,
    chat: &Jid,
    kind: Kind,
    text: Option<&str>,
    delivered: bool,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let (state, ended_at) = if delivered { ("sent", Some(now.0)) } else { ("pending", None) };
    conn.prepare_cached(
        "INSERT INTO outbox (id, kind, message_seq, text, chat_jid, platform, state, created_at,
             ended_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(rusqlite::params![
        ids::fresh("o"),
        kind.name(),
        message_seq,
        text,
        chat.as_str(),
        chat.platform(),
        state,
        now.0,
        ended_at,
    ])?;
    Ok(())
}

/// What waits to be sent of a message that was taken back is not sent.
pub(crate) fn withdraw(
    conn: &Connection,
    message_seq: i64,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "UPDATE outbox SET state = 'failed', detail = 'taken back before it was sent', ended_at = ?2
         WHERE message_seq = ?1 AND state = 'pending'",
    )?
    .execute((message_seq, now.0))
}

/// The platforms for which something may be sent now.
pub(crate) fn platforms_due(conn: &Connection, now: Timestamp) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached(
        "SELECT DISTINCT platform FROM outbox
         WHERE state = 'pending' AND not_before NOT BETWEEN ?1 + 1 AND ?2",
    )?
    .query_map((now.0, now.plus(WAIT_MAX).0), |row| row.get(0))?
    .collect()
}

/// Takes what may be sent now to a platform, at most `limit`, at most the oldest of each chat: marks it as being sent.
pub(crate) fn take(
    conn: &Connection,
    platform: &str,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Parcel>, Fault> {
    let parcels = conn
        .prepare_cached(
            "SELECT o.seq, o.id, o.kind, o.message_seq, o.chat_jid, o.attempts, o.created_at,
                 coalesce(o.text, m.content) AS content, m.thread, m.reply_to, m.attachments
             FROM outbox AS o JOIN messages AS m ON m.seq = o.message_seq
             WHERE o.state = 'pending' AND o.platform = ?3
               AND o.not_before NOT BETWEEN ?1 + 1 AND ?4
               AND NOT EXISTS (SELECT 1 FROM outbox AS e WHERE e.chat_jid = o.chat_jid
                   AND e.seq < o.seq AND e.state IN ('pending', 'sending'))
               AND NOT EXISTS (SELECT 1 FROM outbox AS e WHERE e.chat_jid = o.chat_jid
                   AND e.seq < o.seq AND e.state = 'ambiguous'
                   AND e.not_before BETWEEN ?1 + 1 AND ?5)
             ORDER BY o.seq LIMIT ?2",
        )?
        .query_map((now.0, limit, platform, now.plus(WAIT_MAX).0, now.plus(HOLD_MS).0), read)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut parcels = parcels;
    for parcel in &mut parcels {
        if parcel.kind != Kind::Send {
            parcel.target = messages::platform_id(conn, parcel.message_seq)?;
        }
        let changed = conn
            .prepare_cached(
                "UPDATE outbox SET state = 'sending', attempts = attempts + 1
                 WHERE seq = ?1 AND state = 'pending'",
            )?
            .execute([parcel.seq])?;
        if changed != 1 {
            return Err(Fault::Conflict(format!("the outbox row {} was taken twice", parcel.id)));
        }
    }
    Ok(parcels)
}

/// Has answers in doubt whose chats waited for them at `since` be waited for this much longer.
pub(crate) fn hold_on(conn: &Connection, since: Timestamp, by_ms: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE outbox SET not_before = not_before + ?2 WHERE state = 'ambiguous' AND not_before > ?1",
    )?
    .execute((since.0, by_ms))?;
    Ok(())
}

/// When the next parcel that waits for its time, or for that of a doubtful one before it, may go.
pub(crate) fn next_due(conn: &Connection, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    conn.prepare_cached(
        "SELECT min(due) FROM (
             SELECT min(not_before) AS due FROM outbox WHERE state = 'pending' AND not_before > ?1
             UNION ALL
             SELECT min(not_before) FROM outbox WHERE state = 'ambiguous' AND not_before > ?1)",
    )?
    .query_row([now.0], |row| Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp)))
}

/// Writes what became of a parcel that was being sent.
pub(crate) fn settle(
    conn: &Connection,
    parcel: &Parcel,
    fate: &Fate,
    now: Timestamp,
) -> Result<(), Fault> {
    let (not_before, unreached, detail) = match fate {
        Fate::Sent(_) => (0, false, ""),
        Fate::Failed(why) | Fate::Unsupported(why) | Fate::Ambiguous(why) => {
            (0, false, why.as_str())
        }
        Fate::Asking { hold_until, why } => (hold_until.0, false, why.as_str()),
        Fate::Later { not_before, unreached, why } => (not_before.0, *unreached, why.as_str()),
    };
    let ended = !matches!(fate, Fate::Later { .. } | Fate::Ambiguous(_) | Fate::Asking { .. });
    let changed = conn
        .prepare_cached(
            "UPDATE outbox SET state = ?2, not_before = ?3, detail = ?4, ended_at = ?5, unreached = ?6,
                 text = CASE WHEN kind = 'send' AND ?5 IS NOT NULL THEN NULL ELSE text END
             WHERE seq = ?1 AND state = 'sending'",
        )?
        .execute((
            parcel.seq,
            fate.state(),
            not_before,
            detail,
            ended.then_some(now.0),
            unreached,
        ))?;
    if changed != 1 {
        return Err(Fault::Conflict(format!("the outbox row {} is not being sent", parcel.id)));
    }
    if let Fate::Sent(sent) = fate {
        for id in &sent.ids {
            conn.prepare_cached(
                "INSERT INTO sent_ids (chat_jid, platform_id, message_seq) VALUES (?1, ?2, ?3)
                 ON CONFLICT (chat_jid, platform_id) DO UPDATE SET message_seq = ?3",
            )?
            .execute((parcel.chat_jid.as_str(), id.as_str(), parcel.message_seq))?;
        }
    }
    Ok(())
}

/// At start: what a routd that was killed had been sending may or may not be out. Where its adapter can be asked, its
/// chat waits for that.
pub(crate) fn doubt_unfinished(conn: &Connection, now: Timestamp) -> rusqlite::Result<usize> {
    let unfinished = conn
        .prepare_cached("SELECT seq, chat_jid, attempts FROM outbox WHERE state = 'sending'")?
        .query_map([], |row| {
            let attempts: u32 = row.get("attempts")?;
            Ok((row.get::<_, i64>("seq")?, parsed(row, "chat_jid")?, attempts))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (seq, chat, attempts) in &unfinished {
        let registered = channels::of_chat(conn, chat)?;
        let asks = registered.is_some_and(|one| one.remembers()) && *attempts <= ASKED_MAX;
        let hold_until = if asks { now.plus(HOLD_MS).0 } else { 0 };
        conn.prepare_cached(
            "UPDATE outbox SET state = 'ambiguous', not_before = ?2,
                 detail = 'routd ended while it was being sent'
             WHERE seq = ?1 AND state = 'sending'",
        )?
        .execute((seq, hold_until))?;
    }
    Ok(unfinished.len())
}

/// An adapter has come: what waited only for that goes now. What an adapter put off itself keeps its time.
pub(crate) fn hurry(conn: &Connection, prefix: &str) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "UPDATE outbox SET not_before = 0
         WHERE state = 'pending' AND unreached = 1 AND not_before > 0
           AND substr(chat_jid, 1, length(?1)) = ?1",
    )?
    .execute([prefix])
}

/// Ambiguous parcels of these chats may be asked about again: the adapter remembers their keys, so that what is out
/// is not sent twice. What was held when a backup was brought back is not among them: the adapter's memory is as old.
pub(crate) fn reconcile(conn: &Connection, prefix: &str) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "UPDATE outbox SET state = 'pending', not_before = 0
         WHERE state = 'ambiguous' AND substr(chat_jid, 1, length(?1)) = ?1
           AND seq > coalesce((SELECT value FROM counters WHERE name = ?2), 0)",
    )?
    .execute([prefix, epoch::HELD])
}

fn read(row: &Row<'_>) -> rusqlite::Result<Parcel> {
    Ok(Parcel {
        kind: parsed(row, "kind")?,
        target: None,
        seq: row.get("seq")?,
        id: row.get("id")?,
        message_seq: row.get("message_seq")?,
        chat_jid: parsed(row, "chat_jid")?,
        content: row.get("content")?,
        attachments: json(row, "attachments")?,
        thread: parsed(row, "thread")?,
        reply_to: parsed_if_there(row, "reply_to")?,
        attempts: row.get("attempts")?,
        created_at: time(row, "created_at")?,
    })
}
