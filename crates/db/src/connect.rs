//! From a path to a connection whose promises hold: file checks first, then pragmas, then a look whether they took.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::OpenError;
use crate::migrate::{self, Migration};

/// Older releases can corrupt a write-ahead log when a checkpoint races a write.
const OLDEST_SQLITE: i32 = 3_051_003;
/// How long a statement waits for a program outside, such as the `sqlite3` shell.
pub(crate) const BUSY: Duration = Duration::from_secs(5);
/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 128;
/// A log that grew past this is cut back after a checkpoint. In bytes.
const LOG_LIMIT: i64 = 64 * 1024 * 1024;
/// Pages of the log, of 4 KiB, after which they are moved into the file. A page that many transactions change is moved
/// once; what a killed process leaves is read again at the next start, 16 MiB at most.
const CHECKPOINT: i64 = 4_000;
/// KiB of pages that the writer keeps: what hundreds of rows of one transaction change, with all their indexes.
const WRITER_CACHE: i64 = 8 * 1024;

/// Refuses a SQLite that is older than the one this was built for.
pub(crate) fn check_sqlite() -> Result<(), OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let what = format!("SQLite {} is too old to be trusted with a log", rusqlite::version());
        return Err(OpenError::Defect { what });
    }
    Ok(())
}

/// Makes sure that the file is there and may be written. SQLite itself would quietly open it read-only.
pub(crate) fn check_file(path: &Path, create: bool) -> Result<(), OpenError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| OpenError::from_io(path, source))?;
    let kind = file.metadata().map_err(|source| OpenError::from_io(path, source))?;
    if !kind.is_file() {
        let source = io::Error::other("not a regular file");
        return Err(OpenError::Corrupt { path: path.to_owned(), source: source.into() });
    }
    Ok(())
}

/// Bytes up to which every page of a file is looked at before a start, which takes about 5 ms for each MiB.
pub const EXAMINED_WHOLE: u64 = 32 * 1024 * 1024;

/// Looks whether the file at `path` is a database that can be used, changing nothing, without knowing whose it is: every
/// page where it has [`EXAMINED_WHOLE`] bytes or fewer, its schema where it has more. [`Schema::check`] looks at all of it.
///
/// # Errors
/// It cannot be read or written, or it is damaged. That it is not there is [`OpenError::Missing`].
pub fn examine(path: &Path) -> Result<(), OpenError> {
    check_file(path, false)?;
    let bytes = std::fs::metadata(path).map_err(|source| OpenError::from_io(path, source))?.len();
    if bytes <= EXAMINED_WHOLE {
        return check_pages(path);
    }
    let objects = "SELECT count(*) FROM sqlite_schema WHERE sql IS NOT NULL";
    look(path, |conn| conn.query_row(objects, [], |_| Ok(())))
}

fn check_pages(path: &Path) -> Result<(), OpenError> {
    let found: String =
        look(path, |conn| conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)))?;
    if found == "ok" {
        return Ok(());
    }
    Err(OpenError::Corrupt { path: path.to_owned(), source: found.into() })
}

/// What a database of one daemon is: whose, and how its schema came about.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The daemon's own number in the file.
    pub application_id: i32,
    /// From the first step to the newest.
    pub migrations: &'static [Migration],
}

impl Schema {
    /// Looks whether the file at `path` can be opened with this schema, changing nothing: it is the right daemon's,
    /// whole, and not newer. The version of its schema is answered. The file system may be read-only.
    ///
    /// # Errors
    /// Which of that it is not.
    pub fn check(&self, path: &Path) -> Result<u32, OpenError> {
        check_pages(path)?;
        let conn = inspect(path, self.application_id, self.migrations)?;
        migrate::check_applied(path, &conn, self.migrations)
    }
}

/// Reads from the database at `path`, which somebody else may own and have open. Nothing can be written so.
///
/// # Errors
/// It cannot be opened, or `query` failed.
pub fn look<T>(
    path: &Path,
    query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, OpenError> {
    query(&copier(path)?).map_err(|source| OpenError::from_sqlite(path, source))
}

/// Looks at whose file this is and how new, over a connection that cannot write, which is answered.
pub(crate) fn inspect(
    path: &Path,
    application_id: i32,
    migrations: &[Migration],
) -> Result<Connection, OpenError> {
    let fail = |source| OpenError::from_sqlite(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(fail)?;
    let found: i32 =
        conn.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(fail)?;
    let objects: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
    // A file without an object is one whose creation was cut short: ours to finish.
    let unborn = found == 0 && objects == 0;
    if found != application_id && !unborn {
        let path = path.to_owned();
        return Err(OpenError::Foreign { path, found, expected: application_id });
    }
    migrate::check_applied(path, &conn, migrations)?;
    Ok(conn)
}

/// The one connection that writes.
pub(crate) fn writer(path: &Path) -> Result<Connection, OpenError> {
    let fail = |source| OpenError::from_sqlite(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(fail)?;
    harden(&conn).map_err(fail)?;
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(fail)?;
    conn.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
    conn.pragma_update(None, "foreign_keys", true).map_err(fail)?;
    // ON and not FAST: what is deleted here may be a message or a sealed key, and rows are few.
    conn.pragma_update_and_check(None, "secure_delete", true, |_| Ok(())).map_err(fail)?;
    conn.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT, |_| Ok(()))
        .map_err(fail)?;
    conn.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT, |_| Ok(()))
        .map_err(fail)?;
    // Negative: KiB in place of pages.
    conn.pragma_update(None, "cache_size", -WRITER_CACHE).map_err(fail)?;
    hold(
        &conn,
        &[
            ("journal_mode", "wal"),
            ("synchronous", "2"),
            ("foreign_keys", "1"),
            ("secure_delete", "1"),
            ("trusted_schema", "0"),
            ("temp_store", "2"),
            ("query_only", "0"),
        ],
    )?;
    Ok(conn)
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let fail = |source| OpenError::from_sqlite(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(fail)?;
    harden(&conn).map_err(fail)?;
    conn.pragma_update(None, "query_only", true).map_err(fail)?;
    hold(&conn, &[("journal_mode", "wal"), ("query_only", "1"), ("trusted_schema", "0")])?;
    Ok(conn)
}

/// A connection that reads this file, and may fill another one.
pub(crate) fn copier(path: &Path) -> Result<Connection, OpenError> {
    let fail = |source| OpenError::from_sqlite(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(fail)?;
    harden(&conn).map_err(fail)?;
    Ok(conn)
}

fn harden(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    // Otherwise SQLite looks at the values that a kept statement is given, and plans it anew for others.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cell_size_check", true)?;
    Ok(())
}

/// A pragma that SQLite does not know, or cannot obey, is silently ignored: so each is read back.
fn hold(conn: &Connection, wanted: &[(&str, &str)]) -> Result<(), OpenError> {
    for (pragma, expected) in wanted {
        let found = conn
            .pragma_query_value(None, pragma, |row| {
                row.get_ref(0).map(|value| match value {
                    rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                    other => other.as_str().unwrap_or("?").to_owned(),
                })
            })
            .unwrap_or_else(|error| error.to_string());
        if found != *expected {
            let what = format!("SQLite kept {pragma}={found} where {expected} was asked for");
            return Err(OpenError::Defect { what });
        }
    }
    Ok(())
}
