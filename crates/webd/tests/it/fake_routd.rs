//! A routd in memory, that speaks its contract.

use aws_lc_rs::hmac;
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use proto::{
    Code, Jid, Opaque, Problem, Timestamp,
    routd::{
        FeedEvent, FeedItem, FeedPage, FeedQuery, Link, LinkKind, MessageAck, MessageOutcome,
        MessageState, NewMessage, OutcomeQuery, ResolveLink, Verified, VerifyDelivery,
    },
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::Notify;

#[derive(Default)]
pub struct State_ {
    pub secrets: Vec<String>,
    pub links: HashMap<String, Link>,
    pub messages: Vec<NewMessage>,
    pub feed: Vec<(Jid, FeedEvent)>,
    pub outcomes: HashMap<Opaque, (MessageState, Vec<String>)>,
    /// What was presented with each message, accepted or not, and the message's id.
    pub presented: Vec<(String, String)>,
    pub resolved: usize,
    /// What deliveries may be signed with: now, and before.
    pub signing: Vec<Vec<u8>>,
    /// Files by id: the chat, and the bytes.
    pub files: HashMap<String, (Jid, Vec<u8>)>,
    /// The queries of the feed.
    pub polls: Vec<Option<i64>>,
}

#[derive(Clone, Default)]
pub struct FakeRoutd {
    state: Arc<Mutex<State_>>,
    news: Arc<Notify>,
}

pub const FIRST: &str = "the-first-channel-secret";
pub const SECOND: &str = "the-second-channel-secret";
pub const CHAT: &str = "chat-token-0123456789abcdef";
pub const HOOK: &str = "hook-token-0123456789abcdef";

impl FakeRoutd {
    pub fn new() -> Self {
        let fake = Self::default();
        fake.link(CHAT, LinkKind::Chat, "web:corp/eng");
        fake.link(HOOK, LinkKind::Hook, "hook:corp/eng/ci");
        fake.state().secrets = vec![FIRST.into()];
        fake
    }

    pub fn link(&self, token: &str, kind: LinkKind, jid: &str) {
        let link = Link {
            id: format!("id-{token}").parse().unwrap(),
            kind,
            folder: "corp/eng".parse().unwrap(),
            chat_jid: jid.parse().unwrap(),
            created_at: Timestamp(0),
            signature: None,
        };
        self.state().links.insert(token.into(), link);
    }

    pub fn state(&self) -> MutexGuard<'_, State_> {
        self.state.lock().unwrap()
    }

    /// Something happens in a chat.
    pub fn happens(&self, jid: &str, what: FeedItem) -> i64 {
        let mut state = self.state();
        let seq = i64::try_from(state.feed.len()).unwrap() + 1;
        let at = Timestamp(1_790_000_000_000 + seq * 1000);
        let event = FeedEvent { seq, at, topic: Default::default(), what };
        state.feed.push((jid.parse().unwrap(), event));
        drop(state);
        self.news.notify_waiters();
        seq
    }

    /// The agent says something.
    pub fn agent_says(&self, jid: &str, text: &str) -> i64 {
        let id = format!("reply-{}", self.state().feed.len());
        self.happens(jid, said(&id, "agent", text))
    }

    pub async fn serve(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/v1/messages", post(message))
            .route("/v1/messages/{id}/outcome", get(outcome))
            .route("/v1/tokens/resolve", post(resolve))
            .route("/v1/tokens/{id}/verify", post(verify))
            .route("/v1/feed", get(feed))
            .route("/v1/files/{id}", get(file))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }
}

pub fn said(id: &str, sender: &str, content: &str) -> FeedItem {
    FeedItem::Message {
        id: id.parse().unwrap(),
        sender: sender.into(),
        sender_name: None,
        from_agent: sender == "agent",
        content: content.into(),
        reply_to: None,
        attachments: Vec::new(),
    }
}

fn problem(code: Code, detail: &str) -> Response {
    let status = StatusCode::from_u16(code.status()).unwrap();
    let (title, code) = (code.title().into(), code.as_str().into());
    let status_code = status.as_u16();
    let problem =
        Problem { status: status_code, code, title, detail: detail.into(), reference: None };
    (status, Json(problem)).into_response()
}

async fn message(
    State(fake): State<FakeRoutd>,
    headers: HeaderMap,
    Json(message): Json<NewMessage>,
) -> Response {
    let bearer = headers[header::AUTHORIZATION].to_str().unwrap();
    let bearer = bearer.strip_prefix("Bearer ").unwrap().to_owned();
    let mut state = fake.state();
    state.presented.push((bearer.clone(), message.id.to_string()));
    if !state.secrets.contains(&bearer) {
        return problem(Code::Unauthorized, "not a CHANNEL_SECRET that routd accepts");
    }
    if message.content == "refuse me" {
        return problem(Code::BadRequest, "routd does not like it");
    }
    let same = |known: &NewMessage| known.id == message.id && known.chat_jid == message.chat_jid;
    let at = state.messages.iter().position(same);
    let seq = at.unwrap_or(state.messages.len());
    if at.is_none() {
        state.messages.push(message.clone());
        drop(state);
        let mut what = said(message.id.as_str(), &message.sender, &message.content);
        if let FeedItem::Message { sender_name, .. } = &mut what {
            sender_name.clone_from(&message.sender_name);
        }
        fake.happens(message.chat_jid.as_str(), what);
    }
    let seq = i64::try_from(seq).unwrap() + 1;
    Json(MessageAck { id: message.id, seq, duplicate: at.is_some() }).into_response()
}

#[derive(serde::Deserialize)]
struct InChat {
    chat_jid: Jid,
}

async fn file(
    State(fake): State<FakeRoutd>,
    Path(id): Path<String>,
    Query(asked): Query<InChat>,
) -> Response {
    let state = fake.state();
    match state.files.get(&id).filter(|(chat, _)| *chat == asked.chat_jid) {
        Some((_, bytes)) => {
            let named = "attachment; filename=\"a.html\"; filename*=UTF-8''%C3%A4.html";
            let headers =
                [(header::CONTENT_DISPOSITION, named), (header::CONTENT_TYPE, "text/html")];
            (headers, bytes.clone()).into_response()
        }
        None => problem(Code::NotFound, "there is no such file"),
    }
}

async fn outcome(
    State(fake): State<FakeRoutd>,
    Path(id): Path<String>,
    Query(mut query): Query<HashMap<String, String>>,
) -> Response {
    query.insert("id".into(), id);
    let wait = query.remove("wait_seconds").map(|n| n.parse::<u32>().unwrap());
    let query: OutcomeQuery = serde_json::from_value(serde_json::to_value(query).unwrap()).unwrap();
    assert!(wait.unwrap_or_default() <= 30, "the contract's longest wait");
    let chat = query.chat_jid.expect("webd always names the link's own chat");
    let state = fake.state();
    if !state.messages.iter().any(|m| m.id == query.id && m.chat_jid == chat) {
        return problem(Code::NotFound, "no such message");
    }
    let (now, replies) =
        state.outcomes.get(&query.id).cloned().unwrap_or((MessageState::Queued, Vec::new()));
    Json(MessageOutcome { id: query.id, state: now, turn_id: None, replies }).into_response()
}

async fn resolve(State(fake): State<FakeRoutd>, Json(asked): Json<ResolveLink>) -> Response {
    let mut state = fake.state();
    state.resolved += 1;
    match state.links.get(&asked.token).filter(|link| link.kind == asked.kind) {
        Some(link) => Json(link.clone()).into_response(),
        None => problem(Code::NotFound, "no such link"),
    }
}

async fn verify(
    State(fake): State<FakeRoutd>,
    Path(id): Path<String>,
    Json(mut shown): Json<serde_json::Value>,
) -> Response {
    shown["id"] = id.into();
    let shown: VerifyDelivery = serde_json::from_value(shown).unwrap();
    let payload = STANDARD.decode(&shown.payload).unwrap();
    let fits = |secret: &Vec<u8>| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut shown = shown.signatures.iter().map(|one| STANDARD.decode(one).unwrap());
        shown.any(|one| hmac::verify(&key, &payload, &one).is_ok())
    };
    let at = fake.state().signing.iter().position(fits);
    Json(Verified { verified: at.is_some(), by_previous: at == Some(1) }).into_response()
}

async fn feed(
    State(fake): State<FakeRoutd>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let number = |name: &str| query.get(name).map(|n| n.parse::<i64>().unwrap());
    let query = FeedQuery {
        chat_jid: query["chat_jid"].parse().unwrap(),
        after: number("after"),
        limit: number("limit").map(|n| n.try_into().unwrap()),
        wait_seconds: number("wait_seconds").unwrap_or_default().try_into().unwrap(),
    };
    fake.state().polls.push(query.after);
    let wait = Duration::from_secs(query.wait_seconds.into());
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let news = fake.news.notified();
        let page = {
            let state = fake.state();
            let of_chat = state.feed.iter().filter(|(jid, _)| *jid == query.chat_jid);
            let after = query.after.unwrap_or(0);
            let events: Vec<_> =
                of_chat.map(|(_, event)| event.clone()).filter(|e| e.seq > after).collect();
            let cursor = events.last().map_or(after, |event| event.seq);
            FeedPage { events, cursor }
        };
        if !page.events.is_empty() || query.after.is_none() || wait.is_zero() {
            return Json(page).into_response();
        }
        if tokio::time::timeout_at(deadline, news).await.is_err() {
            return Json(page).into_response();
        }
    }
}
