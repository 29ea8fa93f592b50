//! What an adapter keeps on disk: events on their way to routd, messages on their way to the platform, its marks.
//!
//! All of this crate's SQL is here and in the modules below.

mod inbound;
mod outbound;

pub use inbound::{Event, Taken};
pub(crate) use inbound::{Head, Settled};
pub(crate) use outbound::{Order, OrderState, PieceRow, PieceState};

use db::{
    Database, Error, Migration, OpenError, Options, Schema, epoch,
    rusqlite::{self, OptionalExtension},
};
use kit::{Clock, Context, StartError};
use proto::Timestamp;
use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, path::Path, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// `ARZp`: a spool's mark in the file.
const APPLICATION_ID: i32 = 0x4152_5a70;

const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "spool", sql: include_str!("spool/schema.sql") }];

/// What a spool is.
pub const SCHEMA: Schema = Schema { application_id: APPLICATION_ID, migrations: MIGRATIONS };

/// Events that wait for routd at most. More are not taken: the platform keeps them, or sends them again.
pub const WAITING_MAX: i64 = 100_000;
/// How long settled events are known, so that a repeat is not taken for news: longer than any platform repeats one.
const EVENTS_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long an order is known: its key, and which messages it became. routd gives up after a day.
const ORDERS_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Rows that one sweep deletes at most, so that it holds the writer for a moment only.
const SWEPT_AT_ONCE: i64 = 500;

/// An adapter's spool. Clones share it.
#[derive(Clone, Debug)]
pub struct Spool {
    db: Database,
    clock: Clock,
    /// Told when events were taken.
    pub(crate) news: Arc<Notify>,
}

/// Something of the spool went wrong.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The database.
    #[error("the spool cannot be used")]
    Store(#[from] Error),
    /// As many events wait for routd as may.
    #[error("{WAITING_MAX} events wait for routd, and no more are taken")]
    Full,
    /// The key was given with another request before.
    #[error("the key was used for another request")]
    KeyTaken,
    /// What is in the file is not what this program wrote.
    #[error("a row of the spool is not understood")]
    Row(#[source] serde_json::Error),
}

/// What a mark says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The value.
    pub value: String,
    /// When it was set.
    pub set_at: Timestamp,
}

impl Spool {
    /// Opens the spool of `context`'s daemon, and has it closed after everything else.
    ///
    /// # Errors
    /// The file cannot be had, or is another's.
    pub async fn open(context: &Context) -> Result<Self, StartError> {
        let path = context.database();
        if let Some(directory) = path.parent() {
            own_directory(directory)?;
        }
        let opened = Self::at(&path, &context.clock).await;
        let spool = opened.map_err(|error| StartError::sorted(error.exit_code(), &error))?;
        let (look, lost, close) = (spool.db.watcher(), spool.db.watcher(), spool.db.watcher());
        context.keep(kit::Store {
            name: "spool",
            trouble: Box::new(move || look.trouble()),
            lost: Box::pin(async move { lost.closed().await }),
            close: Box::pin(async move { close.close().await }),
        });
        Ok(spool)
    }

    async fn at(path: &Path, clock: &Clock) -> Result<Self, OpenError> {
        let db = Database::open(Options::new(path, APPLICATION_ID, MIGRATIONS)).await?;
        let now = clock.now();
        // In a copy that was brought back, nothing has to change: a platform sends again what it was not told had
        // arrived, routd knows an event that comes twice, and a piece that was under way is looked for.
        let begun = db.write("spool.epoch", move |tx| epoch::begin(tx, now.0)).await;
        if let Some(begun) =
            begun.map_err(|error| OpenError::Failed { path: path.into(), source: error.into() })?
        {
            tracing::warn!(epoch = begun.epoch, "this spool was brought back from a backup");
        }
        Ok(Self { db, clock: clock.clone(), news: Arc::default() })
    }

    /// What the mark `name` says.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn mark(&self, name: &'static str) -> Result<Option<Mark>, SpoolError> {
        let read = self.db.read(move |conn| mark(conn, name)).await;
        Ok(read?)
    }

    /// Has the mark `name` say `value`. On disk when this answers.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn set_mark(&self, name: &'static str, value: String) -> Result<(), SpoolError> {
        let now = self.clock.now();
        let set = self.db.write("spool.mark", move |tx| set_mark(tx, name, &value, now)).await;
        Ok(set?)
    }

    /// Forgets what nobody will ask for any more. Whether there may be more to forget.
    pub(crate) async fn sweep(&self) -> Result<bool, SpoolError> {
        let now = self.clock.now();
        let swept = self.db.write("spool.sweep", move |tx| {
            let events = tx.execute(
                "DELETE FROM inbound WHERE seq IN (SELECT seq FROM inbound
                 WHERE state <> 'waiting' AND settled_at_ms < ?1 LIMIT ?2)",
                (before(now, EVENTS_KEPT), SWEPT_AT_ONCE),
            )?;
            let orders = tx.execute(
                "DELETE FROM orders WHERE key IN (SELECT key FROM orders
                 WHERE made_at_ms < ?1 LIMIT ?2)",
                (before(now, ORDERS_KEPT), SWEPT_AT_ONCE),
            )?;
            Ok(i64::try_from(events.max(orders)).unwrap_or(i64::MAX))
        });
        Ok(swept.await? >= SWEPT_AT_ONCE)
    }
}

fn before(now: Timestamp, kept: Duration) -> i64 {
    now.0.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX))
}

fn mark(conn: &rusqlite::Connection, name: &str) -> rusqlite::Result<Option<Mark>> {
    conn.prepare_cached("SELECT value, set_at_ms FROM marks WHERE name = ?1")?
        .query_row([name], |row| Ok(Mark { value: row.get(0)?, set_at: Timestamp(row.get(1)?) }))
        .optional()
}

fn set_mark(
    tx: &rusqlite::Connection,
    name: &str,
    value: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO marks (name, value, set_at_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET value = ?2, set_at_ms = ?3",
    )?
    .execute((name, value, now.0))
    .map(drop)
}

/// Makes a directory for this user alone, unless it is there.
fn own_directory(path: &Path) -> Result<(), StartError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::CannotCreate { path: path.into(), source })
}

#[cfg(test)]
mod tests;
