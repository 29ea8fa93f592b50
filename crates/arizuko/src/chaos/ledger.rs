//! What became of every message. Pure: what was seen goes in, verdicts come out.
//!
//! The rule: a message whose sender was told that it is kept has exactly one visible end, and ends come in the order
//! of their questions. A turn answers one or more messages of one sender, so that ends are counted for turns, and
//! each message of a turn has the end of its turn.

use proto::routd::MessageState;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A message that a sender sent, and was told is kept.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its id, as the answer said.
    pub id: String,
    /// Its chat.
    pub chat: String,
    /// Who sent it.
    pub sender: usize,
    /// Its place among what that sender sent.
    pub number: u64,
    /// Its text.
    pub text: String,
}

/// What the people of a chat see, in order.
#[derive(Clone, Debug)]
pub enum Line {
    /// Somebody wrote.
    Person {
        /// The message.
        id: String,
    },
    /// The agent, or the suite in its place, wrote.
    Agent {
        /// What it answers.
        reply_to: Option<String>,
        /// What it says.
        text: String,
    },
    /// A turn ended.
    Done {
        /// The turn.
        turn: String,
    },
}

/// Something that a platform showed.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The key under which it was handed over.
    pub key: String,
    /// The chat.
    pub chat: String,
    /// What it answers.
    pub reply_to: Option<String>,
    /// What it says.
    pub text: String,
}

/// What the suite says of a message when it is asked.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Where it stands; nothing when the suite does not know the message.
    pub state: Option<MessageState>,
    /// Its turn.
    pub turn: Option<String>,
    /// What was said in that turn.
    pub replies: Vec<String>,
    /// The sends of that turn whose fate is not known: the key, and the fault that explains it.
    pub doubts: Vec<(String, Option<String>)>,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// What was sent and accepted.
    pub sent: Vec<Sent>,
    /// Each chat as its people see it.
    pub chats: BTreeMap<String, Vec<Line>>,
    /// What the suite says, by message.
    pub known: BTreeMap<String, Known>,
    /// What the platform showed. Ends in its chats are counted there.
    pub shown: Vec<Shown>,
    /// Chats that are the platform's.
    pub platform_chats: BTreeSet<String>,
}

/// How it stands with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// With a reply.
    Answered,
    /// On purpose without one.
    Silent,
    /// With a line that says that it was cut off.
    Interrupted,
    /// With a line that says what failed, or that it was stopped.
    Failed,
    /// It may or may not have reached its people, and that is what the suite says.
    Ambiguous,
    /// Its end, or it itself, came too early or too late.
    OutOfOrder,
    /// It, or its end, is there more than once.
    Doubled,
    /// It, or its end, is not there.
    Lost,
}

/// A message that is not simply in order.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Its chat.
    pub chat: String,
    /// How it stands.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
    /// Whether this is as it may be: in doubt, by a fault that is known.
    pub explained: bool,
}

/// All verdicts.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// How many messages stand how.
    pub counts: BTreeMap<Verdict, usize>,
    /// Those that are not simply in order.
    pub rows: Vec<Row>,
}

impl Verdicts {
    /// How many stand so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.counts.get(&verdict).copied().unwrap_or_default()
    }
}

/// Closes the books.
pub fn close(books: &Books) -> Verdicts {
    let index = Index::of(books);
    let mut verdicts = Verdicts::default();
    let late = index.out_of_order(books);
    for sent in &books.sent {
        let (verdict, why, explained) = match index.judge(books, sent) {
            Ok((verdict, why, explained)) if verdict < Verdict::OutOfOrder => {
                match late.get(sent.id.as_str()) {
                    Some(why) => (Verdict::OutOfOrder, why.clone(), false),
                    None => (verdict, why, explained),
                }
            }
            Ok(judged) => judged,
            Err((verdict, why)) => (verdict, why, false),
        };
        *verdicts.counts.entry(verdict).or_default() += 1;
        if verdict >= Verdict::Ambiguous {
            let (id, chat) = (sent.id.clone(), sent.chat.clone());
            verdicts.rows.push(Row { id, chat, verdict, why, explained });
        }
    }
    verdicts
}

/// The books, as they are looked things up in.
struct Index<'a> {
    /// What was asked in each turn.
    asked: BTreeMap<&'a str, Vec<&'a str>>,
    /// How often each message stands in its chat.
    stands: BTreeMap<&'a str, usize>,
    /// How often each turn ended.
    ended: BTreeMap<&'a str, usize>,
    /// What was said in each turn, as the chat has it.
    said: BTreeMap<&'a str, Vec<&'a str>>,
    /// What was shown of each turn, as the platform has it.
    shown: BTreeMap<&'a str, Vec<&'a Shown>>,
}

type Judged = Result<(Verdict, String, bool), (Verdict, String)>;

impl<'a> Index<'a> {
    fn of(books: &'a Books) -> Self {
        let (mut stands, mut ended) = (BTreeMap::new(), BTreeMap::new());
        let mut said: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut shown: BTreeMap<&str, Vec<&Shown>> = BTreeMap::new();
        for line in books.chats.values().flatten() {
            match line {
                Line::Person { id } => *stands.entry(id.as_str()).or_default() += 1,
                Line::Done { turn } => *ended.entry(turn.as_str()).or_default() += 1,
                Line::Agent { reply_to, text } => {
                    if let Some(turn) = turn_of(books, reply_to.as_deref()) {
                        said.entry(turn).or_default().push(text);
                    }
                }
            }
        }
        for one in &books.shown {
            if let Some(turn) = turn_of(books, one.reply_to.as_deref()) {
                shown.entry(turn).or_default().push(one);
            }
        }
        let mut asked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for sent in &books.sent {
            if let Some(turn) = turn_of(books, Some(&sent.id)) {
                asked.entry(turn).or_default().push(&sent.text);
            }
        }
        Self { asked, stands, ended, said, shown }
    }

    fn judge(&self, books: &Books, sent: &Sent) -> Judged {
        let lost = |why: String| Err((Verdict::Lost, why));
        let doubled = |why: String| Err((Verdict::Doubled, why));
        let nothing = Known::default();
        let known = books.known.get(&sent.id).unwrap_or(&nothing);
        let Some(state) = known.state else {
            return lost("it was accepted, and the suite does not know it".into());
        };
        match self.stands.get(sent.id.as_str()).copied().unwrap_or_default() {
            0 => return lost("it was accepted, and does not stand in its chat".into()),
            1 => {}
            times => return doubled(format!("it stands in its chat {times} times")),
        }
        let (verdict, fewest, most) = match state {
            MessageState::Answered => (Verdict::Answered, 1, 1),
            MessageState::Silent => (Verdict::Silent, 0, 0),
            MessageState::Failed | MessageState::Cancelled => (Verdict::Failed, 1, 1),
            // The reply that was there before it was cut off, and the line that says so.
            MessageState::Interrupted => (Verdict::Interrupted, 1, 2),
            other => return lost(format!("it has no end: {other:?}")),
        };
        let Some(turn) = known.turn.as_deref() else {
            return lost(format!("it is {state:?} without a turn"));
        };
        match self.ended.get(turn).copied().unwrap_or_default() {
            0 => return lost(format!("its chat was not told that the turn {turn} ended")),
            1 => {}
            times => return doubled(format!("its chat was told {times} times that {turn} ended")),
        }
        let said = self.said.get(turn).map_or(&[][..], Vec::as_slice);
        if said != known.replies {
            let why = format!("its chat shows {said:?}, the suite says {:?}", known.replies);
            return if said.len() > known.replies.len() { doubled(why) } else { lost(why) };
        }
        let how_many = |count: usize, place: &str| match count {
            count if count < fewest => lost(format!("{state:?}, with {count} lines {place}")),
            count if count > most => doubled(format!("{state:?}, with {count} lines {place}")),
            _ => Ok((verdict, String::new(), true)),
        };
        how_many(said.len(), "in its chat")?;
        echoed(sent, self.asked.get(turn).map_or(&[][..], Vec::as_slice), said)?;
        if !books.platform_chats.contains(&sent.chat) {
            return Ok((verdict, String::new(), true));
        }
        self.at_the_platform(sent, known, turn, said).unwrap_or(Ok((verdict, String::new(), true)))
    }

    /// What the platform's own record says against a turn, or of its doubts.
    fn at_the_platform(
        &self,
        sent: &Sent,
        known: &Known,
        turn: &str,
        said: &[&str],
    ) -> Option<Judged> {
        let shown = self.shown.get(turn).map_or(&[][..], Vec::as_slice);
        for text in said {
            let times = shown.iter().filter(|one| one.text == *text).count();
            let meant = said.iter().filter(|other| *other == text).count();
            if times > meant {
                let why = format!("the platform showed {text:?} {times} times");
                return Some(Err((Verdict::Doubled, why)));
            }
        }
        let is_meant = |one: &Shown| one.chat == sent.chat && said.contains(&one.text.as_str());
        if let Some(stray) = shown.iter().find(|one| !is_meant(one)) {
            let why = format!("the platform showed {:?} in {}", stray.text, stray.chat);
            return Some(Err((Verdict::Doubled, why)));
        }
        if let Some((key, why)) = known.doubts.first() {
            let shown = if shown.iter().any(|one| one.key == *key) { "is" } else { "is not" };
            let reason = why.as_deref().unwrap_or("no fault explains it");
            let line = format!("{key} {shown} at the platform: {reason}");
            let explained = known.doubts.iter().all(|(_, why)| why.is_some());
            return Some(Ok((Verdict::Ambiguous, line, explained)));
        }
        (shown.len() < said.len()).then(|| {
            let why = format!("the platform showed {} of {} lines", shown.len(), said.len());
            Err((Verdict::Lost, why))
        })
    }

    /// The messages that came, or were answered, after later ones.
    fn out_of_order(&self, books: &'a Books) -> BTreeMap<&'a str, String> {
        let mut late = BTreeMap::new();
        let numbers: BTreeMap<&str, (usize, u64)> =
            books.sent.iter().map(|sent| (sent.id.as_str(), (sent.sender, sent.number))).collect();
        for lines in books.chats.values() {
            let mut places: BTreeMap<&str, usize> = BTreeMap::new();
            let (mut last_of, mut furthest) = (BTreeMap::new(), 0);
            for (place, line) in lines.iter().enumerate() {
                match line {
                    Line::Person { id } => {
                        places.insert(id, place);
                        let Some((sender, number)) = numbers.get(id.as_str()) else { continue };
                        let last = last_of.insert(*sender, *number);
                        if last.is_some_and(|last| last > *number) {
                            late.insert(
                                id.as_str(),
                                "it stands after a later one of its sender".into(),
                            );
                        }
                    }
                    Line::Agent { reply_to: Some(id), .. } => {
                        let asked = places.get(id.as_str()).copied();
                        if asked.is_none_or(|asked| asked < furthest) {
                            late.insert(id, "its chat answers it after a later one".to_owned());
                        }
                        furthest = furthest.max(asked.unwrap_or_default());
                    }
                    Line::Agent { reply_to: None, .. } | Line::Done { .. } => {}
                }
            }
            self.late_at_the_platform(books, &places, &mut late);
        }
        late
    }

    /// A send that was in doubt, and is shown after all, may come after later ones: its lane did not wait for it.
    fn late_at_the_platform(
        &self,
        books: &'a Books,
        places: &BTreeMap<&'a str, usize>,
        late: &mut BTreeMap<&'a str, String>,
    ) {
        let mut furthest = 0;
        for one in &books.shown {
            let Some(id) = one.reply_to.as_deref() else { continue };
            let Some(asked) = places.get(id).copied() else { continue };
            if asked < furthest {
                late.insert(id, format!("the platform shows {} after a later one", one.key));
            }
            furthest = furthest.max(asked);
        }
    }
}

/// Where the agent repeats what it was told, each message of the turn is repeated once. Two that say the same are two.
fn echoed(sent: &Sent, asked: &[&str], said: &[&str]) -> Result<(), (Verdict, String)> {
    let [only] = said else { return Ok(()) };
    if !only.starts_with("You said: ") {
        return Ok(());
    }
    let expected = format!("You said: {}", sent.text);
    let meant = asked.iter().filter(|text| **text == sent.text).count();
    match only.lines().filter(|line| *line == expected).count() {
        times if times == meant => Ok(()),
        times if times < meant => {
            Err((Verdict::Lost, format!("its turn's answer does not have it: {only:?}")))
        }
        times => Err((Verdict::Doubled, format!("its turn's answer has it {times} times"))),
    }
}

fn turn_of<'a>(books: &'a Books, message: Option<&str>) -> Option<&'a str> {
    books.known.get(message?)?.turn.as_deref()
}

#[cfg(test)]
mod tests;
