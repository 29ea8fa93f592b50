//! What happened in a chat, made ready to be shown. Pure.

use crate::markdown::{self, Node};
use proto::{
    Opaque, Timestamp, Topic,
    routd::{Attachment, FeedEvent, FeedItem, FeedPage, TurnEnd},
};
use serde::Serialize;

/// Messages of one author within this many milliseconds stand together.
const TOGETHER: i64 = 5 * 60 * 1000;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// A part of a chat, in order.
#[derive(Debug, Default)]
pub struct Story {
    /// What is shown, days and all.
    pub items: Vec<Item>,
    /// What the agent is doing now.
    pub status: Option<String>,
    /// What to ask the feed after.
    pub cursor: i64,
}

/// One line of the log.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A new day begins.
    Day(Timestamp),
    /// Something was said.
    Said(Said),
    /// Something happened.
    Note {
        /// When.
        at: Timestamp,
        /// What, in a few words.
        text: &'static str,
    },
}

impl Item {
    const fn at(&self) -> Timestamp {
        match self {
            Self::Said(said) => said.at,
            Self::Day(at) | Self::Note { at, .. } => *at,
        }
    }
}

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// Its id.
    pub id: Opaque,
    /// When.
    pub at: Timestamp,
    /// Who said it.
    pub author: Author,
    /// What.
    pub content: String,
    /// Whether it stands together with the message before it.
    pub follows: bool,
    /// What the agent reacted with.
    pub reaction: Option<String>,
    /// Files that came with it.
    pub files: Vec<FileLink>,
}

/// A file that can be had under the chat's link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileLink {
    /// What it is called.
    pub name: String,
    /// How many bytes it has, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Where it is, relative to the page.
    pub href: String,
}

impl FileLink {
    /// The files of a message that routd has.
    fn of(attachments: Vec<Attachment>) -> Vec<Self> {
        let link = |file: Attachment| {
            let url = file.url?;
            let id = url.strip_prefix("/v1/files/").filter(|id| is_file_id(id))?;
            Some(Self { name: file.filename, size: file.size, href: format!("files/{id}") })
        };
        attachments.into_iter().filter_map(link).collect()
    }

    /// Its size, as people write one.
    pub fn shown_size(&self) -> Option<String> {
        let tenths = |unit: u64| self.size.map(|size| size.saturating_mul(10) / unit);
        let shown = |tenths: u64, name: &str| format!("{}.{} {name}", tenths / 10, tenths % 10);
        match self.size? {
            size @ 0..1_000 => Some(format!("{size} bytes")),
            1_000..1_000_000 => Some(shown(tenths(1_000)?, "kB")),
            _ => Some(shown(tenths(1_000_000)?, "MB")),
        }
    }
}

/// Who said something.
#[derive(Debug, PartialEq, Eq)]
pub enum Author {
    /// The agent, by its name.
    Agent(String),
    /// A person.
    Person {
        /// The address.
        sender: String,
        /// The name.
        name: String,
    },
}

impl Author {
    /// Tells one author from another.
    pub fn key(&self) -> &str {
        match self {
            Self::Agent(_) => "agent",
            Self::Person { sender, .. } => sender,
        }
    }
}

impl Story {
    /// What `page` tells of `topic`, or of all topics where that is empty.
    pub fn new(page: FeedPage, topic: &str, assistant: &str) -> Self {
        let mut story = Self { cursor: page.cursor, ..Self::default() };
        for event in page.events.into_iter().filter(|event| concerns(event, topic)) {
            story.add(event, assistant);
        }
        story
    }

    /// The message with this id, if it is on this page.
    fn said(&mut self, id: &Opaque) -> Option<&mut Said> {
        self.items.iter_mut().find_map(|item| match item {
            Item::Said(said) if said.id == *id => Some(said),
            _ => None,
        })
    }

    fn add(&mut self, event: FeedEvent, assistant: &str) {
        match event.what {
            FeedItem::Status { text, .. } => self.status = Some(text),
            FeedItem::Done { outcome, .. } => {
                self.status = None;
                if let Some(text) = note(outcome) {
                    self.items.push(Item::Note { at: event.at, text });
                }
            }
            FeedItem::Edited { id, content } => {
                if let Some(said) = self.said(&id) {
                    said.content = content;
                }
            }
            FeedItem::Reacted { id, emoji } => {
                if let Some(said) = self.said(&id) {
                    said.reaction = Some(emoji);
                }
            }
            FeedItem::Deleted { id } => {
                self.items.retain(|item| !matches!(item, Item::Said(said) if said.id == id));
            }
            FeedItem::Message {
                id, sender, sender_name, from_agent, content, attachments, ..
            } => {
                let author = if from_agent {
                    Author::Agent(assistant.to_owned())
                } else {
                    let name = sender_name.unwrap_or_else(|| sender.clone());
                    Author::Person { sender, name }
                };
                let before = self.items.last().map(Item::at);
                let same_day =
                    before.is_some_and(|at| at.0.div_euclid(DAY) == event.at.0.div_euclid(DAY));
                if !same_day {
                    self.items.push(Item::Day(event.at));
                }
                let follows = matches!(self.items.last(), Some(Item::Said(said))
                    if said.author == author && event.at.0 - said.at.0 < TOGETHER);
                self.items.push(Item::Said(Said {
                    id,
                    at: event.at,
                    author,
                    content,
                    follows,
                    reaction: None,
                    files: FileLink::of(attachments),
                }));
            }
        }
    }
}

/// Whether this is an id of a file, and one plain part of an address.
pub fn is_file_id(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=64).contains(&text.len()) && text.chars().all(plain)
}

/// Whether an event belongs to `topic`; every event belongs to the empty one.
pub fn concerns(event: &FeedEvent, topic: &str) -> bool {
    topic.is_empty() || event.topic.as_str() == topic
}

/// What a turn's end tells beyond the messages of the turn.
fn note(end: TurnEnd) -> Option<&'static str> {
    match end {
        // The reply, or the line that says what failed, is a message.
        TurnEnd::Answered | TurnEnd::Failed | TurnEnd::Interrupted => None,
        TurnEnd::Silent => Some("Read, and left without a reply"),
        TurnEnd::Cancelled => Some("Stopped"),
    }
}

/// One event of the stream, ready to be sent.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// `message`
    Message {
        /// The message's id.
        id: Opaque,
        /// When.
        at: Timestamp,
        /// The topic.
        topic: Topic,
        /// Who wrote.
        sender: String,
        /// The writer's name.
        sender_name: Option<String>,
        /// Whether the agent wrote it.
        from_agent: bool,
        /// The text, as Markdown.
        content: String,
        /// The message it answers.
        reply_to: Option<Opaque>,
        /// What the agent wrote, parsed: see [`Node`].
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<Vec<Node>>,
        /// Files that came with it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        files: Vec<FileLink>,
    },
    /// `edited`
    Edited {
        /// The message's id.
        id: Opaque,
        /// The new text, as Markdown.
        content: String,
        /// The same, parsed.
        body: Vec<Node>,
    },
    /// `deleted`
    Deleted {
        /// The message's id.
        id: Opaque,
    },
    /// `reacted`
    Reacted {
        /// The message's id.
        id: Opaque,
        /// The emoji.
        emoji: String,
    },
    /// `status`
    Status {
        /// The turn.
        turn_id: Opaque,
        /// When.
        at: Timestamp,
        /// The topic.
        topic: Topic,
        /// What the agent is doing, as a short line.
        text: String,
    },
    /// `done`
    Done {
        /// The turn.
        turn_id: Opaque,
        /// When.
        at: Timestamp,
        /// The topic.
        topic: Topic,
        /// How it ended.
        outcome: TurnEnd,
        /// What to show for it, where the turn's messages do not say.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<&'static str>,
    },
}

impl Told {
    /// Makes an event of the feed into one of the stream.
    pub fn new(event: FeedEvent) -> Self {
        let FeedEvent { at, topic, what, .. } = event;
        match what {
            FeedItem::Message {
                id,
                sender,
                sender_name,
                from_agent,
                content,
                reply_to,
                attachments,
            } => {
                let body = from_agent.then(|| markdown::parse(&content));
                Self::Message {
                    id,
                    at,
                    topic,
                    sender,
                    sender_name,
                    from_agent,
                    content,
                    reply_to,
                    body,
                    files: FileLink::of(attachments),
                }
            }
            FeedItem::Edited { id, content } => {
                Self::Edited { id, body: markdown::parse(&content), content }
            }
            FeedItem::Deleted { id } => Self::Deleted { id },
            FeedItem::Reacted { id, emoji } => Self::Reacted { id, emoji },
            FeedItem::Status { turn_id, text } => Self::Status { turn_id, at, topic, text },
            FeedItem::Done { turn_id, outcome } => {
                Self::Done { turn_id, at, topic, outcome, note: note(outcome) }
            }
        }
    }

    /// The event's name in the stream.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Message { .. } => "message",
            Self::Edited { .. } => "edited",
            Self::Deleted { .. } => "deleted",
            Self::Reacted { .. } => "reacted",
            Self::Status { .. } => "status",
            Self::Done { .. } => "done",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(seq: i64, at: i64, sender: &str, topic: &str) -> FeedEvent {
        FeedEvent {
            seq,
            at: Timestamp(at),
            topic: topic.parse().unwrap(),
            what: FeedItem::Message {
                id: format!("m{seq}").parse().unwrap(),
                sender: sender.into(),
                sender_name: None,
                from_agent: sender == "agent",
                content: "x".into(),
                reply_to: None,
                attachments: Vec::new(),
            },
        }
    }

    fn shape(story: &Story) -> String {
        let letter = |item: &Item| match item {
            Item::Day(_) => "D",
            Item::Note { .. } => "n",
            Item::Said(said) if said.follows => "f",
            Item::Said(_) => "s",
        };
        story.items.iter().map(letter).collect()
    }

    #[test]
    fn a_file_is_linked_below_the_page_and_nowhere_else() {
        let file = |url: Option<&str>, size| Attachment {
            filename: "a.txt".into(),
            mime: "text/plain".into(),
            url: url.map(str::to_owned),
            size,
        };
        let elsewhere = ["https://evil.test/f-1", "/v1/files/", "/v1/files/../x", "javascript:1"];
        let mut all: Vec<_> = elsewhere.iter().map(|url| file(Some(url), None)).collect();
        all.extend([file(None, None), file(Some("/v1/files/f-1"), Some(15_728_640))]);
        let links = FileLink::of(all);
        assert_eq!(links.len(), 1, "{links:?}");
        assert_eq!(links[0].href, "files/f-1");
        let shown = |size| FileLink { size, ..links[0].clone() }.shown_size();
        assert_eq!(shown(Some(15_728_640)).as_deref(), Some("15.7 MB"));
        assert_eq!(shown(Some(999)).as_deref(), Some("999 bytes"));
        assert_eq!(shown(Some(1_000)).as_deref(), Some("1.0 kB"));
        assert_eq!(shown(None), None);
    }

    #[test]
    fn days_stand_apart_and_messages_of_one_author_together() {
        let events = vec![
            said(1, 0, "a", ""),
            said(2, 1_000, "a", ""),
            said(3, 2_000, "agent", ""),
            said(4, 2_000 + TOGETHER, "agent", ""),
            said(5, DAY, "agent", ""),
        ];
        let story = Story::new(FeedPage { events, cursor: 5 }, "", "Andy");
        assert_eq!(shape(&story), "DsfssDs");
        assert_eq!(story.cursor, 5);
    }

    #[test]
    fn a_status_lasts_until_the_turn_is_done() {
        let turn_id: Opaque = "t".parse().unwrap();
        let event =
            |seq, what| FeedEvent { seq, at: Timestamp(seq), topic: Topic::default(), what };
        let doing = FeedItem::Status { turn_id: turn_id.clone(), text: "reading".into() };
        let end = FeedItem::Done { turn_id, outcome: TurnEnd::Silent };
        let open = FeedPage { events: vec![event(1, doing.clone())], cursor: 1 };
        assert_eq!(Story::new(open, "", "A").status.as_deref(), Some("reading"));
        let closed = FeedPage { events: vec![event(1, doing), event(2, end)], cursor: 2 };
        let story = Story::new(closed, "", "A");
        assert_eq!(story.status, None);
        assert_eq!(shape(&story), "n", "silence is said");
    }

    #[test]
    fn what_was_changed_is_shown_as_it_is_now() {
        let id = |text: &str| text.parse::<Opaque>().unwrap();
        let event =
            |seq, what| FeedEvent { seq, at: Timestamp(seq), topic: Topic::default(), what };
        let events = vec![
            said(1, 0, "agent", ""),
            said(2, 0, "agent", ""),
            said(3, 0, "a", ""),
            event(4, FeedItem::Edited { id: id("m1"), content: "y".into() }),
            event(5, FeedItem::Deleted { id: id("m2") }),
            event(6, FeedItem::Reacted { id: id("m3"), emoji: "👍".into() }),
            event(7, FeedItem::Reacted { id: id("m9"), emoji: "👍".into() }),
        ];
        let story = Story::new(FeedPage { events, cursor: 7 }, "", "Andy");
        assert_eq!(shape(&story), "Dss");
        let [_, Item::Said(first), Item::Said(second)] = &story.items[..] else { panic!() };
        assert_eq!((first.content.as_str(), first.reaction.as_deref()), ("y", None));
        assert_eq!((second.content.as_str(), second.reaction.as_deref()), ("x", Some("👍")));
    }

    #[test]
    fn a_page_of_one_topic_shows_no_other() {
        let events = vec![said(1, 0, "a", "x"), said(2, 0, "a", "y")];
        let story = Story::new(FeedPage { events, cursor: 2 }, "y", "A");
        assert_eq!(shape(&story), "Ds");
    }
}
