//! What tools keep: a folder's memory, and the answers of calls that changed something.

use crate::fault::Fault;
use proto::{Folder, Timestamp};
use rusqlite::{Connection, OptionalExtension};

/// A call that changes something.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) turn_id: &'a str,
    pub(crate) attempt: u32,
    /// The caller's own key for it.
    pub(crate) key: Option<&'a str>,
    pub(crate) tool: &'a str,
    /// A hash of its arguments.
    pub(crate) arguments: &'a str,
    /// Which start of routd this is.
    pub(crate) epoch: i64,
}

/// The answer of a call that was made before: the same key; or without one, the same call under an earlier start of
/// routd, whose answer may have been lost on the way. Under one start a call without a key is a new call each time,
/// and one record stands in for one lost answer only.
pub(crate) fn answered(conn: &Connection, call: &Call<'_>) -> Result<Option<String>, Fault> {
    if let Some(key) = call.key {
        let found: Option<(String, String, String)> = conn
            .prepare_cached(
                "SELECT tool, arguments, answer FROM tool_calls WHERE turn_id = ?1 AND key = ?2",
            )?
            .query_row((call.turn_id, key), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        return match found {
            None => Ok(None),
            Some((tool, arguments, answer)) if tool == call.tool && arguments == call.arguments => {
                Ok(Some(answer))
            }
            Some(_) => Err(Fault::Conflict(
                "this idempotency key was used for another call; use a new one".into(),
            )),
        };
    }
    let answer = conn
        .prepare_cached(
            "UPDATE tool_calls SET replayed = ?5 WHERE id = (
                 SELECT id FROM tool_calls
                 WHERE turn_id = ?1 AND attempt = ?2 AND tool = ?3 AND arguments = ?4
                   AND key IS NULL AND epoch < ?5 AND replayed < ?5
                 ORDER BY id DESC LIMIT 1)
             RETURNING answer",
        )?
        .query_row((call.turn_id, call.attempt, call.tool, call.arguments, call.epoch), |row| {
            row.get(0)
        })
        .optional()?;
    Ok(answer)
}

/// The answer that was kept under a key in a turn.
pub(crate) fn answer_of_key(
    conn: &Connection,
    turn_id: &str,
    key: &str,
) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT answer FROM tool_calls WHERE turn_id = ?1 AND key = ?2")?
        .query_row((turn_id, key), |row| row.get(0))
        .optional()
}

/// Keeps the answer of a call, in the transaction of what it did.
pub(crate) fn keep(
    conn: &Connection,
    call: &Call<'_>,
    answer: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO tool_calls (turn_id, attempt, key, tool, arguments, epoch, answer, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute((
        call.turn_id,
        call.attempt,
        call.key,
        call.tool,
        call.arguments,
        call.epoch,
        answer,
        now.0,
    ))?;
    Ok(())
}

/// How many calls that changed something a turn has made.
pub(crate) fn count(conn: &Connection, turn_id: &str) -> rusqlite::Result<u32> {
    conn.prepare_cached("SELECT count(*) FROM tool_calls WHERE turn_id = ?1")?
        .query_row([turn_id], |row| row.get(0))
}

/// A folder's memory.
pub(crate) fn memory(conn: &Connection, folder: &Folder) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT content FROM memories WHERE folder = ?1")?
        .query_row([folder.as_str()], |row| row.get(0))
        .optional()
}

/// Replaces a folder's memory.
pub(crate) fn remember(
    conn: &Connection,
    folder: &Folder,
    content: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO memories (folder, content, updated_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (folder) DO UPDATE SET content = ?2, updated_at = ?3",
    )?
    .execute((folder.as_str(), content, now.0))?;
    Ok(())
}
