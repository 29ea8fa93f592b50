//! The one verifier of tokens.
//!
//! `jsonwebtoken` checks the form and the signature, with the one algorithm that the key is for. The claims are checked
//! here, since its own checks take the time from the system, let a missing `aud` pass, and forgive a minute.

use std::collections::{BTreeMap, HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use proto::Folder;
use serde::Deserialize;

use crate::caller::Caller;
use crate::claims::Kind;
use crate::jwks::{self, Jwks, JwksError};
use crate::principal::Principal;
use crate::scope::Scopes;

/// How far the clocks of two hosts may be apart, in seconds.
pub const LEEWAY: i64 = 5;
/// In bytes.
const LONGEST: usize = 8192;

/// What a daemon asks of a token.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// The daemon's own name: the token's `aud` must be or hold exactly this.
    pub audience: &'a str,
    /// The kinds of token that are good here.
    pub kinds: &'a [Kind],
}

/// Why a token was refused. Says nothing of what the token holds but the key's id, so it may be logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token, or one that lacks a claim or has one of the wrong type.
    #[error("the token is malformed: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Not signed with ES256.
    #[error("the token is not signed with ES256")]
    Algorithm,
    /// Signed with a key that is not among those known here: fetch the keys again, once.
    #[error("the token is signed with the key `{kid}`, which authd does not publish")]
    UnknownKey {
        /// The key's id.
        kid: String,
    },
    /// The signature does not fit.
    #[error("the token's signature is wrong")]
    Signature,
    /// Another instance's.
    #[error("the token is another instance's")]
    Issuer,
    /// For another daemon.
    #[error("the token is for another daemon")]
    Audience,
    /// A kind that is not good here.
    #[error("this kind of token is not accepted here")]
    Kind,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet: compare the clocks of the hosts")]
    NotYet,
    /// It was ended before its time.
    #[error("the token was ended before its time")]
    Ended,
}

impl TokenError {
    /// Whether a newer key document may make this token good.
    pub fn wants_new_keys(&self) -> bool {
        matches!(self, Self::UnknownKey { .. })
    }
}

/// Checks tokens of one instance against one key document. When the document changes, make another.
pub struct Verifier {
    issuer: String,
    keys: HashMap<String, DecodingKey>,
    epochs: BTreeMap<String, u64>,
    form: Validation,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// Every claim that is not optional here is required of a token.
#[derive(Deserialize)]
struct Claimed {
    iss: String,
    sub: String,
    aud: Audience,
    typ: String,
    #[serde(default)]
    scope: Scopes,
    iat: i64,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    jti: String,
    #[serde(default)]
    epoch: u64,
    #[serde(default)]
    folder: Option<Folder>,
    #[serde(default)]
    sid: Option<String>,
}

/// One daemon or several (RFC 7519, section 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn holds(&self, daemon: &str) -> bool {
        match self {
            Self::One(one) => one == daemon,
            Self::Several(several) => several.iter().any(|one| one == daemon),
        }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.keys.keys().collect();
        f.debug_struct("Verifier")
            .field("issuer", &self.issuer)
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// For tokens whose `iss` is `issuer` (see [`crate::issuer`]), signed with one of `jwks`.
    pub fn new(issuer: impl Into<String>, jwks: &Jwks) -> Result<Self, JwksError> {
        let mut form = Validation::new(Algorithm::ES256);
        form.validate_exp = false;
        form.validate_nbf = false;
        form.validate_aud = false;
        form.required_spec_claims = HashSet::new();
        Ok(Self {
            issuer: issuer.into(),
            keys: jwks.decoding_keys()?,
            epochs: jwks.epochs.clone(),
            form,
        })
    }

    /// Whether a key of that id is known.
    pub fn knows(&self, kid: &str) -> bool {
        self.keys.contains_key(kid)
    }

    /// Who the bearer of `token` is. `now` is in seconds since 1970.
    pub fn verify(&self, token: &str, expect: &Expect<'_>, now: i64) -> Result<Caller, TokenError> {
        let key = self.key(token)?;
        let claimed = jsonwebtoken::decode::<Claimed>(token, key, &self.form)
            .map_err(|error| refusal(error.kind()))?
            .claims;
        self.check(&claimed, expect, now)?;
        let kind = Kind::parse(&claimed.typ).filter(|kind| expect.kinds.contains(kind));
        let kind = kind.ok_or(TokenError::Kind)?;
        let subject: Principal =
            claimed.sub.parse().map_err(|_| TokenError::Malformed { what: "its subject" })?;
        if subject.kind() != kind.as_str() {
            return Err(TokenError::Malformed { what: "its subject is of another kind" });
        }
        if claimed.epoch < jwks::epoch(&self.epochs, &subject) {
            return Err(TokenError::Ended);
        }
        Ok(Caller {
            subject,
            kind,
            scopes: claimed.scope,
            folder: claimed.folder,
            token_id: claimed.jti,
            session: claimed.sid,
            expires_at: claimed.exp,
            rights: None,
        })
    }

    /// Whose token it is, if only its signature and its instance are right: for an audit of tokens that are refused.
    /// It proves that authd once said so, and allows nothing.
    pub fn subject(&self, token: &str) -> Option<Principal> {
        let claimed =
            jsonwebtoken::decode::<Claimed>(token, self.key(token).ok()?, &self.form).ok()?.claims;
        if claimed.iss != self.issuer {
            return None;
        }
        claimed.sub.parse().ok()
    }

    /// The key that the header names, with the algorithm looked at before anything else is.
    fn key(&self, token: &str) -> Result<&DecodingKey, TokenError> {
        let malformed = TokenError::Malformed { what: "its header" };
        if token.len() > LONGEST {
            return Err(TokenError::Malformed { what: "it is too long" });
        }
        let (header, _) = token.split_once('.').ok_or(malformed.clone())?;
        let header: Header = URL_SAFE_NO_PAD
            .decode(header)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or(malformed)?;
        if header.alg != "ES256" {
            return Err(TokenError::Algorithm);
        }
        // Extensions that must be understood (RFC 7515, section 4.1.11), and none is.
        if header.crit.is_some() {
            return Err(TokenError::Malformed { what: "it needs an extension" });
        }
        let kid = header.kid.ok_or(TokenError::Malformed { what: "it names no key" })?;
        self.keys.get(&kid).ok_or_else(|| TokenError::UnknownKey { kid: shown(&kid) })
    }

    fn check(&self, claimed: &Claimed, expect: &Expect<'_>, now: i64) -> Result<(), TokenError> {
        if claimed.iss != self.issuer {
            return Err(TokenError::Issuer);
        }
        if !claimed.aud.holds(expect.audience) {
            return Err(TokenError::Audience);
        }
        if now.saturating_sub(LEEWAY) >= claimed.exp {
            return Err(TokenError::Expired);
        }
        let begins = claimed.nbf.unwrap_or(claimed.iat).max(claimed.iat);
        if now.saturating_add(LEEWAY) < begins {
            return Err(TokenError::NotYet);
        }
        if claimed.jti.is_empty() {
            return Err(TokenError::Malformed { what: "it has no id" });
        }
        Ok(())
    }
}

/// A stranger chose this text, and it goes into logs: a short piece of it, and only what is harmless.
fn shown(kid: &str) -> String {
    kid.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(64).collect()
}

fn refusal(error: &ErrorKind) -> TokenError {
    match error {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::Algorithm,
        ErrorKind::Json(_) => {
            TokenError::Malformed { what: "a claim is missing or of another type" }
        }
        _ => TokenError::Malformed { what: "its form" },
    }
}
