//! ID tokens of OpenID providers: whom somebody else vouches for.
//!
//! As with our own tokens, `jsonwebtoken` checks the form and the signature, and the claims are checked here, against
//! a time that is an argument (OpenID Connect Core 1.0, section 3.1.3.7).

use std::collections::HashSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How far a provider's clock may be from ours, in seconds.
const LEEWAY: i64 = 60;
/// In bytes. Providers put groups into these, so they are larger than our own.
const LONGEST: usize = 64 * 1024;
/// In bytes (OpenID Connect Core 1.0, section 2).
const SUBJECT_MAX: usize = 255;
/// Keys of one document that are looked at.
const KEYS_MAX: usize = 64;

/// The keys that a provider publishes. Those that sign nothing that is accepted here are left out.
pub struct ProviderKeys(Vec<Key>);

struct Key {
    id: Option<String>,
    /// The algorithms that it may be used with.
    good_for: Vec<Algorithm>,
    key: DecodingKey,
}

impl fmt::Debug for ProviderKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProviderKeys({})", self.0.len())
    }
}

/// What is asked of an ID token.
#[derive(Clone, Copy, Debug)]
pub struct ExpectId<'a> {
    /// The provider, exactly as it names itself.
    pub issuer: &'a str,
    /// This instance, as the provider knows it.
    pub client: &'a str,
    /// What this one login was begun with.
    pub nonce: &'a str,
}

/// A checked ID token.
#[derive(Clone, Debug)]
pub struct IdToken {
    /// Who, as the provider tells its people apart: never shown, never reused.
    pub subject: String,
    /// All that it says.
    pub claims: Map<String, Value>,
}

/// Why an ID token is not believed. Holds nothing of the token, so it may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// Not a token, or one that lacks a claim or has one of the wrong type.
    #[error("the ID token is malformed: {0}")]
    Malformed(&'static str),
    /// Signed by nobody, with a shared secret, or in another way that is not accepted.
    #[error("the ID token is signed with an algorithm that is not accepted")]
    Algorithm,
    /// Signed with a key that the provider does not publish, as far as is known here: fetch the keys again, once.
    #[error("the ID token is signed with a key that the provider does not publish")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the ID token's signature is wrong")]
    Signature,
    /// Another provider's.
    #[error("the ID token is another provider's")]
    Issuer,
    /// For another client of the provider.
    #[error("the ID token is for another client")]
    Audience,
    /// Of another login, or of one that somebody else began.
    #[error("the ID token belongs to another login")]
    Nonce,
    /// Its time is over, or has not come.
    #[error("the ID token has expired, or is of the future: compare the clocks")]
    Time,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

impl ProviderKeys {
    /// The usable keys of a document (RFC 7517, section 5). One that cannot be used takes nothing from the others.
    pub fn of(document: &Value) -> Self {
        let keys = document.get("keys").and_then(Value::as_array);
        let keys = keys.into_iter().flatten().take(KEYS_MAX).filter_map(usable);
        Self(keys.collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks a token. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// It is not to be believed; [`IdTokenError::UnknownKey`] may pass with newer keys.
    pub fn verify(
        &self,
        token: &str,
        expect: &ExpectId<'_>,
        now: i64,
    ) -> Result<IdToken, IdTokenError> {
        let (key, algorithm) = self.key(token)?;
        let mut form = Validation::new(algorithm);
        form.validate_exp = false;
        form.validate_nbf = false;
        form.validate_aud = false;
        form.required_spec_claims = HashSet::new();
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, key, &form);
        let claims = claims.map_err(|_| IdTokenError::Signature)?.claims;
        check(&claims, expect, now)?;
        let plain = |sub: &&str| sub.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let subject = text(&claims, "sub").filter(|sub| (1..=SUBJECT_MAX).contains(&sub.len()));
        let subject = subject.filter(plain);
        let subject = subject.ok_or(IdTokenError::Malformed("it names nobody"))?.to_owned();
        Ok(IdToken { subject, claims })
    }

    /// The key that the header names, or the only one for its algorithm, which is looked at first.
    fn key(&self, token: &str) -> Result<(&DecodingKey, Algorithm), IdTokenError> {
        if token.len() > LONGEST {
            return Err(IdTokenError::Malformed("it is too long"));
        }
        let malformed = IdTokenError::Malformed("its header");
        let (header, _) = token.split_once('.').ok_or(malformed)?;
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| malformed)?;
        if header.crit.is_some() {
            return Err(IdTokenError::Malformed("it needs an extension"));
        }
        let algorithm: Algorithm = header.alg.parse().map_err(|_| IdTokenError::Algorithm)?;
        if !ACCEPTED.contains(&algorithm) {
            return Err(IdTokenError::Algorithm);
        }
        let mut fitting = self.0.iter().filter(|key| {
            let named = header.kid.is_none() || key.id == header.kid;
            named && key.good_for.contains(&algorithm)
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok((&key.key, algorithm)),
            // Several that it may be: whichever is tried, another could have been meant.
            (_, Some(_)) => Err(IdTokenError::Malformed("it does not say which key signed it")),
            (None, _) => Err(IdTokenError::UnknownKey),
        }
    }
}

/// Public keys only: with a shared secret, whoever can check could sign.
const ACCEPTED: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

fn usable(jwk: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(jwk.clone()).ok()?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let family: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &ACCEPTED[..6],
        AlgorithmParameters::EllipticCurve(of) if of.curve == EllipticCurve::P256 => {
            &[Algorithm::ES256]
        }
        AlgorithmParameters::EllipticCurve(of) if of.curve == EllipticCurve::P384 => {
            &[Algorithm::ES384]
        }
        AlgorithmParameters::OctetKeyPair(of) if of.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => return None,
    };
    let named = |named: KeyAlgorithm| named.to_string().parse::<Algorithm>().ok();
    let good_for = match jwk.common.key_algorithm {
        None => family.to_vec(),
        Some(only) => family.iter().copied().filter(|one| named(only) == Some(*one)).collect(),
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: jwk.common.key_id, good_for, key }).filter(|key| !key.good_for.is_empty())
}

fn check(claims: &Map<String, Value>, expect: &ExpectId<'_>, now: i64) -> Result<(), IdTokenError> {
    if text(claims, "iss") != Some(expect.issuer) {
        return Err(IdTokenError::Issuer);
    }
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => return Err(IdTokenError::Malformed("it is for nobody")),
    };
    let by = text(claims, "azp");
    let party = by.map_or(audience.len() == 1, |party| party == expect.client);
    if !audience.contains(&expect.client) || !party {
        return Err(IdTokenError::Audience);
    }
    let time = |name| claims.get(name).and_then(Value::as_i64);
    let (Some(ends), Some(made)) = (time("exp"), time("iat")) else {
        return Err(IdTokenError::Malformed("it does not say when it was made and ends"));
    };
    let begins = time("nbf").unwrap_or(made).max(made);
    if ends <= now.saturating_sub(LEEWAY) || begins > now.saturating_add(LEEWAY) {
        return Err(IdTokenError::Time);
    }
    if expect.nonce.is_empty() || text(claims, "nonce") != Some(expect.nonce) {
        return Err(IdTokenError::Nonce);
    }
    Ok(())
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
