//! Scopes: what a token lets its bearer ask for, as `resource:verb`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One right, such as `messages:write`. As a held right, `messages:*` covers every verb of `messages`, and [`FULL`]
/// covers everything. A bare `*` is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Cow<'static, str>);

/// The text is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no scope: write `resource:verb`, such as `messages:read`, or `resource:*`")]
pub struct ScopeError {
    /// What was given.
    pub text: String,
}

/// Every right there is. Only an operator's token carries it.
pub const FULL: Scope = Scope(Cow::Borrowed("*:*"));

impl Scope {
    /// A scope known when the program is built; text that is no scope does not compile in a `const`.
    pub const fn from_static(text: &'static str) -> Self {
        assert!(well_formed(text.as_bytes()), "a scope is `resource:verb`");
        Self(Cow::Borrowed(text))
    }

    /// `resource:verb`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether holding this is enough where `wanted` is asked for. Text that is no scope is never covered.
    pub fn covers(&self, wanted: &str) -> bool {
        if !well_formed(wanted.as_bytes()) {
            return false;
        }
        if *self == FULL || self.0 == wanted {
            return true;
        }
        let resource = |scope: &str| scope.split_once(':').map(|(resource, _)| resource.to_owned());
        self.0.ends_with(":*") && resource(&self.0) == resource(wanted)
    }
}

/// `resource:verb` in lower-case letters, digits, `_` and `-`; `resource:*`; or `*:*`. A `const fn`, hence the loop.
const fn well_formed(text: &[u8]) -> bool {
    if matches!(text, b"*:*") {
        return true;
    }
    let (mut at, mut colon) = (0, 0);
    if text.len() > 64 {
        return false;
    }
    while at < text.len() {
        match text[at] {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => {}
            b':' if colon == 0 && at > 0 => colon = at,
            b'*' if colon > 0 && at == colon + 1 && at + 1 == text.len() => {}
            _ => return false,
        }
        at += 1;
    }
    colon > 0 && colon + 1 < text.len()
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if well_formed(text.as_bytes()) {
            Ok(Self(Cow::Owned(text.to_owned())))
        } else {
            Err(ScopeError { text: text.to_owned() })
        }
    }
}

impl AsRef<str> for Scope {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rights of one token. In JSON, one string with a space between each (RFC 8693, section 4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether any of them covers `wanted`.
    pub fn cover(&self, wanted: impl AsRef<str>) -> bool {
        self.0.iter().any(|held| held.covers(wanted.as_ref()))
    }

    /// Every one of them, in order of their text.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl From<&[Scope]> for Scopes {
    fn from(scopes: &[Scope]) -> Self {
        scopes.iter().cloned().collect()
    }
}

impl FromStr for Scopes {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        text.split(' ').filter(|part| !part.is_empty()).map(Scope::from_str).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            fmt::Display::fmt(scope, f)?;
        }
        Ok(())
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The scopes that endpoints ask for.
pub mod scopes {
    use super::Scope;

    macro_rules! scopes {
        ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
            $($(#[$doc])* pub const $name: Scope = Scope::from_static($text);)*
            /// Every one of them.
            pub const ALL: &[Scope] = &[$($name),*];
        };
    }

    scopes! {
        /// Put messages in.
        MESSAGES_WRITE = "messages:write";
        /// Read messages and their traces.
        MESSAGES_READ = "messages:read";
        /// Look through chats, what was said in them, and what agents remember. No daemon holds it.
        CONVERSATIONS_READ = "conversations:read";
        /// Read turns.
        TURNS_READ = "turns:read";
        /// Start and end runs.
        RUNS_WRITE = "runs:write";
        /// Read runs.
        RUNS_READ = "runs:read";
        /// Follow what is said in a chat.
        FEED_READ = "feed:read";
        /// List capability links.
        TOKENS_READ = "tokens:read";
        /// Issue and revoke capability links.
        TOKENS_WRITE = "tokens:write";
        /// Find what a capability link stands for.
        LINKS_RESOLVE = "links:resolve";
        /// List folders.
        GROUPS_READ = "groups:read";
        /// Make and remove folders.
        GROUPS_WRITE = "groups:write";
        /// Say who the agents of folders are. No daemon holds it.
        PERSONAS_WRITE = "personas:write";
        /// Read the routing table.
        ROUTES_READ = "routes:read";
        /// Change the routing table.
        ROUTES_WRITE = "routes:write";
        /// Read schedules and what they did.
        SCHEDULES_READ = "schedules:read";
        /// Make, change and remove schedules.
        SCHEDULES_WRITE = "schedules:write";
        /// Fire what is due.
        SCHEDULES_FIRE = "schedules:fire";
        /// Register a channel.
        CHANNELS_WRITE = "channels:write";
        /// Have an adapter send something.
        SEND_WRITE = "send:write";
        /// Fetch a file that came with a message, or that an agent sent.
        FILES_READ = "files:read";
        /// See the state of secrets, never a value.
        SECRETS_READ = "secrets:read";
        /// Have secrets looked at again, or an overlap ended.
        SECRETS_WRITE = "secrets:write";
        /// List the secrets of folders and persons, without their values.
        TENANT_SECRETS_READ = "tenant-secrets:read";
        /// Store and remove secrets of folders and persons.
        TENANT_SECRETS_WRITE = "tenant-secrets:write";
        /// List the signing keys.
        KEYS_READ = "keys:read";
        /// Rotate the signing keys.
        KEYS_WRITE = "keys:write";
        /// See who may do what.
        ACL_READ = "acl:read";
        /// Give and take rights. What may be given is decided by what the caller holds.
        ACL_WRITE = "acl:write";
        /// See which calls of tools are held until a person decides.
        APPROVALS_READ = "approvals:read";
        /// Decide on calls that are held. Who may decide on which is for the ACL to say. No daemon holds it.
        APPROVALS_WRITE = "approvals:write";
        /// See what models were used, and what folders may spend on them.
        USAGE_READ = "usage:read";
        /// Set what folders may spend on models.
        USAGE_WRITE = "usage:write";
        /// Tell of a message that no route takes.
        ONBOARDING_TELL = "onboarding:tell";
        /// See who knocked, who waits and who was let in; invites and gates.
        ONBOARDING_READ = "onboarding:read";
        /// Let people in, refuse them, make invites and gates.
        ONBOARDING_WRITE = "onboarding:write";
        /// Give a new person a folder of their own, rights on it and a route to it.
        PEOPLE_ADMIT = "people:admit";
        /// Say a line in a chat in the suite's own name.
        NOTICES_WRITE = "notices:write";
        /// Read the audit log.
        AUDIT_READ = "audit:read";
        /// See how daemons are.
        STATUS_READ = "status:read";
        /// Find whose session a cookie stands for.
        SESSIONS_RESOLVE = "sessions:resolve";
        /// Act for the person whose request the edge has just passed on, with that person's rights.
        SESSIONS_ACT = "sessions:act";
        /// List people's sessions.
        SESSIONS_READ = "sessions:read";
        /// Begin and end people's sessions.
        SESSIONS_WRITE = "sessions:write";
    }
}

#[cfg(test)]
mod tests;
