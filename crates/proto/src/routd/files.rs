//! Files that come with messages, and what a platform still has of a chat.
//!
//! Whoever has a file serves it, and the other side fetches it, piece by piece: no message carries a file's bytes. On
//! the way in the adapter has it ([`ADAPTER_FILE`]), on the way out routd has it ([`FILE`]).

use crate::{Endpoint, Jid, Method, Needs, Opaque, Route, Timestamp};
use serde::{Deserialize, Serialize};

/// A file that came with a message of one of the adapter's chats. Served by the adapter, to routd; the answer is the
/// file itself. A file that is there no more is a 404.
pub const ADAPTER_FILE: Route = Route::new(
    Method::Get,
    "/files/{id}",
    Needs::Scope("files:read"),
    "A file that came with a message",
);

/// A file that an agent sent. Served by routd, to the adapter of the chat in which it was sent; the answer is the file
/// itself. A file of a message that was taken back, or whose time is over, is a 404. The query's `chat_jid`, where it
/// is given, must be the chat in which it was sent.
pub const FILE: Route = Route::new(
    Method::Get,
    "/v1/files/{id}",
    Needs::ScopeOrSecret("files:read", "CHANNEL_SECRET"),
    "A file that an agent sent",
);

/// routd asks an adapter for what the platform has of a chat. Served by adapters with the capability `history`.
pub const HISTORY: Endpoint<HistoryQuery, History> = Endpoint::post(
    "/history",
    Needs::Scope("messages:read"),
    "Messages of a chat, as the platform has them",
);

/// A file that comes with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Attachment {
    /// The file's name. 1 to 255 bytes.
    pub filename: String,
    /// Its media type.
    pub mime: String,
    /// Where it is served. Inbound: a path below the address under which the adapter registered, such as `/files/42`,
    /// or that address with such a path; nothing else is fetched. Outbound: a path of routd's, `/v1/files/…`. Left
    /// out where the file cannot be had. At most 2,048 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How many bytes it has, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Which messages of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HistoryQuery {
    /// The chat.
    pub chat_jid: Jid,
    /// Only messages before the one with this id of the platform's; the newest when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Opaque>,
    /// At most this many, 1 to 100.
    pub limit: u32,
}

/// Messages of a chat, as the platform has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct History {
    /// Oldest first. None: there is nothing before that.
    pub messages: Vec<PastMessage>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PastMessage {
    /// The platform's id.
    pub id: Opaque,
    /// Who sent it, such as `slack:U042`.
    pub sender: String,
    /// The sender's name as people see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_name: Option<String>,
    /// The text.
    pub content: String,
    /// When it was sent.
    pub timestamp: Timestamp,
    /// The platform's id of the message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Opaque>,
    /// The platform's thread that it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
}
