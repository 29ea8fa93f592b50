//! The signing key, and tokens made with it. `authd` alone has one.
//!
//! Signing goes to AWS-LC directly, which keeps the private key in its own memory and wipes it; `jsonwebtoken` would
//! keep a second copy that nobody wipes.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::pkcs8::Document;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::claims::Claims;
use crate::jwks::PublicJwk;

/// A key pair on P-256. `Debug` shows its id.
pub struct Signer {
    pair: EcdsaKeyPair,
    public: PublicJwk,
}

/// A private key in PKCS#8 DER, to be sealed at once; wiped when it is dropped. No `Debug`, no `Clone`.
pub struct Pkcs8(Document);

/// Why a key, or a token, could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no such key.
    #[error("this is no P-256 private key in PKCS#8 DER")]
    Rejected,
    /// AWS-LC failed, which it does when the system gives no randomness.
    #[error("the cryptographic library failed")]
    Library,
    /// Claims that no verifier would accept.
    #[error("the claims contradict themselves: {what}")]
    Claims {
        /// How.
        what: &'static str,
    },
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    kid: &'a str,
}

impl Signer {
    /// A new key pair.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| KeyError::Library)?;
        Self::new(pair)
    }

    /// The key pair in a PKCS#8 document (RFC 5208). A SEC1 `EC PRIVATE KEY` is refused.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map_err(|_| KeyError::Rejected)?;
        Self::new(pair)
    }

    fn new(pair: EcdsaKeyPair) -> Result<Self, KeyError> {
        // An uncompressed point: 4, then both coordinates (SEC 1, section 2.3.3).
        let Some((4, point)) = pair.public_key().as_ref().split_first().map(|(a, b)| (*a, b))
        else {
            return Err(KeyError::Rejected);
        };
        let (x, y) = point.split_at_checked(32).ok_or(KeyError::Rejected)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let kid = thumbprint(&x, &y);
        let own = str::to_owned;
        let public = PublicJwk {
            kty: own("EC"),
            crv: own("P-256"),
            x,
            y,
            kid,
            alg: own("ES256"),
            purpose: own("sig"),
        };
        Ok(Self { pair, public })
    }

    /// The private key, to be sealed.
    pub fn to_pkcs8(&self) -> Result<Pkcs8, KeyError> {
        self.pair.to_pkcs8v1().map(Pkcs8).map_err(|_| KeyError::Library)
    }

    /// The public key, to be published before the first token is signed.
    pub fn public(&self) -> &PublicJwk {
        &self.public
    }

    /// The key's id: the thumbprint of the public key (RFC 7638), so one key has one id wherever it is loaded.
    pub fn kid(&self) -> &str {
        &self.public.kid
    }

    /// A signed token (RFC 7515, compact form). It is a credential: keep it out of logs.
    pub fn sign(&self, claims: &Claims) -> Result<String, KeyError> {
        check(claims)?;
        let header = Header { typ: "JWT", alg: "ES256", kid: self.kid() };
        let message = format!("{}.{}", part(&header)?, part(claims)?);
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message.as_bytes())
            .map_err(|_| KeyError::Library)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

impl AsRef<[u8]> for Pkcs8 {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("kid", &self.public.kid).finish_non_exhaustive()
    }
}

fn check(claims: &Claims) -> Result<(), KeyError> {
    let wrong = |what| Err(KeyError::Claims { what });
    if claims.sub.kind() != claims.typ.as_str() {
        return wrong("the subject is of another kind than the token");
    }
    if claims.exp <= claims.iat {
        return wrong("the token ends before it begins");
    }
    if claims.iss.is_empty() || claims.aud.is_empty() || claims.jti.is_empty() {
        return wrong("the issuer, the audience or the token's id is empty");
    }
    Ok(())
}

fn part(value: &impl Serialize) -> Result<String, KeyError> {
    let json = serde_json::to_vec(value).map_err(|_| KeyError::Library)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

fn thumbprint(x: &str, y: &str) -> String {
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::Signer;

    #[test]
    fn a_key_keeps_its_id_and_shows_nothing() {
        let signer = Signer::generate().unwrap();
        let again = Signer::from_pkcs8(signer.to_pkcs8().unwrap().as_ref()).unwrap();
        assert_eq!(again.public(), signer.public());
        assert_ne!(Signer::generate().unwrap().kid(), signer.kid());
        assert_eq!(format!("{signer:?}"), format!("Signer {{ kid: {:?}, .. }}", signer.kid()));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = Signer::generate().unwrap().to_pkcs8().unwrap();
        let mut bad = good.as_ref().to_vec();
        bad.truncate(bad.len() - 1);
        for der in [b"".as_slice(), b"nonsense", &bad] {
            assert!(Signer::from_pkcs8(der).is_err());
        }
    }
}
