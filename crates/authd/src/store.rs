//! All SQL of authd. Every change and its audit row are one transaction.

use crate::session::{Kind, LinkState, Session};
use db::{Database, Migration, OpenError, Options, Schema, Tx, audit, epoch};
use proto::{Timestamp, routd::AuditPage};
use rusqlite::OptionalExtension;
use std::{collections::BTreeMap, path::Path};

mod keys;
mod people;
mod sessions;

pub(crate) use keys::{Change, KeyRow, Renewal};
pub(crate) use people::{Arrived, Identity, Linked, Linking};
pub(crate) use sessions::Refreshed;

/// `auth` in ASCII: what `PRAGMA application_id` of an authd.db says.
const APPLICATION_ID: i32 = 0x6175_7468;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "keys, sessions, links", sql: include_str!("store/schema.sql") },
    Migration { version: 2, name: "audit", sql: audit::SCHEMA },
    Migration { version: 3, name: "people", sql: include_str!("store/people.sql") },
];

/// What an authd.db is.
pub const SCHEMA: Schema = Schema { application_id: APPLICATION_ID, migrations: MIGRATIONS };

/// The key of the authd.db at `path`, wrapped; of one that is not open here, or is a copy.
///
/// # Errors
/// It cannot be read.
pub fn wraps(path: &Path) -> Result<Vec<secrets::seal::Wrap>, OpenError> {
    db::look(path, keys::all_wraps)
}

/// How long rows that are over are kept, so that a person who comes late is told why.
const KEEP_ENDED_MS: i64 = 24 * 60 * 60 * 1000;

/// Why something could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database failed.
    #[error("authd's database failed")]
    Database(#[source] db::Error),
    /// The row is not as it was when the change was decided. Decide again.
    #[error("{0} has changed in the meantime")]
    Moved(String),
}

impl From<db::Error> for StoreError {
    fn from(error: db::Error) -> Self {
        Self::Database(error)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Something that was done, for the audit log. No field may hold a secret.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    pub(crate) at: Timestamp,
    pub(crate) actor: String,
    pub(crate) action: &'static str,
    pub(crate) target: String,
    pub(crate) detail: String,
}

impl Act {
    fn append(&self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        let entry = audit::Entry {
            at_ms: self.at.0,
            actor: &self.actor,
            action: self.action,
            target: &self.target,
            detail: &self.detail,
        };
        audit::append(tx, &entry).map(drop)
    }
}

/// SHA-256 of a code or a cookie.
pub(crate) type Hash = [u8; 32];

/// authd.db.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    db: Database,
}

impl Store {
    pub(crate) async fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { db: Database::open(Options::new(path, APPLICATION_ID, MIGRATIONS)).await? })
    }

    /// What the daemon's life needs of it: what is wrong, when it is gone, how it is closed.
    pub(crate) fn kept(&self) -> kit::Store {
        let (look, lost, close) = (self.db.watcher(), self.db.watcher(), self.db.watcher());
        kit::Store {
            name: "authd.db",
            trouble: Box::new(move || look.trouble()),
            lost: Box::pin(async move { lost.closed().await }),
            close: Box::pin(async move { close.close().await }),
        }
    }

    /// Where this database is a copy that was brought back and that nobody has opened yet: takes away every key that
    /// signs, every session and every link of a login, so that the life that went on after the copy was made and this
    /// one never believe each other, and who was logged out since is not logged in again. Whether it is one.
    pub(crate) async fn begin_epoch(&self, now: Timestamp) -> Result<bool, StoreError> {
        let job = move |tx: &Tx<'_>| {
            let Some(begun) = epoch::begin(tx, now.0)? else { return Ok(false) };
            tx.execute("DELETE FROM signing_keys", [])?;
            tx.execute("UPDATE sessions SET ended_at_ms = ?1 WHERE ended_at_ms IS NULL", [now.0])?;
            tx.execute("DELETE FROM login_links WHERE spent_at_ms IS NULL", [])?;
            let taken = Timestamp(begun.from.taken_at_ms);
            let act = Act {
                at: now,
                actor: "service:authd".into(),
                action: "instance.restore",
                target: format!("epoch {}", begun.epoch),
                detail: format!(
                    "backup {} of {taken}; all tokens and sessions have ended",
                    begun.from.backup
                ),
            };
            act.append(tx)?;
            Ok(true)
        };
        Ok(self.db.write("epoch", job).await?)
    }

    /// Keeps what others write into the audit log.
    pub(crate) fn keeper(&self) -> audit::Keeper {
        audit::Keeper::of(&self.db)
    }

    /// Notes what was done, where nothing else is to be kept of it.
    pub(crate) async fn note(&self, act: Act) -> Result<(), StoreError> {
        Ok(self.db.write("audit", move |tx| act.append(tx)).await?)
    }

    /// A page of the audit log, newest first.
    pub(crate) async fn audit(
        &self,
        before: Option<i64>,
        limit: Option<u32>,
    ) -> Result<AuditPage, StoreError> {
        Ok(self.db.read(move |conn| audit::page(conn, before, limit)).await?)
    }

    /// Keeps a one-time link.
    pub(crate) async fn add_link(
        &self,
        code: Hash,
        subject: String,
        ends: Timestamp,
        act: Act,
    ) -> Result<(), StoreError> {
        let job = move |tx: &Tx<'_>| {
            tx.execute(
                "INSERT INTO login_links (code_hash, subject, made_at_ms, ends_at_ms)
                 VALUES (?1, ?2, ?3, ?4)",
                (code, &subject, act.at.0, ends.0),
            )?;
            act.append(tx)
        };
        Ok(self.db.write("link", job).await?)
    }

    /// What is known of a link. Changes nothing.
    pub(crate) async fn link(&self, code: Hash, now: Timestamp) -> Result<LinkState, StoreError> {
        let row = self.db.read(move |conn| {
            conn.prepare_cached(
                "SELECT ends_at_ms, spent_at_ms FROM login_links WHERE code_hash = ?1",
            )?
            .query_row([code], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)))
            .optional()
        });
        Ok(LinkState::of(row.await?, now))
    }

    /// Spends a link and begins the session, or does neither: `None` when somebody was faster or the
    /// link has ended. `act` says who was where; its actor and target are filled in.
    pub(crate) async fn spend_link(
        &self,
        code: Hash,
        cookie: Hash,
        from: String,
        act: Act,
    ) -> Result<Option<Session>, StoreError> {
        let job = move |tx: &Tx<'_>| {
            let now = act.at.0;
            let subject: Option<String> = tx
                .prepare_cached(
                    "UPDATE login_links SET spent_at_ms = ?2
                     WHERE code_hash = ?1 AND spent_at_ms IS NULL AND ends_at_ms > ?2
                     RETURNING subject",
                )?
                .query_row((code, now), |row| row.get(0))
                .optional()?;
            let Some(subject) = subject else { return Ok(None) };
            let session = Session {
                id: 0,
                subject,
                made: act.at,
                seen: act.at,
                rule: None,
                from: from.clone(),
                kind: Kind::Browser,
            };
            let session = sessions::insert_session(tx, &cookie, session)?;
            let id = session.id;
            tx.execute("UPDATE login_links SET session = ?2 WHERE code_hash = ?1", (code, id))?;
            let target = format!("session {id}");
            Act { actor: session.subject.clone(), target, ..act.clone() }.append(tx)?;
            Ok(Some(session))
        };
        Ok(self.db.write("login", job).await?)
    }

    /// Removes what has been over for a day. `lives` are how long a session of each kind lasts without
    /// use, and at all.
    pub(crate) async fn tidy(
        &self,
        now: Timestamp,
        lives: [(Kind, i64, i64); 2],
    ) -> Result<(), StoreError> {
        let before = now.plus(-KEEP_ENDED_MS).0;
        let job = move |tx: &Tx<'_>| {
            tx.execute("DELETE FROM login_links WHERE ends_at_ms < ?1", [before])?;
            tx.execute("DELETE FROM spent_logins WHERE ends_at_ms < ?1", [before])?;
            for (kind, idle, whole) in lives {
                tx.execute(
                    "DELETE FROM sessions WHERE kind = ?4
                     AND (ended_at_ms < ?1 OR seen_at_ms + ?2 < ?1 OR made_at_ms + ?3 < ?1)",
                    (before, idle, whole, kind.name()),
                )?;
            }
            Ok(())
        };
        Ok(self.db.write("tidy", job).await?)
    }

    /// The lowest epoch that is still good, by subject.
    pub(crate) async fn epochs(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows = self.db.read(|conn| {
            conn.prepare_cached("SELECT subject, epoch FROM epochs")?
                .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?
                .collect()
        });
        Ok(rows.await?)
    }

    /// Ends every token that these subjects have.
    pub(crate) async fn end_tokens(
        &self,
        subjects: Vec<String>,
        act: Act,
    ) -> Result<(), StoreError> {
        let job = move |tx: &Tx<'_>| {
            for subject in &subjects {
                tx.execute(
                    "INSERT INTO epochs (subject, epoch) VALUES (?1, 1)
                     ON CONFLICT (subject) DO UPDATE SET epoch = epoch + 1",
                    [subject],
                )?;
                Act { target: subject.clone(), ..act.clone() }.append(tx)?;
            }
            Ok(())
        };
        Ok(self.db.write("tokens.end", job).await?)
    }
}
