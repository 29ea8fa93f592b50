//! What the server answers, read. Pure. An answer that cannot be read is [`Trouble::Garbled`]: the
//! reason is dropped on purpose, as it would quote what it tripped over.

use crate::{lease::Lease, trouble::Trouble};
use secrets::{
    Secret, Zeroizing,
    remote::{self, Values},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};
use time::{
    OffsetDateTime,
    format_description::well_known::{Rfc2822, Rfc3339},
};

#[derive(Deserialize)]
struct Body<T> {
    data: T,
}

/// The versions of an entry.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) current_version: u64,
    #[serde(default)]
    versions: BTreeMap<u64, VersionMetadata>,
}

/// One version of an entry.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct VersionMetadata {
    created_time: String,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    pub(crate) destroyed: bool,
}

impl Metadata {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Trouble> {
        Ok(parse::<Body<Self>>(body)?.data)
    }

    pub(crate) fn version(&self, number: u64) -> Option<&VersionMetadata> {
        self.versions.get(&number)
    }
}

impl VersionMetadata {
    /// When it was written.
    pub(crate) fn created(&self) -> Option<SystemTime> {
        moment(&self.created_time)
    }

    /// Whether it is deleted at `now`. A time that has not come yet is that of `delete_version_after`.
    pub(crate) fn is_deleted(&self, now: Option<SystemTime>) -> bool {
        match (moment(&self.deletion_time), now) {
            (Some(at), Some(now)) => at <= now,
            // The read of its data then tells.
            _ => false,
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Trouble> {
    serde_json::from_slice(body).map_err(|_| Trouble::Garbled)
}

fn moment(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

/// The time of an HTTP `Date`.
pub(crate) fn date(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc2822).ok().map(SystemTime::from)
}

/// The keys of one version of an entry of KV version 2; `None` where it is deleted.
pub(crate) fn versioned(body: &[u8]) -> Result<Option<Map<String, Value>>, Trouble> {
    #[derive(Deserialize)]
    struct Version {
        data: Option<Map<String, Value>>,
    }
    Ok(parse::<Body<Version>>(body)?.data.data)
}

/// The keys of an entry of KV version 1.
pub(crate) fn plain(body: &[u8]) -> Result<Map<String, Value>, Trouble> {
    Ok(parse::<Body<Map<String, Value>>>(body)?.data)
}

/// The keys that can be names, each with its value.
pub(crate) fn values(map: Map<String, Value>) -> Values {
    remote::values(map, "it is not a text in the KV entry; write it as a string")
}

/// A token, and how long it lives.
pub(crate) struct Granted {
    pub(crate) token: Secret,
    pub(crate) lease: Lease,
}

/// What a login answers.
pub(crate) fn granted(body: &[u8]) -> Result<Granted, Trouble> {
    let auth = auth(body)?;
    let token = Secret::new(Zeroizing::new(auth.client_token.into_bytes()));
    let ttl = Duration::from_secs(auth.lease_duration);
    let lease = Lease { ttl, first: ttl, is_renewable: auth.renewable };
    Ok(Granted { token: token.map_err(|_| Trouble::Garbled)?, lease })
}

/// What a renewal answers, for a token whose life was `first` when it was new.
pub(crate) fn renewed(body: &[u8], first: Duration) -> Result<Lease, Trouble> {
    let auth = auth(body)?;
    let ttl = Duration::from_secs(auth.lease_duration);
    Ok(Lease { ttl, first: first.max(ttl), is_renewable: auth.renewable })
}

/// How long a token that somebody else made lives.
pub(crate) fn looked_up(body: &[u8]) -> Result<Lease, Trouble> {
    #[derive(Deserialize)]
    struct Token {
        ttl: u64,
        #[serde(default)]
        renewable: bool,
        #[serde(default)]
        creation_ttl: u64,
    }
    let token = parse::<Body<Token>>(body)?.data;
    let ttl = Duration::from_secs(token.ttl);
    let first = Duration::from_secs(token.creation_ttl).max(ttl);
    Ok(Lease { ttl, first, is_renewable: token.renewable })
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

fn auth(body: &[u8]) -> Result<Auth, Trouble> {
    #[derive(Deserialize)]
    struct Login {
        auth: Auth,
    }
    Ok(parse::<Login>(body)?.auth)
}

/// The version that a mount says its KV engine has; `None` where it says none.
pub(crate) fn engine_version(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Mount {
        options: Option<BTreeMap<String, String>>,
    }
    parse::<Body<Mount>>(body).ok()?.data.options?.remove("version")
}

/// What an answer that is not good says, as far as it is one of the phrases that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phrase {
    Sealed,
    NotActive,
    NoHandler,
    OtherVersion,
    CheckAndSet,
    /// Nothing that we know, or nothing at all.
    Other,
}

/// Looks for a phrase that we know. What else stands there goes no further.
pub(crate) fn phrase(body: &[u8]) -> Phrase {
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        errors: Vec<String>,
        #[serde(default)]
        warnings: Option<Vec<String>>,
    }
    let Ok(said) = serde_json::from_slice::<Said>(body) else { return Phrase::Other };
    let says = |words: &str| {
        let mut all = said.errors.iter().chain(said.warnings.iter().flatten());
        all.any(|line| line.to_ascii_lowercase().contains(words))
    };
    let known = [
        ("is sealed", Phrase::Sealed),
        ("node not active", Phrase::NotActive),
        ("no handler for route", Phrase::NoHandler),
        ("unsupported path", Phrase::NoHandler),
        ("namespace not found", Phrase::NoHandler),
        ("versioned k/v", Phrase::OtherVersion),
        ("check-and-set", Phrase::CheckAndSet),
    ];
    known.iter().find(|(words, _)| says(words)).map_or(Phrase::Other, |(_, phrase)| *phrase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrets::Name;

    #[test]
    fn times_are_read_as_the_server_writes_them() {
        let at = moment("2026-11-23T16:22:08.123456789Z").unwrap();
        let date = date("Mon, 23 Nov 2026 16:22:08 GMT").unwrap();
        assert_eq!(at.duration_since(date).unwrap().as_millis(), 123);
        assert_eq!(moment(""), None);
    }

    #[test]
    fn what_is_not_text_is_refused_and_what_is_no_name_is_left_out() {
        let map = serde_json::json!({"A": "x", "B": 7, "C": "", "lower": "y", "D": {"E": "z"}});
        let values = values(map.as_object().unwrap().clone());
        let reason = |name: &str| {
            let value = &values[&name.parse::<Name>().unwrap()];
            value.as_ref().map_or_else(ToString::to_string, |_| "good".into())
        };
        assert_eq!(reason("A"), "good");
        assert!(reason("B").contains("not a text") && reason("D").contains("not a text"));
        assert_eq!(reason("C"), "it is empty");
        assert_eq!(values.len(), 4);
    }

    #[test]
    fn an_answer_that_cannot_be_read_does_not_say_why() {
        let bad = br#"{"data":{"current_version":"hunter2"}}"#;
        let error = Metadata::parse(bad).err().unwrap();
        assert_eq!(error, Trouble::Garbled);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert_eq!(phrase(b"<html>"), Phrase::Other);
        assert_eq!(phrase(br#"{"errors":["Vault is sealed"]}"#), Phrase::Sealed);
    }
}
