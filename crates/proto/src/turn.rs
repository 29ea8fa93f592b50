//! What a turn's agent is served, on the socket of that turn alone. The socket is the identity:
//! there is no credential here, and nothing that would be worth stealing.

use crate::{Endpoint, Folder, Jid, Method, Needs, Nothing, Opaque, Route, Timestamp, Topic};
use serde::{Deserialize, Serialize};

/// The name of the socket in its directory. Short, because a socket's path has at most 107 bytes.
pub const SOCKET: &str = "s";

/// What a connection to routd's listener for agents in a cluster begins with: an HTTP/1.1 `POST` to this path with the
/// pod's token as bearer, `Connection: upgrade` and `Upgrade:` [`TURN_PROTOCOL`]. After 101, the connection is as one to
/// the attempt's Unix socket.
pub const ATTACH: &str = "/turn/attach";

/// The protocol that [`ATTACH`] changes to.
pub const TURN_PROTOCOL: &str = "arizuko-turn";

/// What to do. The first call marks the attempt as begun.
pub const GET_TURN: Endpoint<Nothing, TurnInput> =
    Endpoint::get("/turn", Needs::Socket, "The input of this turn");

/// Progress, for the person who waits.
pub const POST_EVENTS: Endpoint<TurnEvents, Nothing> =
    Endpoint::post("/turn/events", Needs::Socket, "Progress of this turn");

/// Messages that came while this turn runs. The call says which it has taken up so far, and waits for more.
pub const POST_STEER: Endpoint<SteerAsk, Steered> =
    Endpoint::post("/turn/steer", Needs::Socket, "What was said since this turn began");

/// The one result. A repeat with the same attempt answers alike and changes nothing.
pub const POST_RESULT: Endpoint<TurnResult, TurnAccepted> =
    Endpoint::post("/turn/result", Needs::Socket, "The result of this turn");

/// A file that came with a message of this turn's folder. The answer is the file itself, as its adapter has it; one that
/// is larger than the instance takes is refused, or cut off, so that its end is never seen.
pub const GET_FILE: Route =
    Route::new(Method::Get, "/turn/files/{id}", Needs::Socket, "A file that came with a message");

/// Which files of the agent's home are wanted, because a tool is to send them. Waits for one.
///
/// routd reads nothing that an agent may have laid out for it: the agent's side opens the file, with no more than the
/// agent's own rights, and brings it.
pub const WANTED_FILES: Endpoint<WantedAsk, Wanted> =
    Endpoint::post("/turn/files/wanted", Needs::Socket, "Which files of the home are to be sent");

/// Brings a file that is wanted: the body is the file itself.
pub const BRING_FILE: Route = Route::new(
    Method::Put,
    "/turn/files/wanted/{id}",
    Needs::Socket,
    "Brings a file of the home that is to be sent",
);

/// Says why a file that is wanted cannot be brought.
pub const NO_FILE: Endpoint<NoFile, Nothing> = Endpoint::post(
    "/turn/files/refused",
    Needs::Socket,
    "Says why a file of the home cannot be sent",
);

/// The tools: Model Context Protocol, streamable HTTP (revision 2025-11-25).
pub const MCP: Route =
    Route::new(Method::Post, "/mcp", Needs::Socket, "The tools of this turn (MCP)");

/// The key of a tool call's `_meta` under which its idempotency key travels. A call that changes
/// something carries one; calls with the same key happen once, and answer alike.
pub const MCP_IDEMPOTENCY_KEY: &str = "arizuko/idempotency-key";

/// What the model gateway's Anthropic side begins with: the Messages API is at `/v1/messages` below it.
pub const MODEL_ANTHROPIC: &str = "/model/anthropic";

/// What its OpenAI side begins with: Chat Completions are at `/v1/chat/completions` below it.
pub const MODEL_OPENAI: &str = "/model/openai";

/// The model gateway, Anthropic's side.
pub const ANTHROPIC: Route = Route::new(
    Method::Post,
    "/model/anthropic/{*path}",
    Needs::Socket,
    "Anthropic's API, under a key that the agent does not hold",
);

/// The model gateway, OpenAI's side.
pub const OPENAI: Route = Route::new(
    Method::Post,
    "/model/openai/{*path}",
    Needs::Socket,
    "OpenAI's API, under a key that the agent does not hold",
);

/// The routes of the model gateway, which answers in its vendors' forms.
pub const MODEL_ROUTES: &[Route] = &[ANTHROPIC, OPENAI];

/// Every route of a turn's socket, apart from the model gateway's.
pub const ROUTES: &[Route] = &[
    GET_TURN.route,
    POST_EVENTS.route,
    POST_STEER.route,
    POST_RESULT.route,
    GET_FILE,
    WANTED_FILES.route,
    BRING_FILE,
    NO_FILE.route,
    MCP,
];

/// What runs inside `ant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Harness {
    /// No model: answers deterministically and drives the tools on request.
    Offline,
    /// Any program: the prompt on its standard input, the MCP address in its environment.
    Command,
    /// The Claude Code CLI, whose tools and model are behind the turn's socket.
    Claude,
    /// A loop of model calls and tool calls, without a shell.
    Builtin,
}

impl Harness {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Offline, Self::Command, Self::Claude, Self::Builtin];

    /// Its name in settings and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Command => "command",
            Self::Claude => "claude",
            Self::Builtin => "builtin",
        }
    }

    /// Whether it runs programs that are not the suite's own, or that a model chooses.
    pub const fn runs_programs(self) -> bool {
        matches!(self, Self::Command | Self::Claude)
    }
}

impl std::str::FromStr for Harness {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|harness| harness.name() == text);
        found.ok_or_else(|| {
            format!("there is no harness `{text}`; use offline, command, claude or builtin")
        })
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
    /// Where there is a session: the prompt for a harness that cannot go on with it, which also has what was said before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_anew: Option<String>,
    /// The model, for the harnesses that call one.
    #[serde(default)]
    pub model: String,
    /// Who the agent is, as whoever administers the folder says; for the harnesses that call a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persona: Option<String>,
    /// When the run will be ended, by routd's clock.
    pub deadline: Timestamp,
    /// How long that is from now, in milliseconds. An agent's own clock may say another time of day; where this is
    /// given, it goes by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_left_ms: Option<u64>,
    /// Files that came with the messages. The prompt names the path at which each is to be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<TurnFile>,
    /// Bytes that one such file has at most.
    #[serde(default)]
    pub file_max_bytes: u64,
    /// Bytes that those of this and of earlier turns have together at most; the oldest make room.
    #[serde(default)]
    pub files_max_bytes: u64,
}

/// A file that came with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TurnFile {
    /// What [`GET_FILE`] knows it by.
    pub id: Opaque,
    /// Where it is to be, relative to the home: plain names, none of which leads up.
    pub path: String,
    /// How many bytes it has, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Asks which files are wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WantedAsk {
    /// Which attempt speaks.
    pub attempt: u32,
    /// Only what was asked for after this one; 0 for all.
    pub after: i64,
    /// Seconds to wait where none is, at most 30.
    #[serde(default)]
    pub wait_seconds: u32,
}

/// Files that are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Wanted {
    /// In the order in which they were asked for.
    pub files: Vec<WantedFile>,
}

/// A file of the home that a tool is to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WantedFile {
    /// Grows from one to the next, also across restarts of routd.
    pub id: i64,
    /// The path, as the agent said it.
    pub path: String,
    /// How many bytes are taken at most.
    pub max_bytes: u64,
}

/// Why a file cannot be brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NoFile {
    /// Which one.
    pub id: i64,
    /// Why, in a line for the agent.
    pub reason: String,
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

/// Asks for what was said since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SteerAsk {
    /// Which attempt speaks.
    pub attempt: u32,
    /// The `upto` of the newest answer that was put into the conversation; 0 for none. What is not taken up when the
    /// turn ends becomes the next turn.
    pub taken: i64,
    /// Seconds to wait for a message, at most 30.
    #[serde(default)]
    pub wait_seconds: u32,
}

/// What was said since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Steered {
    /// What to give as `taken` once these are in the conversation; as asked, where there are none.
    pub upto: i64,
    /// The messages, oldest first.
    pub messages: Vec<InputMessage>,
    /// The same as one text, with names and times; empty where there are none.
    #[serde(default)]
    pub prompt: String,
    /// Files that came with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<TurnFile>,
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
    /// The `upto` of the newest messages of [`POST_STEER`] that the turn answers too; 0 for none.
    #[serde(default)]
    pub taken: i64,
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
