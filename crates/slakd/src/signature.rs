//! Whether Slack signed a request. Pure.
//!
//! The scheme is version `v0` of Slack's signing secrets
//! (<https://docs.slack.dev/authentication/verifying-requests-from-slack>): HMAC-SHA-256 over
//! `v0:TIMESTAMP:BODY`, the body as it came, in lowercase hexadecimal behind `v0=`.

use aws_lc_rs::hmac;
use secrets::Secret;

/// The header of the signature.
pub(crate) const SIGNATURE: &str = "x-slack-signature";
/// The header of the time at which it was made, in seconds since 1970.
pub(crate) const TIMESTAMP: &str = "x-slack-request-timestamp";
/// How far that time may be from ours, in seconds, on either side.
pub(crate) const WINDOW_SECONDS: u64 = 300;

const BYTES: usize = 32;

/// Why a request cannot have been signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// A header is missing, or is there more than once.
    #[error("the request has no one header {0}")]
    Missing(&'static str),
    /// A header is not what Slack writes.
    #[error("the header {0} is not what Slack writes")]
    Unreadable(&'static str),
    /// It was made too long ago, or lies in the future: somebody may have kept it.
    #[error("the request was signed more than five minutes from now")]
    Time,
}

/// A request that says it was signed, within the time.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    timestamp: &'a str,
    signature: [u8; BYTES],
    body: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Reads what a request says of its signature; `now` is in seconds since 1970.
    pub(crate) fn read(
        timestamp: Option<&'a str>,
        signature: Option<&'a str>,
        body: &'a [u8],
        now: i64,
    ) -> Result<Self, SignatureError> {
        let timestamp = timestamp.ok_or(SignatureError::Missing(TIMESTAMP))?;
        let shown = signature.ok_or(SignatureError::Missing(SIGNATURE))?;
        let digits = (1..=12).contains(&timestamp.len())
            && timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let at: i64 = timestamp
            .parse()
            .ok()
            .filter(|_| digits)
            .ok_or(SignatureError::Unreadable(TIMESTAMP))?;
        if at.abs_diff(now) > WINDOW_SECONDS {
            return Err(SignatureError::Time);
        }
        let hexadecimal = shown.strip_prefix("v0=").unwrap_or_default();
        let mut signature = [0; BYTES];
        hex::decode_to_slice(hexadecimal, &mut signature)
            .map_err(|_| SignatureError::Unreadable(SIGNATURE))?;
        Ok(Self { timestamp, signature, body })
    }

    /// Whether it was made with `secret`. Takes a time that tells nothing of the secret.
    pub(crate) fn made_with(&self, secret: &Secret) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let mut message = Vec::with_capacity(self.body.len() + self.timestamp.len() + 4);
        message.extend_from_slice(b"v0:");
        message.extend_from_slice(self.timestamp.as_bytes());
        message.push(b':');
        message.extend_from_slice(self.body);
        hmac::verify(&key, &message, &self.signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // The example of Slack's documentation.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const TIME: &str = "1531420618";
    const NOW: i64 = 1_531_420_618;
    const BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SHOWN: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_example_of_the_documentation_is_signed_and_nothing_else_is() {
        let read = |body: &'static [u8]| Signed::read(Some(TIME), Some(SHOWN), body, NOW).unwrap();
        assert!(read(BODY).made_with(&secret(SECRET)));
        assert!(!read(BODY).made_with(&secret("8f742231b10e8888abcd99yyyzzz85a6")));
        assert!(!read(&BODY[1..]).made_with(&secret(SECRET)));
        let other = Signed::read(Some("1531420619"), Some(SHOWN), BODY, NOW).unwrap();
        assert!(!other.made_with(&secret(SECRET)), "the time is signed too");
    }

    #[test]
    fn what_is_too_old_or_not_a_signature_is_refused_before_any_secret_is_used() {
        let read = |time, shown, now| Signed::read(time, shown, BODY, now).map(drop);
        let (time, shown) = (Some(TIME), Some(SHOWN));
        assert_eq!(read(time, shown, NOW + 300), Ok(()));
        assert_eq!(read(time, shown, NOW - 300), Ok(()));
        assert_eq!(read(time, shown, NOW + 301), Err(SignatureError::Time));
        assert_eq!(read(time, shown, NOW - 301), Err(SignatureError::Time));
        assert_eq!(read(None, shown, NOW), Err(SignatureError::Missing(TIMESTAMP)));
        assert_eq!(read(time, None, NOW), Err(SignatureError::Missing(SIGNATURE)));
        for bad in ["", "soon", "+1531420618", "-1", "15314206180000", "1531420618 "] {
            let answer = read(Some(bad), shown, NOW);
            assert_eq!(answer, Err(SignatureError::Unreadable(TIMESTAMP)), "{bad:?}");
        }
        for bad in ["", "v0=", "v1=a2114d57", &SHOWN[3..], &SHOWN[..65], "v0=zz"] {
            let answer = read(time, Some(bad), NOW);
            assert_eq!(answer, Err(SignatureError::Unreadable(SIGNATURE)), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_change_of_one_byte_or_bit_breaks_it(
            body in proptest::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            bit in 0u32..8,
        ) {
            let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
            let mut message = format!("v0:{TIME}:").into_bytes();
            message.extend_from_slice(&body);
            let shown = format!("v0={}", hex::encode(hmac::sign(&key, &message)));
            let read = |body: &[u8]| {
                Signed::read(Some(TIME), Some(&shown), body, NOW).unwrap().made_with(&secret(SECRET))
            };
            prop_assert!(read(&body));
            let mut other = body.clone();
            other[at.index(body.len())] ^= 1 << bit;
            prop_assert!(!read(&other));
        }
    }
}
