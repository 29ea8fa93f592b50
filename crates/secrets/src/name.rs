//! What a secret is called.

use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, str::FromStr};

/// What an operator calls a secret: `[A-Z][A-Z0-9_]{0,127}`, such as `SLACK_SIGNING_SECRET`.
///
/// A name is not secret: it may be logged, and is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Cow<'static, str>);

/// The text is not a secret's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a secret's name; use 1 to 128 of A-Z, 0-9 and _, beginning with a letter, such as CHANNEL_SECRET"
)]
pub struct NameError(String);

/// Most characters of a name.
const LENGTH_MAX: usize = 128;

/// Characters of what is no name that an error shows.
const SHOWN: usize = 8;

impl Name {
    /// A name known when the program is written. In a `const`, a wrong one does not compile.
    ///
    /// # Panics
    /// When `text` is not a name and this is not evaluated at compile time.
    #[must_use]
    pub const fn literal(text: &'static str) -> Self {
        assert!(well_formed(text.as_bytes()), "not a secret's name");
        Self(Cow::Borrowed(text))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name under which the value before this one is kept: `NAME_PREVIOUS`.
    ///
    /// The suffix is not counted into the length limit, so that every name has one.
    #[must_use]
    pub fn previous(&self) -> Self {
        Self(Cow::Owned(format!("{}_PREVIOUS", self.0)))
    }
}

const fn well_formed(text: &[u8]) -> bool {
    if text.is_empty() || text.len() > LENGTH_MAX || !text[0].is_ascii_uppercase() {
        return false;
    }
    let mut at = 1;
    while at < text.len() {
        let c = text[at];
        if !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_') {
            return false;
        }
        at += 1;
    }
    true
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        if well_formed(text.as_bytes()) {
            Ok(Self(Cow::Owned(text)))
        } else {
            // A value pasted where a name belongs must not reach a log: eight characters are enough
            // to see what was meant, and too few of any credential.
            let mut shown: String = text.chars().take(SHOWN).collect();
            if text.chars().nth(SHOWN).is_some() {
                shown.push('…');
            }
            Err(NameError(shown))
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into_owned()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_matches_the_rule_is_a_name(text in "[A-Z][A-Z0-9_]{0,127}") {
            let name: Name = text.parse().unwrap();
            prop_assert_eq!(name.as_str(), &text);
            prop_assert_eq!(name.previous().to_string(), format!("{text}_PREVIOUS"));
        }

        #[test]
        fn whatever_does_not_match_is_not(text in any::<String>()) {
            let rule = |t: &str| {
                t.len() <= 128
                    && t.starts_with(|c: char| c.is_ascii_uppercase())
                    && t.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            };
            prop_assert_eq!(text.parse::<Name>().is_ok(), rule(&text));
        }
    }

    #[test]
    fn the_limit_is_one_hundred_and_twenty_eight() {
        assert!("A".repeat(128).parse::<Name>().is_ok());
        assert!("A".repeat(129).parse::<Name>().is_err());
    }

    #[test]
    fn a_value_in_the_place_of_a_name_is_not_shown() {
        let error = "sk-ant-api03-hunter2".parse::<Name>().unwrap_err().to_string();
        assert!(error.starts_with("`sk-ant-a…` is not a secret's name"), "{error}");
        assert!("bad-name".parse::<Name>().unwrap_err().to_string().starts_with("`bad-name` is"));
    }

    #[test]
    fn serde_goes_through_the_rule() {
        let name: Name = serde_json::from_str("\"CHANNEL_SECRET\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"CHANNEL_SECRET\"");
        assert!(serde_json::from_str::<Name>("\"channel/secret\"").is_err());
    }
}
