//! Logins: how long a link and a session last, and what a browser keeps of them. Pure.
//!
//! A code and a cookie are 256 random bits each; the database holds their SHA-256 only. Guessing one
//! is out of reach, so neither needs a slow hash or a limit on attempts.

use crate::store::Hash;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proto::Timestamp;
use rand::RngCore;
use sha2::{Digest, Sha256};
use std::fmt;

/// How long a one-time link can be used.
pub(crate) const LINK_MS: i64 = 10 * 60 * 1000;
/// How long a session lasts without use.
pub(crate) const IDLE_MS: i64 = 12 * 60 * 60 * 1000;
/// How long a session lasts at all.
pub(crate) const WHOLE_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// How long a program's session lasts without use.
pub(crate) const PROGRAM_IDLE_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// How long a program's session lasts at all.
pub(crate) const PROGRAM_WHOLE_MS: i64 = 180 * 24 * 60 * 60 * 1000;
/// How often the use of a session is written down, so that not every request is a write.
const NOTE_EVERY_MS: i64 = 60 * 1000;

/// The cookie over HTTPS. The prefix has browsers refuse one that another host, or a page without
/// TLS, tries to set (RFC 6265bis, section 4.1.3).
const SECURE_COOKIE: &str = "__Host-arizuko_session";
/// The cookie over plain HTTP, which is for loopback.
const PLAIN_COOKIE: &str = "arizuko_session";

/// Something that opens a door because one has it: a link's code, a session's cookie.
pub(crate) struct Capability(String);

impl Capability {
    /// 256 fresh random bits, in base64url.
    pub(crate) fn random() -> Self {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What somebody presents, if it can be one at all.
    pub(crate) fn presented(text: &str) -> Option<Self> {
        let fits = text.len() == 43
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        fits.then(|| Self(text.to_owned()))
    }

    /// What the database knows it by.
    pub(crate) fn hash(&self) -> Hash {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The text, for the one place that hands it out.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capability(..)")
    }
}

/// What a link is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// It logs in.
    Open,
    /// It has logged somebody in.
    Spent,
    /// Its time is over, or it never was.
    Gone,
}

impl LinkState {
    /// Of a row with these times, if there is one.
    pub(crate) fn of(row: Option<(i64, Option<i64>)>, now: Timestamp) -> Self {
        match row {
            Some((_, Some(_spent))) => Self::Spent,
            Some((ends, None)) if now.0 < ends => Self::Open,
            _ => Self::Gone,
        }
    }
}

/// What holds a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A browser, by its cookie.
    Browser,
    /// A program, by refresh tokens.
    Program,
}

impl Kind {
    /// Its name in the database.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Program => "program",
        }
    }

    /// The one of that name; the database has no other.
    pub(crate) fn named(name: &str) -> Self {
        if name == Self::Program.name() { Self::Program } else { Self::Browser }
    }

    /// How long such a session lasts without use, and at all.
    pub(crate) const fn lives(self) -> (i64, i64) {
        match self {
            Self::Browser => (IDLE_MS, WHOLE_MS),
            Self::Program => (PROGRAM_IDLE_MS, PROGRAM_WHOLE_MS),
        }
    }
}

/// A session that nobody ended. It may be over by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: i64,
    pub(crate) subject: String,
    pub(crate) made: Timestamp,
    pub(crate) seen: Timestamp,
    /// What let the person in, where a provider vouched.
    pub(crate) rule: Option<String>,
    /// The address that it began from.
    pub(crate) from: String,
    pub(crate) kind: Kind,
}

impl Session {
    /// When it ends if it is not used again.
    pub(crate) fn ends(&self) -> Timestamp {
        let (idle, whole) = self.kind.lives();
        self.seen.plus(idle).min(self.made.plus(whole))
    }

    /// The person, where a provider vouched for one. The operator of this machine is none.
    pub(crate) fn person(&self) -> Option<&str> {
        self.rule.as_ref()?;
        self.subject.split_once(':').map(|(_, id)| id)
    }

    /// Whether it still counts.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        now < self.ends()
    }

    /// Whether its use should be written down.
    pub(crate) fn wants_note(&self, now: Timestamp) -> bool {
        now.0.saturating_sub(self.seen.0) >= NOTE_EVERY_MS
    }
}

/// The session cookie among a request's cookies. Over HTTPS only the one that a page without TLS
/// cannot have set.
pub(crate) fn cookie<'a>(
    headers: impl IntoIterator<Item = &'a [u8]>,
    https: bool,
) -> Option<Capability> {
    let wanted = name(https);
    headers
        .into_iter()
        .filter_map(|header| std::str::from_utf8(header).ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == wanted)
        .and_then(|(_, value)| Capability::presented(value))
}

/// `Set-Cookie` that begins a session.
pub(crate) fn set_cookie(cookie: &Capability, https: bool) -> String {
    let secure = if https { "; Secure" } else { "" };
    let (name, value, age) = (name(https), cookie.expose(), WHOLE_MS / 1000);
    format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}")
}

/// `Set-Cookie` that has the browser forget the session.
pub(crate) fn clear_cookie(https: bool) -> String {
    let secure = if https { "; Secure" } else { "" };
    format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{secure}", name(https))
}

const fn name(https: bool) -> &'static str {
    if https { SECURE_COOKIE } else { PLAIN_COOKIE }
}

/// What a browser says about where a form was sent from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sender<'a> {
    /// `Sec-Fetch-Site`.
    pub(crate) fetch_site: Option<&'a str>,
    /// `Origin`.
    pub(crate) origin: Option<&'a str>,
    /// The host that the browser asked, with its port.
    pub(crate) host: Option<&'a str>,
}

impl Sender<'_> {
    /// Whether the form can have been on one of our own pages. What sends neither header is no
    /// browser of today, and carries no one's cookies without their doing.
    pub(crate) fn is_ours(&self) -> bool {
        match (self.fetch_site, self.origin) {
            (Some(site), _) => matches!(site, "same-origin" | "none"),
            (None, Some(origin)) => {
                let host = origin.split_once("://").map(|(_, host)| host);
                host.is_some() && host == self.host
            }
            (None, None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_unused_after_twelve_hours_and_always_after_seven_days() {
        let hour = 60 * 60 * 1000;
        let used = |seen| Session {
            id: 1,
            subject: "operator:local".into(),
            made: Timestamp(0),
            seen: Timestamp(seen),
            rule: None,
            from: String::new(),
            kind: Kind::Browser,
        };
        assert!(used(0).is_live(Timestamp(12 * hour - 1)));
        assert!(!used(0).is_live(Timestamp(12 * hour)));
        assert!(used(160 * hour).is_live(Timestamp(7 * 24 * hour - 1)));
        assert!(!used(7 * 24 * hour - 1).is_live(Timestamp(7 * 24 * hour)));
    }

    #[test]
    fn over_https_a_cookie_that_plain_http_could_have_set_does_not_count() {
        let (one, other) = (Capability::random(), Capability::random());
        let header = format!(
            "a=b; arizuko_session={}; __Host-arizuko_session={}",
            one.expose(),
            other.expose()
        );
        let found = |https| cookie([header.as_bytes()], https).map(|c| c.hash());
        assert_eq!(found(false), Some(one.hash()));
        assert_eq!(found(true), Some(other.hash()));
        let plain = format!("arizuko_session={}", one.expose());
        assert!(cookie([plain.as_bytes()], true).is_none());
        assert!(cookie([b"arizuko_session=short".as_slice()], false).is_none());
    }

    #[test]
    fn a_cookie_is_for_this_host_and_no_script() {
        let value = Capability::random();
        let https = set_cookie(&value, true);
        let expected = format!(
            "__Host-arizuko_session={}; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure",
            value.expose()
        );
        assert_eq!(https, expected);
        assert!(!set_cookie(&value, false).contains("Secure"), "a browser would not keep it");
        assert_eq!(format!("{value:?}"), "Capability(..)");
    }

    #[test]
    fn a_form_from_elsewhere_is_not_ours() {
        let sender =
            |fetch_site, origin| Sender { fetch_site, origin, host: Some("a.example:8443") };
        assert!(sender(Some("same-origin"), Some("https://a.example:8443")).is_ours());
        assert!(sender(None, Some("https://a.example:8443")).is_ours());
        assert!(sender(None, None).is_ours());
        for (site, origin) in [
            (Some("cross-site"), None),
            (Some("same-site"), Some("https://a.example:8443")),
            (None, Some("https://b.example")),
            (None, Some("https://a.example")),
            (None, Some("null")),
        ] {
            assert!(!sender(site, origin).is_ours(), "{site:?} {origin:?}");
        }
    }
}
