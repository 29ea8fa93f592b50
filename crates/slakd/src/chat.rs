//! Addresses: a Slack conversation as the suite's chat, and back. Pure.
//!
//! `slack:TEAM/channel/C…`, `slack:TEAM/group/G…` or `slack:TEAM/dm/D…`. The kind follows from the id alone, since most
//! events do not say what kind of conversation they are about, and one conversation has one address.

use proto::Jid;

/// What all of this adapter's addresses begin with.
pub(crate) const PREFIX: &str = "slack:";

/// A conversation of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Chat {
    team: String,
    channel: String,
}

/// Whether a text could be an id of Slack's.
pub(crate) fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    (2..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// Whether a text could be the time that names a message: seconds, a point, six digits.
pub(crate) fn is_ts(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = text.split_once('.');
    text.len() <= 32 && parts.is_some_and(|(seconds, rest)| digits(seconds) && digits(rest))
}

impl Chat {
    /// The conversation `channel` of the workspace `team`, where both are ids.
    pub(crate) fn new(team: &str, channel: &str) -> Option<Self> {
        (is_id(team) && is_id(channel))
            .then(|| Self { team: team.to_owned(), channel: channel.to_owned() })
    }

    /// The conversation that an address names.
    pub(crate) fn of(jid: &Jid) -> Option<Self> {
        let mut parts = jid.as_str().strip_prefix(PREFIX)?.split('/');
        let (team, kind, channel) = (parts.next()?, parts.next()?, parts.next()?);
        let chat = Self::new(team, channel).filter(|_| parts.next().is_none())?;
        (chat.kind() == kind).then_some(chat)
    }

    /// Its address. `None` only for ids that no address has room for.
    pub(crate) fn jid(&self) -> Option<Jid> {
        format!("{PREFIX}{}/{}/{}", self.team, self.kind(), self.channel).parse().ok()
    }

    /// The conversation's id.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// Whether it is a conversation with one person.
    pub(crate) fn is_direct(&self) -> bool {
        self.channel.starts_with('D')
    }

    fn kind(&self) -> &'static str {
        match self.channel.as_bytes().first() {
            Some(b'D') => "dm",
            Some(b'G') => "group",
            _ => "channel",
        }
    }
}

/// The suite's name of a member.
pub(crate) fn sender(user: &str) -> String {
    format!("{PREFIX}user/{user}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_says_what_kind_of_conversation_it_is() {
        for (channel, jid) in
            [("C9", "slack:T1/channel/C9"), ("G9", "slack:T1/group/G9"), ("D9", "slack:T1/dm/D9")]
        {
            let chat = Chat::new("T1", channel).unwrap();
            assert_eq!(chat.jid().unwrap().as_str(), jid);
            assert_eq!(Chat::of(&jid.parse().unwrap()), Some(chat));
        }
        for bad in ["slack:T1/dm/C9", "slack:T1/C9", "slack:T1/channel/C9/x", "slack:t/channel/C9"]
        {
            assert_eq!(Chat::of(&bad.parse().unwrap()), None, "{bad}");
        }
        assert_eq!(Chat::of(&"telegram:user/1".parse().unwrap()), None);
    }

    proptest! {
        #[test]
        fn every_conversation_has_one_address_which_leads_back(
            team in "[A-Z0-9]{1,40}", channel in "\\PC{0,20}|[A-Z][A-Z0-9]{1,70}",
        ) {
            if let Some(chat) = Chat::new(&team, &channel) {
                let jid = chat.jid().unwrap();
                prop_assert_eq!(Chat::of(&jid), Some(chat));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _either = (is_id(&text), is_ts(&text));
            if let Ok(jid) = format!("slack:{text}").parse::<Jid>() {
                let _either = Chat::of(&jid);
            }
        }
    }
}
