//! Forward-only migrations, each recorded with a checksum of its text.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use sha2::{Digest, Sha256};

use crate::error::OpenError;

/// One step of a schema. Once released it never changes: its text is checksummed.
///
/// All pending steps run in one transaction with foreign keys on, so a step that rebuilds a table that others point
/// to begins with `PRAGMA defer_foreign_keys=ON`. Tables are `STRICT`.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// 1 for the first, and each one more than the one before.
    pub version: u32,
    /// A few words, for messages.
    pub name: &'static str,
    /// The statements. No `BEGIN` or `COMMIT`.
    pub sql: &'static str,
}

impl Migration {
    fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.sql.as_bytes()))
    }
}

const RECORD: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at_ms INTEGER NOT NULL
) STRICT";

/// Refuses a list that is not 1, 2, 3 and so on.
pub(crate) fn check_list(migrations: &[Migration]) -> Result<(), OpenError> {
    for (expected, migration) in (1u32..).zip(migrations) {
        if migration.version != expected {
            let Migration { version, name, .. } = migration;
            let what =
                format!("migration {version} ({name}) stands where version {expected} belongs");
            return Err(OpenError::Defect { what });
        }
    }
    Ok(())
}

/// The newest version that `migrations` reach.
pub(crate) fn newest(migrations: &[Migration]) -> u32 {
    migrations.last().map_or(0, |last| last.version)
}

/// Compares what a file says it went through with what this program knows. Writes nothing.
pub(crate) fn check_applied(
    path: &Path,
    conn: &Connection,
    migrations: &[Migration],
) -> Result<u32, OpenError> {
    let fail = |source| OpenError::from_sqlite(path, source);
    let recorded = conn
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'",
            [],
            |_| Ok(()),
        )
        .optional()
        .map_err(fail)?;
    if recorded.is_none() {
        return Ok(0);
    }
    let mut rows = conn
        .prepare("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
        .map_err(fail)?;
    let rows = rows
        .query_map([], |row| Ok((row.get::<_, u32>(0)?, row.get(1)?, row.get(2)?)))
        .and_then(|rows| rows.collect::<Result<Vec<(u32, String, String)>, _>>())
        .map_err(fail)?;

    let found = rows.last().map_or(0, |(version, ..)| *version);
    let known = newest(migrations);
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    for (version, name, checksum) in rows {
        let same = migrations.iter().any(|m| m.version == version && m.checksum() == checksum);
        if !same {
            return Err(OpenError::MigrationChanged { path: path.to_owned(), version, name });
        }
    }
    Ok(found)
}

/// Applies what is pending, all in one transaction, and marks the file as this daemon's.
pub(crate) fn apply(
    path: &Path,
    conn: &mut Connection,
    migrations: &[Migration],
    application_id: i32,
) -> Result<u32, OpenError> {
    let known = newest(migrations);
    let found = check_applied(path, conn, migrations)?;
    if found == known && stored_id(path, conn)? == application_id {
        return Ok(known);
    }
    let fail = |source| OpenError::from_sqlite(path, source);
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    tx.execute_batch(RECORD).map_err(fail)?;
    for migration in migrations.iter().filter(|m| m.version > found) {
        step(path, &tx, migration)?;
    }
    tx.pragma_update(None, "application_id", application_id).map_err(fail)?;
    tx.pragma_update(None, "user_version", known).map_err(fail)?;
    tx.commit().map_err(fail)?;
    tracing::info!(path = %path.display(), from = found, to = known, "database migrated");
    Ok(known)
}

fn step(path: &Path, tx: &Connection, migration: &Migration) -> Result<(), OpenError> {
    let fail = |source: rusqlite::Error| match OpenError::from_sqlite(path, source) {
        OpenError::Failed { path, source } => {
            OpenError::Migration { path, version: migration.version, name: migration.name, source }
        }
        told_apart => told_apart,
    };
    tx.execute_batch(migration.sql).map_err(fail)?;
    if tx.is_autocommit() {
        let Migration { version, name, .. } = migration;
        let what = format!("migration {version} ({name}) ends the transaction it runs in");
        return Err(OpenError::Defect { what });
    }
    tx.execute(
        "INSERT INTO schema_migrations (version, name, checksum, applied_at_ms)
         VALUES (?1, ?2, ?3, CAST(unixepoch('subsec') * 1000 AS INTEGER))",
        (migration.version, migration.name, migration.checksum()),
    )
    .map_err(fail)?;
    Ok(())
}

fn stored_id(path: &Path, conn: &Connection) -> Result<i32, OpenError> {
    conn.pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|source| OpenError::from_sqlite(path, source))
}
