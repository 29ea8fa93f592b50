//! This database's own key, and what is kept under it.
//!
//! The key of link tokens is random and sealed under the data key, so that neither a rotation of `SECRETS_KEY` nor a
//! renewal of the data key makes a token worthless: the hashes stay as they are.

use crate::{fault::Fault, record::record, secrets::KEY, store::keys};
use aws_lc_rs::{hmac, rand};
use db::Database;
use kit::{Context, StartError};
use proto::Timestamp;
use secrets::{
    Watched,
    seal::{DataKey, SealError, SecretsKey, UnlockError, unlock},
};
use std::{fmt, sync::Arc, time::Duration};

/// The database's name in its wraps.
const DATABASE: &str = "routd.db";
/// The row of the key of link tokens, which is also what it is sealed for.
const LINK_KEY: &str = "link tokens";
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

/// Opens the database's key at start, with whatever `SECRETS_KEY` is accepted now; makes one for a new database.
pub(crate) async fn open(
    database: &Database,
    key: &Watched<SecretsKey>,
    now: Timestamp,
) -> Result<LinkKey, StartError> {
    let accepted: Vec<Arc<SecretsKey>> = key.accepted().collect();
    let opened = database.try_write("keys.open", move |tx| {
        let data_key = settle(tx, &accepted, now)?;
        link_key(tx, &data_key)
    });
    opened.await.map_err(|error| match error {
        KeyError::Unlock(error @ UnlockError::NoKey { .. }) => StartError::Config {
            what: error.to_string(),
            hint: "see `arizuko secrets check`".into(),
        },
        error => StartError::Data {
            what: "routd cannot open what is sealed in its database".into(),
            hint: "the cause says what to do".into(),
            source: Some(error.into()),
        },
    })
}

/// Brings the wraps to where they should be under the accepted keys, in the caller's transaction.
fn settle(
    tx: &rusqlite::Connection,
    accepted: &[Arc<SecretsKey>],
    now: Timestamp,
) -> Result<DataKey, KeyError> {
    let unlocked = unlock(DATABASE, &keys::wraps(tx)?, accepted)?;
    for wrap in &unlocked.write {
        keys::add_wrap(tx, wrap, now)?;
        record(tx, now, "service:routd", "key.wrap", DATABASE, &format!("under {}", wrap.key_id))?;
    }
    for key_id in &unlocked.delete {
        keys::drop_wrap(tx, key_id)?;
        record(tx, now, "service:routd", "key.drop_wrap", DATABASE, &format!("under {key_id}"))?;
    }
    Ok(unlocked.key)
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

/// Watches `SECRETS_KEY`, and wraps the database's key anew when it changes and when an overlap ends.
pub(crate) async fn follow(context: Context, database: Database, mut key: Watched<SecretsKey>) {
    loop {
        let accepted: Vec<Arc<SecretsKey>> = key.accepted().collect();
        let now = context.clock.now();
        let settled =
            database.try_write("keys.follow", move |tx| settle(tx, &accepted, now).map(drop)).await;
        let trouble = settled.err().map(|error| kit::chain(&error));
        if let Some(trouble) = &trouble {
            tracing::error!(trouble, "the database's key could not be wrapped anew");
        }
        let failed = trouble.is_some();
        context.health.degraded("SECRETS_KEY", trouble);
        let try_again = async {
            match failed {
                true => tokio::time::sleep(AFTER_FAILURE).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = key.accepted_changed() => {}
            () = try_again => {}
        }
    }
}

/// The secret under which the key is wrapped, as it changes.
pub(crate) async fn watch(context: &Context) -> Result<Watched<SecretsKey>, StartError> {
    Ok(context.secrets.watch(&KEY).await?)
}
