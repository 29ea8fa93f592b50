//! A chat as a server of the Model Context Protocol (streamable HTTP), for programs outside the suite.
//!
//! The link is the right, as on the page: what can be said and read here is what its holder could say and read there.
//! No session is kept, so that a restart of webd orphans none. A call that waits holds one of the places that streams
//! have, and nothing is told to a link that ended while it waited.

mod arguments;

use super::{App, Shared, chat::Saying, is_cross_site};
use crate::{
    links::{NoLink, Opened, Token},
    story::concerns,
    visitor::Writer,
};
use arguments::{Ask, History, Outcome, Send, read, tools};
use axum::{
    body::Body,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use kit::{Failure, PeerError};
use proto::{
    Opaque,
    routd::{FeedEvent, FeedItem, FeedQuery, LinkKind, MessageOutcome, OutcomeQuery},
};
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
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Bytes of a request: the longest message, each byte of which JSON may write as six.
const REQUEST_MAX: usize = 512 * 1024;
/// How long `ask` waits where it does not say, in seconds; and the longest. Clients give up after a minute.
const WAIT: u32 = 45;
const WAIT_MAX: u32 = 55;
/// What one question to routd may wait, in seconds.
const QUESTION_MAX: u64 = 20;
/// Events that one look shows when it does not say, and the most.
const HISTORY: u32 = 50;
const HISTORY_MAX: u32 = 200;

/// `POST /chat/{token}/mcp`
pub async fn serve(State(app): Shared, Path(token): Path<String>, request: Request) -> Response {
    let headers = request.headers();
    if is_cross_site(headers) {
        return Failure::forbidden("a page of another site may not call tools here")
            .into_response();
    }
    let (token, link) = match app.open(LinkKind::Chat, &token, headers).await {
        Ok(opened) => opened,
        Err(instead) => return instead,
    };
    let subject = app.gate.verify_edge(headers).await.and_then(|edge| edge.subject);
    let writer = match subject {
        Some(subject) => Writer::subject(&subject),
        None => Writer::program(&link.id),
    };
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_cancellation_token(app.stop.child_token())
        .with_max_request_body_bytes(REQUEST_MAX)
        // Behind the edge the name of the host is the edge's business; the link is the right.
        .disable_allowed_hosts();
    let chat = Chat { app, token, link, writer };
    let manager = Arc::<NeverSessionManager>::default();
    let service = StreamableHttpService::new(move || Ok(chat.clone()), manager, config);
    service.handle(request).await.map(Body::new)
}

/// One chat, as one caller has it.
#[derive(Clone, Debug)]
struct Chat {
    app: Arc<App>,
    token: Token,
    link: Arc<Opened>,
    writer: Writer,
}

impl ServerHandler for Chat {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("arizuko chat", env!("CARGO_PKG_VERSION")))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools(&self.app.assistant).into_iter().find(|tool| tool.name == name)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools(&self.app.assistant)))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (name, arguments) = (&*request.name, request.arguments.unwrap_or_default());
        let answer = match name {
            "ask" => self.ask(read(name, arguments)).await,
            "send" => self.send(read(name, arguments)).await,
            "outcome" => self.outcome(read(name, arguments)).await,
            "history" => self.history(read(name, arguments)).await,
            other => {
                let text = format!("there is no tool `{other}`");
                return Err(ErrorData::invalid_params(text, None));
            }
        };
        Ok(match answer {
            Ok(Answer { text, structured }) => {
                let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
                result.structured_content = Some(structured);
                result.into()
            }
            // The program can do something about it, or try again.
            Err(failure) => {
                let detail = failure.problem().detail.clone();
                CallToolResult::error(vec![ContentBlock::text(detail)]).into()
            }
        })
    }
}

/// What a tool answers.
struct Answer {
    text: String,
    structured: Value,
}

impl Answer {
    fn json(structured: Value) -> Self {
        Self { text: structured.to_string(), structured }
    }
}

impl Chat {
    async fn ask(&self, asked: Result<Ask, Failure>) -> Result<Answer, Failure> {
        let Ask { content, topic, id, wait_seconds } = asked?;
        let wait = within(wait_seconds.unwrap_or(WAIT))?;
        let _place = self.place()?;
        let ack = self.app.say(&self.link, &self.writer, &Saying { content, topic, id }).await?;
        self.told(&ack.id, wait).await
    }

    async fn send(&self, asked: Result<Send, Failure>) -> Result<Answer, Failure> {
        let Send { content, topic, id } = asked?;
        let ack = self.app.say(&self.link, &self.writer, &Saying { content, topic, id }).await?;
        Ok(Answer::json(json!({ "id": ack.id, "duplicate": ack.duplicate })))
    }

    async fn outcome(&self, asked: Result<Outcome, Failure>) -> Result<Answer, Failure> {
        let Outcome { id, wait_seconds } = asked?;
        let wait = within(wait_seconds.unwrap_or_default())?;
        let id: Opaque =
            id.parse().map_err(|_| Failure::not_found("there is no such message in this chat"))?;
        let _place = self.place()?;
        self.told(&id, wait).await
    }

    async fn history(&self, asked: Result<History, Failure>) -> Result<Answer, Failure> {
        let History { after, limit, topic } = asked?;
        let limit = limit.unwrap_or(HISTORY);
        if !(1..=HISTORY_MAX).contains(&limit) {
            return Err(Failure::bad_request(format!("`limit` is 1 to {HISTORY_MAX}")));
        }
        let query = FeedQuery {
            chat_jid: self.link.chat_jid.clone(),
            after,
            limit: Some(limit),
            wait_seconds: 0,
        };
        let page = self.app.routd.feed(&query).await.map_err(|error| failed(&error))?;
        let topic = topic.unwrap_or_default();
        let heard = page.events.into_iter().filter(|event| concerns(event, &topic));
        let messages: Vec<Value> = heard.filter_map(shown).collect();
        Ok(Answer::json(json!({ "messages": messages, "cursor": page.cursor })))
    }

    /// What became of a message, once it ended or the wait is over.
    async fn told(&self, id: &Opaque, wait: Duration) -> Result<Answer, Failure> {
        let deadline = Instant::now() + wait;
        let found = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // The chat is the link's own: another link's message cannot be read with this one.
            let query = OutcomeQuery {
                id: id.clone(),
                chat_jid: Some(self.link.chat_jid.clone()),
                wait_seconds: u32::try_from(left.as_secs().min(QUESTION_MAX)).unwrap_or_default(),
            };
            let found = self.app.routd.outcome(&query).await.map_err(|error| failed(&error))?;
            self.still_open().await?;
            let Some(found) = found else {
                return Err(Failure::not_found("there is no such message in this chat"));
            };
            if found.state.is_final() || query.wait_seconds == 0 {
                break found;
            }
        };
        Ok(told(found))
    }

    /// Refuses to tell anything once the link has ended.
    async fn still_open(&self) -> Result<(), Failure> {
        match self.app.links.resolve(&self.token).await {
            Ok(link) if link.chat_jid == self.link.chat_jid => Ok(()),
            Ok(_) | Err(NoLink::Unknown) => Err(Failure::not_found(super::UNKNOWN_LINK)),
            Err(NoLink::NotAsked(error)) => Err(failed(&error)),
        }
    }

    fn place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Failure> {
        self.app.streams.clone().try_acquire_owned().map_err(|_| {
            Failure::unavailable("too many calls wait for an answer; try again shortly")
        })
    }
}

fn within(seconds: u32) -> Result<Duration, Failure> {
    if seconds > WAIT_MAX {
        return Err(Failure::bad_request(format!("`wait_seconds` is at most {WAIT_MAX}")));
    }
    Ok(Duration::from_secs(seconds.into()))
}

fn failed(error: &PeerError) -> Failure {
    super::failure(error)
}

fn told(found: MessageOutcome) -> Answer {
    let done = found.state.is_final();
    let said = found.replies.join("\n\n");
    let structured =
        json!({ "id": found.id, "state": found.state, "done": done, "replies": found.replies });
    let text = match (done, said.is_empty()) {
        (true, false) => said,
        _ => structured.to_string(),
    };
    Answer { text, structured }
}

fn shown(event: FeedEvent) -> Option<Value> {
    let FeedEvent { seq, at, topic, what } = event;
    match what {
        FeedItem::Message {
            id,
            sender,
            sender_name,
            from_agent,
            content,
            reply_to,
            attachments,
        } => Some(json!({
            "seq": seq,
            "id": id,
            "at": at,
            "topic": topic,
            "sender": sender,
            "sender_name": sender_name,
            "from_agent": from_agent,
            "content": content,
            "reply_to": reply_to,
            "files": attachments.iter().map(|file| &file.filename).collect::<Vec<_>>(),
        })),
        FeedItem::Edited { .. }
        | FeedItem::Deleted { .. }
        | FeedItem::Reacted { .. }
        | FeedItem::Status { .. }
        | FeedItem::Done { .. } => None,
    }
}
