//! What a turn's agent is served, on the socket of that turn alone. The socket is the identity:
//! there is no credential here, and nothing that would be worth stealing.

use crate::{Endpoint, Folder, Jid, Method, Needs, Nothing, Opaque, Route, Timestamp, Topic};
use serde::{Deserialize, Serialize};

/// The name of the socket in its directory. Short, because a socket's path has at most 107 bytes.
pub const SOCKET: &str = "s";

/// What to do. The first call marks the attempt as begun.
pub const GET_TURN: Endpoint<Nothing, TurnInput> =
    Endpoint::get("/turn", Needs::Socket, "The input of this turn");

/// Progress, for the person who waits.
pub const POST_EVENTS: Endpoint<TurnEvents, Nothing> =
    Endpoint::post("/turn/events", Needs::Socket, "Progress of this turn");

/// The one result. A repeat with the same attempt answers alike and changes nothing.
pub const POST_RESULT: Endpoint<TurnResult, TurnAccepted> =
    Endpoint::post("/turn/result", Needs::Socket, "The result of this turn");

/// The tools: Model Context Protocol, streamable HTTP (revision 2025-11-25).
pub const MCP: Route =
    Route::new(Method::Post, "/mcp", Needs::Socket, "The tools of this turn (MCP)");

/// The key of a tool call's `_meta` under which its idempotency key travels. A call that changes
/// something carries one; calls with the same key happen once, and answer alike.
pub const MCP_IDEMPOTENCY_KEY: &str = "arizuko/idempotency-key";

/// Every route of a turn's socket.
pub const ROUTES: &[Route] = &[GET_TURN.route, POST_EVENTS.route, POST_RESULT.route, MCP];

/// What runs inside `ant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Harness {
    /// No model: answers deterministically and drives the tools on request.
    Offline,
    /// Any program: the prompt on its standard input, the MCP address in its environment.
    Command,
}

impl Harness {
    /// Its name in settings and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Command => "command",
        }
    }
}

impl std::str::FromStr for Harness {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "offline" => Ok(Self::Offline),
            "command" => Ok(Self::Command),
            other => Err(format!("there is no harness `{other}`; use offline or command")),
        }
    }
}

/// The input of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TurnInput {
    /// The turn.
    pub turn_id: Opaque,
    /// Which attempt at it, from 1.
    pub attempt: u32,
    /// The tenant.
    pub folder: Folder,
    /// The topic within it.
    pub topic: Topic,
    /// The chat that asked.
    pub chat_jid: Jid,
    /// What runs inside `ant`.
    pub harness: Harness,
    /// The program and its arguments, for the `command` harness.
    #[serde(default)]
    pub command: Vec<String>,
    /// The whole input as one text: context, then the messages, with names and times.
    pub prompt: String,
    /// The messages to answer, oldest first.
    pub messages: Vec<InputMessage>,
    /// The harness's own session to go on with, if it left one.
    pub session: Option<String>,
    /// When the run will be ended, by routd's clock.
    pub deadline: Timestamp,
    /// How long that is from now, in milliseconds. An agent's own clock may say another time of day; where this is
    /// given, it goes by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_left_ms: Option<u64>,
}

/// One message to answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InputMessage {
    /// The message's id on its platform.
    pub id: Opaque,
    /// The sender's address.
    pub sender: String,
    /// The sender's name, as shown to people.
    pub sender_name: Option<String>,
    /// The text.
    pub content: String,
    /// When it was sent.
    pub sent_at: Timestamp,
}

/// Progress of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TurnEvents {
    /// Which attempt speaks; one that has been given up is refused.
    pub attempt: u32,
    /// In order.
    pub events: Vec<TurnEvent>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TurnEvent {
    /// A short line, such as `reading the log`. At most 500 characters are kept.
    pub status: String,
}

/// The result of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TurnResult {
    /// Which attempt speaks.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What to say to the person who asked: the reply, or what failed.
    pub text: Option<String>,
    /// The harness's session, to go on with next time.
    #[serde(default)]
    pub session: Option<String>,
}

/// How a turn ended, as its agent sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There is a reply: in `text`, or already sent with a tool.
    Replied,
    /// Nothing is to be said.
    Silent,
    /// The agent failed; `text` says how, in a line for the person.
    Failed,
}

/// routd has the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TurnAccepted {
    /// Whether this very attempt had posted a result before.
    pub duplicate: bool,
}
