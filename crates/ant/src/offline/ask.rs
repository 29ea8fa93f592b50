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
    /// What the platform has.
    Past,
    /// A file of the home.
    File {
        path: String,
        caption: Option<String>,
    },
    /// The files that came with the messages.
    Back,
    /// When, and what.
    Schedule {
        when: String,
        content: String,
    },
    Tasks,
    Cancel(String),
    /// Seconds.
    Wait(u64),
    Silent,
    Fail,
    Crash,
    /// Bytes.
    Loud(u64),
    /// Places, as `HOST:PORT`: what the probe of `arizuko doctor` asks, and nobody else.
    Reach(Vec<String>),
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
            "past" if rest.is_empty() => Some(Self::Past),
            "file" => file(rest),
            "back" if rest.is_empty() => Some(Self::Back),
            "schedule" => schedule(rest),
            "every" => schedule(message),
            "tasks" if rest.is_empty() => Some(Self::Tasks),
            "cancel" => one_word(rest).map(Self::Cancel),
            "silent" if rest.is_empty() => Some(Self::Silent),
            "fail" if rest.is_empty() => Some(Self::Fail),
            "crash" if rest.is_empty() => Some(Self::Crash),
            "reach" => reach(rest),
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

/// Places alone: `reach for the stars` is a sentence.
fn reach(rest: &str) -> Option<Ask> {
    let places: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
    let is_place = |place: &String| {
        place
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    let fits = (1..=8).contains(&places.len()) && places.iter().all(is_place);
    fits.then_some(Ask::Reach(places))
}

fn one_word(rest: &str) -> Option<String> {
    some(rest).filter(|word| !word.contains(char::is_whitespace))
}

fn file(rest: &str) -> Option<Ask> {
    let (path, caption) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    // A name with an end, or a path: `file a complaint` is a sentence.
    let named = path.contains(['.', '/']) && !path.ends_with('.');
    named.then(|| Ask::File { path: path.to_owned(), caption: some(caption.trim()) })
}

/// `WHEN: TEXT`, or `every minute say X` as people put it.
fn schedule(rest: &str) -> Option<Ask> {
    if let Some((when, content)) = rest.split_once(": ") {
        let (when, content) = (some(when.trim())?, some(content.trim())?);
        return Some(Ask::Schedule { when, content });
    }
    let mut words = rest.split_whitespace();
    let (every, unit, say) = (words.next()?, words.next()?, words.next()?);
    let is = |word: &str, text: &str| word.eq_ignore_ascii_case(text);
    let when = match unit.to_ascii_lowercase().as_str() {
        "minute" => "every 1m",
        "hour" => "every 1h",
        "day" => "every 1d",
        _ => return None,
    };
    let content: Vec<&str> = words.collect();
    let content = some(&content.join(" ")).filter(|_| is(every, "every") && is(say, "say"))?;
    Some(Ask::Schedule { when: when.to_owned(), content })
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
            ("Past", Ask::Past),
            ("back", Ask::Back),
            ("file out/a.txt", Ask::File { path: "out/a.txt".into(), caption: None }),
            (
                "FILE A.txt The  List",
                Ask::File { path: "A.txt".into(), caption: Some("The  List".into()) },
            ),
            (
                "schedule every 90s: Good morning",
                Ask::Schedule { when: "every 90s".into(), content: "Good morning".into() },
            ),
            (
                "schedule 0 9 * * mon-fri: x",
                Ask::Schedule { when: "0 9 * * mon-fri".into(), content: "x".into() },
            ),
            (
                "Every minute say Hi there",
                Ask::Schedule { when: "every 1m".into(), content: "Hi there".into() },
            ),
            ("every 2m: x", Ask::Schedule { when: "every 2m".into(), content: "x".into() }),
            ("tasks", Ask::Tasks),
            ("cancel s-1", Ask::Cancel("s-1".into())),
            ("Help", Ask::Help),
            ("crash", Ask::Crash),
            ("fail", Ask::Fail),
            ("Silent", Ask::Silent),
            (
                "reach 10.0.0.1:443 [::1]:80",
                Ask::Reach(vec!["10.0.0.1:443".into(), "[::1]:80".into()]),
            ),
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
            "reach for the stars",
            "reach",
            "reach x:99999",
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
            "past perfect",
            "file a complaint",
            "file",
            "back home",
            "schedule a meeting",
            "every minute counts",
            "every minute say",
            "tasks to do",
            "cancel my flight",
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
