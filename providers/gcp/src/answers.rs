//! What the servers answer, read. Pure. An answer that cannot be read is [`Trouble::Garbled`]: the
//! reason is dropped on purpose, as it would quote what it tripped over.

use crate::{
    transport::{Reply, bounded},
    trouble::Trouble,
    version::{self, Version},
};
use google_cloud_secretmanager_v1::model::{
    AccessSecretVersionResponse, ListSecretVersionsResponse, SecretVersion,
};
use secrets::{Secret, Zeroizing};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// What an answer that is not good says, as far as it is one of the words that we know: the
/// `google.rpc.Code` of its status, and the reason of its `google.rpc.ErrorInfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    NotFound,
    AlreadyExists,
    FailedPrecondition,
    ServiceDisabled,
    /// Nothing that we know, or nothing at all.
    Other,
}

#[derive(Deserialize)]
struct Body {
    error: Said,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    status: String,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(default)]
    reason: String,
    #[serde(default, rename = "retryDelay")]
    retry_delay: String,
}

/// Looks for a word that we know. What else stands there goes no further.
pub(crate) fn word(body: &[u8]) -> Word {
    let Ok(Body { error }) = serde_json::from_slice(body) else { return Word::Other };
    if error.details.iter().any(|detail| detail.reason == "SERVICE_DISABLED") {
        return Word::ServiceDisabled;
    }
    match error.status.as_str() {
        "NOT_FOUND" => Word::NotFound,
        "ALREADY_EXISTS" => Word::AlreadyExists,
        "FAILED_PRECONDITION" => Word::FailedPrecondition,
        _ => Word::Other,
    }
}

/// What `google.rpc.RetryInfo` asks for, such as `"3.5s"`.
pub(crate) fn retry_delay(body: &[u8]) -> Option<Duration> {
    let Body { error } = serde_json::from_slice(body).ok()?;
    let seconds = |detail: &Detail| detail.retry_delay.strip_suffix('s')?.parse().ok();
    let seconds: f64 = error.details.iter().find_map(seconds)?;
    Duration::try_from_secs_f64(seconds).ok().map(bounded)
}

/// The answer, where its status means something to whoever asked, and otherwise what is wrong.
pub(crate) fn good_or_known(reply: Reply) -> Result<Reply, Trouble> {
    Err(match reply.status {
        403 if word(&reply.body) == Word::ServiceDisabled => Trouble::ServiceDisabled,
        200..=299 | 400 | 403 | 404 | 409 => return Ok(reply),
        status @ 300..=399 => Trouble::Elsewhere(status),
        401 => Trouble::Unauthenticated,
        429 => Trouble::TooMany,
        status => Trouble::Status(status),
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Trouble> {
    serde_json::from_slice(body).map_err(|_| Trouble::Garbled)
}

/// A version, without its value.
pub(crate) fn described(body: &[u8]) -> Result<Version, Trouble> {
    Version::read(&parse::<SecretVersion>(body)?)
}

/// The versions of a secret, as far as one answer has them.
pub(crate) fn listed(body: &[u8]) -> Result<Vec<Version>, Trouble> {
    let list: ListSecretVersionsResponse = parse(body)?;
    list.versions.iter().map(Version::read).collect()
}

/// The value of exactly that version, whose checksum is right.
pub(crate) fn accessed(body: &[u8], number: u64) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let answer: AccessSecretVersionResponse = parse(body)?;
    let payload = answer.payload.ok_or(Trouble::Garbled)?;
    // No copy is made where nothing else refers to the bytes, and here nothing does.
    let value = Zeroizing::new(Vec::from(payload.data));
    if version::number(&answer.name)? != number {
        return Err(Trouble::Garbled);
    }
    if payload.data_crc32c != Some(checksum(&value)) {
        return Err(Trouble::Corrupt(number));
    }
    Ok(value)
}

/// The CRC32C (Castagnoli) of a value, as the service writes it.
pub(crate) fn checksum(value: &[u8]) -> i64 {
    crc32c::crc32c(value).into()
}

/// The names and values of a version that holds all of them.
pub(crate) fn object(value: &[u8], number: u64) -> Result<Map<String, Value>, Trouble> {
    serde_json::from_slice(value).map_err(|_| Trouble::NotAnObject(number))
}

/// An access token, and how long it lives (RFC 6749, section 5.1): of a metadata server, and of the
/// token service.
pub(crate) fn token(body: &[u8]) -> Result<(Secret, Duration), Trouble> {
    #[derive(Deserialize)]
    struct Token {
        access_token: String,
        expires_in: u64,
        token_type: String,
    }
    let token: Token = parse(body)?;
    let secret = secret(token.access_token)?;
    if !token.token_type.eq_ignore_ascii_case("bearer") {
        return Err(Trouble::Garbled);
    }
    Ok((secret, Duration::from_secs(token.expires_in)))
}

/// An access token of a service account, as `generateAccessToken` of the IAM Credentials API gives it.
/// The lifetime is counted from the time of the answer, where it has one, and is otherwise `wanted`.
pub(crate) fn generated(
    body: &[u8],
    date: Option<SystemTime>,
    wanted: Duration,
) -> Result<(Secret, Duration), Trouble> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Generated {
        access_token: String,
        expire_time: String,
    }
    let generated: Generated = parse(body)?;
    let secret = secret(generated.access_token)?;
    let ends = OffsetDateTime::parse(&generated.expire_time, &Rfc3339);
    let ends = SystemTime::from(ends.map_err(|_| Trouble::Garbled)?);
    let left = date.and_then(|date| ends.duration_since(date).ok());
    Ok((secret, left.unwrap_or(wanted).min(wanted)))
}

fn secret(text: String) -> Result<Secret, Trouble> {
    Secret::new(Zeroizing::new(text.into_bytes())).map_err(|_| Trouble::Garbled)
}

/// One message of a subscription: how to acknowledge it, and what it says has changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) ack_id: String,
    /// The secret's id, where it is about one.
    pub(crate) secret: Option<String>,
    /// The version's number, where it is about one.
    pub(crate) version: Option<u64>,
}

/// The messages of a pull. What they carry besides their attributes is not looked at.
pub(crate) fn pulled(body: &[u8]) -> Result<Vec<Event>, Trouble> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Pulled {
        #[serde(default)]
        received_messages: Vec<Received>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Received {
        ack_id: String,
        #[serde(default)]
        message: Message,
    }
    #[derive(Default, Deserialize)]
    struct Message {
        #[serde(default)]
        attributes: Attributes,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Attributes {
        secret_id: String,
        version_id: String,
    }
    let pulled: Pulled = parse(body)?;
    let event = |Received { ack_id, message: Message { attributes } }: Received| {
        let secret = attributes.secret_id.rsplit_once("/secrets/").map(|(_, id)| id.to_owned());
        Event { ack_id, secret, version: version::number(&attributes.version_id).ok() }
    };
    Ok(pulled.received_messages.into_iter().map(event).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    const VALUE: &str = r#"{"name":"projects/1/secrets/s/versions/3","payload":{"data":"aHVudGVyMg==","dataCrc32c":"CRC"}}"#;

    #[test]
    fn a_value_is_of_the_version_that_was_asked_for_and_whole() {
        // The check value of CRC-32C.
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
        let right = checksum(b"hunter2").to_string();
        let body = VALUE.replace("CRC", &right);
        assert_eq!(&*accessed(body.as_bytes(), 3).unwrap(), b"hunter2");
        assert_eq!(accessed(body.as_bytes(), 4), Err(Trouble::Garbled));
        let wrong = VALUE.replace("CRC", "7");
        assert_eq!(accessed(wrong.as_bytes(), 3), Err(Trouble::Corrupt(3)));
        let without = VALUE.replace(r#","dataCrc32c":"CRC""#, "");
        assert_eq!(accessed(without.as_bytes(), 3), Err(Trouble::Corrupt(3)));
    }

    #[test]
    fn an_answer_that_cannot_be_read_does_not_say_why() {
        for bad in [r#"{"name":7,"payload":"hunter2"}"#, "hunter2", r#"{"name":"hunter2"}"#] {
            let error = accessed(bad.as_bytes(), 1).unwrap_err();
            assert_eq!(error, Trouble::Garbled);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
            assert_eq!(described(bad.as_bytes()), Err(Trouble::Garbled));
        }
        let error = object(b"[\"hunter2\"]", 4).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn of_what_is_wrong_the_words_that_are_known_count() {
        let says = |status: &str, details: &str| {
            word(
                format!(r#"{{"error":{{"code":4,"status":"{status}","details":{details}}}}}"#)
                    .as_bytes(),
            )
        };
        assert_eq!(says("NOT_FOUND", "[]"), Word::NotFound);
        assert_eq!(says("FAILED_PRECONDITION", "[{}]"), Word::FailedPrecondition);
        let off = r#"[{"@type":"x","reason":"SERVICE_DISABLED","domain":"googleapis.com"}]"#;
        assert_eq!(says("PERMISSION_DENIED", off), Word::ServiceDisabled);
        assert_eq!(says("UNKNOWN", "[]"), Word::Other);
        assert_eq!(word(b"<html>Error 404"), Word::Other);
        let wait = |delay: &str| {
            retry_delay(
                format!(r#"{{"error":{{"details":[{{"retryDelay":"{delay}"}}]}}}}"#).as_bytes(),
            )
        };
        assert_eq!(wait("3.5s"), Some(Duration::from_millis(3_500)));
        assert_eq!(wait("86400s"), Some(Duration::from_secs(300)));
        assert_eq!((wait("-1s"), wait("soon"), retry_delay(b"{}")), (None, None, None));
    }

    #[test]
    fn tokens_live_as_long_as_is_said_and_never_longer_than_was_asked() {
        let body = br#"{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}"#;
        let (secret, life) = token(body).unwrap();
        assert_eq!((secret.expose(), life.as_secs()), (b"ya29.x".as_slice(), 3599));
        let mac = br#"{"access_token":"ya29.x","expires_in":3599,"token_type":"mac"}"#;
        assert_eq!(token(mac).err(), Some(Trouble::Garbled));
        let body = br#"{"accessToken":"ya29.y","expireTime":"1970-01-01T00:10:00Z"}"#;
        let life = |date: u64, wanted| {
            let date = UNIX_EPOCH + Duration::from_secs(date);
            generated(body, Some(date), Duration::from_secs(wanted)).unwrap().1.as_secs()
        };
        assert_eq!((life(100, 3600), life(100, 300), life(900, 60)), (500, 300, 60));
    }

    #[test]
    fn an_event_is_what_its_attributes_say_and_nothing_else() {
        let body = br#"{"receivedMessages":[
            {"ackId":"a","message":{"data":"aHVudGVyMg==","attributes":{"eventType":"SECRET_VERSION_ADD",
             "secretId":"projects/p/secrets/s","versionId":"projects/1/secrets/s/versions/9"}}},
            {"ackId":"b","message":{"attributes":{"eventType":"TOPIC_CONFIGURED"}}},
            {"ackId":"c"}]}"#;
        let event = |ack_id: &str, secret: Option<&str>, version| Event {
            ack_id: ack_id.into(),
            secret: secret.map(Into::into),
            version,
        };
        let expected =
            [event("a", Some("s"), Some(9)), event("b", None, None), event("c", None, None)];
        assert_eq!(pulled(body).unwrap(), expected);
        assert_eq!(pulled(b"{}").unwrap(), []);
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_garbled(body in any::<Vec<u8>>(), text in ".{0,60}") {
            for body in [&body[..], text.as_bytes(), format!("{{\"name\":\"{text}\"}}").as_bytes()] {
                prop_assert!(accessed(body, 1).is_err());
                prop_assert!(described(body).is_err_and(|trouble| trouble == Trouble::Garbled));
                prop_assert!(listed(body).is_ok_and(|list| list.is_empty()) || listed(body).is_err());
                prop_assert!(token(body).is_err());
                prop_assert_eq!((word(body), retry_delay(body)), (Word::Other, None));
            }
        }
    }
}
