//! Calls of tools that are held until a person decides on them.

use super::{parsed, time};
use proto::{
    Folder, Timestamp,
    routd::{Approval, ApprovalState},
};
use rusqlite::{Connection, OptionalExtension, Row};

/// A call that is about to be held.
#[derive(Clone, Debug)]
pub(crate) struct NewApproval<'a> {
    pub(crate) id: &'a str,
    pub(crate) turn: &'a super::turns::Turn,
    pub(crate) tool: &'a str,
    pub(crate) arguments: &'a str,
    pub(crate) digest: &'a str,
    pub(crate) expires_at: Timestamp,
}

const COLUMNS: &str = "a.seq, a.id, a.state, a.turn_id, a.folder, a.chat_jid, a.topic, a.tool, \
    a.arguments, a.digest, a.held_at, a.expires_at, a.decided_at, a.decided_by, a.reason, \
    a.settled_at, a.answer, t.sender FROM approvals AS a JOIN turns AS t ON t.id = a.turn_id";

/// Writes that a call is held.
pub(crate) fn add(
    conn: &Connection,
    new: &NewApproval<'_>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let turn = new.turn;
    conn.prepare_cached(
        "INSERT INTO approvals (id, state, turn_id, folder, chat_jid, topic, tool, arguments, digest,
             held_at, expires_at)
         VALUES (?1, 'pending', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(rusqlite::params![
        new.id,
        turn.id,
        turn.folder.as_str(),
        turn.chat_jid.as_str(),
        turn.topic.as_str(),
        new.tool,
        new.arguments,
        new.digest,
        now.0,
        new.expires_at.0,
    ])?;
    Ok(())
}

/// One by its id.
pub(crate) fn get(conn: &Connection, id: &str) -> rusqlite::Result<Option<Approval>> {
    let sql = format!("SELECT {COLUMNS} WHERE a.id = ?1");
    conn.prepare_cached(&sql)?.query_row([id], |row| read(row).map(|(_, held)| held)).optional()
}

/// The very same call of a folder's agent in the same place, where one waits already: its id, and until when.
pub(crate) fn same_pending(
    conn: &Connection,
    turn: &super::turns::Turn,
    digest: &str,
    now: Timestamp,
) -> rusqlite::Result<Option<(String, Timestamp)>> {
    conn.prepare_cached(
        "SELECT id, expires_at FROM approvals
         WHERE state = 'pending' AND folder = ?1 AND chat_jid = ?2 AND topic = ?3 AND digest = ?4
           AND expires_at > ?5",
    )?
    .query_row(
        (turn.folder.as_str(), turn.chat_jid.as_str(), turn.topic.as_str(), digest, now.0),
        |row| Ok((row.get(0)?, time(row, "expires_at")?)),
    )
    .optional()
}

/// How many calls of a folder wait.
pub(crate) fn count_pending(conn: &Connection, folder: &Folder) -> rusqlite::Result<u32> {
    conn.prepare_cached("SELECT count(*) FROM approvals WHERE state = 'pending' AND folder = ?1")?
        .query_row([folder.as_str()], |row| row.get(0))
}

/// Writes a decision: `to` is [`ApprovalState::Approved`] or [`ApprovalState::Denied`]. Whether it still waited.
pub(crate) fn decide(
    conn: &Connection,
    id: &str,
    to: ApprovalState,
    (by, reason): (&str, Option<&str>),
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let settled = (to == ApprovalState::Denied).then_some(now.0);
    let changed = conn
        .prepare_cached(
            "UPDATE approvals SET state = ?2, decided_at = ?3, decided_by = ?4, reason = ?5, settled_at = ?6
             WHERE id = ?1 AND state = 'pending' AND expires_at > ?3",
        )?
        .execute((id, to.name(), now.0, by, reason, settled))?;
    Ok(changed == 1)
}

/// Moves one from a state to another, neither of which settles it. Whether it was there.
pub(crate) fn step(
    conn: &Connection,
    id: &str,
    from: ApprovalState,
    to: ApprovalState,
) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached("UPDATE approvals SET state = ?3 WHERE id = ?1 AND state = ?2")?
        .execute((id, from.name(), to.name()))?;
    Ok(changed == 1)
}

/// Writes how one ended. Whether it was in the state from which it ends.
pub(crate) fn settle(
    conn: &Connection,
    id: &str,
    (from, to): (ApprovalState, ApprovalState),
    answer: &str,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE approvals SET state = ?3, answer = ?4, settled_at = ?5 WHERE id = ?1 AND state = ?2",
        )?
        .execute((id, from.name(), to.name(), answer, now.0))?;
    Ok(changed == 1)
}

/// Whether the call of this id is being made.
pub(crate) fn is_running(conn: &Connection, id: &str) -> rusqlite::Result<bool> {
    super::exists(conn, "SELECT 1 FROM approvals WHERE id = ?1 AND state = 'running'", [id])
}

/// The oldest of those that stand so.
pub(crate) fn in_state(
    conn: &Connection,
    state: ApprovalState,
    limit: u32,
) -> rusqlite::Result<Vec<Approval>> {
    let sql = format!("SELECT {COLUMNS} WHERE a.state = ?1 ORDER BY a.seq LIMIT ?2");
    conn.prepare_cached(&sql)?
        .query_map((state.name(), limit), |row| read(row).map(|(_, held)| held))?
        .collect()
}

/// Those that wait and whose time is over.
pub(crate) fn lapsed(
    conn: &Connection,
    now: Timestamp,
    limit: u32,
) -> rusqlite::Result<Vec<Approval>> {
    let sql = format!(
        "SELECT {COLUMNS} WHERE a.state = 'pending' AND a.expires_at <= ?1
         ORDER BY a.expires_at LIMIT ?2"
    );
    conn.prepare_cached(&sql)?
        .query_map((now.0, limit), |row| read(row).map(|(_, held)| held))?
        .collect()
}

/// What there is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    /// Something is to be made, or is being made.
    pub(crate) open: bool,
    /// When the next one that waits lapses.
    pub(crate) lapses: Option<Timestamp>,
    /// When the oldest one that is over was.
    pub(crate) oldest: Option<Timestamp>,
}

/// What there is to do.
pub(crate) fn due(conn: &Connection) -> rusqlite::Result<Due> {
    let first = |sql: &str| {
        conn.prepare_cached(sql)?
            .query_row([], |row| Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp)))
    };
    let open = "SELECT 1 FROM approvals WHERE state IN ('approved', 'running')";
    Ok(Due {
        open: super::exists(conn, open, ())?,
        lapses: first("SELECT min(expires_at) FROM approvals WHERE state = 'pending'")?,
        oldest: first("SELECT min(settled_at) FROM approvals WHERE settled_at IS NOT NULL")?,
    })
}

/// Removes those that were over before then, the oldest first.
pub(crate) fn forget(conn: &Connection, before: Timestamp, limit: u32) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "DELETE FROM approvals WHERE seq IN
             (SELECT seq FROM approvals WHERE settled_at < ?1 ORDER BY settled_at LIMIT ?2)",
    )?
    .execute((before.0, limit))?;
    Ok(())
}

/// A page, newest first, each with its place.
pub(crate) fn list(
    conn: &Connection,
    folder: Option<&Folder>,
    state: Option<ApprovalState>,
    before: Option<i64>,
    limit: u32,
) -> rusqlite::Result<Vec<(i64, Approval)>> {
    let sql = format!(
        "SELECT {COLUMNS} WHERE (?1 IS NULL OR a.folder = ?1) AND (?2 IS NULL OR a.state = ?2)
           AND a.seq < ?3 ORDER BY a.seq DESC LIMIT ?4"
    );
    let state = state.map(ApprovalState::name);
    conn.prepare_cached(&sql)?
        .query_map((folder.map(Folder::as_str), state, before.unwrap_or(i64::MAX), limit), read)?
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Approval)> {
    let at = |name: &str| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(name)?.map(Timestamp));
    let held = Approval {
        id: parsed(row, "id")?,
        state: parsed(row, "state")?,
        folder: parsed(row, "folder")?,
        chat_jid: parsed(row, "chat_jid")?,
        topic: parsed(row, "topic")?,
        turn_id: parsed(row, "turn_id")?,
        asked_for: row.get("sender")?,
        tool: row.get("tool")?,
        arguments: row.get("arguments")?,
        is_cut: false,
        digest: row.get("digest")?,
        held_at: time(row, "held_at")?,
        expires_at: time(row, "expires_at")?,
        decided_at: at("decided_at")?,
        decided_by: row.get("decided_by")?,
        reason: row.get("reason")?,
        settled_at: at("settled_at")?,
        answer: row.get("answer")?,
    };
    Ok((row.get("seq")?, held))
}
