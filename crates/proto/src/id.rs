//! Ids that cross a process boundary. Each one is parsed once, at the boundary.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The path of a group, such as `corp/eng/sre`. It is the tenant, and the scope of its rights.
///
/// Invariant: 1 to 8 segments of `[a-z0-9._-]`, 1 to 64 bytes each, joined by `/`; no segment is
/// `.`, `..` or `share`, and none begins with `.` or `-`.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Folder(String);

/// Why a string is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A folder segment is empty, relative, hidden or reserved.
    #[error(
        "folder `{0}` has an empty, relative, hidden or reserved segment; write it as `team/name`"
    )]
    Segment(String),
    /// A folder contains a character outside the allowed set.
    #[error("folder `{0}` contains {1:?}; only a-z, 0-9, `.`, `_`, `-` and `/` are allowed")]
    Character(String, char),
    /// A folder is too long or too deep.
    #[error("a folder has at most 8 segments of at most 64 characters")]
    FolderLength,
    /// A topic is too long or has control characters.
    #[error("a topic has at most 128 bytes and no control characters, `#` or surrounding space")]
    Topic,
    /// An id that a daemon or an adapter made is empty, too long or not printable.
    #[error("an id has 1 to 256 printable characters and no spaces")]
    Opaque,
}

impl Folder {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `other` is this folder or lies below it.
    pub fn contains(&self, other: &Folder) -> bool {
        other.0 == self.0 || other.0.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for Folder {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let shown = || text.chars().take(80).collect::<String>();
        if let Some(c) = text.chars().find(|c| !allowed(*c)) {
            return Err(IdError::Character(shown(), c));
        }
        let bad = |s: &str| s.is_empty() || s.starts_with(['.', '-']) || s == "share";
        if text.split('/').any(bad) {
            return Err(IdError::Segment(shown()));
        }
        if text.split('/').count() > 8 || text.split('/').any(|s| s.len() > 64) {
            return Err(IdError::FolderLength);
        }
        Ok(Self(text.into()))
    }
}

/// A thread of conversation within a folder. The empty topic is the main one.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Topic(String);

impl Topic {
    /// The topic as text; empty for the main topic.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Topic {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let control = text.chars().any(|c| c.is_control() || c == '#');
        if text.len() > 128 || control || text.trim() != text {
            return Err(IdError::Topic);
        }
        Ok(Self(text.into()))
    }
}

/// An id that means something only to the one who made it: a message's platform id, a turn, a run.
///
/// Invariant: 1 to 256 printable characters without spaces.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Opaque(String);

impl Opaque {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Opaque {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = text.chars().any(|c| c.is_control() || c.is_whitespace());
        if text.is_empty() || text.len() > 256 || bad {
            return Err(IdError::Opaque);
        }
        Ok(Self(text.into()))
    }
}

macro_rules! text_id {
    ($($name:ident)*) => {$(
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}
text_id!(Folder Topic Opaque);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containment_is_by_segment_not_by_prefix() {
        let at = |s: &str| s.parse::<Folder>().unwrap();
        assert!(at("corp").contains(&at("corp/eng")));
        assert!(at("corp").contains(&at("corp")));
        assert!(!at("corp").contains(&at("corporate")));
        assert!(!at("corp/eng").contains(&at("corp")));
    }

    #[test]
    fn a_folder_that_could_leave_its_place_is_refused() {
        let long = "a".repeat(65);
        let deep = "a/".repeat(8) + "a";
        for text in ["", "/", "a//b", "../etc", "a/..", "a/./b", "/a", "a/", "A", "a b", "a\0b"]
            .into_iter()
            .chain(["share", "a/share", ".hidden", "a/-rf", "web:x", "é", &long, &deep])
        {
            assert!(text.parse::<Folder>().is_err(), "{text:?} must be refused");
            let json = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<Folder>(&json).is_err(), "{text:?} through serde");
        }
        assert!("a/b-c/d_e.f".parse::<Folder>().is_ok());
    }
}
