//! The SQL of keys: wraps of the data key, signing keys, and values that are sealed.

use super::{Act, Store, StoreError};
use crate::signing_key::{Key, State};
use db::Tx;
use proto::Timestamp;
use rusqlite::OptionalExtension;
use secrets::seal::{KeptWrap, Wrap};
use std::time::Duration;

/// A signing key as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct KeyRow {
    pub(crate) key: Key,
    pub(crate) sealed: Vec<u8>,
}

/// A change to one signing key.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Insert(KeyRow),
    Activate {
        kid: String,
        at: Timestamp,
    },
    /// From here on only the public half is kept.
    Retire {
        kid: String,
        at: Timestamp,
        sealed: Vec<u8>,
    },
    /// Any state but active.
    Delete {
        kid: String,
    },
}

/// Everything sealed anew under another data key.
#[derive(Debug)]
pub(crate) struct Renewal {
    /// The one wrap that replaces all others.
    pub(crate) wrap: Wrap,
    /// By the key's id. Keys that are not here are deleted.
    pub(crate) keys: Vec<KeyRow>,
    /// By name, all that there are.
    pub(crate) values: Vec<(String, Vec<u8>)>,
}

/// The wraps of the data key.
pub(super) fn all_wraps(conn: &rusqlite::Connection) -> rusqlite::Result<Vec<Wrap>> {
    conn.prepare_cached("SELECT key_id, wrapped FROM wraps ORDER BY key_id")?
        .query_map([], |row| Ok(Wrap { key_id: row.get(0)?, bytes: row.get(1)? }))?
        .collect()
}

impl Store {
    /// The wraps of the data key, each with its age at `now`.
    pub(crate) async fn wraps(&self, now: Timestamp) -> Result<Vec<KeptWrap>, StoreError> {
        let rows = self.db.read(move |conn| {
            conn.prepare_cached("SELECT key_id, wrapped, made_at_ms FROM wraps ORDER BY key_id")?
                .query_map([], |row| {
                    let wrap = Wrap { key_id: row.get(0)?, bytes: row.get(1)? };
                    let age = now.0.saturating_sub(row.get(2)?);
                    let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
                    Ok(KeptWrap { wrap, age })
                })?
                .collect()
        });
        Ok(rows.await?)
    }

    /// Adds and removes wraps of the data key, in one transaction.
    pub(crate) async fn change_wraps(
        &self,
        write: Vec<Wrap>,
        delete: Vec<String>,
        act: Act,
    ) -> Result<(), StoreError> {
        let job = move |tx: &Tx<'_>| {
            for wrap in &write {
                put_wrap(tx, wrap, act.at)?;
                let detail = "the key of authd.db is sealed under this SECRETS_KEY".into();
                Act { action: "wrap.add", target: wrap.key_id.clone(), detail, ..act.clone() }
                    .append(tx)?;
            }
            for key_id in &delete {
                tx.execute("DELETE FROM wraps WHERE key_id = ?1", [key_id])?;
                let detail = "this SECRETS_KEY opens authd.db no more".into();
                Act { action: "wrap.remove", target: key_id.clone(), detail, ..act.clone() }
                    .append(tx)?;
            }
            Ok(())
        };
        Ok(self.db.write("wraps", job).await?)
    }

    pub(crate) async fn key_rows(&self) -> Result<Vec<KeyRow>, StoreError> {
        let rows: Vec<(String, String, i64, Vec<u8>)> = self
            .db
            .read(|conn| {
                conn.prepare_cached("SELECT kid, state, since_ms, sealed FROM signing_keys")?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                    .collect()
            })
            .await?;
        let row = |(kid, state, since, sealed): (String, String, i64, Vec<u8>)| {
            // The schema lets no other state in.
            let state = State::from_name(&state)?;
            Some(KeyRow { key: Key { kid, state, since: Timestamp(since) }, sealed })
        };
        Ok(rows.into_iter().filter_map(row).collect())
    }

    /// Makes all of these changes, in order, or none: each only where the key is in the state that
    /// the change begins from.
    pub(crate) async fn change_keys(&self, changes: Vec<(Change, Act)>) -> Result<(), StoreError> {
        let job = move |tx: &Tx<'_>| {
            for (change, act) in &changes {
                change_key(tx, change)?;
                act.append(tx)?;
            }
            Ok(())
        };
        self.db.try_write("keys", job).await
    }

    pub(crate) async fn sealed_value(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let name = name.to_owned();
        let row = self.db.read(move |conn| {
            conn.prepare_cached("SELECT sealed FROM sealed_values WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()
        });
        Ok(row.await?)
    }

    /// Keeps a value under a name that has none yet.
    pub(crate) async fn add_sealed_value(
        &self,
        name: &'static str,
        sealed: Vec<u8>,
    ) -> Result<(), StoreError> {
        let job = move |tx: &Tx<'_>| {
            tx.execute("INSERT INTO sealed_values (name, sealed) VALUES (?1, ?2)", (name, sealed))
                .map(drop)
        };
        Ok(self.db.write("value", job).await?)
    }

    pub(crate) async fn sealed_values(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let rows = self.db.read(|conn| {
            conn.prepare_cached("SELECT name, sealed FROM sealed_values")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        });
        Ok(rows.await?)
    }

    /// Replaces everything that is sealed, and then the log, so that nothing of it lives on in the
    /// file. The caller sees to it that nobody else changes keys meanwhile.
    pub(crate) async fn renew(&self, renewal: Renewal, act: Act) -> Result<(), StoreError> {
        let job = move |tx: &Tx<'_>| {
            tx.execute("DELETE FROM wraps", [])?;
            put_wrap(tx, &renewal.wrap, act.at)?;
            tx.execute("DELETE FROM signing_keys", [])?;
            for row in &renewal.keys {
                insert_key(tx, row)?;
            }
            for (name, sealed) in &renewal.values {
                let changed = tx.execute(
                    "UPDATE sealed_values SET sealed = ?2 WHERE name = ?1",
                    (name, sealed),
                )?;
                expect_one(changed, name)?;
            }
            Ok::<_, StoreError>(act.append(tx)?)
        };
        self.db.try_write("renew", job).await?;
        // The change is kept. That a reader holds the log open only means that it is emptied later.
        if let Err(error) = self.db.empty_log().await {
            tracing::warn!(%error, "the log of authd.db could not be emptied after the renewal");
        }
        Ok(())
    }
}

fn put_wrap(tx: &Tx<'_>, wrap: &Wrap, at: Timestamp) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO wraps (key_id, wrapped, made_at_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (key_id) DO UPDATE SET wrapped = excluded.wrapped, made_at_ms = excluded.made_at_ms",
        (&wrap.key_id, &wrap.bytes, at.0),
    )
    .map(drop)
}

fn change_key(tx: &Tx<'_>, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Insert(row) => Ok(insert_key(tx, row)?),
        Change::Activate { kid, at } => {
            let changed = tx.execute(
                "UPDATE signing_keys SET state = 'active', since_ms = ?2
                 WHERE kid = ?1 AND state = 'pending'",
                (kid, at.0),
            )?;
            expect_one(changed, kid)
        }
        Change::Retire { kid, at, sealed } => {
            let changed = tx.execute(
                "UPDATE signing_keys SET state = 'retired', since_ms = ?2, sealed = ?3
                 WHERE kid = ?1 AND state = 'active'",
                (kid, at.0, sealed),
            )?;
            expect_one(changed, kid)
        }
        Change::Delete { kid } => {
            let changed =
                tx.execute("DELETE FROM signing_keys WHERE kid = ?1 AND state <> 'active'", [kid])?;
            expect_one(changed, kid)
        }
    }
}

fn insert_key(tx: &Tx<'_>, row: &KeyRow) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO signing_keys (kid, state, since_ms, sealed) VALUES (?1, ?2, ?3, ?4)",
        (&row.key.kid, row.key.state.name(), row.key.since.0, &row.sealed),
    )
    .map(drop)
}

fn expect_one(changed: usize, what: &str) -> Result<(), StoreError> {
    if changed == 1 { Ok(()) } else { Err(StoreError::Moved(what.to_owned())) }
}
