//! The right side of a route: a folder, and how its messages are taken.

use super::pattern::{LONGEST, RouteError};
use proto::{Folder, Topic};
use sha2::{Digest, Sha256};

/// What happens with the messages of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A turn answers them, in the message's own topic.
    Turn,
    /// A turn answers them, in this topic.
    Topic(Topic),
    /// They are stored, and later turns see them.
    Observe,
}

/// A route's target. `{sender}` in its folder is a folder for each person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The folder, or the one below which each person has a folder.
    base: Folder,
    per_person: bool,
    /// What follows the person's folder; empty for nothing.
    below: String,
    pub(crate) mode: Mode,
}

/// The person's place in a target's folder.
const SENDER: &str = "{sender}";
/// Characters of a sender that are kept to be readable; its hash tells senders apart.
const READABLE: usize = 40;

impl Target {
    /// Reads a target as an operator writes it.
    pub(crate) fn parse(text: &str) -> Result<Self, RouteError> {
        let no = || RouteError::Target(text.chars().take(80).collect());
        if text.len() > LONGEST {
            return Err(RouteError::TooLong);
        }
        let (place, mode) = match text.split_once('#') {
            None => (text, Mode::Turn),
            Some((_, "")) => return Err(no()),
            Some((place, "observe")) => (place, Mode::Observe),
            Some((place, topic)) => (place, Mode::Topic(topic.parse().map_err(|_| no())?)),
        };
        let Some((above, below)) = place.split_once(SENDER) else {
            let base = place.parse().map_err(|_| no())?;
            return Ok(Self { base, per_person: false, below: String::new(), mode });
        };
        let base = above.strip_suffix('/').ok_or(RouteError::SenderPlace)?;
        let base: Folder = base.parse().map_err(|_| no())?;
        let target = Self { base, per_person: true, below: below.to_owned(), mode };
        if !(below.is_empty() || below.starts_with('/')) || below.contains(SENDER) {
            return Err(RouteError::SenderPlace);
        }
        // The longest sender gives the longest folder: what fits it fits all.
        target.folder_of("platform:longest-sender/0123456789/0123456789/0123456789")?;
        Ok(target)
    }

    /// The folder that must be there for the route to work.
    pub(crate) fn base(&self) -> &Folder {
        &self.base
    }

    /// Whether each person has a folder of their own.
    pub(crate) fn is_per_person(&self) -> bool {
        self.per_person
    }

    /// The folder of this sender's messages.
    pub(crate) fn folder_of(&self, sender: &str) -> Result<Folder, RouteError> {
        if !self.per_person {
            return Ok(self.base.clone());
        }
        let text = format!("{}/{}{}", self.base, segment(sender), self.below);
        text.parse().map_err(|_| RouteError::Target(text))
    }
}

/// A folder segment for a sender: readable, and different for different senders.
fn segment(sender: &str) -> String {
    let mut readable = String::new();
    for c in sender.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => readable.push(c),
            _ if readable.is_empty() || readable.ends_with('-') => {}
            _ => readable.push('-'),
        }
        if readable.len() == READABLE {
            break;
        }
    }
    let digest = hex::encode(Sha256::digest(sender.as_bytes()));
    let digest = digest.get(..12).unwrap_or(&digest);
    match readable.trim_end_matches('-') {
        "" => format!("p-{digest}"),
        readable => format!("{readable}-{digest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_a_target() {
        assert_eq!(Target::parse("atlas").unwrap().mode, Mode::Turn);
        assert_eq!(Target::parse("atlas/eng#observe").unwrap().mode, Mode::Observe);
        let pinned = Target::parse("atlas#incident").unwrap();
        assert_eq!(pinned.mode, Mode::Topic("incident".parse().unwrap()));
        for bad in ["", "#observe", "atlas#", "../x", "{sender}", "atlas/x{sender}", "atlas#a#b"]
            .into_iter()
            .chain(["atlas/{sender}x", "atlas/{sender}/{sender}", "a/b/c/d/e/f/g/h/{sender}"])
        {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_person_has_a_folder_of_their_own() {
        let target = Target::parse("atlas/{sender}").unwrap();
        let of = |sender: &str| target.folder_of(sender).unwrap().to_string();
        assert_eq!(of("telegram:user/42"), "atlas/telegram-user-42-2701f9a82379");
        assert_ne!(of("telegram:user/42"), of("telegram:user-42"), "the same when made readable");
        assert!(of("../../etc").starts_with("atlas/etc-"));
        assert!(of("").starts_with("atlas/p-"));
    }

    proptest! {
        #[test]
        fn no_sender_leaves_the_folder(sender in "\\PC{0,256}", other in "\\PC{0,256}") {
            let target = Target::parse("team/{sender}").unwrap();
            let folder = target.folder_of(&sender).unwrap();
            prop_assert!(target.base().contains(&folder) && folder != *target.base());
            prop_assert_eq!(folder == target.folder_of(&other).unwrap(), sender == other);
        }
    }
}
