//! This database's own key, and what is kept under it.
//!
//! The key of link tokens is random and sealed under the data key, so that neither a rotation of `SECRETS_KEY` nor a
//! renewal of the data key makes a token worthless: the hashes stay as they are.

mod sealing;

pub(crate) use sealing::{open_sealed, seal_as};

use crate::{fault::Fault, record::record, secrets::KEY, store::keys};
use async_trait::async_trait;
use aws_lc_rs::{hmac, rand};
use db::Database;
use kit::{Clock, Context, Failure, StartError};
use proto::{Timestamp, kit::DatabaseKey};
use secrets::{
    Name, Watched,
    seal::{DataKey, SECRETS_KEY, SealError, SecretsKey, UnlockError, Unlocked, Wrap, unlock},
};
use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::Mutex;

/// The database's name in its wraps.
const DATABASE: &str = "routd.db";
/// The row of the key of link tokens, which is also what it is sealed for.
const LINK_KEY: &str = "link tokens";
/// The audit log's name for what the daemon does by itself.
const ITSELF: &str = "service:routd";
/// The wait before a wrap that failed is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What the tokens of links are hashed under.
pub(crate) struct LinkKey(hmac::Key);

impl LinkKey {
    /// The keyed hash (HMAC-SHA-256) under which a token is stored and found.
    pub(crate) fn hash(&self, token: &str) -> Vec<u8> {
        hmac::sign(&self.0, token.as_bytes()).as_ref().to_vec()
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(..)")
    }
}

/// Why the database's key is not at hand.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error("the key of the database is not to be had")]
    Unlock(#[from] UnlockError),
    #[error("what is sealed in the database cannot be opened")]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] Fault),
}

impl From<db::Error> for KeyError {
    fn from(error: db::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<rusqlite::Error> for KeyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The key of this database: wrapped under `SECRETS_KEY` in it, and held here. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keyring(Arc<Inner>);

struct Inner {
    database: Database,
    secrets_key: Watched<SecretsKey>,
    clock: Clock,
    overlap: Duration,
    /// Locked while the database's key or its wraps change.
    held: Mutex<DataKey>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(..)")
    }
}

/// Opens the database's key at start, with whatever `SECRETS_KEY` is accepted now; makes one for a new database.
pub(crate) async fn open(
    database: &Database,
    secrets_key: Watched<SecretsKey>,
    clock: Clock,
    overlap: Duration,
) -> Result<(Keyring, LinkKey), StartError> {
    let accepted: Vec<Arc<SecretsKey>> = secrets_key.accepted().collect();
    let now = clock.now();
    let opened = database.try_write("keys.open", move |tx| {
        let (data_key, _) = settle(tx, &accepted, None, overlap, now)?;
        let link_key = link_key(tx, &data_key)?;
        Ok((data_key, link_key))
    });
    let (data_key, link_key) = opened.await.map_err(|error| match error {
        KeyError::Unlock(error @ UnlockError::NoKey { .. }) => StartError::Config {
            what: error.to_string(),
            hint: "see `arizuko secrets check`".into(),
        },
        error => StartError::Data {
            what: "routd cannot open what is sealed in its database".into(),
            hint: "the cause says what to do".into(),
            source: Some(error.into()),
        },
    })?;
    let (database, held) = (database.clone(), Mutex::new(data_key));
    let inner = Inner { database, secrets_key, clock, overlap, held };
    Ok((Keyring(Arc::new(inner)), link_key))
}

/// Brings the wraps to where they should be under the accepted keys, in the caller's transaction. Answers with the
/// database's key, and when to do it again where a wrap is kept for the rest of its overlap.
fn settle(
    tx: &rusqlite::Connection,
    accepted: &[Arc<SecretsKey>],
    held: Option<&DataKey>,
    overlap: Duration,
    now: Timestamp,
) -> Result<(DataKey, Option<Duration>), KeyError> {
    let kept = keys::kept_wraps(tx, now)?;
    let wraps: Vec<Wrap> = kept.iter().map(|kept| kept.wrap.clone()).collect();
    let mut unlocked = match (unlock(DATABASE, &wraps, accepted), held) {
        (Ok(unlocked), _) => unlocked,
        // The key is in memory, so nothing is lost: it is wrapped under the current one.
        (Err(UnlockError::NoKey { .. } | UnlockError::Damaged { .. }), Some(held)) => {
            let current = accepted.first();
            let write = current.map(|current| held.wrap(current, DATABASE)).transpose()?;
            let write = write.into_iter().collect();
            Unlocked { key: held.clone(), write, delete: Vec::new() }
        }
        (Err(error), _) => return Err(error.into()),
    };
    let again = accepted.first().and_then(|current| unlocked.keep_for(overlap, &kept, current));
    for wrap in &unlocked.write {
        keys::add_wrap(tx, wrap, now)?;
        record(tx, now, ITSELF, "key.wrap", DATABASE, &format!("under {}", wrap.key_id))?;
    }
    for key_id in &unlocked.delete {
        keys::drop_wrap(tx, key_id)?;
        record(tx, now, ITSELF, "key.drop_wrap", DATABASE, &format!("under {key_id}"))?;
    }
    Ok((unlocked.key, again))
}

fn link_key(tx: &rusqlite::Connection, data_key: &DataKey) -> Result<LinkKey, KeyError> {
    if let Some(sealed) = keys::sealed(tx, LINK_KEY)? {
        let opened = data_key.open(&sealed, LINK_KEY.as_bytes())?;
        return Ok(LinkKey(hmac::Key::new(hmac::HMAC_SHA256, &opened)));
    }
    let mut random = [0; 32];
    rand::fill(&mut random).map_err(|_| SealError::System)?;
    keys::keep_sealed(tx, LINK_KEY, &data_key.seal(&random, LINK_KEY.as_bytes())?)?;
    Ok(LinkKey(hmac::Key::new(hmac::HMAC_SHA256, &random)))
}

impl Keyring {
    /// Wraps the database's key under the current `SECRETS_KEY`, and lets go of the wraps under those that are
    /// accepted no more. Doing it again changes nothing. Answers when to do it again without being told.
    async fn rewrap(&self) -> Result<Option<Duration>, KeyError> {
        let mut held = self.0.held.lock().await;
        let accepted: Vec<Arc<SecretsKey>> = self.0.secrets_key.accepted().collect();
        let (now, known, overlap) = (self.0.clock.now(), held.clone(), self.0.overlap);
        let settled = self
            .0
            .database
            .try_write("keys.follow", move |tx| settle(tx, &accepted, Some(&known), overlap, now));
        let (key, again) = settled.await?;
        *held = key;
        Ok(again)
    }

    /// Seals everything anew under a new data key, and leaves nothing in the file that an earlier one, or another
    /// `SECRETS_KEY` than the current one, opens.
    async fn renew(&self, by: &str, why: &'static str) -> Result<(), KeyError> {
        let mut held = self.0.held.lock().await;
        let (old, new) = (held.clone(), DataKey::generate()?);
        let wrap = new.wrap(&self.0.secrets_key.current(), DATABASE)?;
        let (next, now, by) = (new.clone(), self.0.clock.now(), by.to_owned());
        let renewed = self.0.database.try_write("keys.renew", move |tx| {
            for (name, sealed) in keys::all_sealed(tx)? {
                let plain = old.open(&sealed, name.as_bytes())?;
                keys::seal_anew(tx, &name, &next.seal(&plain, name.as_bytes())?)?;
            }
            for known in keys::wraps(tx)? {
                keys::drop_wrap(tx, &known.key_id)?;
            }
            keys::add_wrap(tx, &wrap, now)?;
            record(tx, now, &by, "key.renew", DATABASE, why)?;
            Ok::<_, KeyError>(())
        });
        renewed.await?;
        *held = new;
        // The change is kept. That a reader holds the log open only means that it is emptied later.
        if let Err(error) = self.0.database.empty_log().await {
            tracing::warn!(%error, "the log of the database could not be emptied after the renewal");
        }
        Ok(())
    }

    /// Seals everything anew, because an operator asked for it.
    pub(crate) async fn rekey(&self, by: &str) -> Result<(), Failure> {
        let renewed = self.renew(by, "sealed anew under a new data key").await;
        renewed.map_err(|error| Failure::internal(&error))
    }

    /// Which values of `SECRETS_KEY` open the database.
    pub(crate) async fn state(&self) -> Result<DatabaseKey, Failure> {
        let wraps = self.0.database.read(keys::wraps).await.map_err(Fault::from)?;
        let opened_by = wraps.into_iter().map(|wrap| wrap.key_id).collect();
        Ok(DatabaseKey { database: DATABASE.into(), opened_by })
    }
}

/// A `SECRETS_KEY` that must not open the database any more does not. Weak, so that whoever holds the gate does not
/// keep the database open.
#[derive(Debug)]
pub(crate) struct Distrust(Weak<Inner>);

impl Distrust {
    pub(crate) fn of(ring: &Keyring) -> Self {
        Self(Arc::downgrade(&ring.0))
    }
}

#[async_trait]
impl kit::Forgetting for Distrust {
    async fn forgotten(&self, name: &Name, by: &str) -> Result<(), String> {
        if *name != SECRETS_KEY {
            return Ok(());
        }
        let ring = Keyring(self.0.upgrade().ok_or("routd is stopping")?);
        let why = "the earlier values of SECRETS_KEY were forgotten: a new data key";
        ring.renew(by, why).await.map_err(|error| kit::chain(&error))
    }
}

/// Watches `SECRETS_KEY`, and wraps the database's key anew when it changes and when an overlap ends.
pub(crate) async fn follow(context: Context, ring: Keyring) {
    let mut secrets_key = ring.0.secrets_key.clone();
    loop {
        let (again, trouble) = match ring.rewrap().await {
            Ok(again) => (again, None),
            Err(error) => (Some(AFTER_FAILURE), Some(kit::chain(&error))),
        };
        if let Some(trouble) = &trouble {
            tracing::error!(trouble, "the database's key could not be wrapped anew");
        }
        context.health.degraded("SECRETS_KEY", trouble);
        let try_again = async {
            match again {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = secrets_key.accepted_changed() => {}
            () = try_again => {}
        }
    }
}

/// The secret under which the key is wrapped, as it changes.
pub(crate) async fn watch(context: &Context) -> Result<Watched<SecretsKey>, StartError> {
    Ok(context.secrets.watch(&KEY).await?)
}
