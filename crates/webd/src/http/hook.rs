//! Webhooks: a program's message in, and the agent's answer out.

use super::{App, Shared, content_type, failure, refuse_body};
use crate::{
    hook_body::{self, BodyError},
    hook_signature,
    links::Opened,
    visitor,
};
use axum::{
    Json,
    body::Bytes,
    extract::{
        Path, Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use kit::Failure;
use proto::{
    Address, Code, Opaque,
    routd::{LinkKind, MessageState, NewMessage, OutcomeQuery, Signature, VerifyDelivery},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest wait for an answer, in seconds: shorter than what proxies allow.
const WAIT_MAX: u32 = 25;

/// The headers in which services say which delivery this is, the surest first.
const DELIVERY_IDS: [&str; 3] = ["idempotency-key", hook_signature::STANDARD_ID, GITHUB_ID];
const GITHUB_ID: &str = "x-github-delivery";

#[derive(Debug, Serialize)]
struct Accepted {
    id: Opaque,
    /// Whether the same delivery had been accepted before.
    duplicate: bool,
}

#[derive(Debug, Serialize)]
struct Outcome {
    id: Opaque,
    state: MessageState,
    /// Whether nothing more will happen to it.
    done: bool,
    /// What the agent said, in order.
    replies: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct OutcomeWait {
    #[serde(default)]
    wait: u32,
}

/// `POST /hook/{token}`
pub async fn deliver(
    State(app): Shared,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let (_, link) = match app.open(LinkKind::Hook, &token, &headers).await {
        Ok(opened) => opened,
        Err(instead) => return instead,
    };
    let body = match body.map_err(refuse_body) {
        Ok(body) => body,
        Err(refusal) => return refusal.into_response(),
    };
    if let Some(signature) = link.signature
        && let Err(refusal) = app.check_signature(&link, signature, &headers, &body).await
    {
        return refusal.into_response();
    }
    let message = match message(&link, &headers, &body) {
        Ok(message) => message,
        Err(refusal) => return refusal.into_response(),
    };
    match app.routd.deliver(&message).await {
        Ok(ack) => {
            app.count(LinkKind::Hook);
            let accepted = Accepted { id: ack.id, duplicate: ack.duplicate };
            (StatusCode::ACCEPTED, Json(accepted)).into_response()
        }
        Err(error) => failure(&error).into_response(),
    }
}

/// `GET /hook/{token}/{id}?wait=S`
pub async fn outcome(
    State(app): Shared,
    Path((token, id)): Path<(String, String)>,
    wait: Result<Query<OutcomeWait>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(Query(OutcomeWait { wait })) = wait else {
        return Failure::bad_request("`wait` is a number of seconds, 25 at most").into_response();
    };
    let (_, link) = match app.open(LinkKind::Hook, &token, &headers).await {
        Ok(opened) => opened,
        Err(instead) => return instead,
    };
    let unknown = || Failure::not_found("there is no such message of this link").into_response();
    let Ok(id) = id.parse::<Opaque>() else { return unknown() };
    // The chat is the link's own: another link's message cannot be read with this one.
    let query = OutcomeQuery {
        id,
        chat_jid: Some(link.chat_jid.clone()),
        wait_seconds: wait.min(WAIT_MAX),
    };
    match app.routd.outcome(&query).await {
        Ok(Some(found)) => {
            let done = found.state.is_final();
            let (id, state, replies) = (found.id, found.state, found.replies);
            Json(Outcome { id, state, done, replies }).into_response()
        }
        Ok(None) => unknown(),
        Err(error) => failure(&error).into_response(),
    }
}

impl App {
    /// Refuses a delivery that its sender did not sign.
    async fn check_signature(
        &self,
        link: &Opened,
        signature: Signature,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Failure> {
        let shown = hook_signature::read(signature, headers, body, self.clock.now());
        let shown = shown.map_err(|error| Failure::unauthorized(error.to_string()))?;
        let delivery = VerifyDelivery {
            id: link.id.clone(),
            payload: STANDARD.encode(&shown.payload),
            signatures: shown.signatures.iter().map(|one| STANDARD.encode(one)).collect(),
        };
        let verified = self.routd.verify(&delivery).await.map_err(|error| failure(&error))?;
        if verified.by_previous {
            tracing::info!(link = %link.id, "a delivery was signed with the secret before the current one");
        }
        if verified.verified {
            return Ok(());
        }
        tracing::warn!(link = %link.id, "a delivery was refused: its signature does not fit");
        Err(Failure::unauthorized("the signature does not fit; sign with the secret of this link"))
    }
}

fn message(link: &Opened, headers: &HeaderMap, body: &[u8]) -> Result<NewMessage, Failure> {
    let id = delivery_id(link.signature, headers)?;
    let said = hook_body::read(content_type(headers), body).map_err(|error| match error {
        BodyError::TooLong => Failure::new(Code::TooLarge, error.to_string()),
        _ => Failure::bad_request(error.to_string()),
    })?;
    let source = match link.chat_jid.address() {
        Address::Hook(_, source) => source,
        Address::Web(_) | Address::Platform => "hook".to_owned(),
    };
    Ok(NewMessage {
        id,
        chat_jid: link.chat_jid.clone(),
        sender: link.chat_jid.as_str().to_owned(),
        sender_name: Some(source),
        content: said.content,
        timestamp: None,
        topic: said.topic,
        verb: None,
        reply_to: None,
        is_group: false,
        attachments: Vec::new(),
    })
}

/// The delivery's own id, so that a repeat is the same message; a random one where it has none. Where the id is a part
/// of what is signed, no other is believed: whoever repeats a delivery cannot make it a new one.
fn delivery_id(signature: Option<Signature>, headers: &HeaderMap) -> Result<Opaque, Failure> {
    let believed: &[&str] = match signature {
        None => &DELIVERY_IDS,
        Some(Signature::Standard) => &[hook_signature::STANDARD_ID],
        Some(Signature::Github) => &[GITHUB_ID],
    };
    let shown = believed.iter().find_map(|name| Some((name, headers.get(*name)?)));
    let id = match shown {
        None => visitor::random_id(),
        Some((name, value)) => {
            let id = value.to_str().ok().filter(|id| !id.is_empty() && id.len() <= 200);
            let id = id.ok_or_else(|| {
                Failure::bad_request(format!("{name} has 1 to 200 printable characters"))
            })?;
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
            // The id is a part of the path of its outcome, and a path must be readable in one way.
            if id.bytes().all(plain) {
                id.to_owned()
            } else {
                let mut digest = hex::encode(Sha256::digest(id));
                digest.truncate(32);
                digest
            }
        }
    };
    format!("hook.{id}").parse().map_err(|error| Failure::internal(&error))
}
