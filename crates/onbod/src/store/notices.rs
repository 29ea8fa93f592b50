//! What is to be said in chats.

use super::{count, parsed};
use proto::{Jid, Opaque, Timestamp, onbod::AdmissionState};
use rusqlite::{Connection, Row};

/// The hour in which strangers are counted.
const HOUR_MS: i64 = 60 * 60 * 1000;

/// What kind of line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With a pairing link, which is made when it is said.
    Greeting,
    /// As it is.
    Line,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Line => "line",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "greeting" => Ok(Self::Greeting),
            "line" => Ok(Self::Line),
            _ => Err("no kind of notice"),
        }
    }
}

/// Something to say.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) id: String,
    pub(crate) admission: Opaque,
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) attempts: u32,
    pub(crate) chat_jid: Jid,
    /// How things stand with the admission.
    pub(crate) state: AdmissionState,
}

/// Something new to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct New<'a> {
    pub(crate) id: &'a str,
    pub(crate) admission: &'a str,
    pub(crate) kind: Kind,
    pub(crate) to_stranger: bool,
    pub(crate) text: &'a str,
}

/// Writes down what is to be said.
pub(crate) fn add(conn: &Connection, notice: New<'_>, now: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO notices (id, admission, kind, to_stranger, text, state, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, 'pending', ?6)",
    )?
    .execute((
        notice.id,
        notice.admission,
        notice.kind.name(),
        notice.to_stranger,
        notice.text,
        now.0,
    ))?;
    Ok(())
}

/// How many strangers were addressed within the last hour.
pub(crate) fn to_strangers(conn: &Connection, now: Timestamp) -> rusqlite::Result<u32> {
    let sql = "SELECT count(*) FROM notices WHERE to_stranger = 1 AND created_at > ?1";
    count(conn, sql, [now.plus(-HOUR_MS).0])
}

/// What is to be said now, oldest first, of each chat the first.
pub(crate) fn due(conn: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<Vec<Pending>> {
    conn.prepare_cached(
        "SELECT n.id, n.admission, n.kind, n.text, n.attempts, a.chat_jid, a.state
         FROM notices AS n JOIN admissions AS a ON a.id = n.admission
         WHERE n.state = 'pending' AND n.not_before <= ?1 AND NOT EXISTS (
             SELECT 1 FROM notices AS e
             WHERE e.admission = n.admission AND e.seq < n.seq AND e.state = 'pending')
         ORDER BY n.seq LIMIT ?2",
    )?
    .query_map((now.0, limit), read)?
    .collect()
}

/// How many wait to be said.
pub(crate) fn pending(conn: &Connection) -> rusqlite::Result<u32> {
    count(conn, "SELECT count(*) FROM notices WHERE state = 'pending'", [])
}

/// It was said.
pub(crate) fn said(conn: &Connection, id: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE notices SET state = 'said' WHERE id = ?1 AND state = 'pending'")?
        .execute([id])?;
    Ok(())
}

/// It is not to be said any more.
pub(crate) fn drop(conn: &Connection, id: &str, why: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE notices SET state = 'dropped', detail = ?2 WHERE id = ?1 AND state = 'pending'",
    )?
    .execute((id, why))?;
    Ok(())
}

/// It could not be said now.
pub(crate) fn put_off(
    conn: &Connection,
    id: &str,
    why: &str,
    not_before: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE notices SET attempts = attempts + 1, detail = ?2, not_before = ?3
         WHERE id = ?1 AND state = 'pending'",
    )?
    .execute((id, why, not_before.0))?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Pending> {
    Ok(Pending {
        id: row.get("id")?,
        admission: parsed(row, "admission")?,
        kind: parsed(row, "kind")?,
        text: row.get("text")?,
        attempts: row.get("attempts")?,
        chat_jid: parsed(row, "chat_jid")?,
        state: parsed(row, "state")?,
    })
}
