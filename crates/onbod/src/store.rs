//! All SQL of onbod, by noun. Functions take a connection, so that a caller composes one transaction of several.
//!
//! A change of state is a guarded `UPDATE` whose row count is looked at.

pub(crate) mod admissions;
pub(crate) mod gates;
pub(crate) mod invites;
pub(crate) mod links;
pub(crate) mod notices;
pub(crate) mod people;

use db::{Database, Migration, Options, Schema, audit, epoch};
use kit::StartError;
use proto::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, types::Type};
use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, path::Path, str::FromStr};

/// `onbo`, in the file's header.
const APPLICATION_ID: i32 = 0x6f6e_626f;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "admissions", sql: include_str!("store/schema.sql") },
    Migration { version: 2, name: "audit", sql: audit::SCHEMA },
];

/// Rows of a page: when nothing is said, and at most.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 500;

/// What an onbod.db is.
pub const SCHEMA: Schema = Schema { application_id: APPLICATION_ID, migrations: MIGRATIONS };

/// Where this database is a copy that was brought back and that nobody has opened yet: says so in its log. An invite
/// that was spent since is good again; who brings instances back is told.
pub(crate) fn begin_epoch(conn: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let Some(begun) = epoch::begin(conn, now.0)? else { return Ok(()) };
    let taken = Timestamp(begun.from.taken_at_ms);
    let detail = format!("backup {} of {taken}", begun.from.backup);
    let target = format!("epoch {}", begun.epoch);
    record(conn, now, "service:onbod", "instance.restore", &target, &detail)
}

/// Opens onbod's database, and makes it where there is none.
pub(crate) async fn open(path: &Path) -> Result<Database, StartError> {
    if let Some(directory) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|source| StartError::CannotCreate { path: directory.into(), source })?;
    }
    let opened = Database::open(Options::new(path, APPLICATION_ID, MIGRATIONS)).await;
    opened.map_err(|error| StartError::sorted(error.exit_code(), &error))
}

/// What the daemon's life needs of it: what is wrong, when it is gone, how it is closed.
pub(crate) fn kept(db: &Database) -> kit::Store {
    let (look, lost, close) = (db.watcher(), db.watcher(), db.watcher());
    kit::Store {
        name: "onbod.db",
        trouble: Box::new(move || look.trouble()),
        lost: Box::pin(async move { lost.closed().await }),
        close: Box::pin(async move { close.close().await }),
    }
}

/// Writes that `actor` did `action` to `target`. Nothing in it may be a secret.
pub(crate) fn record(
    conn: &Connection,
    now: Timestamp,
    actor: &str,
    action: &str,
    target: &str,
    detail: &str,
) -> rusqlite::Result<()> {
    audit::append(conn, &audit::Entry { at_ms: now.0, actor, action, target, detail })?;
    Ok(())
}

/// How many rows a page has.
pub(crate) fn page(limit: Option<u32>) -> u32 {
    limit.unwrap_or(PAGE).clamp(1, PAGE_MAX)
}

/// A page of rows, each with its place, of which one more was read than the page has: where the next begins.
pub(crate) fn cut<T>(mut rows: Vec<(i64, T)>, limit: u32) -> (Vec<T>, Option<i64>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().map(|(seq, _)| *seq).filter(|_| more);
    (rows.into_iter().map(|(_, row)| row).collect(), next)
}

/// How many rows a query counts.
pub(crate) fn count(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<u32> {
    let found: i64 = conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?;
    Ok(u32::try_from(found).unwrap_or(u32::MAX))
}

/// The one row that a query finds, if it does.
pub(crate) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    conn.prepare_cached(sql)?.query_row(params, read).optional()
}

/// A column that holds an id of `proto`, or anything else that is read from text.
pub(crate) fn parsed<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error: T::Err| unreadable(column, &error))
}

/// The same, where the column may be null.
pub(crate) fn parsed_if_there<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|error: T::Err| unreadable(column, &error))).transpose()
}

fn unreadable(column: &str, error: &dyn std::fmt::Display) -> rusqlite::Error {
    tracing::error!(column, %error, "a row of the database cannot be read");
    rusqlite::Error::InvalidColumnType(0, column.to_owned(), Type::Text)
}
