//! Envelope encryption: how a database keeps secrets of its own under `SECRETS_KEY`.
//!
//! ```text
//! SECRETS_KEY --HKDF-SHA-256--> key-encryption key --AES-256-GCM--> data key of one database
//!                                                                    --AES-256-GCM--> each row
//! ```
//!
//! The data key is random and belongs to one database. It is stored beside the rows, wrapped once
//! for each `SECRETS_KEY` that may open it. Rotating `SECRETS_KEY` therefore wraps one key anew and
//! touches no row. The old wrap stays until the overlap ends, so that going back works.
//!
//! Everything here is pure: [`unlock`] answers what to write and delete, and the owner of the
//! database does that in one transaction.
//!
//! Nonces are random, 96 bits. A data key must not seal more than 2^32 times (NIST SP 800-38D,
//! 8.3), which is what renewing the data key is for.

use crate::{Malformed, Name, Need, Secret, Values};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    rand as random,
};
use std::{cmp::Reverse, fmt, sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// `SECRETS_KEY`.
pub const SECRETS_KEY: Name = Name::literal("SECRETS_KEY");

/// What a bundle declares for [`SecretsKey`].
pub const SECRETS_KEY_NEEDS: &[Need] =
    &[Need::required(SECRETS_KEY, "seals the secrets that are kept in databases")];

/// Fewest bytes of a `SECRETS_KEY`.
pub const SECRETS_KEY_BYTES_MIN: usize = 32;

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const KEY_ID_BYTES: usize = 8;

/// The first byte of everything sealed: how the rest is laid out.
const FORMAT: u8 = 1;

// Changing any of these makes everything sealed before unreadable.
const SALT: &[u8] = b"arizuko/seal/v1";
const LABEL_WRAP: &[u8] = b"arizuko/seal/v1/key-encryption-key";
const LABEL_ID: &[u8] = b"arizuko/seal/v1/key-id";
const AAD_WRAP: &[u8] = b"arizuko/seal/v1/data-key/";

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was not sealed by this key with this associated data, or has been altered.
    #[error(
        "what is stored cannot be opened: it was sealed with another key, for another row, or was altered"
    )]
    NotOpened,
    /// It is not something sealed.
    #[error("what is stored is not something sealed by this program, or by a newer version of it")]
    NotSealed,
    /// The system gives no random bytes, or the cipher refused.
    #[error("the system's cryptography failed")]
    System,
}

/// No `SECRETS_KEY` opens a database. No row has been touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// None of the keys at hand.
    #[error(
        "no SECRETS_KEY at hand opens {database}: it is sealed under key {stored}, and {offered} was given. \
         Put the earlier key back, or supply it as SECRETS_KEY_PREVIOUS beside the new one; nothing was changed"
    )]
    NoKey {
        /// Which database.
        database: String,
        /// The ids of the keys that would open it.
        stored: String,
        /// The ids of the keys that were tried.
        offered: String,
    },
    /// A key has the right id and does not open the wrap.
    #[error("the wrapped key of {database} is damaged; restore the database from a backup")]
    Damaged {
        /// Which database.
        database: String,
    },
    /// The cryptography itself failed.
    #[error("the key of {database} could not be prepared")]
    System {
        /// Which database.
        database: String,
        /// What failed.
        #[source]
        cause: SealError,
    },
}

/// A parsed `SECRETS_KEY`: any text of at least 32 bytes.
///
/// The text is not stretched, so it must be random; `arizuko` makes it so.
pub struct SecretsKey {
    wrap: Zeroizing<[u8; KEY_BYTES]>,
    id: String,
}

impl SecretsKey {
    /// The parser of a bundle of [`SECRETS_KEY_NEEDS`].
    ///
    /// # Errors
    /// When it is not text, or shorter than 32 bytes.
    pub fn parse(values: &Values<'_>) -> Result<Self, Malformed> {
        Self::new(values.require(&SECRETS_KEY)?)
    }

    /// From the secret itself.
    ///
    /// # Errors
    /// As [`SecretsKey::parse`].
    pub fn new(secret: &Secret) -> Result<Self, Malformed> {
        if secret.text()?.len() < SECRETS_KEY_BYTES_MIN {
            return Err(Malformed::because(
                "it is shorter than 32 bytes; make a random one, as with `openssl rand -hex 32`",
            ));
        }
        let prk = Salt::new(HKDF_SHA256, SALT).extract(secret.expose());
        let wrap = expand::<KEY_BYTES>(&prk, LABEL_WRAP)?;
        let id = hex::encode(expand::<KEY_ID_BYTES>(&prk, LABEL_ID)?.as_slice());
        Ok(Self { wrap, id })
    }

    /// A short name of this key that tells nothing about it. Not secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for SecretsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretsKey({})", self.id)
    }
}

/// A length for HKDF's output.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(prk: &Prk, label: &[u8]) -> Result<Zeroizing<[u8; N]>, Malformed> {
    let mut out = Zeroizing::new([0; N]);
    // Fails only for more than 255 hashes of output.
    prk.expand(&[label], Length(N))
        .and_then(|okm| okm.fill(out.as_mut_slice()))
        .map_err(|_| Malformed::because("no key could be derived from it; this is a defect"))?;
    Ok(out)
}

/// The data key of one database, wrapped under one `SECRETS_KEY`. As stored; not secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrap {
    /// Which `SECRETS_KEY`: [`SecretsKey::id`].
    pub key_id: String,
    /// The wrapped key.
    pub bytes: Vec<u8>,
}

/// The key that seals the rows of one database. Cheap to clone; wiped with its last clone.
#[derive(Clone)]
pub struct DataKey(Arc<Zeroizing<[u8; KEY_BYTES]>>);

impl DataKey {
    /// A new random one.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate() -> Result<Self, SealError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        random::fill(key.as_mut_slice()).map_err(|_| SealError::System)?;
        Ok(Self(Arc::new(key)))
    }

    /// Seals `plaintext` for the row that `aad` names: what is moved to another row does not open.
    ///
    /// # Errors
    /// When the system's cryptography fails.
    pub fn seal(&self, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>, SealError> {
        seal(&self.0, plaintext, aad)
    }

    /// Opens what [`DataKey::seal`] made with the same `aad`.
    ///
    /// # Errors
    /// When it was not made by this key, for this row, or was altered.
    pub fn open(&self, sealed: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        open(&self.0, sealed, aad)
    }

    /// Wraps this key for `database` under `key`.
    ///
    /// # Errors
    /// When the system's cryptography fails.
    pub fn wrap(&self, key: &SecretsKey, database: &str) -> Result<Wrap, SealError> {
        let bytes = seal(&key.wrap, self.0.as_slice(), &wrap_aad(database))?;
        Ok(Wrap { key_id: key.id.clone(), bytes })
    }

    fn unwrap_with(wrap: &Wrap, key: &SecretsKey, database: &str) -> Result<Self, SealError> {
        let opened = open(&key.wrap, &wrap.bytes, &wrap_aad(database))?;
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if opened.len() != KEY_BYTES {
            return Err(SealError::NotSealed);
        }
        bytes.copy_from_slice(&opened);
        Ok(Self(Arc::new(bytes)))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

fn wrap_aad(database: &str) -> Vec<u8> {
    [AAD_WRAP, database.as_bytes()].concat()
}

fn cipher(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, SealError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| SealError::System)?;
    Ok(LessSafeKey::new(key))
}

/// `FORMAT | nonce | ciphertext | tag`.
fn seal(key: &[u8; KEY_BYTES], plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_LEN];
    random::fill(&mut nonce).map_err(|_| SealError::System)?;
    // Encrypted where it will stay, with room for the tag, so that no copy of the plaintext is
    // left behind in an allocation that was outgrown.
    let mut out = Vec::with_capacity(1 + NONCE_LEN + plaintext.len() + TAG_BYTES);
    out.push(FORMAT);
    out.extend_from_slice(&nonce);
    let head = out.len();
    out.extend_from_slice(plaintext);
    let body = out.get_mut(head..).ok_or(SealError::System)?;
    let tag = cipher(key)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)
        .map_err(|_| SealError::System)?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

fn open(key: &[u8; KEY_BYTES], sealed: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (&format, rest) = sealed.split_first().ok_or(SealError::NotSealed)?;
    if format != FORMAT {
        return Err(SealError::NotSealed);
    }
    let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::NotSealed)?;
    let mut plaintext = Zeroizing::new(body.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = cipher(key)?
        .open_in_place(nonce, Aad::from(aad), plaintext.as_mut_slice())
        .map_err(|_| SealError::NotOpened)?
        .len();
    plaintext.truncate(length);
    Ok(plaintext)
}

/// What to do with the wraps of a database, and the key that they hold.
#[derive(Debug)]
pub struct Unlocked {
    /// The key of the database's rows.
    pub key: DataKey,
    /// Wraps to add. In one transaction with `delete`.
    pub write: Vec<Wrap>,
    /// Ids of keys whose wraps to delete.
    pub delete: Vec<String>,
}

/// A wrap as a database keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptWrap {
    /// The wrap.
    pub wrap: Wrap,
    /// How long ago its `SECRETS_KEY` became the current one: when the wrap was last written.
    pub age: Duration,
}

impl Unlocked {
    /// Has each wrap stay until `overlap` after another `SECRETS_KEY` took over from its own. What is
    /// accepted is known to a process only as long as it runs; this is known to the database, so that
    /// going back works after a restart too.
    ///
    /// A `current` key that is not the newest of `kept` has come back: its wrap is to be written
    /// again, which makes it the newest, so that the one it took over from has its overlap as well.
    ///
    /// Answers after how long to do it again, where a wrap waits for its end.
    pub fn keep_for(
        &mut self,
        overlap: Duration,
        kept: &[KeptWrap],
        current: &SecretsKey,
    ) -> Option<Duration> {
        let is_current = |kept: &KeptWrap| kept.wrap.key_id == current.id;
        let mut newest_first: Vec<&KeptWrap> = kept.iter().collect();
        newest_first.sort_by_key(|kept| (kept.age, Reverse(is_current(kept))));
        let comes_back = newest_first.iter().skip(1).find(|kept| is_current(kept));
        if let Some(kept) = comes_back
            && !self.write.iter().any(|wrap| wrap.key_id == current.id)
        {
            self.write.push(kept.wrap.clone());
        }
        let (mut replaced, mut again) = (Duration::ZERO, None::<Duration>);
        for kept in newest_first {
            let left = overlap.saturating_sub(replaced);
            replaced = kept.age;
            let key_id = &kept.wrap.key_id;
            if left.is_zero() || !self.delete.contains(key_id) {
                continue;
            }
            self.delete.retain(|id| id != key_id);
            again = Some(again.map_or(left, |known| known.min(left)));
        }
        again
    }
}

/// Opens the data key of `database` with the accepted values of `SECRETS_KEY` (the current one
/// first), and says how its wraps should be from now on: one under the current value, and those
/// that there are under earlier values as long as these are accepted.
///
/// Without any wrap, the database is new, and gets a new data key. Call it at start, and again
/// after each [`crate::Watched::accepted_changed`]: doing what it says twice changes nothing.
///
/// `database` is part of what is wrapped. A database that renews its data key gives the new one an
/// identity and wraps of its own (such as `routd.db/2`), re-seals its rows at leisure, and then
/// deletes the wraps of the old one.
///
/// # Errors
/// When no accepted value opens it; then nothing is to be written.
pub fn unlock(
    database: &str,
    wraps: &[Wrap],
    accepted: &[Arc<SecretsKey>],
) -> Result<Unlocked, UnlockError> {
    let system = |cause| UnlockError::System { database: database.to_owned(), cause };
    let key = match find(database, wraps, accepted)? {
        Some(key) => key,
        None => DataKey::generate().map_err(system)?,
    };
    let mut write = Vec::new();
    // Wraps under earlier keys are left as they are while those keys are accepted, and not made
    // anew: a data key is never wrapped under a key that is on its way out.
    if let Some(current) = accepted.first()
        && !wraps.iter().any(|wrap| wrap.key_id == current.id)
    {
        write.push(key.wrap(current, database).map_err(system)?);
    }
    let is_accepted = |wrap: &&Wrap| accepted.iter().any(|key| key.id == wrap.key_id);
    let delete =
        wraps.iter().filter(|wrap| !is_accepted(wrap)).map(|wrap| wrap.key_id.clone()).collect();
    Ok(Unlocked { key, write, delete })
}

/// The data key, from the first wrap that an accepted key opens; `None` where there is no wrap.
fn find(
    database: &str,
    wraps: &[Wrap],
    accepted: &[Arc<SecretsKey>],
) -> Result<Option<DataKey>, UnlockError> {
    let mut damaged = false;
    for key in accepted {
        for wrap in wraps.iter().filter(|wrap| wrap.key_id == key.id) {
            match DataKey::unwrap_with(wrap, key, database) {
                Ok(opened) => return Ok(Some(opened)),
                Err(_) => damaged = true,
            }
        }
    }
    let database = database.to_owned();
    if damaged {
        return Err(UnlockError::Damaged { database });
    }
    let offered = listed(accepted.iter().map(|key| key.id.as_str()));
    if accepted.is_empty() || !wraps.is_empty() {
        let stored = listed(wraps.iter().map(|wrap| wrap.key_id.as_str()));
        return Err(UnlockError::NoKey { database, stored, offered });
    }
    Ok(None)
}

fn listed<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let ids = ids.collect::<Vec<_>>();
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}

#[cfg(test)]
mod tests;
