//! The turn's tools, through a real client of the Model Context Protocol.
//!
//! routd may vanish in the middle of a call, with the call done or not. A call that was not
//! answered is made again in a new session, and one that changes something carries a key, the same
//! in every try, under which routd does it once.

use crate::link::{Link, ORIGIN};
use crate::progress::Progress;
use crate::retry::Pauses;
use proto::turn::{MCP, MCP_IDEMPOTENCY_KEY, TurnInput};
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ErrorData,
    Implementation, JsonObject, MetaObject, ProtocolVersion, RequestMetaObject,
};
use rmcp::service::{ClientInitializeError, RoleClient, RunningService, ServiceError, ServiceExt};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::FixedInterval;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransportConfig, StreamableHttpError,
};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The tools that the offline harness uses.
pub const TOOLS: &[&str] = &[
    "reply",
    "send",
    "send_file",
    "inspect_messages",
    "fetch_history",
    "get_memory",
    "set_memory",
    "schedule_task",
    "list_tasks",
    "cancel_task",
];

/// The longest that one try of a call may take. A call that takes longer is made again.
const ONE_CALL: Duration = Duration::from_secs(60);
/// The longest that a session's end may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// So many times in a row routd may answer that there are no tools for this turn.
const REFUSALS: u32 = 5;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    /// The tool said no; the reason is for the one who asked for it.
    #[error("the tool `{tool}` said no: {reason}")]
    Refused {
        /// The tool.
        tool: String,
        /// In a line.
        reason: String,
    },
    /// The tools could not be reached for as long as there was time.
    #[error("the tool `{tool}` could not be reached")]
    Lost {
        /// The tool.
        tool: String,
        /// What went wrong the last time.
        #[source]
        last: Box<dyn Error + Send + Sync>,
    },
}

/// What a tool answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Its text.
    pub text: String,
    /// Its structured content, if it has some.
    pub structured: Option<serde_json::Value>,
}

/// A tool as it is listed.
pub(crate) type ListedTool = rmcp::model::Tool;

type Session = RunningService<RoleClient, ClientConfig>;

/// The tools of one turn. What calls it waits for the answer; [`Tools::beside`] is for more at a time.
pub(crate) struct Tools<'a> {
    link: &'a Link,
    progress: &'a Progress,
    limit: Instant,
    /// What every key of this attempt begins with: `TURN/ATTEMPT`. The ordinal among the calls
    /// that change something, from 1, completes it.
    attempt: String,
    changes: u32,
    session: Option<Session>,
}

/// What a try came to when it did not succeed.
enum Miss {
    /// The tool, or routd for it, said no.
    Refused(String),
    /// The next try may succeed.
    Passing(Box<dyn Error + Send + Sync>),
}

impl<'a> Tools<'a> {
    pub fn new(link: &'a Link, input: &TurnInput, limit: Instant, progress: &'a Progress) -> Self {
        let attempt = format!("{}/{}", input.turn_id, input.attempt);
        Self { link, progress, limit, attempt, changes: 0, session: None }
    }

    /// Calls a tool that changes nothing.
    pub async fn read(
        &mut self,
        tool: &str,
        arguments: serde_json::Value,
    ) -> Result<Answer, ToolError> {
        self.call(tool, parameters(tool, arguments)).await
    }

    /// Calls a tool that changes something; it happens once, however often it must be tried.
    pub async fn change(
        &mut self,
        tool: &str,
        arguments: serde_json::Value,
    ) -> Result<Answer, ToolError> {
        self.changes += 1;
        let ordinal = self.changes.to_string();
        self.change_as(&ordinal, tool, arguments).await
    }

    /// As [`Self::change`], under the caller's own name for the call, which no other call of the attempt has.
    pub async fn change_as(
        &mut self,
        name: &str,
        tool: &str,
        arguments: serde_json::Value,
    ) -> Result<Answer, ToolError> {
        let mut meta = MetaObject::new();
        let key = format!("{}/{name}", self.attempt);
        meta.insert(MCP_IDEMPOTENCY_KEY.into(), key.into());
        let mut call = parameters(tool, arguments);
        call.meta = Some(RequestMetaObject(meta));
        self.call(tool, call).await
    }

    /// The same tools in a session of its own, for calls that are made beside each other.
    pub fn beside(&self) -> Self {
        Self {
            link: self.link,
            progress: self.progress,
            limit: self.limit,
            attempt: self.attempt.clone(),
            changes: 0,
            session: None,
        }
    }

    /// The tools that this turn may use.
    pub async fn list(&mut self) -> Result<Vec<ListedTool>, ToolError> {
        const LISTING: &str = "tools/list";
        let mut pauses = Pauses::until(self.limit);
        let mut refusals = 0;
        loop {
            let last = match timeout(pauses.one_try(ONE_CALL), self.try_list()).await {
                Ok(Ok(tools)) => return Ok(tools),
                Ok(Err(Miss::Refused(reason))) => {
                    return Err(ToolError::Refused { tool: LISTING.into(), reason });
                }
                Ok(Err(Miss::Passing(error))) => error,
                Err(elapsed) => elapsed.into(),
            };
            refusals = if is_answer(last.as_ref()) { refusals + 1 } else { 0 };
            tracing::warn!(error = last.as_ref() as &dyn Error, "asking for the tools again");
            self.session = None;
            if refusals >= REFUSALS || !pauses.pause().await {
                return Err(ToolError::Lost { tool: LISTING.into(), last });
            }
        }
    }

    async fn try_list(&mut self) -> Result<Vec<ListedTool>, Miss> {
        if self.session.is_none() {
            self.session = Some(self.open().await?);
        }
        let Some(session) = &self.session else {
            return Err(Miss::Passing("there is no session".into()));
        };
        session.list_all_tools().await.map_err(|error| match error {
            ServiceError::McpError(error) => Miss::Refused(line(&error)),
            error => Miss::Passing(error.into()),
        })
    }

    /// Ends the session. What it leaves behind is nothing that routd would not clean up.
    pub async fn close(mut self) {
        if let Some(mut session) = self.session.take()
            && let Err(error) = session.close_with_timeout(GOODBYE).await
        {
            tracing::debug!(error = &error as &dyn Error, "the session ended badly");
        }
    }

    async fn call(&mut self, tool: &str, call: CallToolRequestParams) -> Result<Answer, ToolError> {
        self.progress.tell(&format!("using {tool}"));
        let mut pauses = Pauses::until(self.limit);
        let mut refusals = 0;
        loop {
            let last = match timeout(pauses.one_try(ONE_CALL), self.one_try(call.clone())).await {
                Ok(Ok(result)) => return answer(tool, result),
                Ok(Err(Miss::Refused(reason))) => {
                    return Err(ToolError::Refused { tool: tool.to_owned(), reason });
                }
                Ok(Err(Miss::Passing(error))) => error,
                Err(elapsed) => elapsed.into(),
            };
            refusals = if is_answer(last.as_ref()) { refusals + 1 } else { 0 };
            tracing::warn!(tool, error = last.as_ref() as &dyn Error, "calling it again");
            // A session that failed is not used again; its end goes on by itself.
            self.session = None;
            // This report also finds out whether the attempt was given up meanwhile.
            self.progress.tell("waiting for the tools");
            if refusals >= REFUSALS || !pauses.pause().await {
                return Err(ToolError::Lost { tool: tool.to_owned(), last });
            }
        }
    }

    async fn one_try(&mut self, call: CallToolRequestParams) -> Result<CallToolResult, Miss> {
        if self.session.is_none() {
            self.session = Some(self.open().await?);
        }
        let Some(session) = &self.session else {
            return Err(Miss::Passing("there is no session".into()));
        };
        session.call_tool(call).await.map_err(|error| match error {
            ServiceError::McpError(error) => Miss::Refused(line(&error)),
            error => Miss::Passing(error.into()),
        })
    }

    async fn open(&self) -> Result<Session, Miss> {
        let address = format!("{ORIGIN}{}", MCP.path);
        let mut config = StreamableHttpClientTransportConfig::with_uri(address);
        // A stream that broke is not resumed: the call is made again, under its key.
        let mut never = FixedInterval::default();
        never.max_times = Some(0);
        config.retry_config = Arc::new(never);
        let transport = StreamableHttpClientTransport::with_client(self.link.http(), config);
        let itself = Implementation::new("ant", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), itself)
            .with_protocol_version(ProtocolVersion::V_2025_11_25)
            .serve(transport)
            .await
            .map_err(|error| match error {
                ClientInitializeError::JsonRpcError(error) => Miss::Refused(line(&error)),
                // Its own `source` stops here, and the cause decides what to do.
                ClientInitializeError::TransportError { error, .. } => Miss::Passing(error.into()),
                error => Miss::Passing(error.into()),
            })
    }
}

fn parameters(tool: &str, arguments: serde_json::Value) -> CallToolRequestParams {
    let arguments = match arguments {
        serde_json::Value::Object(fields) => fields,
        _ => JsonObject::new(),
    };
    CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments)
}

fn line(error: &ErrorData) -> String {
    error.message.lines().next().unwrap_or_default().to_owned()
}

fn answer(tool: &str, result: CallToolResult) -> Result<Answer, ToolError> {
    let texts: Vec<&str> = result
        .content
        .iter()
        .filter_map(|block| block.as_text().map(|text| text.text.as_str()))
        .collect();
    let text = texts.join("\n");
    match result.is_error {
        Some(true) => {
            Err(ToolError::Refused { tool: tool.to_owned(), reason: text.trim().to_owned() })
        }
        _ => Ok(Answer { text, structured: result.structured_content }),
    }
}

/// Whether routd is there and answers that this cannot be done. It may be a passing state of one
/// that starts, so a few are borne.
fn is_answer(error: &(dyn Error + 'static)) -> bool {
    type Http = StreamableHttpError<reqwest::Error>;
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<Http>() {
            Some(
                Http::UnexpectedServerResponse(_)
                | Http::UnexpectedContentType(_)
                | Http::AuthRequired(_)
                | Http::InsufficientScope(_)
                | Http::SessionExpired,
            ) => return true,
            _ => cause = error.source(),
        }
    }
    false
}
