//! The route table.

use crate::{fault::Fault, route};
use proto::{Jid, Timestamp, routd::RouteRow};
use rusqlite::{Connection, OptionalExtension, Row};

/// Rows that the table holds at most: it is listed as a whole.
const ROUTES_MAX: u64 = 20_000;
/// Rows of them that are not of one chat: each message is tried against them.
const WIDE_MAX: u64 = 1_000;

/// The table, in the order in which it is tried.
pub(crate) fn list(conn: &Connection) -> rusqlite::Result<Vec<RouteRow>> {
    conn.prepare_cached("SELECT id, seq, pattern, target FROM routes ORDER BY seq, id")?
        .query_map([], read)?
        .collect()
}

/// The table, ready to be tried.
pub(crate) fn rules(conn: &Connection) -> Result<Vec<route::Rule>, Fault> {
    ready(list(conn)?)
}

/// What of the table may take a message of this chat, ready to be tried.
pub(crate) fn rules_of(conn: &Connection, chat: &Jid) -> Result<Vec<route::Rule>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT id, seq, pattern, target FROM routes WHERE chat_jid = ?1
         UNION ALL
         SELECT id, seq, pattern, target FROM routes WHERE chat_jid IS NULL
         ORDER BY seq, id",
    )?;
    ready(find.query_map([chat.as_str()], read)?.collect::<rusqlite::Result<_>>()?)
}

/// A row that does not parse is an error: half a table would send messages to somebody whom nobody meant.
fn ready(rows: Vec<RouteRow>) -> Result<Vec<route::Rule>, Fault> {
    let parse = |row: RouteRow| {
        let defect = |error| Fault::Defect(format!("route {} does not parse: {error}", row.id));
        Ok(route::Rule {
            id: row.id,
            pattern: route::Pattern::parse(&row.pattern).map_err(defect)?,
            target: route::Target::parse(&row.target).map_err(defect)?,
        })
    };
    rows.into_iter().map(parse).collect()
}

/// Adds a row, or finds the very same one. Whether it is new.
pub(crate) fn add(
    conn: &Connection,
    seq: i64,
    pattern: &route::Pattern,
    target: &str,
    now: Timestamp,
) -> Result<(RouteRow, bool), Fault> {
    let (pattern, chat) = (pattern.to_string(), pattern.chat());
    let found = conn
        .prepare_cached(
            "SELECT id, seq, pattern, target FROM routes
             WHERE seq = ?1 AND pattern = ?2 AND target = ?3",
        )?
        .query_row((seq, &pattern, target), read)
        .optional()?;
    if let Some(row) = found {
        return Ok((row, false));
    }
    if super::count(conn, "SELECT count(*) FROM routes")? >= ROUTES_MAX {
        let text = format!("there are {ROUTES_MAX} routes; remove one, or use `{{sender}}`");
        return Err(Fault::Conflict(text));
    }
    let wide = "SELECT count(*) FROM routes WHERE chat_jid IS NULL";
    if chat.is_none() && super::count(conn, wide)? >= WIDE_MAX {
        let text = format!(
            "there are {WIDE_MAX} routes that are not of one chat alone; remove one, or name the chat (chat_jid=…)"
        );
        return Err(Fault::Conflict(text));
    }
    let row = conn
        .prepare_cached(
            "INSERT INTO routes (seq, pattern, target, created_at, chat_jid) VALUES (?1, ?2, ?3, ?4, ?5)
             RETURNING id, seq, pattern, target",
        )?
        .query_row((seq, &pattern, target, now.0, chat), read)?;
    Ok((row, true))
}

/// Removes a row, and answers what it was.
pub(crate) fn remove(conn: &Connection, id: i64) -> rusqlite::Result<Option<RouteRow>> {
    conn.prepare_cached("DELETE FROM routes WHERE id = ?1 RETURNING id, seq, pattern, target")?
        .query_row([id], read)
        .optional()
}

/// One row.
pub(crate) fn get(conn: &Connection, id: i64) -> rusqlite::Result<Option<RouteRow>> {
    conn.prepare_cached("SELECT id, seq, pattern, target FROM routes WHERE id = ?1")?
        .query_row([id], read)
        .optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<RouteRow> {
    Ok(RouteRow {
        id: row.get("id")?,
        seq: row.get("seq")?,
        pattern: row.get("pattern")?,
        target: row.get("target")?,
    })
}
