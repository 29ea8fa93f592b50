//! Addresses of chats: `platform:rest`.

use crate::Folder;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The address of a chat, such as `telegram:group/-100123`, `web:corp/eng` or `hook:corp/eng/ci`.
///
/// Invariant: `[a-z][a-z0-9]*`, a colon, then 1 to 240 printable characters without spaces; the
/// whole has at most 256 bytes. A `web:` or `hook:` address names a folder that parses; a `guest:` address is 32
/// hexadecimal digits.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Jid(String);

/// What an address says about where its messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A chat of a platform, or the web chat of a guest; the route table decides.
    Platform,
    /// A web chat of this folder: `web:FOLDER`, or `web:FOLDER~CHAT` for one of several.
    Web(Folder),
    /// A webhook of this folder: `hook:FOLDER/SOURCE`.
    Hook(Folder, String),
}

/// Why a string is not the address of a chat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JidError {
    /// No platform, or one that is not lowercase letters and digits.
    #[error("`{0}` names no platform; write it as `platform:chat`, such as `telegram:user/42`")]
    Platform(String),
    /// The part behind the colon is empty, too long or not printable.
    #[error("a chat address has 1 to 240 printable characters behind the colon, and no spaces")]
    Rest,
    /// A `web:` or `hook:` address whose folder is not one.
    #[error("`{0}` must name a folder, as in `web:team/name` or `hook:team/name/source`")]
    Folder(String),
    /// A `guest:` address that webd did not make.
    #[error("`{0}` is no guest's chat: it has 32 hexadecimal digits behind the colon")]
    Guest(String),
}

/// The platform of the web chats of guests: whoever opened one without a link.
const GUEST: &str = "guest";

impl Jid {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the colon.
    pub fn platform(&self) -> &str {
        self.0.split_once(':').map_or("", |(platform, _)| platform)
    }

    /// What stands behind the colon.
    pub fn room(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, room)| room)
    }

    /// Where its messages go without asking the route table, if they do.
    pub fn address(&self) -> Address {
        // A `web:` or `hook:` address that does not parse cannot be made: see `FromStr`.
        direct(self.platform(), self.room()).unwrap_or(Address::Platform)
    }

    /// The web chat `chat` of `folder`; the folder's own chat when `chat` is empty.
    pub fn web(folder: &Folder, chat: &str) -> Result<Self, JidError> {
        match chat {
            "" => format!("web:{folder}").parse(),
            chat => format!("web:{folder}~{chat}").parse(),
        }
    }

    /// The web chat of a guest, by the 32 hexadecimal digits that tell it from others.
    pub fn guest(digits: &str) -> Result<Self, JidError> {
        format!("{GUEST}:{digits}").parse()
    }

    /// Whether the suite itself shows this chat, and no adapter carries what is said to a platform: then a message is
    /// delivered by being committed.
    pub fn is_shown_here(&self) -> bool {
        matches!(self.platform(), "web" | "hook" | GUEST)
    }

    /// The webhook `source` of `folder`.
    pub fn hook(folder: &Folder, source: &str) -> Result<Self, JidError> {
        format!("hook:{folder}/{source}").parse()
    }
}

fn direct(platform: &str, room: &str) -> Option<Address> {
    match platform {
        "web" => {
            let (folder, chat) = room.split_once('~').unwrap_or((room, "main"));
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if chat.is_empty() || !chat.chars().all(plain) {
                return None;
            }
            folder.parse().ok().map(Address::Web)
        }
        "hook" => {
            let (folder, source) = room.rsplit_once('/')?;
            // A source is one segment of a folder, so that it cannot be mistaken for two.
            source.parse::<Folder>().ok()?;
            Some(Address::Hook(folder.parse().ok()?, source.into()))
        }
        _ => Some(Address::Platform),
    }
}

impl FromStr for Jid {
    type Err = JidError;
    fn from_str(text: &str) -> Result<Self, JidError> {
        let shown = || text.chars().take(80).collect::<String>();
        let (platform, room) = text.split_once(':').ok_or_else(|| JidError::Platform(shown()))?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let named = platform.starts_with(|c: char| c.is_ascii_lowercase());
        if !named || !platform.chars().all(plain) || platform.len() > 15 {
            return Err(JidError::Platform(shown()));
        }
        let bad = room.chars().any(|c| c.is_control() || c.is_whitespace());
        if room.is_empty() || room.len() > 240 || bad {
            return Err(JidError::Rest);
        }
        direct(platform, room).ok_or_else(|| JidError::Folder(shown()))?;
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if platform == GUEST && !(room.len() == 32 && room.bytes().all(digit)) {
            return Err(JidError::Guest(shown()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Jid {
    type Error = JidError;
    fn try_from(text: String) -> Result<Self, JidError> {
        text.parse()
    }
}

impl From<Jid> for String {
    fn from(jid: Jid) -> Self {
        jid.0
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_or_hook_address_always_names_its_folder() {
        let at = |s: &str| s.parse::<Jid>().unwrap().address();
        let folder = |s: &str| s.parse::<Folder>().unwrap();
        assert_eq!(at("web:corp/eng"), Address::Web(folder("corp/eng")));
        assert_eq!(at("web:corp/eng~k3"), Address::Web(folder("corp/eng")));
        assert_eq!(at("hook:corp/eng/ci"), Address::Hook(folder("corp/eng"), "ci".into()));
        assert_eq!(at("telegram:group/-1"), Address::Platform);
        for bad in [
            "web:",
            "web:../x",
            "web:a~",
            "web:a~b/c",
            "hook:a",
            "hook:/ci",
            "hook:a/..",
            "x",
            ":x",
            "Web:a",
            "telegram:",
            "telegram:a b",
            "web:A",
            "a\n:b",
        ] {
            assert!(bad.parse::<Jid>().is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_guests_chat_goes_by_the_routes_and_is_shown_here() {
        let digits = "0123456789abcdef0123456789abcdef";
        let chat = Jid::guest(digits).unwrap();
        assert_eq!((chat.address(), chat.platform()), (Address::Platform, "guest"));
        let here = |text: &str| text.parse::<Jid>().unwrap().is_shown_here();
        assert!(chat.is_shown_here() && here("web:a") && here("hook:a/ci"));
        assert!(!here("telegram:user/1") && !here("slack:T1/C1") && !here("guests:x"));
        for bad in ["guest:", "guest:ann", &format!("guest:{}", digits.to_uppercase())] {
            assert!(bad.parse::<Jid>().is_err(), "{bad}");
        }
        assert!(Jid::guest(&digits[1..]).is_err());
    }
}
