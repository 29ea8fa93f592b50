//! The value of a secret.

use secrecy::{ExposeSecret, SecretBox};
use std::{borrow::Cow, fmt};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Most bytes of a value.
pub const SECRET_BYTES_MAX: usize = 65_536;

/// Why a value cannot be used. Holds the reason, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub Cow<'static, str>);

/// What a random value is made from.
const RANDOM_BYTES: usize = 32;

const EMPTY: &str = "it is empty";

impl Malformed {
    /// A reason known when the program is written.
    #[must_use]
    pub const fn because(reason: &'static str) -> Self {
        Self(Cow::Borrowed(reason))
    }

    /// Whether the reason is that there are no bytes at all: a line such as `NAME=`, which people
    /// leave in a file for a secret that they do not have.
    #[must_use]
    pub fn is_empty_value(&self) -> bool {
        self.0 == EMPTY
    }
}

/// Secret bytes: 1 to 65,536 of them, none of them NUL.
///
/// Wiped on drop, hidden from `Debug`, compared in constant time, and its pages are locked into
/// memory where the limit allows. There is deliberately no `Display`, `Serialize`, `Clone`,
/// `PartialEq` or `Deref`: the one way to the bytes is [`Secret::expose`], so a search for
/// `.expose(` (and [`Secret::text`]) lists every use. To keep one in a parsed bundle, share it
/// ([`crate::Values::share`]) instead of copying it.
pub struct Secret(SecretBox<[u8]>);

impl Secret {
    /// Takes the bytes; what they were in is wiped.
    ///
    /// # Errors
    /// When there are none, more than [`SECRET_BYTES_MAX`], or one of them is NUL.
    pub fn new(bytes: impl Into<Zeroizing<Vec<u8>>>) -> Result<Self, Malformed> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Err(Malformed::because(EMPTY));
        }
        if bytes.len() > SECRET_BYTES_MAX {
            return Err(Malformed::because("it is longer than 65,536 bytes"));
        }
        if bytes.contains(&0) {
            return Err(Malformed::because("it has a NUL byte"));
        }
        // Never `into_boxed_slice`: a vector with room to spare would be reallocated, and the old
        // allocation freed as it is. This copy is exact, and `bytes` is wiped when it drops.
        let exact: Box<[u8]> = Box::from(bytes.as_slice());
        keep_out_of_swap(&exact);
        Ok(Self(SecretBox::new(exact)))
    }

    /// The bytes, for the one call that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// The bytes as text.
    ///
    /// # Errors
    /// When they are not UTF-8.
    pub fn text(&self) -> Result<&str, Malformed> {
        // The cause is dropped on purpose: it tells positions within the value.
        std::str::from_utf8(self.expose())
            .map_err(|_| Malformed::because("it is not UTF-8 text, and text is needed"))
    }

    /// Whether both hold the same bytes, in a time that tells nothing but their lengths.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.matches(other.expose())
    }

    /// Whether `presented` is this secret, in a time that tells nothing but the lengths.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        same_bytes(self.expose(), presented)
    }

    /// A new random one: 256 bits as 64 hexadecimal digits, which any file, variable and header
    /// takes as they are.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random() -> Result<Self, Malformed> {
        let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
        aws_lc_rs::rand::fill(bytes.as_mut_slice())
            .map_err(|_| Malformed::because("the system gives no random bytes"))?;
        let mut text = Zeroizing::new(vec![0; 2 * RANDOM_BYTES]);
        hex::encode_to_slice(bytes.as_slice(), &mut text)
            .map_err(|_| Malformed::because("it could not be written; this is a defect"))?;
        Self::new(text)
    }
}

/// Whether both are the same, in a time that tells nothing but their lengths: for what is compared
/// with a secret without being one itself, such as a hash or a signature.
#[must_use]
pub fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Locks the pages of `bytes`, as far as the limit on locked memory allows.
fn keep_out_of_swap(bytes: &[u8]) {
    // A page may hold several secrets and locks do not nest, so unlocking with this one's end
    // would expose its neighbour: the guard is forgotten, and a page once locked stays locked. What
    // that costs is bounded by RLIMIT_MEMLOCK, past which the call fails and nothing is lost.
    if let Ok(guard) = region::lock(bytes.as_ptr(), bytes.len()) {
        std::mem::forget(guard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_secret_as_they_are_or_are_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..64)
        ) {
            let may_be = !bytes.is_empty() && !bytes.contains(&0);
            let made = Secret::new(bytes.clone());
            prop_assert_eq!(made.is_ok(), may_be);
            if let Ok(secret) = made {
                prop_assert_eq!(secret.expose(), bytes.as_slice());
                prop_assert_eq!(secret.text().is_ok(), std::str::from_utf8(&bytes).is_ok());
                prop_assert_eq!(format!("{:?}", secret), "Secret(..)");
            }
        }
    }

    #[test]
    fn the_limits_are_the_documented_ones() {
        let reason = |bytes: Vec<u8>| Secret::new(bytes).unwrap_err().0;
        assert_eq!(reason(Vec::new()), "it is empty");
        assert_eq!(reason(vec![b'a'; 65_537]), "it is longer than 65,536 bytes");
        assert_eq!(reason(b"a\0b".to_vec()), "it has a NUL byte");
        assert_eq!(Secret::new(vec![b'a'; 65_536]).unwrap().expose().len(), 65_536);
    }

    #[test]
    fn debug_and_errors_hide_the_value() {
        let secret = Secret::new(b"hunter2\xff".to_vec()).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        let error = secret.text().unwrap_err();
        assert_eq!(error.to_string(), "it is not UTF-8 text, and text is needed");
    }

    #[test]
    fn the_same_bytes_are_the_same_and_others_are_not() {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec()).unwrap();
        assert!(secret("abc").same_as(&secret("abc")));
        assert!(!secret("abc").same_as(&secret("abd")));
        assert!(!secret("abc").same_as(&secret("abcd")));
        assert!(secret("abc").matches(b"abc"));
        assert!(!secret("abc").matches(b""));
    }

    #[test]
    fn random_ones_are_text_and_never_the_same() {
        let (one, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert!(!one.same_as(&other));
        let text = one.text().unwrap();
        assert!(text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()));
    }

    #[test]
    fn a_vector_with_room_to_spare_is_not_kept() {
        let mut bytes = Vec::with_capacity(4096);
        bytes.extend_from_slice(b"short");
        assert_eq!(Secret::new(bytes).unwrap().expose(), b"short");
    }
}
