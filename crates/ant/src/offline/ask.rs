//! What a message asks of the offline harness. Pure: text in, meaning out.

use proto::Jid;

/// One meaning of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// No command: plain text.
    Echo,
    Remember(String),
    Recall,
    Forget,
    Reply(String),
    Say {
        first: String,
        last: String,
    },
    Send {
        to: Jid,
        text: String,
    },
    History,
    /// Seconds.
    Wait(u64),
    Silent,
    Fail,
    Crash,
    /// Bytes.
    Loud(u64),
    Help,
}

impl Ask {
    /// Reads a message. A command that is not whole (`send` without an address, `wait soon`) is
    /// plain text: people write such sentences.
    pub fn read(message: &str) -> Self {
        let message = message.trim();
        let (word, rest) = message.split_once(char::is_whitespace).unwrap_or((message, ""));
        let rest = rest.trim();
        let understood = match word.to_lowercase().as_str() {
            "remember" => some(rest).map(Self::Remember),
            "what" => {
                let rest = rest.trim_end_matches(['?', '!', '.', ' ']).to_lowercase();
                let words: Vec<&str> = rest.split_whitespace().collect();
                (words == ["do", "you", "remember"]).then_some(Self::Recall)
            }
            "forget" => {
                let all = ["", "everything", "all"].contains(&rest.to_lowercase().as_str());
                all.then_some(Self::Forget)
            }
            "reply" => some(rest).map(Self::Reply),
            "say" => say(rest),
            "send" => send(rest),
            "wait" => rest.trim_end_matches(['s', 'S']).trim().parse().ok().map(Self::Wait),
            "loud" => rest.parse().ok().map(Self::Loud),
            "history" if rest.is_empty() => Some(Self::History),
            "silent" if rest.is_empty() => Some(Self::Silent),
            "fail" if rest.is_empty() => Some(Self::Fail),
            "crash" if rest.is_empty() => Some(Self::Crash),
            "help" if rest.is_empty() => Some(Self::Help),
            _ => None,
        };
        understood.unwrap_or(Self::Echo)
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// `A then B`, at the first `then` that stands as a word between two texts.
fn say(rest: &str) -> Option<Ask> {
    // ASCII alone is lowered, so that places in the one are places in the other.
    let lowered = rest.to_ascii_lowercase();
    let words = lowered.match_indices("then").map(|(at, word)| (at, at + word.len()));
    words
        .filter_map(|(start, end)| Some((rest.get(..start)?, rest.get(end..)?)))
        .filter(|(first, last)| {
            first.ends_with(char::is_whitespace) && last.starts_with(char::is_whitespace)
        })
        .find_map(|(first, last)| {
            Some(Ask::Say { first: some(first.trim())?, last: some(last.trim())? })
        })
}

fn send(rest: &str) -> Option<Ask> {
    let (to, text) = rest.split_once(char::is_whitespace)?;
    Some(Ask::Send { to: to.parse().ok()?, text: some(text.trim())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_whatever_its_case_and_keeps_the_case_of_its_text() {
        let say = |first: &str, last: &str| Ask::Say { first: first.into(), last: last.into() };
        for (message, ask) in [
            ("REMEMBER  my Cat is Tom ", Ask::Remember("my Cat is Tom".into())),
            ("What do  you remember?", Ask::Recall),
            ("Forget", Ask::Forget),
            ("forget everything", Ask::Forget),
            ("reply Hello There", Ask::Reply("Hello There".into())),
            ("say One THEN Two", say("One", "Two")),
            ("say Ä then strengthen it then stop", say("Ä", "strengthen it then stop")),
            ("say strengthen then B", say("strengthen", "B")),
            ("wait 3", Ask::Wait(3)),
            ("wait 3s", Ask::Wait(3)),
            ("LOUD 1000", Ask::Loud(1000)),
            ("\nhistory\n", Ask::History),
            ("Help", Ask::Help),
            ("crash", Ask::Crash),
            ("fail", Ask::Fail),
            ("Silent", Ask::Silent),
        ] {
            assert_eq!(Ask::read(message), ask, "{message:?}");
        }
        let to = "telegram:user/42".parse().unwrap();
        assert_eq!(
            Ask::read("send telegram:user/42 good  morning"),
            Ask::Send { to, text: "good  morning".into() }
        );
    }

    #[test]
    fn what_is_not_a_whole_command_is_plain_text() {
        for message in [
            "",
            "  ",
            "hello",
            "remember",
            "reply ",
            "what is it?",
            "forget about it",
            "wait",
            "wait soon",
            "wait -1",
            "loud music",
            "say hello",
            "say then",
            "say a thenb",
            "say a then",
            "send",
            "send me a letter",
            "send telegram:x",
            "history of Rome",
            "failing",
            "crash test",
            "silent night",
            "help me",
            "remembering",
        ] {
            assert_eq!(Ask::read(message), Ask::Echo, "{message:?}");
        }
    }
}
