//! The tools of a turn: a server of the Model Context Protocol (streamable HTTP, revision 2025-11-25) on the turn's
//! socket.
//!
//! It keeps no session, so that a restart of routd orphans none: each call stands alone. Which tools there are and
//! what each may touch is decided by [`crate::rights`] on every call. A call that changes something is kept with its
//! answer in the transaction of what it did, so that the same call, made again because its answer was lost, is
//! answered alike and done once. Each group of tools is a file with a `tools()`, named in [`registry`].

mod arguments;
mod call;
mod chat;
mod delegate;
mod files;
mod held;
mod memory;
mod mend;
mod reading;
mod registry;
mod request;
mod routing;
mod talk;
mod tasks;
mod tool;

use crate::{attempt::Attempt, fault::Fault, rights::Rights};

pub(crate) use files::needs;
pub(crate) use held::{goes_outside, key_of, make, text_of};

use kit::RefusedCall;
use proto::turn::{MCP, MCP_IDEMPOTENCY_KEY};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Bytes of a request.
const REQUEST_MAX: usize = 2 << 20;

/// The service for one attempt.
pub(crate) fn service(
    attempt: Attempt,
    closed: CancellationToken,
) -> StreamableHttpService<Toolbox, NeverSessionManager> {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_cancellation_token(closed)
        .with_max_request_body_bytes(REQUEST_MAX)
        // The socket decides who may call; the name of a host means nothing on it.
        .disable_allowed_hosts();
    let toolbox = Toolbox { attempt };
    StreamableHttpService::new(move || Ok(toolbox.clone()), Arc::default(), config)
}

/// The tools, as one attempt has them.
#[derive(Clone, Debug)]
pub(crate) struct Toolbox {
    attempt: Attempt,
}

impl ServerHandler for Toolbox {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("arizuko", env!("CARGO_PKG_VERSION")))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        registry::find(name).map(tool::Tool::shown)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let attempt = self.attempt.clone();
        let listed = async {
            let app = attempt.app()?;
            let tools = app.db.try_read(move |conn| {
                let turn = attempt.current(conn)?;
                let rights = Rights::of(conn, &turn.folder)?;
                let mine = registry::all().iter();
                let mine = mine.filter(|tool| rights.may_somewhere(&tool.action));
                Ok::<_, Fault>(mine.map(tool::Tool::shown).collect::<Vec<_>>())
            });
            tools.await
        };
        listed.await.map(ListToolsResult::with_all_items).map_err(|fault| failed(&fault))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let key = context.meta.0.get(MCP_IDEMPOTENCY_KEY).or_else(|| {
            let meta = request.meta.as_ref()?;
            meta.0.get(MCP_IDEMPOTENCY_KEY)
        });
        let key = key.and_then(|key| key.as_str()).map(str::to_owned);
        let arguments = request.arguments.unwrap_or_default();
        let called = call::call(&self.attempt, &request.name, arguments, key).await;
        self.note(&request.name, called.as_ref().err());
        match called {
            Ok(tool::Answer { text, structured }) => {
                let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
                result.structured_content = structured;
                Ok(result.into())
            }
            // What the agent can do something about is told to the agent.
            Err(
                fault @ (Fault::Invalid(_)
                | Fault::Forbidden(_)
                | Fault::NotFound(_)
                | Fault::Conflict(_)
                | Fault::Held(_)
                | Fault::Gone(_)),
            ) => Ok(CallToolResult::error(vec![ContentBlock::text(fault.to_string())]).into()),
            Err(fault) => Err(failed(&fault)),
        }
    }
}

impl Toolbox {
    /// Notes for the audit that a call was refused: what the folder may not do, what is not there for it, and what came
    /// after the turn's end. Nothing of what the agent presented is in it.
    fn note(&self, tool: &str, fault: Option<&Fault>) {
        let (status, reason) = match fault {
            Some(Fault::Forbidden(_)) => (403, "forbidden"),
            Some(Fault::NotFound(_)) => (404, "not_found"),
            Some(Fault::Gone(_)) => (410, "gone"),
            _ => return,
        };
        let Ok(app) = self.attempt.app() else { return };
        let target =
            registry::find(tool).map_or("mcp:unknown".into(), |tool| tool.action.clone().into());
        let (subject, about) = (self.attempt.subject(), format!("folder:{}", self.attempt.folder));
        let call = RefusedCall { subject, from: "turn-socket", target, status, reason, about };
        app.context.gate.refuse_call(MCP.path, call);
    }
}

/// A failure of routd itself: logged here once, and told without its cause.
fn failed(fault: &Fault) -> ErrorData {
    let failure = kit::Failure::internal(fault);
    let reference = failure.problem().reference.clone().unwrap_or_default();
    ErrorData::internal_error(
        format!("routd failed; its log has the cause under {reference}"),
        None,
    )
}
