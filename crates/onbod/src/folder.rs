//! Where the folder of a new person lies, and what it is called. Pure.
//!
//! The name is made of the person's opaque subject by a hash, so that nobody chooses it, two people never have the same,
//! and one person always has the same again.

use proto::{Folder, IdError};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// What stands for the person.
const PERSON: &str = "{person}";
/// Hexadecimal digits of a name: 96 bits, so that no two people meet in one folder.
const DIGITS: usize = 24;

/// A folder with `{person}` as one segment below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Folder);

/// The text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no place for the folders of people; write a folder and {PERSON} below it, such as people/{PERSON}"
)]
pub(crate) struct TemplateError {
    text: String,
}

impl Template {
    /// The folder of the person with this subject.
    pub(crate) fn folder(&self, subject: &str) -> Result<Folder, IdError> {
        let digest = Sha256::new().chain_update("a person of arizuko\0").chain_update(subject);
        let digest = hex::encode(digest.finalize());
        format!("{}/p-{}", self.0, digest.get(..DIGITS).unwrap_or(&digest)).parse()
    }
}

impl FromStr for Template {
    type Err = TemplateError;
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let wrong = || TemplateError { text: text.chars().take(80).collect() };
        let base = text.strip_suffix(PERSON).and_then(|base| base.strip_suffix('/'));
        let base: Folder = base.and_then(|base| base.parse().ok()).ok_or_else(wrong)?;
        let template = Self(base);
        // As long and as deep as a folder may be, with the name in it.
        template.folder("").map_err(|_| wrong())?;
        Ok(template)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{PERSON}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_template_is_a_folder_with_the_person_below_it() {
        for text in ["people/{person}", "corp/eng/{person}"] {
            assert_eq!(text.parse::<Template>().unwrap().to_string(), text);
        }
        let deep = "a/".repeat(8) + PERSON;
        for text in ["", PERSON, "/{person}", "people", "people/{person}/x", "../{person}", &deep] {
            assert!(text.parse::<Template>().is_err(), "{text}");
        }
        for text in ["people/x{person}", "people/{sender}", "share/{person}", "P/{person}"] {
            assert!(text.parse::<Template>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whoever_they_are_they_lie_below_the_place_and_apart(one in ".{0,80}", other in ".{0,80}") {
            let template: Template = "people/{person}".parse().unwrap();
            let (mine, yours) = (template.folder(&one).unwrap(), template.folder(&other).unwrap());
            let place: Folder = "people".parse().unwrap();
            prop_assert!(place.contains(&mine) && mine != place);
            prop_assert_eq!(mine == yours, one == other);
            prop_assert!(mine == yours || !mine.contains(&yours));
            prop_assert_eq!(mine, template.folder(&one).unwrap());
        }
    }
}
