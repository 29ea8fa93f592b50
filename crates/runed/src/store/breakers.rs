//! The breakers, one row for each folder whose last start failed.

use super::was_start_failure;
use crate::breaker::Breaker;
use crate::run::How;
use db::rusqlite::{self, Connection, OptionalExtension};
use proto::{Folder, Timestamp};

pub(super) fn of(conn: &Connection, folder: &Folder) -> rusqlite::Result<Breaker> {
    let found = conn
        .prepare_cached("SELECT failures, open_until_ms FROM breakers WHERE folder = ?1")?
        .query_row([folder.as_str()], |row| {
            Ok(Breaker { failures: row.get(0)?, open_until: Timestamp(row.get(1)?) })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// How many are open.
pub(super) fn open(conn: &Connection, now: Timestamp) -> rusqlite::Result<i64> {
    let mut rows = conn.prepare_cached("SELECT failures, open_until_ms FROM breakers")?;
    let breakers = rows.query_map([], |row| {
        Ok(Breaker { failures: row.get(0)?, open_until: Timestamp(row.get(1)?) })
    })?;
    let mut open = 0;
    for breaker in breakers {
        open += i64::from(breaker?.admits(now).is_err());
    }
    Ok(open)
}

/// Takes in how a run ended.
pub(super) fn learn(
    tx: &Connection,
    folder: &Folder,
    how: &How,
    now: Timestamp,
) -> rusqlite::Result<()> {
    match was_start_failure(how) {
        None => {}
        Some(false) => {
            tx.execute("DELETE FROM breakers WHERE folder = ?1", [folder.as_str()])?;
        }
        Some(true) => {
            let breaker = of(tx, folder)?.failed(now);
            tx.execute(
                "INSERT INTO breakers (folder, failures, open_until_ms) VALUES (?1, ?2, ?3)
                 ON CONFLICT (folder) DO UPDATE SET failures = ?2, open_until_ms = ?3",
                (folder.as_str(), breaker.failures, breaker.open_until.0),
            )?;
        }
    }
    Ok(())
}
