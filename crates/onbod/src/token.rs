//! What opens a door because one has it: the token of a pairing link or of an invite. Pure.
//!
//! A token is 256 random bits; the database holds its SHA-256 only. Guessing one is out of reach, so that it needs no
//! slow hash.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use sha2::{Digest, Sha256};
use std::fmt;

/// SHA-256 of a token.
pub(crate) type Hash = [u8; 32];

/// A token. `Debug` hides it.
pub(crate) struct Token(String);

impl Token {
    /// 256 fresh random bits, in base64url.
    pub(crate) fn random() -> Self {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What somebody presents, if it can be one at all.
    pub(crate) fn presented(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (text.len() == 43 && text.bytes().all(plain)).then(|| Self(text.to_owned()))
    }

    /// What the database knows it by.
    pub(crate) fn hash(&self) -> Hash {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The text, for the places that hand it out.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
