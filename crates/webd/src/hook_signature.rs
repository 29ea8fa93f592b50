//! What a webhook's sender signed, and with what it says it did: read from the headers. Pure.
//!
//! Whether a signature fits is routd's to say, which alone has the secret.

use axum::http::HeaderMap;
use base64::{Engine, engine::general_purpose::STANDARD};
use proto::{Timestamp, routd::Signature};

/// The header of the delivery's id in Standard Webhooks; it is a part of what is signed.
pub const STANDARD_ID: &str = "webhook-id";
const STANDARD_TIME: &str = "webhook-timestamp";
const STANDARD_SIGNATURE: &str = "webhook-signature";
const GITHUB_SIGNATURE: &str = "x-hub-signature-256";

/// How far the time of a delivery may be from ours, in milliseconds: what Standard Webhooks advises.
const TOLERANCE: i64 = 5 * 60 * 1000;
/// Signatures that are looked at: a sender in the middle of a rotation shows two.
const SIGNATURES_MAX: usize = 16;
/// Bytes of an HMAC-SHA-256.
const BYTES: usize = 32;

/// What has to fit.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// What was signed.
    pub payload: Vec<u8>,
    /// The signatures; one that fits is enough.
    pub signatures: Vec<Vec<u8>>,
}

/// Why nothing can be checked. The text is for the sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing.
    #[error("the delivery is not signed: it has no {0}")]
    Missing(&'static str),
    /// A header is there twice, or is not text.
    #[error("{0} cannot be read")]
    Unreadable(&'static str),
    /// It is too old, or from the future.
    #[error("webhook-timestamp is more than five minutes from our time")]
    Time,
}

/// Reads what a delivery shows for itself.
///
/// # Errors
/// It shows nothing that could fit.
pub fn read(
    signature: Signature,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Shown, SignatureError> {
    match signature {
        Signature::Github => github(headers, body),
        Signature::Standard => standard(headers, body, now),
    }
}

/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
fn github(headers: &HeaderMap, body: &[u8]) -> Result<Shown, SignatureError> {
    let text = header(headers, GITHUB_SIGNATURE)?;
    let bytes = text.strip_prefix("sha256=").and_then(|text| hex::decode(text).ok());
    let bytes = bytes.filter(|bytes| bytes.len() == BYTES);
    let bytes = bytes.ok_or(SignatureError::Unreadable(GITHUB_SIGNATURE))?;
    Ok(Shown { payload: body.to_vec(), signatures: vec![bytes] })
}

/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
fn standard(headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Shown, SignatureError> {
    let (id, time) = (header(headers, STANDARD_ID)?, header(headers, STANDARD_TIME)?);
    let at = time.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1000));
    let at = at.ok_or(SignatureError::Unreadable(STANDARD_TIME))?;
    if now.0.abs_diff(at) > TOLERANCE.unsigned_abs() {
        return Err(SignatureError::Time);
    }
    let listed = header(headers, STANDARD_SIGNATURE)?.split(' ').take(SIGNATURES_MAX);
    // Other schemes may stand beside it.
    let ours = listed.filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
    let signatures: Vec<Vec<u8>> = ours.filter(|bytes| bytes.len() == BYTES).collect();
    if signatures.is_empty() {
        return Err(SignatureError::Unreadable(STANDARD_SIGNATURE));
    }
    let payload = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    Ok(Shown { payload, signatures })
}

/// A header that is there once.
fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(SignatureError::Missing(name))?;
    let text = value.to_str().ok().filter(|text| !text.is_empty());
    match (text, values.next()) {
        (Some(text), None) => Ok(text),
        _ => Err(SignatureError::Unreadable(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    const NOW: Timestamp = Timestamp(1_674_087_231_000);

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        list.iter().map(pair).collect()
    }

    #[test]
    fn what_is_signed_is_what_the_schemes_say() {
        let good = format!("sha256={}", "ab".repeat(32));
        let shown = read(Signature::Github, &headers(&[(GITHUB_SIGNATURE, &good)]), b"{}", NOW);
        let expected = Shown { payload: b"{}".to_vec(), signatures: vec![vec![0xab; 32]] };
        assert_eq!(shown, Ok(expected));
        // The example of the specification's reference libraries.
        let all = headers(&[
            (STANDARD_ID, "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            (STANDARD_TIME, "1674087231"),
            (STANDARD_SIGNATURE, "v1a,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ]);
        let shown = read(Signature::Standard, &all, b"{}", NOW).unwrap();
        assert_eq!(shown.payload, b"msg_p5jXN8AQM9LWM0D4loKWxJek.1674087231.{}");
        assert_eq!(shown.signatures.len(), 1, "other schemes are not ours");
    }

    #[test]
    fn what_cannot_fit_is_refused_with_its_reason() {
        let sha1 = [(GITHUB_SIGNATURE, "sha1=00")];
        let twice = [(GITHUB_SIGNATURE, "sha256=00"), (GITHUB_SIGNATURE, "sha256=11")];
        for (given, why) in [
            (&[][..], SignatureError::Missing(GITHUB_SIGNATURE)),
            (&sha1, SignatureError::Unreadable(GITHUB_SIGNATURE)),
            (&twice, SignatureError::Unreadable(GITHUB_SIGNATURE)),
        ] {
            assert_eq!(read(Signature::Github, &headers(given), b"", NOW), Err(why));
        }
        let signed = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        for (time, signature, why) in [
            ("1674087532", signed, SignatureError::Time),
            ("1674086930", signed, SignatureError::Time),
            ("soon", signed, SignatureError::Unreadable(STANDARD_TIME)),
            ("9223372036854775807", signed, SignatureError::Unreadable(STANDARD_TIME)),
            ("1674087231", "v1,short", SignatureError::Unreadable(STANDARD_SIGNATURE)),
            ("1674087231", "v2,AAAA", SignatureError::Unreadable(STANDARD_SIGNATURE)),
        ] {
            let all = [(STANDARD_ID, "m"), (STANDARD_TIME, time), (STANDARD_SIGNATURE, signature)];
            assert_eq!(read(Signature::Standard, &headers(&all), b"", NOW), Err(why), "{time}");
        }
    }
}
