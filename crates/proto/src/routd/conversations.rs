//! Conversations, as an operator reads them: chats, messages, turns, what waits to be sent, what an agent remembers.

use crate::{Endpoint, Folder, Jid, Needs, Opaque, Timestamp, Topic};
use serde::{Deserialize, Serialize};

use super::TurnEnd;

/// The chats, those with the newest messages first.
pub const LIST_CHATS: Endpoint<ListChats, Chats> = Endpoint::get(
    "/v1/chats",
    Needs::Scope("conversations:read"),
    "The chats, those with the newest messages first",
);

/// Messages, newest first.
pub const LIST_MESSAGES: Endpoint<ListMessages, Messages> =
    Endpoint::get("/v1/messages", Needs::Scope("conversations:read"), "Messages, newest first");

/// What is to be sent, or could not be, newest first.
pub const LIST_OUTBOX: Endpoint<ListOutbox, Outbox> = Endpoint::get(
    "/v1/outbox",
    Needs::Scope("conversations:read"),
    "What is to be sent, or could not be, newest first",
);

/// What a folder's agent remembers.
pub const MEMORY: Endpoint<MemoryOf, Memory> = Endpoint::get(
    "/v1/groups/memory",
    Needs::Scope("conversations:read"),
    "What a folder's agent remembers",
);

/// Who a folder's agent is, as whoever administers the folder says.
pub const PERSONA: Endpoint<PersonaOf, Persona> = Endpoint::get(
    "/v1/groups/persona",
    Needs::Scope("conversations:read"),
    "Who a folder's agent is told to be",
);

/// Says anew who a folder's agent is. It counts from the next turn on. A repeat answers alike.
pub const SET_PERSONA: Endpoint<SetPersona, Persona> = Endpoint::put(
    "/v1/groups/persona",
    Needs::Scope("personas:write"),
    "Say who a folder's agent is",
);

/// Turns, newest first.
pub const LIST_TURNS: Endpoint<ListTurns, Turns> =
    Endpoint::get("/v1/turns", Needs::Scope("turns:read"), "Turns, newest first");

/// Which chats.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListChats {
    /// Those whose newest message went to this folder or one below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<Folder>,
    /// Those whose address has this in it. At most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jid: Option<String>,
    /// Those whose newest message came before this cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// At most this many; 100 when left out, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A chat, by its newest message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Chat {
    /// Its address.
    pub jid: Jid,
    /// Where its newest message went; `null` where no route took it.
    pub folder: Option<Folder>,
    /// The place of its newest message.
    pub seq: i64,
    /// When that came.
    pub at: Timestamp,
    /// Who wrote it: an address, or `agent`.
    pub sender: String,
    /// The writer's name, as people see it.
    pub sender_name: Option<String>,
    /// Its text; at most 200 characters of it.
    pub content: String,
}

/// A page of chats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Chats {
    /// Those with the newest messages first.
    pub chats: Vec<Chat>,
    /// Where the next page begins; `null` at the end.
    pub next: Option<i64>,
}

/// Which messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListMessages {
    /// Of this chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_jid: Option<Jid>,
    /// Of this folder and those below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<Folder>,
    /// Those that have all of these words; a word that ends in `*` stands for all that begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// Those that became this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disposition: Option<Disposition>,
    /// Those before this cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// At most this many; 100 when left out, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// A turn answers it.
    Turn,
    /// It is stored for context.
    Observed,
    /// No route takes it; it is stored.
    Unrouted,
    /// The agent, or the suite, said it.
    Said,
}

impl Disposition {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Turn, Self::Observed, Self::Unrouted, Self::Said];

    /// Its name, also in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Observed => "observed",
            Self::Unrouted => "unrouted",
            Self::Said => "said",
        }
    }
}

/// A message, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StoredMessage {
    /// Its place in the order of arrival.
    pub seq: i64,
    /// The platform's id, or its own where it was said here.
    pub id: Opaque,
    /// The chat.
    pub chat_jid: Jid,
    /// Who wrote it: an address, `agent`, or `system` for the suite's own lines.
    pub sender: String,
    /// The writer's name, as people see it.
    pub sender_name: Option<String>,
    /// The text.
    pub content: String,
    /// What kind of message it is.
    pub verb: String,
    /// The topic.
    pub topic: Topic,
    /// Where it went.
    pub folder: Option<Folder>,
    /// What became of it.
    pub disposition: String,
    /// The turn that answers it, or in which it was said.
    pub turn_id: Option<Opaque>,
    /// The names of the files that came with it.
    pub files: Vec<String>,
    /// When it came.
    pub at: Timestamp,
    /// Whether it was taken back.
    pub deleted: bool,
}

/// A page of messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Messages {
    /// Newest first.
    pub messages: Vec<StoredMessage>,
    /// Where the next page begins; `null` at the end.
    pub next: Option<i64>,
}

/// Which part of the outbox.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListOutbox {
    /// What is in this state: `pending`, `sending`, `sent`, `failed`, `unsupported` or `ambiguous`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What comes before this cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// At most this many; 100 when left out, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Something that is to be sent, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OutboxRow {
    /// Its place.
    pub seq: i64,
    /// Its id, which travels as `Idempotency-Key`.
    pub id: Opaque,
    /// The chat.
    pub chat_jid: Jid,
    /// The message that it carries.
    pub message_id: Opaque,
    /// Where it stands.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// What went wrong last.
    pub detail: String,
    /// When it was written.
    pub created_at: Timestamp,
}

/// A page of the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Outbox {
    /// Newest first.
    pub rows: Vec<OutboxRow>,
    /// Where the next page begins; `null` at the end.
    pub next: Option<i64>,
}

/// Whose memory.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryOf {
    /// The folder.
    pub folder: Folder,
}

/// What a folder's agent remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Memory {
    /// The text; empty where it remembers nothing.
    pub content: String,
}

/// Bytes of a persona, at most: one that is all in letters outside ASCII still fits into a form of the dashboard.
pub const PERSONA_MAX: usize = 16 * 1024;

/// Whose persona.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonaOf {
    /// The folder.
    pub folder: Folder,
}

/// Who a folder's agent is to be.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPersona {
    /// The folder; it has to be in service.
    pub folder: Folder,
    /// The text, for the model to read. At most [`PERSONA_MAX`] bytes; an empty one takes it away.
    pub content: String,
}

/// Who a folder's agent is told to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Persona {
    /// The text; empty where nothing is said.
    pub content: String,
}

/// Which turns.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListTurns {
    /// Of this folder and those below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<Folder>,
    /// Those that ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<TurnEnd>,
    /// Those that ended then or later, or have not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Those before this cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// At most this many; 100 when left out, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TurnRow {
    /// Its place.
    pub seq: i64,
    /// Its id.
    pub id: Opaque,
    /// Whose agent answers.
    pub folder: Folder,
    /// The chat.
    pub chat_jid: Jid,
    /// The topic.
    pub topic: Topic,
    /// `queued`, `starting`, `running` or `ended`.
    pub state: String,
    /// How it ended.
    pub outcome: Option<TurnEnd>,
    /// How often it was tried.
    pub attempt: i64,
    /// The run of its last attempt.
    pub run_id: Option<Opaque>,
    /// The first message that it answers.
    pub message_id: Option<Opaque>,
    /// When it began to wait.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// More about how it ended.
    pub detail: String,
}

/// A page of turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Turns {
    /// Newest first.
    pub turns: Vec<TurnRow>,
    /// Where the next page begins; `null` at the end.
    pub next: Option<i64>,
}
