//! The left side of a route: `key=glob` predicates that must all hold.

use super::glob::Glob;
use std::fmt;

/// Most bytes of a route's match and of its target.
pub(crate) const LONGEST: usize = 1024;

/// What a predicate may ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Platform,
    Room,
    ChatJid,
    Sender,
    Verb,
}

impl Key {
    const ALL: [Self; 5] = [Self::Platform, Self::Room, Self::ChatJid, Self::Sender, Self::Verb];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Room => "room",
            Self::ChatJid => "chat_jid",
            Self::Sender => "sender",
            Self::Verb => "verb",
        }
    }

    fn of<'a>(self, subject: &Subject<'a>) -> &'a str {
        match self {
            Self::Platform => subject.chat_jid.split_once(':').map_or("", |(platform, _)| platform),
            Self::Room => subject.chat_jid.split_once(':').map_or("", |(_, room)| room),
            Self::ChatJid => subject.chat_jid,
            Self::Sender => subject.sender,
            Self::Verb => subject.verb,
        }
    }
}

/// What the predicates of a route are asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) chat_jid: &'a str,
    pub(crate) sender: &'a str,
    pub(crate) verb: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Present,
    Absent,
    Like(Glob),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Predicate {
    key: Key,
    test: Test,
    text: String,
}

/// A route's whole match. Without predicates it takes every message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Predicate>);

/// A match or a target that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    #[error("`{0}` is no predicate: write key=glob, such as platform=telegram")]
    NoPredicate(String),
    #[error("there is no key `{0}`: the keys are platform, room, chat_jid, sender and verb")]
    UnknownKey(String),
    #[error("the key `{0}` stands twice: all predicates must hold, so write it once")]
    Twice(&'static str),
    #[error("`{text}` is no glob: {why}")]
    Glob { text: String, why: &'static str },
    #[error("`{0}` is no target: write folder, folder#observe or folder#topic")]
    Target(String),
    #[error("`{{sender}}` is a whole segment below a folder, as in team/{{sender}}")]
    SenderPlace,
    #[error("a match and a target have at most {LONGEST} bytes each")]
    TooLong,
}

impl Pattern {
    /// The match of all messages of one chat, whose address may hold characters that mean something in a glob.
    pub(crate) fn of_chat(chat: &proto::Jid) -> Result<Self, RouteError> {
        let escape = |c: char| "*?[]\\".contains(c).then_some('\\').into_iter().chain([c]);
        let escaped: String = chat.as_str().chars().flat_map(escape).collect();
        Self::parse(&format!("chat_jid={escaped}"))
    }

    /// Whether some message of a chat, of whatever sender and kind, holds.
    pub(crate) fn may_hold(&self, chat: &str) -> bool {
        let subject = Subject { chat_jid: chat, sender: "", verb: "" };
        let own = self.0.iter().filter(|one| !matches!(one.key, Key::Sender | Key::Verb));
        own.cloned().all(|one| Self(vec![one]).refuses(&subject).is_none())
    }

    /// The one chat that it is of; none where it may be of several.
    pub(crate) fn chat(&self) -> Option<String> {
        self.0.iter().find_map(|one| match (one.key, &one.test) {
            (Key::ChatJid, Test::Like(glob)) => glob.literal(),
            _ => None,
        })
    }

    /// Whether it asks about nothing but the chat.
    pub(crate) fn is_of_chat_alone(&self) -> bool {
        self.0.iter().all(|one| !matches!(one.key, Key::Sender | Key::Verb))
    }

    /// Whether it names a verb.
    pub(crate) fn asks_for_verb(&self) -> bool {
        let names = |one: &Predicate| one.key == Key::Verb && matches!(one.test, Test::Like(_));
        self.0.iter().any(names)
    }

    /// Reads a match as an operator writes it.
    pub(crate) fn parse(text: &str) -> Result<Self, RouteError> {
        if text.len() > LONGEST {
            return Err(RouteError::TooLong);
        }
        let mut all: Vec<Predicate> = Vec::new();
        for word in text.split_whitespace() {
            let (name, glob) =
                word.split_once('=').ok_or_else(|| RouteError::NoPredicate(word.into()))?;
            let key = Key::ALL.into_iter().find(|key| key.name() == name);
            let key = key.ok_or_else(|| RouteError::UnknownKey(name.into()))?;
            if all.iter().any(|predicate| predicate.key == key) {
                return Err(RouteError::Twice(key.name()));
            }
            let test = match glob {
                "" => Test::Absent,
                "*" => Test::Present,
                glob => Test::Like(
                    Glob::parse(glob).map_err(|why| RouteError::Glob { text: word.into(), why })?,
                ),
            };
            all.push(Predicate { key, test, text: word.into() });
        }
        Ok(Self(all))
    }

    /// The first predicate that does not hold, as an operator would say it.
    pub(crate) fn refuses(&self, subject: &Subject<'_>) -> Option<String> {
        self.0.iter().find_map(|predicate| {
            let value = predicate.key.of(subject);
            let holds = match &predicate.test {
                Test::Present => !value.is_empty(),
                Test::Absent => value.is_empty(),
                Test::Like(glob) => glob.matches(value),
            };
            let name = predicate.key.name();
            (!holds).then(|| format!("`{}` does not hold: {name} is `{value}`", predicate.text))
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, predicate) in self.0.iter().enumerate() {
            let space = if at > 0 { " " } else { "" };
            write!(f, "{space}{}", predicate.text)?;
        }
        Ok(())
    }
}
