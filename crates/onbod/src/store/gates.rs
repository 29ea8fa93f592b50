//! Gates, and how many came in by each today.

use crate::admission::{Gate, day_of};
use proto::Timestamp;
use rusqlite::Connection;

/// Gates that there are at most: each newcomer is tried against them.
pub(crate) const GATES_MAX: u32 = 100;

/// Opens a gate or changes it. Whether anything changed.
pub(crate) fn set(conn: &Connection, pattern: &str, per_day: u32) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "INSERT INTO gates (pattern, per_day) VALUES (?1, ?2)
             ON CONFLICT (pattern) DO UPDATE SET per_day = ?2 WHERE per_day IS NOT ?2",
        )?
        .execute((pattern, per_day))?;
    Ok(changed == 1)
}

/// Closes a gate. Whether it was there.
pub(crate) fn remove(conn: &Connection, pattern: &str) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM gates WHERE pattern = ?1";
    Ok(conn.prepare_cached(sql)?.execute([pattern])? == 1)
}

/// The gates, by pattern.
pub(crate) fn list(conn: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Gate>> {
    conn.prepare_cached(
        "SELECT pattern, per_day, (SELECT count(*) FROM admissions AS a
             WHERE a.gate = gates.pattern AND a.gate_at >= ?1) AS today
         FROM gates ORDER BY pattern",
    )?
    .query_map([day_of(now).0], |row| {
        Ok(Gate {
            pattern: row.get("pattern")?,
            per_day: row.get("per_day")?,
            today: row.get("today")?,
        })
    })?
    .collect()
}
