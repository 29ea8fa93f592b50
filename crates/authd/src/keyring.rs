//! The keys that sign: sealed in the database, live in memory, swapped as one.
//!
//! Every change goes to the database first and is loaded from there, so that what is published is
//! what is kept. Changes are made one at a time; minting a token takes no lock.

use crate::{
    signing_key::{self, Key, Op, Policy, State, What},
    start_error,
    store::{Act, Change, KeyRow, Renewal, Store, StoreError},
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use auth::{Claims, Jwks, PublicJwk, Signer};
use kit::{Clock, StartError};
use proto::Timestamp;
use secrets::{
    Watched,
    seal::{DataKey, SealError, SecretsKey, UnlockError, Unlocked, unlock},
};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::{Mutex, Notify};

/// What the data key is wrapped for.
pub(crate) const DATABASE: &str = "authd.db";

/// The audit log's name for what the daemon does by itself.
pub(crate) const BY_ITSELF: &str = "service:authd";

/// Why keys could not be changed or loaded. What was live before stays live.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyringError {
    /// The database failed, or has moved on.
    #[error("the keys in authd.db could not be changed")]
    Store(#[from] StoreError),
    /// Something sealed does not open.
    #[error("a sealed row of authd.db could not be made or opened")]
    Seal(#[from] SealError),
    /// The data key does not open.
    #[error("the key of authd.db could not be opened")]
    Unlock(#[from] UnlockError),
    /// A key could not be made.
    #[error("a signing key could not be made")]
    Key(#[from] auth::KeyError),
    /// A row opens, and is not the key that it says.
    #[error("the signing key {kid} in authd.db is not what it says; restore a backup")]
    Damaged {
        /// Which.
        kid: String,
    },
    /// No key is active, which the sweep prevents.
    #[error("no signing key of authd.db is active")]
    NoSigner,
}

/// How the keys are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The life of a signing key.
    pub(crate) policy: Policy,
    /// How long a wrap under an earlier `SECRETS_KEY` stays.
    pub(crate) overlap: Duration,
}

/// What a renewal makes anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewed {
    /// The data key. Tokens stay good.
    DataKey,
    /// The signing keys too, because somebody may have them: every token ends now.
    All,
}

impl Renewed {
    const fn detail(self) -> &'static str {
        match self {
            Self::DataKey => "sealed anew under a new data key",
            Self::All => {
                "a new data key and a new signing key; every token signed before has ended"
            }
        }
    }
}

/// The signing keys. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keyring(Arc<Inner>);

struct Inner {
    store: Store,
    secrets_key: Watched<SecretsKey>,
    rules: Rules,
    clock: Clock,
    live: ArcSwap<Live>,
    /// Held while keys change.
    changing: Mutex<()>,
    /// Wakes the loop that sweeps.
    wake: Notify,
}

/// All that is in use at one time. Immutable.
struct Live {
    data_key: DataKey,
    keys: Vec<Key>,
    signer: Signer,
    jwks: Jwks,
}

impl Keyring {
    /// Opens the database's key and loads the signing keys; makes both where there are none.
    ///
    /// # Errors
    /// No `SECRETS_KEY` at hand opens it (78), or what is stored is damaged (65). Nothing has been
    /// changed then.
    pub(crate) async fn open(
        store: &Store,
        secrets_key: Watched<SecretsKey>,
        rules: Rules,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let now = clock.now();
        let kept = store.wraps(now).await.map_err(start_error::at_start)?;
        let wraps: Vec<_> = kept.into_iter().map(|kept| kept.wrap).collect();
        let accepted: Vec<_> = secrets_key.accepted().collect();
        let unlocked = unlock(DATABASE, &wraps, &accepted).map_err(start_error::not_unlocked)?;
        let data_key = unlocked.key;
        let rows = store.key_rows().await.map_err(start_error::at_start)?;
        // Read before anything is written: a database that does not open must stay as it is.
        let opened = open_rows(&data_key, &rows).map_err(start_error::at_start)?;
        drop(opened);
        let is_restored = store.begin_epoch(now).await.map_err(start_error::at_start)?;
        let rows = if is_restored { Vec::new() } else { rows };
        let ops = sweep(&rows, &rules, now);
        if !unlocked.write.is_empty() {
            let act = act(now, BY_ITSELF, "wrap.add", "", "");
            store
                .change_wraps(unlocked.write, Vec::new(), act)
                .await
                .map_err(start_error::at_start)?;
        }
        carry_out(store, &data_key, &rows, ops, now).await.map_err(start_error::at_start)?;
        let live = load(store, data_key).await.map_err(start_error::at_start)?;
        Ok(Self(Arc::new(Inner {
            store: store.clone(),
            secrets_key,
            rules,
            clock,
            live: ArcSwap::from_pointee(live),
            changing: Mutex::new(()),
            wake: Notify::new(),
        })))
    }

    /// The public keys and the epochs.
    pub(crate) fn jwks(&self) -> Jwks {
        self.nudge();
        self.0.live.load().jwks.clone()
    }

    /// Signs what `claims` makes of the live epochs.
    pub(crate) fn sign(
        &self,
        claims: impl FnOnce(&Jwks) -> Claims,
    ) -> Result<String, auth::KeyError> {
        self.nudge();
        let live = self.0.live.load();
        live.signer.sign(&claims(&live.jwks))
    }

    /// The keys, without what they are.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.0.live.load().keys.clone()
    }

    /// Seals a value of the instance's own, for the row of that name.
    pub(crate) fn seal_value(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, KeyringError> {
        Ok(self.0.live.load().data_key.seal(value, &value_row(name))?)
    }

    /// Opens what [`Keyring::seal_value`] made.
    pub(crate) fn open_value(
        &self,
        name: &str,
        sealed: &[u8],
    ) -> Result<impl AsRef<[u8]> + use<>, KeyringError> {
        Ok(Plain(self.0.live.load().data_key.open(sealed, &value_row(name))?))
    }

    /// Waits until somebody noticed that there is something to do, or another `SECRETS_KEY` is
    /// accepted, or one less.
    pub(crate) async fn due(&self, secrets_key: &mut Watched<SecretsKey>) {
        tokio::select! {
            () = self.0.wake.notified() => {}
            () = secrets_key.accepted_changed() => {}
        }
    }

    /// The watch on `SECRETS_KEY`, to wait for its changes.
    pub(crate) fn secrets_key(&self) -> Watched<SecretsKey> {
        self.0.secrets_key.clone()
    }

    /// Wakes the sweep if it has something to do, so that it need not run often to be in time.
    fn nudge(&self) {
        let live = self.0.live.load();
        let policy = &self.0.rules.policy;
        if !signing_key::sweep(&live.keys, policy, self.0.clock.now()).is_empty() {
            self.0.wake.notify_one();
        }
    }

    /// Moves every key on in its life.
    pub(crate) async fn sweep(&self) -> Result<(), KeyringError> {
        let _one_at_a_time = self.0.changing.lock().await;
        let now = self.0.clock.now();
        let rows = self.0.store.key_rows().await?;
        let ops = sweep(&rows, &self.0.rules, now);
        if ops.is_empty() {
            return Ok(());
        }
        let data_key = self.0.live.load().data_key.clone();
        carry_out(&self.0.store, &data_key, &rows, ops, now).await?;
        self.reload(data_key).await
    }

    /// Begins a rotation before its time: a new key is published now, and signs after a cache
    /// lifetime. Answers whether one was begun; one that is under way is left alone.
    pub(crate) async fn rotate(&self, by: &str) -> Result<bool, KeyringError> {
        let _one_at_a_time = self.0.changing.lock().await;
        let data_key = self.0.live.load().data_key.clone();
        let rows = self.0.store.key_rows().await?;
        if rows.iter().any(|row| row.key.state == State::Pending) {
            return Ok(false);
        }
        let now = self.0.clock.now();
        let row = new_row(&data_key, State::Pending, now)?;
        let act = act(now, by, "key.create", &row.key.kid, "pending: a rotation was asked for");
        self.0.store.change_keys(vec![(Change::Insert(row), act)]).await?;
        self.reload(data_key).await?;
        Ok(true)
    }

    /// Wraps the data key under the current `SECRETS_KEY`, and lets go of the wraps of those whose
    /// overlap has ended. Doing it again changes nothing. Answers after how long to do it again,
    /// where a wrap waits for its end.
    pub(crate) async fn rewrap(&self) -> Result<Option<Duration>, KeyringError> {
        let _one_at_a_time = self.0.changing.lock().await;
        let now = self.0.clock.now();
        let kept = self.0.store.wraps(now).await?;
        let wraps: Vec<_> = kept.iter().map(|kept| kept.wrap.clone()).collect();
        let accepted: Vec<_> = self.0.secrets_key.accepted().collect();
        let held = self.0.live.load().data_key.clone();
        let mut todo = match unlock(DATABASE, &wraps, &accepted) {
            Ok(unlocked) => unlocked,
            // The key is in memory, so nothing is lost: it is wrapped under the current one.
            Err(UnlockError::NoKey { .. } | UnlockError::Damaged { .. }) => {
                let write = accepted.first().map(|key| held.wrap(key, DATABASE)).transpose()?;
                Unlocked { key: held, write: write.into_iter().collect(), delete: Vec::new() }
            }
            Err(error @ UnlockError::System { .. }) => return Err(error.into()),
        };
        let overlap = self.0.rules.overlap;
        let again = accepted.first().and_then(|current| todo.keep_for(overlap, &kept, current));
        if !todo.write.is_empty() || !todo.delete.is_empty() {
            let act = act(now, BY_ITSELF, "wrap.add", "", "");
            self.0.store.change_wraps(todo.write, todo.delete, act).await?;
        }
        Ok(again)
    }

    /// Seals everything anew under a new data key, and leaves nothing in the file that an earlier
    /// one opens. What leaked is replaced as well.
    pub(crate) async fn renew(&self, what: Renewed, by: &str) -> Result<(), KeyringError> {
        let _one_at_a_time = self.0.changing.lock().await;
        let now = self.0.clock.now();
        let (old, new) = (self.0.live.load().data_key.clone(), DataKey::generate()?);
        let reseal = |sealed: &[u8], row: &[u8]| new.seal(&old.open(sealed, row)?, row);
        let mut values = Vec::new();
        for (name, sealed) in self.0.store.sealed_values().await? {
            let sealed = reseal(&sealed, &value_row(&name))?;
            values.push((name, sealed));
        }
        let mut keys = Vec::new();
        match what {
            Renewed::All => keys.push(new_row(&new, State::Active, now)?),
            Renewed::DataKey => {
                for mut row in self.0.store.key_rows().await? {
                    row.sealed = reseal(&row.sealed, &key_row(&row.key.kid, row.key.state))?;
                    keys.push(row);
                }
            }
        }
        let wrap = new.wrap(&self.0.secrets_key.current(), DATABASE)?;
        let act = act(now, by, "keys.renew", DATABASE, what.detail());
        self.0.store.renew(Renewal { wrap, keys, values }, act).await?;
        self.reload(new).await
    }

    /// Ends every token that these subjects have.
    pub(crate) async fn end_tokens(
        &self,
        subjects: Vec<String>,
        by: &str,
        why: &str,
    ) -> Result<(), KeyringError> {
        let _one_at_a_time = self.0.changing.lock().await;
        let act = act(self.0.clock.now(), by, "tokens.end", "", why);
        self.0.store.end_tokens(subjects, act).await?;
        let data_key = self.0.live.load().data_key.clone();
        self.reload(data_key).await
    }

    /// The caller holds `changing`.
    async fn reload(&self, data_key: DataKey) -> Result<(), KeyringError> {
        self.0.live.store(Arc::new(load(&self.0.store, data_key).await?));
        Ok(())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0.live.load().keys).finish()
    }
}

/// authd verifies its own callers with its own keys.
#[async_trait]
impl kit::KeySource for Keyring {
    async fn keys(&self) -> Result<Jwks, String> {
        Ok(self.0.live.load().jwks.clone())
    }

    fn is_local(&self) -> bool {
        true
    }
}

/// Wiped when it is dropped, as what it holds is.
struct Plain<T>(T);

impl<T: std::ops::Deref<Target = Vec<u8>>> AsRef<[u8]> for Plain<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// What a row opens to.
enum Opened {
    Private(Signer),
    Public(PublicJwk),
}

fn open_rows(data_key: &DataKey, rows: &[KeyRow]) -> Result<Vec<(Key, Opened)>, KeyringError> {
    let open = |row: &KeyRow| {
        let damaged = || KeyringError::Damaged { kid: row.key.kid.clone() };
        let plain = data_key.open(&row.sealed, &key_row(&row.key.kid, row.key.state))?;
        let opened = if row.key.state == State::Retired {
            Opened::Public(serde_json::from_slice(&plain).map_err(|_| damaged())?)
        } else {
            Opened::Private(Signer::from_pkcs8(&plain).map_err(|_| damaged())?)
        };
        if opened.public().kid == row.key.kid {
            Ok((row.key.clone(), opened))
        } else {
            Err(damaged())
        }
    };
    rows.iter().map(open).collect()
}

impl Opened {
    fn public(&self) -> &PublicJwk {
        match self {
            Self::Private(signer) => signer.public(),
            Self::Public(public) => public,
        }
    }
}

async fn load(store: &Store, data_key: DataKey) -> Result<Live, KeyringError> {
    let epochs = store.epochs().await?;
    let mut opened = open_rows(&data_key, &store.key_rows().await?)?;
    // Newest first, which is the order in which verifiers will need them.
    opened.sort_by(|(a, _), (b, _)| (b.since, &b.kid).cmp(&(a.since, &a.kid)));
    let keys = opened.iter().map(|(key, _)| key.clone()).collect();
    let jwks = Jwks { keys: opened.iter().map(|(_, o)| o.public().clone()).collect(), epochs };
    let active = opened.into_iter().find_map(|(key, opened)| match opened {
        Opened::Private(signer) if key.state == State::Active => Some(signer),
        _ => None,
    });
    let signer = active.ok_or(KeyringError::NoSigner)?;
    Ok(Live { data_key, keys, signer, jwks })
}

fn sweep(rows: &[KeyRow], rules: &Rules, now: Timestamp) -> Vec<Op> {
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    signing_key::sweep(&keys, &rules.policy, now)
}

/// Does what the sweep says, in one transaction.
async fn carry_out(
    store: &Store,
    data_key: &DataKey,
    rows: &[KeyRow],
    ops: Vec<Op>,
    now: Timestamp,
) -> Result<(), KeyringError> {
    if ops.is_empty() {
        return Ok(());
    }
    let mut changes = Vec::new();
    for Op { what, why } in ops {
        let (change, action, kid) = match what {
            What::Create(state) => {
                let row = new_row(data_key, state, now)?;
                let kid = row.key.kid.clone();
                (Change::Insert(row), "key.create", kid)
            }
            What::Activate(kid) => {
                (Change::Activate { kid: kid.clone(), at: now }, "key.activate", kid)
            }
            What::Retire(kid) => (retire(data_key, rows, &kid, now)?, "key.retire", kid),
            What::Delete(kid) => (Change::Delete { kid: kid.clone() }, "key.delete", kid),
        };
        tracing::info!(action, kid, why, "signing key");
        changes.push((change, act(now, BY_ITSELF, action, &kid, why)));
    }
    Ok(store.change_keys(changes).await?)
}

fn new_row(data_key: &DataKey, state: State, now: Timestamp) -> Result<KeyRow, KeyringError> {
    let signer = Signer::generate()?;
    let kid = signer.kid().to_owned();
    let sealed = data_key.seal(signer.to_pkcs8()?.as_ref(), &key_row(&kid, state))?;
    Ok(KeyRow { key: Key { kid, state, since: now }, sealed })
}

/// A key that signs no more keeps its public half only.
fn retire(
    data_key: &DataKey,
    rows: &[KeyRow],
    kid: &str,
    now: Timestamp,
) -> Result<Change, KeyringError> {
    let damaged = || KeyringError::Damaged { kid: kid.to_owned() };
    let row = rows.iter().find(|row| row.key.kid == kid).ok_or_else(damaged)?;
    let plain = data_key.open(&row.sealed, &key_row(kid, row.key.state))?;
    let signer = Signer::from_pkcs8(&plain)?;
    let public = serde_json::to_vec(signer.public()).map_err(|_| damaged())?;
    let sealed = data_key.seal(&public, &key_row(kid, State::Retired))?;
    Ok(Change::Retire { kid: kid.to_owned(), at: now, sealed })
}

/// What a sealed signing key is sealed for: its row, and whether it is the private key.
fn key_row(kid: &str, state: State) -> Vec<u8> {
    let half = if state == State::Retired { "public" } else { "private" };
    format!("signing_keys/{kid}/{half}").into_bytes()
}

fn value_row(name: &str) -> Vec<u8> {
    format!("sealed_values/{name}").into_bytes()
}

/// An audit row.
pub(crate) fn act(
    at: Timestamp,
    actor: &str,
    action: &'static str,
    target: &str,
    detail: &str,
) -> Act {
    Act { at, actor: actor.into(), action, target: target.into(), detail: detail.into() }
}
