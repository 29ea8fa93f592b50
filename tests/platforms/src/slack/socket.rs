//! Socket Mode (<https://docs.slack.dev/apis/events-api/using-socket-mode>): any one open socket of the app gets an
//! envelope, and what is not acknowledged before its socket ends goes to another.

use super::{APP, Shared, Slack, state::Socket};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::StatusCode,
    },
};

pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut all = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        all.spawn(connection(stream, shared.clone()));
    }
}

#[expect(clippy::result_large_err, reason = "the library says what a refusal is")]
async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let mut token = None;
    let check = |request: &Request, response: Response| {
        let ticket = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .find_map(|pair| pair.strip_prefix("ticket="));
        token = ticket.and_then(|ticket| shared.inner().tickets.remove(ticket));
        if token.is_some() {
            return Ok(response);
        }
        let mut refused = ErrorResponse::new(Some("no such ticket".to_owned()));
        *refused.status_mut() = StatusCode::FORBIDDEN;
        Err(refused)
    };
    let Ok(mut socket) = accept_hdr_async(stream, check).await else { return };
    let Some(token) = token else { return };
    let (out, mut queue) = mpsc::unbounded_channel();
    let id = {
        let mut inner = shared.inner();
        let id = inner.fresh();
        let hello = json!({"type": "hello", "num_connections": inner.sockets.len() + 1,
            "connection_info": {"app_id": APP}, "debug_info": {"host": "loopback", "approximate_connection_time": 18060}});
        let _open = out.send(hello).is_ok();
        inner.sockets.insert(id, Socket { token, out, open: Vec::new() });
        let open = inner.sockets.len();
        inner.fewest_sockets.get_or_insert(open);
        id
    };
    flush(&shared);
    shared.changed();
    loop {
        tokio::select! {
            next = queue.recv() => {
                let Some(frame) = next else { break };
                let bye = frame["type"] == "disconnect";
                if socket.send(Message::text(frame.to_string())).await.is_err() {
                    break;
                }
                if bye && frame["reason"] == "link_disabled" {
                    let _closed = socket.close(None).await.is_ok();
                    break;
                }
            }
            heard = socket.next() => match heard {
                Some(Ok(Message::Text(text))) => acknowledge(&shared, id, &text),
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
    let open = {
        let mut inner = shared.inner();
        let open = inner.sockets.remove(&id).map(|socket| socket.open).unwrap_or_default();
        let left = inner.sockets.len();
        inner.fewest_sockets = inner.fewest_sockets.map(|fewest| fewest.min(left));
        open
    };
    for mut envelope in open {
        let attempt = envelope["retry_attempt"].as_u64().unwrap_or(0) + 1;
        envelope["retry_attempt"] = attempt.into();
        envelope["retry_reason"] = "timeout".into();
        shared.inner().unsent.push_back(envelope);
    }
    flush(&shared);
    shared.changed();
}

fn acknowledge(shared: &Shared, id: u64, text: &str) {
    let said: Value = serde_json::from_str(text).unwrap_or_default();
    let Some(envelope) = said["envelope_id"].as_str() else { return };
    let mut inner = shared.inner();
    if let Some(socket) = inner.sockets.get_mut(&id) {
        socket.open.retain(|one| one["envelope_id"] != envelope);
    }
    inner.acknowledged.push((envelope.to_owned(), said["payload"].clone()));
    drop(inner);
    shared.changed();
}

/// Gives what waits to the newest socket.
fn flush(shared: &Shared) {
    let mut inner = shared.inner();
    while let Some(envelope) = inner.unsent.pop_front() {
        let Some(mut newest) = inner.sockets.last_entry() else {
            inner.unsent.push_front(envelope);
            return;
        };
        let socket = newest.get_mut();
        socket.open.push(envelope.clone());
        let _gone = socket.out.send(envelope).is_err();
    }
}

impl Slack {
    /// Sends something through a socket: `events_api` with an event, `slash_commands`, or `interactive`. Its id.
    pub fn send_through_socket(&self, kind: &str, payload: &Value) -> String {
        let id = format!("envelope-{}", self.shared.inner().fresh());
        let envelope = json!({"envelope_id": id, "type": kind, "payload": payload,
            "accepts_response_payload": kind != "events_api", "retry_attempt": 0, "retry_reason": ""});
        self.shared.inner().unsent.push_back(envelope);
        flush(&self.shared);
        id
    }

    /// How many sockets are open.
    pub fn sockets(&self) -> usize {
        self.shared.inner().sockets.len()
    }

    /// The fewest sockets that were open at any moment since the first one was.
    pub fn fewest_sockets(&self) -> usize {
        self.shared.inner().fewest_sockets.unwrap_or(0)
    }

    /// How many sockets are open under a token.
    pub fn sockets_of(&self, token: &str) -> usize {
        self.shared.inner().sockets.values().filter(|socket| socket.token == token).count()
    }

    /// Whether an envelope was acknowledged.
    pub fn is_acknowledged(&self, envelope: &str) -> bool {
        self.shared.inner().acknowledged.iter().any(|(id, _)| id == envelope)
    }

    /// Tells the sockets that they end soon, as Slack does every few hours; they stay open for a while.
    pub fn refresh_sockets(&self) {
        for socket in self.shared.inner().sockets.values() {
            let bye = json!({"type": "disconnect", "reason": "refresh_requested", "debug_info": {"host": "loopback"}});
            let _gone = socket.out.send(bye).is_err();
        }
    }

    /// Cuts every socket, without a word.
    pub fn cut_sockets(&self) {
        // What a socket writes from goes, and with it the socket.
        let mut inner = self.shared.inner();
        let ids: Vec<u64> = inner.sockets.keys().copied().collect();
        for id in ids {
            let Some(socket) = inner.sockets.get_mut(&id) else { continue };
            let (nowhere, _) = mpsc::unbounded_channel();
            socket.out = nowhere;
        }
    }
}
