//! What a person is shown of a call that is held, and what their answer in a chat says. Pure.
//!
//! A decision is a message that is nothing but the command. Words that stand in a longer text, that are quoted or
//! forwarded, decide nothing; nor does anything that nobody wrote.

use crate::adapters::Voice;
use auth::Principal;
use proto::{
    Address, Jid, Timestamp,
    routd::{REASON_MAX, readable},
};

/// How an approval's id begins.
pub(crate) const PREFIX: &str = "ap";
/// Bytes of arguments that a held call has at most.
pub(crate) const ARGUMENTS_MAX: usize = 64 * 1024;
/// Bytes of arguments that are shown in a chat. What is longer is not approved there: nobody approves what they have
/// not seen.
const SHOWN_MAX: usize = 3_000;

/// What a person decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Approve,
    Deny,
}

/// A decision, as somebody wrote it in a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) verdict: Verdict,
    pub(crate) id: String,
    /// Why, where they said it.
    pub(crate) reason: Option<String>,
}

/// The decision that a message is, if it is one: `/approve ID` or `/deny ID why`, with or without the slash, after the
/// agent's name where a platform puts that.
pub(crate) fn command(content: &str) -> Option<Command> {
    let text = content.trim();
    let text = match text.split_once(char::is_whitespace) {
        Some((name, rest)) if name.starts_with('@') || name.starts_with("<@") => rest.trim_start(),
        _ => text,
    };
    let (word, rest) = text.split_once(char::is_whitespace)?;
    // In groups, Telegram has the bot's name behind its command.
    let word = word.split_once('@').map_or(word, |(word, _)| word);
    let verdict = match word.strip_prefix('/').unwrap_or(word).to_ascii_lowercase().as_str() {
        "approve" => Verdict::Approve,
        "deny" => Verdict::Deny,
        _ => return None,
    };
    let rest = rest.trim_start();
    let (id, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let reason = reason.trim();
    if !is_id(id) || (verdict == Verdict::Approve && !reason.is_empty()) {
        return None;
    }
    let end = reason.floor_char_boundary(REASON_MAX);
    let reason = reason.get(..end).filter(|reason| !reason.is_empty()).map(str::to_owned);
    Some(Command { verdict, id: id.to_owned(), reason })
}

/// Whether it is an id as [`crate::ids::fresh`] makes them of [`PREFIX`].
fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('-'));
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(is_digit))
}

/// Who wrote a message, as the ACL knows them. Nobody, where no person can have: a webhook, a daemon; and where the
/// name is not one that this voice vouches for in this chat.
pub(crate) fn writer(voice: &Voice, chat: &Jid, sender: &str) -> Option<Principal> {
    match (voice, chat.address()) {
        (Voice::Service(_), _) | (_, Address::Hook(..)) => None,
        // Their own subject, whatever they said.
        (Voice::Operator | Voice::Person, _) => sender.parse().ok(),
        (Voice::Adapter(_) | Voice::Shared { .. }, Address::Web(_)) => {
            match sender.starts_with("user:") {
                true => sender.parse().ok(),
                false => Principal::person(sender).ok(),
            }
        }
        (Voice::Adapter(_) | Voice::Shared { .. }, Address::Platform) => {
            let own = sender.split_once(':').is_some_and(|(scheme, _)| scheme == chat.platform());
            own.then(|| Principal::person(sender).ok()).flatten()
        }
    }
}

/// Whether all of the arguments is shown in a chat.
pub(crate) fn fits(arguments: &str) -> bool {
    readable(arguments).len() <= SHOWN_MAX
}

/// The question, as the chat gets it.
pub(crate) fn question(id: &str, tool: &str, arguments: &str, until: Timestamp) -> String {
    let shown = readable(arguments);
    let end = shown.floor_char_boundary(SHOWN_MAX);
    let (text, whole) = (shown.get(..end).unwrap_or_default(), end == shown.len());
    let fence = fence(text);
    let mut out = format!("Approval needed: the agent wants to call `{tool}` with\n\n");
    out.push_str(&format!("{fence}json\n{text}\n{fence}\n\n"));
    out.push_str(&match whole {
        true => {
            format!("Answer `/approve {id}` to have exactly this done once, or `/deny {id}` and why")
        }
        false => format!(
            "That is not all of it, so it cannot be approved here: see it whole in the dashboard, or with \
             `arizuko approval show {id}`. Answer `/deny {id}` and why to deny it"
        ),
    });
    out.push_str(&format!(" (the slash may be left out). It lapses at {until}."));
    out
}

/// A fence that nothing within the text closes.
fn fence(text: &str) -> String {
    let (mut longest, mut run) = (0, 0);
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat((longest + 1).max(3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Daemon;

    const ID: &str = "ap-0123456789abcdef";

    fn decided(verdict: Verdict, reason: Option<&str>) -> Option<Command> {
        Some(Command { verdict, id: ID.into(), reason: reason.map(str::to_owned) })
    }

    #[test]
    fn a_decision_is_a_message_that_is_nothing_else() {
        for text in ["/approve ID", " approve ID\n", "/Approve@atlas_bot  ID", "@atlas approve ID"]
        {
            let read = command(&text.replace("ID", ID));
            assert_eq!(read, decided(Verdict::Approve, None), "{text}");
        }
        let read = command(&format!("<@U123> deny {ID} not on a Friday\nplease"));
        assert_eq!(read, decided(Verdict::Deny, Some("not on a Friday\nplease")));
        assert_eq!(command(&format!("/deny {ID}")), decided(Verdict::Deny, None));
        for text in [
            "",
            "/approve",
            "/approve ap-1",
            "/approve ap-0123456789abcdeg",
            "/approve AP-0123456789ABCDEF",
            "/approve ID please",
            "please /approve ID",
            "> /approve ID",
            "(forwarded from Ada)\n\n/approve ID",
            "`/approve ID`",
            "//approve ID",
            "I would never /approve ID",
            "approved ID",
            "@a @b approve ID",
        ] {
            assert_eq!(command(&text.replace("ID", ID)), None, "{text}");
        }
        let long = command(&format!("/deny {ID} {}", "ä".repeat(2_000))).unwrap();
        assert!(long.reason.unwrap().len() <= REASON_MAX);
    }

    #[test]
    fn who_decides_is_who_the_voice_vouches_for_in_that_chat() {
        let of = |voice: &Voice, chat: &str, sender: &str| {
            writer(voice, &chat.parse().unwrap(), sender).map(|who| who.to_string())
        };
        let person = |text: &str| Some(text.to_owned());
        let (webd, teled) = (Voice::Adapter(Daemon::Webd), Voice::Adapter(Daemon::Teled));
        let shared = Voice::Shared { but: Vec::new() };
        let chat = "telegram:group/7";
        assert_eq!(of(&teled, chat, "telegram:user/4"), person("person:telegram:user/4"));
        assert_eq!(of(&shared, chat, "telegram:user/4"), person("person:telegram:user/4"));
        assert_eq!(of(&webd, "web:atlas", "user:ann"), person("user:ann"));
        assert_eq!(of(&webd, "web:atlas", "web:anon/1"), person("person:web:anon/1"));
        assert_eq!(of(&Voice::Operator, chat, "operator:local"), person("operator:local"));
        assert_eq!(of(&Voice::Person, "web:atlas", "user:ann"), person("user:ann"));
        for (voice, chat, sender) in [
            (&teled, chat, "user:ann"),
            (&teled, chat, "slack:U1"),
            (&teled, chat, "somebody"),
            (&shared, chat, "user:ann"),
            (&webd, "hook:atlas/ci", "user:ann"),
            (&Voice::Operator, "hook:atlas/ci", "operator:local"),
            (&Voice::Service(Daemon::Timed), "web:atlas", "user:ann"),
            (&Voice::Service(Daemon::Onbod), chat, "telegram:user/4"),
            (&webd, "web:atlas", "a name with spaces"),
        ] {
            assert_eq!(of(voice, chat, sender), None, "{voice:?} {chat} {sender}");
        }
    }

    #[test]
    fn what_is_shown_is_what_is_done() {
        let arguments = r#"{"body":"run ```\n# not a title","n":1}"#;
        let asked = question(ID, "http_request", arguments, Timestamp(0));
        assert!(asked.contains("````json\n{"), "nothing closes the fence: {asked}");
        assert!(asked.contains(&format!("/approve {ID}")) && fits(arguments));
        let long = serde_json::json!({ "body": "x".repeat(SHOWN_MAX) }).to_string();
        let asked = question(ID, "http_request", &long, Timestamp(0));
        assert!(!asked.contains("/approve") && asked.contains("/deny"), "{asked}");
        assert!(!fits(&long));
    }
}
