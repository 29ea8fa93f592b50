//! What a message comes from. Pure.
//!
//! routd sets it from how a message reached it. A message's text, sender and kind are whatever its writer made of
//! them; its origin is not, so that nothing synthetic passes for a person or for the operator.

use crate::adapters::Voice;
use proto::{Address, Daemon, Jid};
use std::{fmt, str::FromStr};

/// What a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Somebody wrote it in a chat. A program that holds the chat's link counts as whoever gave it that.
    Person,
    /// A program delivered it to a webhook.
    Program,
    /// Its time had come.
    Schedule,
    /// Another folder's agent: a task, or the result of one.
    Delegation,
    /// The suite itself.
    System,
    /// The agent said it.
    Agent,
}

impl Origin {
    const ALL: [Self; 6] =
        [Self::Person, Self::Program, Self::Schedule, Self::Delegation, Self::System, Self::Agent];

    /// What comes in this voice to this chat.
    pub(crate) fn of(voice: &Voice, chat: &Jid) -> Self {
        match voice {
            Voice::Service(Daemon::Timed) => Self::Schedule,
            Voice::Service(_) => Self::System,
            Voice::Operator | Voice::Person | Voice::Adapter(_) | Voice::Shared { .. } => {
                match chat.address() {
                    Address::Hook(..) => Self::Program,
                    Address::Web(_) | Address::Platform => Self::Person,
                }
            }
        }
    }

    /// Its name in the database and in a prompt.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Program => "program",
            Self::Schedule => "schedule",
            Self::Delegation => "delegation",
            Self::System => "system",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no origin.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no origin of a message")]
pub(crate) struct UnknownOrigin(String);

impl FromStr for Origin {
    type Err = UnknownOrigin;
    fn from_str(text: &str) -> Result<Self, UnknownOrigin> {
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| UnknownOrigin(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_follows_from_the_voice_and_the_chat_alone() {
        let of = |voice: &Voice, chat: &str| Origin::of(voice, &chat.parse().unwrap());
        let webd = Voice::Adapter(Daemon::Webd);
        assert_eq!(of(&webd, "web:atlas"), Origin::Person);
        assert_eq!(of(&webd, "hook:atlas/ci"), Origin::Program);
        assert_eq!(of(&Voice::Shared { but: Vec::new() }, "hook:atlas/ci"), Origin::Program);
        assert_eq!(of(&Voice::Service(Daemon::Timed), "web:atlas"), Origin::Schedule);
        assert_eq!(of(&Voice::Service(Daemon::Onbod), "web:atlas"), Origin::System);
        for one in Origin::ALL {
            assert_eq!(one.name().parse::<Origin>().unwrap(), one);
        }
        assert!("operator".parse::<Origin>().is_err());
    }
}
