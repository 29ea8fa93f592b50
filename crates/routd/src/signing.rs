//! What the senders of webhooks sign with: chosen, kept sealed, and compared.

use crate::{
    fault::Fault,
    keyring::{open_sealed, seal_as},
    store::keys,
};
use aws_lc_rs::{hmac, rand};
use base64::{Engine, engine::general_purpose::STANDARD};
use db::Tx;
use proto::{Opaque, routd::Signature};
use rusqlite::Connection;
use secrets::{Secret, seal::DataKey};

/// Random bytes of a secret.
const RANDOM: usize = 32;
/// What a secret of Standard Webhooks begins with; the rest is base64 of 24 to 64 bytes.
const STANDARD_PREFIX: &str = "whsec_";
/// Bytes of a secret of GitHub.
const GITHUB_BYTES: std::ops::RangeInclusive<usize> = 16..=256;
const STANDARD_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A signing secret, as its sender writes it.
#[derive(Debug)]
pub(crate) struct SigningKey(Secret);

impl SigningKey {
    /// The secret that the sender chose, or a random one.
    pub(crate) fn choose(signature: Signature, given: Option<String>) -> Result<Self, Fault> {
        let text = match given {
            Some(text) => text,
            None => fresh(signature)?,
        };
        let fits = match signature {
            Signature::Github => {
                GITHUB_BYTES.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
            }
            Signature::Standard => {
                standard_key(&text).is_some_and(|key| STANDARD_BYTES.contains(&key.expose().len()))
            }
        };
        if !fits {
            let text = match signature {
                Signature::Github => {
                    "`signing_secret` has 16 to 256 printable characters and no spaces"
                }
                Signature::Standard => {
                    "`signing_secret` is `whsec_` and then 24 to 64 bytes in base64, as the sender shows it"
                }
            };
            return Err(Fault::Invalid(text.into()));
        }
        Self::of(text.into_bytes())
    }

    fn of(bytes: Vec<u8>) -> Result<Self, Fault> {
        let secret = Secret::new(bytes);
        secret.map(Self).map_err(|error| Fault::Defect(format!("a signing secret: {error}")))
    }

    /// As the sender is given it, once.
    pub(crate) fn text(&self) -> &str {
        self.0.text().unwrap_or_default()
    }

    /// Seals it as the current one of its link.
    pub(crate) fn keep(&self, tx: &Tx<'_>, key: &DataKey, link: &Opaque) -> Result<(), Fault> {
        seal_as(tx, key, &row(link), self.0.expose())
    }

    /// Whether one of the signatures is HMAC-SHA-256 of the payload under this secret. Compared in constant time.
    pub(crate) fn fits(
        &self,
        signature: Signature,
        payload: &[u8],
        signatures: &[Vec<u8>],
    ) -> bool {
        let decoded = match signature {
            Signature::Github => None,
            Signature::Standard => standard_key(self.text()),
        };
        let bytes = decoded.as_ref().unwrap_or(&self.0).expose();
        let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        signatures.iter().any(|signature| hmac::verify(&key, payload, signature).is_ok())
    }
}

/// The bytes of a secret of Standard Webhooks.
fn standard_key(text: &str) -> Option<Secret> {
    Secret::new(STANDARD.decode(text.strip_prefix(STANDARD_PREFIX)?).ok()?).ok()
}

fn fresh(signature: Signature) -> Result<String, Fault> {
    let mut random = [0; RANDOM];
    rand::fill(&mut random)
        .map_err(|_| Fault::Defect("the system has no random numbers".into()))?;
    Ok(match signature {
        Signature::Github => hex::encode(random),
        Signature::Standard => format!("{STANDARD_PREFIX}{}", STANDARD.encode(random)),
    })
}

fn row(link: &Opaque) -> String {
    format!("hook/{link}")
}

fn row_previous(link: &Opaque) -> String {
    format!("hook/{link}/previous")
}

/// Makes the current secret of a link the one before.
pub(crate) fn supersede(tx: &Tx<'_>, key: &DataKey, link: &Opaque) -> Result<(), Fault> {
    match current(tx, key, link)? {
        Some(secret) => seal_as(tx, key, &row_previous(link), secret.0.expose()),
        None => Ok(()),
    }
}

/// Lets go of the secrets of a link.
pub(crate) fn forget(tx: &Tx<'_>, link: &Opaque) -> Result<(), Fault> {
    keys::drop_sealed(tx, &row(link))?;
    Ok(keys::drop_sealed(tx, &row_previous(link))?)
}

/// The current secret of a link.
pub(crate) fn current(
    conn: &Connection,
    key: &DataKey,
    link: &Opaque,
) -> Result<Option<SigningKey>, Fault> {
    opened(conn, key, &row(link))
}

/// The secret before it, whether or not it is still good.
pub(crate) fn previous(
    conn: &Connection,
    key: &DataKey,
    link: &Opaque,
) -> Result<Option<SigningKey>, Fault> {
    opened(conn, key, &row_previous(link))
}

fn opened(conn: &Connection, key: &DataKey, row: &str) -> Result<Option<SigningKey>, Fault> {
    Ok(open_sealed(conn, key, row)?.map(SigningKey))
}
