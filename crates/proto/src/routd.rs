//! What routd serves: messages in, feeds out, folders, routes and capability links.

use crate::{
    Endpoint, Jid, Needs, Nothing, Opaque, Route, Timestamp, Topic, authd::Rekey, kit::DatabaseKey,
};
use serde::{Deserialize, Serialize};

mod acl;
mod approvals;
mod conversations;
mod feed;
mod files;
mod links;
mod people;
mod schedules;
mod tables;
mod tenant_secrets;
mod trace;
mod usage;

pub use acl::*;
pub use approvals::*;
pub use conversations::*;
pub use feed::*;
pub use files::*;
pub use links::*;
pub use people::*;
pub use schedules::*;
pub use tables::*;
pub use tenant_secrets::*;
pub use trace::*;
pub use usage::*;

/// One message from a platform. Answers once it is committed; a repeat of the same id in the same
/// chat answers alike, with `duplicate`.
pub const POST_MESSAGE: Endpoint<NewMessage, MessageAck> = Endpoint::post(
    "/v1/messages",
    Needs::ScopeOrSecret("messages:write", "CHANNEL_SECRET"),
    "Deliver one message; answers once it is committed",
);

/// An adapter says where it is and which chats are its own. Repeated as a heartbeat.
pub const REGISTER_CHANNEL: Endpoint<RegisterChannel, Channel> = Endpoint::post(
    "/v1/channels/register",
    Needs::ScopeOrSecret("channels:write", "CHANNEL_SECRET"),
    "Register an adapter, or say that it is still there",
);

/// The adapters.
pub const LIST_CHANNELS: Endpoint<Nothing, Channels> =
    Endpoint::get("/v1/channels", Needs::Scope("status:read"), "The adapters and their state");

/// Which `SECRETS_KEY`s open routd's database.
pub const DATABASE_KEY: Endpoint<Nothing, DatabaseKey> = Endpoint::get(
    "/v1/secrets/database-key",
    Needs::Scope("secrets:read"),
    "Which values of SECRETS_KEY open the database, by their ids",
);

/// Seals everything in routd's database anew, under a new data key.
pub const REKEY: Endpoint<Rekey, DatabaseKey> = Endpoint::post(
    "/v1/secrets/rekey",
    Needs::Scope("secrets:write"),
    "Seal everything anew under a new data key",
);

/// Every route of this daemon, without those that every daemon has.
pub const ROUTES: &[Route] = &[
    POST_MESSAGE.route,
    REGISTER_CHANNEL.route,
    LIST_CHANNELS.route,
    OUTCOME.route,
    TRACE.route,
    FEED.route,
    LIST_CHATS.route,
    LIST_MESSAGES.route,
    LIST_OUTBOX.route,
    LIST_TURNS.route,
    MEMORY.route,
    PERSONA.route,
    SET_PERSONA.route,
    FILE,
    FILE,
    ADD_GROUP.route,
    LIST_GROUPS.route,
    REMOVE_GROUP.route,
    ADD_ROUTE.route,
    LIST_ROUTES.route,
    REMOVE_ROUTE.route,
    EXPLAIN_ROUTE.route,
    ISSUE_LINK.route,
    LIST_LINKS.route,
    REVOKE_LINK.route,
    RESOLVE_LINK.route,
    ROTATE_LINK.route,
    VERIFY_DELIVERY.route,
    AUDIT.route,
    STATUS.route,
    SET_TENANT_SECRET.route,
    LIST_TENANT_SECRETS.route,
    REMOVE_TENANT_SECRET.route,
    ADD_SCHEDULE.route,
    LIST_SCHEDULES.route,
    PAUSE_SCHEDULE.route,
    RESUME_SCHEDULE.route,
    RUN_SCHEDULE.route,
    REMOVE_SCHEDULE.route,
    SCHEDULE_RUNS.route,
    FIRE_SCHEDULES.route,
    ADD_RULE.route,
    REMOVE_RULE.route,
    LIST_ACL.route,
    CHECK_ACL.route,
    ADD_MEMBER.route,
    REMOVE_MEMBER.route,
    LIST_APPROVALS.route,
    GET_APPROVAL.route,
    APPROVE.route,
    DENY.route,
    USAGE.route,
    SET_CAP.route,
    LIST_CAPS.route,
    ADMIT_PERSON.route,
    NOTICE.route,
    DATABASE_KEY.route,
    REKEY.route,
];

/// A message on its way in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NewMessage {
    /// The platform's id; with the chat, it is the idempotency key.
    pub id: Opaque,
    /// The chat.
    pub chat_jid: Jid,
    /// Who sent it, such as `telegram:user/42`. At most 256 bytes.
    pub sender: String,
    /// The sender's name as people see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_name: Option<String>,
    /// The text. At most 262,144 bytes, and not empty unless files came with it.
    pub content: String,
    /// When it was sent; now when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// The topic it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Topic>,
    /// What kind of message it is: `message`, `mention`, `untrusted`, …; `message` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// The platform's id of the message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Opaque>,
    /// Whether several people are in the chat.
    #[serde(default)]
    pub is_group: bool,
    /// What came with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

/// The message is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MessageAck {
    /// The id it was given with.
    pub id: Opaque,
    /// Its place in the order of arrival.
    pub seq: i64,
    /// Whether it had been committed before.
    pub duplicate: bool,
}

/// An adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RegisterChannel {
    /// The account's name, such as `telegram`.
    pub name: String,
    /// The adapter's own address, for `POST /send`.
    pub url: String,
    /// The beginnings of the chat addresses that are its own, such as `telegram:`.
    pub jid_prefixes: Vec<String>,
    /// What it can do, such as `send_file`.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// An adapter that has registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Channel {
    /// The account's name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// The beginnings of the chat addresses that are its own.
    pub jid_prefixes: Vec<String>,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// When it last registered.
    pub seen_at: Timestamp,
}

/// The adapters that have registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Channels {
    /// By name.
    pub channels: Vec<Channel>,
}

/// routd asks an adapter to send. Served by the adapter, with `Idempotency-Key`.
pub const SEND: Endpoint<Send, Sent> =
    Endpoint::post("/send", Needs::Scope("send:write"), "Send one message to a chat");

/// One message on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Send {
    /// The chat.
    pub chat_jid: Jid,
    /// The text, as Markdown. With files it is their caption, and may be empty.
    pub content: String,
    /// The platform's id of the message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Opaque>,
    /// The platform's thread to post into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// Files to send with it, each to be fetched from routd. Only to adapters with the capability `send_file`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

/// The platform has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Sent {
    /// The platform's ids, in order: one text may become several messages.
    pub ids: Vec<Opaque>,
}

/// routd asks an adapter to replace a message's text. Served by adapters with the capability `edit`, with
/// `Idempotency-Key`.
pub const EDIT: Endpoint<Edit, Nothing> =
    Endpoint::post("/edit", Needs::Scope("send:write"), "Replace the text of a message");

/// routd asks an adapter to take a message back. Served by adapters with the capability `delete`, with
/// `Idempotency-Key`.
pub const DELETE: Endpoint<Delete, Nothing> =
    Endpoint::post("/delete", Needs::Scope("send:write"), "Take a message back");

/// routd asks an adapter to react to a message. Served by adapters with the capability `react`, with
/// `Idempotency-Key`.
pub const REACT: Endpoint<React, Nothing> =
    Endpoint::post("/react", Needs::Scope("send:write"), "React to a message");

/// routd asks an adapter to show for some seconds that the agent is at work. Served by adapters with the capability
/// `typing`; asked again for as long as the turn lasts.
pub const TYPING: Endpoint<Typing, Nothing> = Endpoint::post(
    "/typing",
    Needs::Scope("send:write"),
    "Show for some seconds that the agent is at work",
);

/// Where the agent is at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Typing {
    /// The chat.
    pub chat_jid: Jid,
    /// The platform's thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
}

/// A message's new text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Edit {
    /// The chat.
    pub chat_jid: Jid,
    /// The platform's id of the message; the first, where one text became several messages.
    pub id: Opaque,
    /// The whole new text, as Markdown.
    pub content: String,
}

/// A message to take back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Delete {
    /// The chat.
    pub chat_jid: Jid,
    /// The platform's id of the message.
    pub id: Opaque,
}

/// A reaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct React {
    /// The chat.
    pub chat_jid: Jid,
    /// The platform's id of the message.
    pub id: Opaque,
    /// The emoji. At most 64 bytes.
    pub emoji: String,
}

/// Queue depths.
pub const STATUS: Endpoint<Nothing, RoutdStatus> =
    Endpoint::get("/v1/status", Needs::Scope("status:read"), "Queue depths");

/// The state of routd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RoutdStatus {
    /// Turns that wait for a run.
    pub turns_queued: u64,
    /// Turns in progress.
    pub turns_running: u64,
    /// Replies that wait to be sent.
    pub outbox_pending: u64,
    /// Replies whose fate is unknown.
    pub outbox_ambiguous: u64,
    /// Messages of the last 24 hours that found no route.
    pub unrouted: u64,
    /// Calls of tools that wait for a person's approval.
    #[serde(default)]
    pub approvals_pending: u64,
}
