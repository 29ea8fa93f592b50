//! Who writes in a web chat. Pure, apart from the random bits of a new visitor.

use proto::Opaque;
use sha2::{Digest, Sha256};
use std::fmt;

/// The cookie that tells one browser from another within one chat.
pub const COOKIE: &str = "arizuko_visitor";

/// How long a browser is remembered, in seconds: half a year.
const COOKIE_AGE: u32 = 182 * 24 * 3600;

/// The value of a visitor's cookie: 128 random bits in hexadecimal.
///
/// Whoever has it can write under that visitor's name, so it has no `Display` and hides in
/// `Debug`; others see [`Visitor::short`] alone, from which it cannot be found.
#[derive(Clone, PartialEq, Eq)]
pub struct Visitor(String);

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Visitor({}, ..)", self.short())
    }
}

impl Visitor {
    /// A visitor never seen before.
    pub fn new() -> Self {
        Self(hex::encode(rand::random::<[u8; 16]>()))
    }

    /// The visitor that a `Cookie` header names, if it names one.
    pub fn from_cookies<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let pairs = headers.into_iter().flat_map(|header| header.split(';'));
        let mut values = pairs.filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = values.find(|(name, _)| *name == COOKIE)?;
        let good = value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit());
        good.then(|| Self(value.to_ascii_lowercase()))
    }

    /// The `Set-Cookie` header for the chat at `path`, such as `/chat/…`. The browser sends it
    /// back to that chat alone, and no script can read it.
    pub fn set_cookie(&self, path: &str, over_tls: bool) -> String {
        let secure = if over_tls { "; Secure" } else { "" };
        format!(
            "{COOKIE}={}; Path={path}; Max-Age={COOKIE_AGE}; HttpOnly; SameSite=Lax{secure}",
            self.0
        )
    }

    /// Twelve hexadecimal digits that stand for this visitor in front of others.
    pub fn short(&self) -> String {
        let mut digest = hex::encode(Sha256::digest(format!("visitor {}", self.0)));
        digest.truncate(12);
        digest
    }
}

/// Who writes: somebody who is logged in, or a visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The address, such as `web:anon/3f9c0a1b2c3d` or a subject.
    pub sender: String,
    /// The name as people see it.
    pub name: String,
    /// What keeps this writer's message ids apart from others': letters and digits.
    key: String,
}

impl Writer {
    /// Somebody who has no login.
    pub fn visitor(visitor: &Visitor) -> Self {
        let key = visitor.short();
        let name = format!("Guest {}", key.chars().take(4).collect::<String>());
        Self { sender: format!("web:anon/{key}"), name, key }
    }

    /// Somebody who is logged in, by the subject that the edge vouches for.
    ///
    /// routd lets no adapter write in the operator's name, because the chat does not prove it: such
    /// a subject becomes `web:operator/local`, which no visitor can have.
    pub fn subject(subject: &str) -> Self {
        let mut key = hex::encode(Sha256::digest(format!("subject {subject}")));
        key.truncate(12);
        let sender = match subject.split_once(':') {
            Some(("user", _)) => subject.to_owned(),
            _ => format!("web:{}", subject.replacen(':', "/", 1)),
        };
        Self { sender, name: subject.to_owned(), key }
    }

    /// A program that writes through the link with this id. It has no cookie: whoever holds the link is one writer.
    pub fn program(link_id: &Opaque) -> Self {
        let mut key = hex::encode(Sha256::digest(format!("program {link_id}")));
        key.truncate(12);
        Self { sender: format!("web:mcp/{key}"), name: "MCP client".to_owned(), key }
    }

    /// The id of a message that this writer calls `client_id`: a repeat is the same message,
    /// and nobody else's. `None` when that is no id of 1 to 128 printable characters.
    pub fn message_id(&self, client_id: &str) -> Option<Opaque> {
        let fits = client_id.len() <= 128 && !client_id.is_empty();
        fits.then(|| format!("chat.{}.{client_id}", self.key).parse().ok()).flatten()
    }
}

/// A new random id, such as a page gives its form.
pub fn random_id() -> String {
    hex::encode(rand::random::<[u8; 12]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitor_is_known_again_by_the_cookie_and_by_nothing_less() {
        let visitor = Visitor::new();
        let cookie = visitor.set_cookie("/chat/t", true);
        let pair = cookie.split(';').next().unwrap();
        let header = format!("theme=dark; {pair}; x=y");
        assert_eq!(Visitor::from_cookies([header.as_str()]), Some(visitor.clone()));
        assert_eq!(Visitor::from_cookies(["a=b", pair]), Some(visitor.clone()));
        for bad in ["", COOKIE, "arizuko_visitor=", "arizuko_visitor=zz", "x_arizuko_visitor=a"] {
            assert_eq!(Visitor::from_cookies([bad]), None, "{bad:?}");
        }
        for part in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/chat/t;"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(
            !visitor.set_cookie("/chat/t", false).contains("Secure"),
            "plain HTTP would drop it"
        );
    }

    #[test]
    fn what_others_see_is_not_the_cookie() {
        let visitor = Visitor::new();
        let writer = Writer::visitor(&visitor);
        for shown in [format!("{visitor:?}"), writer.sender.clone(), writer.name.clone()] {
            assert!(!shown.contains(&visitor.0), "{shown}");
        }
        assert!(writer.sender.starts_with("web:anon/"));
        assert_ne!(Visitor::new(), visitor);
    }

    #[test]
    fn who_is_logged_in_has_a_name_that_the_suite_does_not_keep_for_itself() {
        for (subject, sender) in [
            ("operator:local", "web:operator/local"),
            ("service:routd", "web:service/routd"),
            ("agent", "web:agent"),
            ("user:google|1", "user:google|1"),
        ] {
            let writer = Writer::subject(subject);
            assert_eq!((&*writer.sender, &*writer.name), (sender, subject));
        }
    }

    #[test]
    fn the_same_client_id_is_the_same_message_of_one_writer_and_of_no_other() {
        let (a, b) = (Writer::visitor(&Visitor::new()), Writer::subject("operator:local"));
        assert_eq!(a.message_id("x"), a.message_id("x"));
        assert_ne!(a.message_id("x"), b.message_id("x"));
        for bad in ["", "a b", "a\n", &"x".repeat(129)] {
            assert_eq!(a.message_id(bad), None, "{bad:?}");
        }
    }
}
