//! The published keys, and with them the epochs: `GET /.well-known/jwks.json`.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};

use crate::principal::Principal;

/// One public key (RFC 7517). Keys of another type than ours are read, and never used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicJwk {
    /// The key's type: `EC`.
    pub kty: String,
    /// The curve: `P-256`.
    #[serde(default)]
    pub crv: String,
    /// The point's first coordinate, 32 bytes in base64url.
    #[serde(default)]
    pub x: String,
    /// The point's second coordinate, 32 bytes in base64url.
    #[serde(default)]
    pub y: String,
    /// The key's id.
    #[serde(default)]
    pub kid: String,
    /// The one algorithm it may be used with: `ES256`.
    #[serde(default)]
    pub alg: String,
    /// What for: `sig`.
    #[serde(default, rename = "use")]
    pub purpose: String,
}

/// The document.
///
/// `epochs` ends tokens before their time: a token whose `epoch` is lower than the number given for its subject is
/// refused. `service:*` stands for every service, and likewise for the other kinds; the higher number counts. A
/// verifier learns of a new number when it next fetches the document, so at most five minutes later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys that tokens are signed with, or were until lately.
    pub keys: Vec<PublicJwk>,
    /// The lowest epoch that is still good, by subject. One that is not here is 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub epochs: BTreeMap<String, u64>,
}

/// A document that cannot be used; whoever has an earlier one should keep it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// No key of the kind that tokens are signed with.
    #[error("the key document of authd holds no ES256 key")]
    NoKeys,
    /// Two keys of one id.
    #[error("the key document of authd holds two keys of the id `{kid}`")]
    SameId {
        /// The id.
        kid: String,
    },
    /// A key that says it is ES256, and is not.
    #[error("the key `{kid}` of authd's key document is no point on P-256")]
    Broken {
        /// The id.
        kid: String,
    },
}

impl Jwks {
    /// The lowest epoch that tokens about `subject` may have, and the one that a new token is given.
    pub fn epoch(&self, subject: &Principal) -> u64 {
        epoch(&self.epochs, subject)
    }

    /// The usable keys by id.
    pub(crate) fn decoding_keys(&self) -> Result<HashMap<String, DecodingKey>, JwksError> {
        let mut keys = HashMap::new();
        for jwk in self.keys.iter().filter(|jwk| jwk.is_ours()) {
            let broken = || JwksError::Broken { kid: jwk.kid.clone() };
            if !(is_coordinate(&jwk.x) && is_coordinate(&jwk.y)) {
                return Err(broken());
            }
            let key = DecodingKey::from_ec_components(&jwk.x, &jwk.y).map_err(|_| broken())?;
            if keys.insert(jwk.kid.clone(), key).is_some() {
                return Err(JwksError::SameId { kid: jwk.kid.clone() });
            }
        }
        if keys.is_empty() { Err(JwksError::NoKeys) } else { Ok(keys) }
    }
}

pub(crate) fn epoch(epochs: &BTreeMap<String, u64>, subject: &Principal) -> u64 {
    let own = epochs.get(subject.as_str());
    let all = epochs.get(&format!("{}:*", subject.kind()));
    own.max(all).copied().unwrap_or(0)
}

impl PublicJwk {
    fn is_ours(&self) -> bool {
        self.kty == "EC"
            && self.crv == "P-256"
            && self.alg == "ES256"
            && self.purpose == "sig"
            && !self.kid.is_empty()
    }
}

fn is_coordinate(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}
