//! Principals: whoever a right can be given to.

use std::fmt;
use std::str::FromStr;

use proto::{Daemon, Folder};

/// `folder:acme/eng` (that folder's agent), `user:<opaque id>`, `person:<address>` (who writes from that address in a
/// chat, as its adapter names them), `role:<name>`, `service:<daemon>` or `operator:<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(String);

/// The text is no principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no principal: write folder:NAME, user:ID, person:ADDRESS, role:NAME, service:DAEMON or operator:NAME"
)]
pub struct PrincipalError {
    /// What was given.
    pub text: String,
}

const KINDS: [&str; 6] = ["folder", "user", "person", "role", "service", "operator"];
/// In bytes.
const LONGEST: usize = 576;

impl Principal {
    /// The agent of a folder.
    pub fn folder(folder: &Folder) -> Self {
        Self(format!("folder:{}", folder.as_str()))
    }

    /// A daemon.
    pub fn service(daemon: Daemon) -> Self {
        Self(daemon.subject())
    }

    /// The person with that opaque id.
    pub fn user(id: &str) -> Result<Self, PrincipalError> {
        format!("user:{id}").parse()
    }

    /// Whoever writes from that address in a chat, such as `telegram:user/42`.
    pub fn person(address: &str) -> Result<Self, PrincipalError> {
        format!("person:{address}").parse()
    }

    /// The operator on the admin socket.
    pub fn local_operator() -> Self {
        Self("operator:local".to_owned())
    }

    /// Somebody who proved nothing.
    pub fn anonymous() -> Self {
        Self("user:anonymous".to_owned())
    }

    /// What stands before the colon: `folder`, `user`, `person`, `role`, `service` or `operator`.
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or("", |(kind, _)| kind)
    }

    /// What stands after it.
    pub fn id(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, id)| id)
    }

    /// The whole.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        let good = text.len() <= LONGEST
            && text.split_once(':').is_some_and(|(kind, id)| KINDS.contains(&kind) && named(id));
        if good { Ok(Self(text.to_owned())) } else { Err(PrincipalError { text: text.to_owned() }) }
    }
}

/// Anything visible that is not a pattern: a principal is one, and a pattern is not a principal.
fn named(id: &str) -> bool {
    !id.is_empty() && !id.chars().any(|c| c.is_whitespace() || c.is_control() || c == '*')
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Principal;

    #[test]
    fn what_is_a_principal() {
        for text in [
            "folder:acme/eng",
            "user:google|1234:5",
            "role:operator",
            "service:routd",
            "person:telegram:user/42",
        ] {
            let principal: Principal = text.parse().unwrap();
            assert_eq!(principal.to_string(), text);
        }
        let user: Principal = "user:a:b".parse().unwrap();
        assert_eq!((user.kind(), user.id()), ("user", "a:b"));
        for text in ["", "user", "user:", ":x", "group:x", "user:a b", "folder:*", "user:a\n"] {
            assert!(text.parse::<Principal>().is_err(), "{text:?}");
        }
        assert!(format!("user:{}", "x".repeat(600)).parse::<Principal>().is_err());
    }
}
