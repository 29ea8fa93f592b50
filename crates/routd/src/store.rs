//! All SQL of routd, by noun. Functions take a connection, so that a caller composes one transaction of several.
//!
//! A change of state is a guarded `UPDATE` whose row count is looked at; a row that does not read as what it must be
//! is an error, never skipped.

pub(crate) mod acl;
pub(crate) mod approvals;
pub(crate) mod channels;
pub(crate) mod context;
pub(crate) mod conversations;
pub(crate) mod delegations;
pub(crate) mod epoch;
pub(crate) mod feed;
pub(crate) mod files;
pub(crate) mod groups;
pub(crate) mod keys;
pub(crate) mod links;
pub(crate) mod messages;
pub(crate) mod newcomers;
pub(crate) mod outbox;
pub(crate) mod routes;
pub(crate) mod schedules;
pub(crate) mod steering;
pub(crate) mod tenant_secrets;
pub(crate) mod tools;
pub(crate) mod trace;
pub(crate) mod turns;
pub(crate) mod usage;
pub(crate) mod words;

use db::{Database, Migration, OpenError, Options, Schema};
use kit::StartError;
use proto::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, types::Type};
use std::{path::Path, str::FromStr};

/// `rout`, in the file's header.
const APPLICATION_ID: i32 = 0x726f_7574;

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "conversation",
        sql: include_str!("../migrations/0001-conversation.sql"),
    },
    Migration { version: 2, name: "audit", sql: db::audit::SCHEMA },
    Migration {
        version: 3,
        name: "signed webhooks",
        sql: include_str!("../migrations/0003-signed-webhooks.sql"),
    },
    Migration {
        version: 4,
        name: "tenant secrets",
        sql: include_str!("../migrations/0004-tenant-secrets.sql"),
    },
    Migration { version: 5, name: "origins", sql: include_str!("../migrations/0005-origins.sql") },
    Migration { version: 6, name: "usage", sql: include_str!("../migrations/0006-usage.sql") },
    Migration {
        version: 7,
        name: "schedules",
        sql: include_str!("../migrations/0007-schedules.sql"),
    },
    Migration {
        version: 8,
        name: "changed messages",
        sql: include_str!("../migrations/0008-changed-messages.sql"),
    },
    Migration { version: 9, name: "files", sql: include_str!("../migrations/0009-files.sql") },
    Migration {
        version: 10,
        name: "newcomers",
        sql: include_str!("../migrations/0010-newcomers.sql"),
    },
    Migration { version: 11, name: "pods", sql: include_str!("../migrations/0011-pods.sql") },
    Migration {
        version: 12,
        name: "approvals",
        sql: include_str!("../migrations/0012-approvals.sql"),
    },
    Migration { version: 13, name: "caps", sql: include_str!("../migrations/0013-caps.sql") },
    Migration {
        version: 14,
        name: "routes-of-chats",
        sql: include_str!("../migrations/0014-routes-of-chats.sql"),
    },
    Migration {
        version: 15,
        name: "words-later",
        sql: include_str!("../migrations/0015-words-later.sql"),
    },
    Migration {
        version: 16,
        name: "personas",
        sql: include_str!("../migrations/0016-personas.sql"),
    },
];

/// What a routd.db is.
pub const SCHEMA: Schema = Schema { application_id: APPLICATION_ID, migrations: MIGRATIONS };

/// The key of the routd.db at `path`, wrapped; of one that is not open here, or is a copy.
///
/// # Errors
/// It cannot be read.
pub fn wraps(path: &Path) -> Result<Vec<secrets::seal::Wrap>, OpenError> {
    db::look(path, keys::wraps)
}

/// Opens routd's database, and makes it where there is none.
pub(crate) async fn open(path: &Path) -> Result<Database, StartError> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .map_err(|source| StartError::CannotCreate { path: directory.into(), source })?;
    }
    let opened = Database::open(Options::new(path, APPLICATION_ID, MIGRATIONS)).await;
    opened.map_err(|error| StartError::sorted(error.exit_code(), &error))
}

/// What the daemon's life needs of it: what is wrong, when it is gone, how it is closed.
pub(crate) fn kept(db: &Database) -> kit::Store {
    let (look, lost, close) = (db.watcher(), db.watcher(), db.watcher());
    kit::Store {
        name: "routd.db",
        trouble: Box::new(move || look.trouble()),
        lost: Box::pin(async move { lost.closed().await }),
        close: Box::pin(async move { close.close().await }),
    }
}

/// Adds one to a counter and answers what it is then.
pub(crate) fn count_up(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    conn.prepare_cached(
        "INSERT INTO counters (name, value) VALUES (?1, 1)
         ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
    )?
    .query_row([name], |row| row.get(0))
}

/// How many rows a query counts.
pub(crate) fn count(conn: &Connection, sql: &str) -> rusqlite::Result<u64> {
    let found: i64 = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(found).unwrap_or_default())
}

/// A column that holds an id of `proto`, or anything else that is read from text.
pub(crate) fn parsed<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error: T::Err| unreadable(column, error))
}

/// The same, where the column may be null.
pub(crate) fn parsed_if_there<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|error: T::Err| unreadable(column, error))).transpose()
}

/// A column that holds JSON.
pub(crate) fn json<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    column: &str,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

/// A column that holds a time.
pub(crate) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp)
}

/// A value as JSON text. Only what cannot fail is written this way: lists of text.
pub(crate) fn to_json(list: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(list)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Whether a query finds a row.
pub(crate) fn exists(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<bool> {
    Ok(conn.prepare_cached(sql)?.query_row(params, |_| Ok(())).optional()?.is_some())
}

fn unreadable(
    column: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    tracing::error!(column, error = %error, "a row of the database cannot be read");
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
}
