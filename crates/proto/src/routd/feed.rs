//! What happens in a chat, in order, for those who show it.

use super::Attachment;
use crate::{Endpoint, Jid, Needs, Opaque, Timestamp, Topic};
use serde::{Deserialize, Serialize};

/// What happened in a chat after a cursor; waits up to `wait_seconds` for something to happen.
pub const FEED: Endpoint<FeedQuery, FeedPage> = Endpoint::get(
    "/v1/feed",
    Needs::Scope("feed:read"),
    "What happened in a chat after a cursor, waiting for news",
);

/// How a message ended: waits up to `wait_seconds` for its turn's end.
pub const OUTCOME: Endpoint<OutcomeQuery, MessageOutcome> = Endpoint::get(
    "/v1/messages/{id}/outcome",
    Needs::Scope("messages:read"),
    "How a message ended, waiting for its end",
);

/// Which chat, and from where.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FeedQuery {
    /// The chat.
    pub chat_jid: Jid,
    /// Only what comes after this; 0 for the beginning. Left out: the newest page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    /// At most this many; 100 when left out, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// How long to wait where nothing is there yet, at most 30 seconds.
    #[serde(default)]
    pub wait_seconds: u32,
}

/// A page of a chat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FeedPage {
    /// In order.
    pub events: Vec<FeedEvent>,
    /// What to ask after next.
    pub cursor: i64,
}

/// One thing that happened in a chat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FeedEvent {
    /// Its place: grows, never repeats.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// The topic.
    pub topic: Topic,
    /// What.
    pub what: FeedItem,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum FeedItem {
    /// Somebody wrote.
    Message {
        /// The message.
        id: Opaque,
        /// Who wrote: an address, or `agent` for the agent.
        sender: String,
        /// The writer's name, as people see it.
        sender_name: Option<String>,
        /// Whether the agent wrote it.
        from_agent: bool,
        /// The text, as Markdown.
        content: String,
        /// The message it answers.
        reply_to: Option<Opaque>,
        /// Files that came with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Attachment>,
    },
    /// The agent replaced the text of a message.
    Edited {
        /// The message.
        id: Opaque,
        /// The whole new text, as Markdown.
        content: String,
    },
    /// The agent took a message back.
    Deleted {
        /// The message.
        id: Opaque,
    },
    /// The agent reacted to a message.
    Reacted {
        /// The message.
        id: Opaque,
        /// The emoji.
        emoji: String,
    },
    /// The agent says what it is doing. Replaced by the next one, and by `Done`.
    Status {
        /// The turn.
        turn_id: Opaque,
        /// A short line.
        text: String,
    },
    /// A turn ended.
    Done {
        /// The turn.
        turn_id: Opaque,
        /// How.
        outcome: TurnEnd,
    },
}

/// How a turn ended, for the people in the chat. Each of these is visible to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnEnd {
    /// With a reply.
    Answered,
    /// On purpose without one.
    Silent,
    /// With one line that says what failed.
    Failed,
    /// With one line that says it was cut off after it had done something.
    Interrupted,
    /// Somebody stopped it.
    Cancelled,
}

/// Which message, and how long to wait.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OutcomeQuery {
    /// The message's id.
    pub id: Opaque,
    /// The chat; needed where the same id may stand in several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_jid: Option<Jid>,
    /// How long to wait for the end, at most 30 seconds.
    #[serde(default)]
    pub wait_seconds: u32,
}

/// Where a message stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MessageOutcome {
    /// The message's id.
    pub id: Opaque,
    /// Where it stands.
    pub state: MessageState,
    /// The turn that took it up.
    pub turn_id: Option<Opaque>,
    /// What the agent said in that turn, in order.
    pub replies: Vec<String>,
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// No route takes it; it is stored.
    Unrouted,
    /// Stored for context; no turn will answer it.
    Observed,
    /// It waits for its turn.
    Queued,
    /// Its turn is in progress.
    Running,
    /// Its turn ended with a reply.
    Answered,
    /// Its turn ended on purpose without one.
    Silent,
    /// Its turn failed, and said so.
    Failed,
    /// Its turn was cut off, and said so.
    Interrupted,
    /// Its turn was stopped.
    Cancelled,
}

impl MessageState {
    /// Whether nothing more will happen to it.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}
