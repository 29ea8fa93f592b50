//! One socket of Slack's: opened, listened to, closed.
//!
//! Socket Mode (<https://docs.slack.dev/apis/events-api/using-socket-mode>) brings the same events as HTTP, each in an
//! envelope. An envelope is acknowledged after what is in it is on disk; one that is not acknowledged comes again through
//! another socket.

use crate::{
    api::{Api, CallError},
    credentials::Token,
    event::Channel,
    inbound::Inbound,
};
use futures::{SinkExt, StreamExt};
use reqwest::Upgraded;
use secrets::Watched;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::Role,
    },
};
use tokio_util::sync::CancellationToken;
use url::Url;

/// How long opening one may take, up to Slack's hello.
const OPENING: Duration = Duration::from_secs(15);
/// How long a socket may be silent before it is asked whether it lives; Slack itself asks every few seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// How long Slack may take to see that a socket is closed.
const CLOSING: Duration = Duration::from_secs(2);

/// What happens to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Slack will end it soon: another one is to be opened.
    Ending,
    /// It is closed.
    Ended,
}

/// A socket that is open.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Tells what happens to it.
    pub(crate) changes: mpsc::UnboundedReceiver<Change>,
    retire: CancellationToken,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.retire.cancel();
    }
}

type Stream = WebSocketStream<Upgraded>;

/// Opens a socket under the app's token: answers when Slack has said hello.
///
/// # Errors
/// Why it is not open.
pub(crate) async fn open(
    api: &Api,
    token: &Watched<Option<Token>>,
    inbound: &Arc<Inbound>,
    stop: &CancellationToken,
) -> Result<Socket, String> {
    let opened = timeout(OPENING, connect(api, token)).await;
    let stream = opened.map_err(|_| "Slack said no hello in time".to_owned())??;
    let (tell, changes) = mpsc::unbounded_channel();
    let retire = stop.child_token();
    let (until, inbound) = (retire.clone(), inbound.clone());
    inbound.tasks.clone().spawn("slakd.socket", async move {
        inbound.figures.sockets.inc();
        listen(stream, &inbound, &tell, &until).await;
        inbound.figures.sockets.dec();
        // Nobody may be there to hear it.
        let _told = tell.send(Change::Ended).is_ok();
    });
    Ok(Socket { changes, retire })
}

async fn connect(api: &Api, token: &Watched<Option<Token>>) -> Result<Stream, String> {
    let answer = api.call_under(token, "apps.connections.open", &Vec::new()).await;
    let answer = answer.map_err(|error| match error {
        CallError::NoToken => "there is no SLACK_APP_TOKEN".to_owned(),
        error => error.to_string(),
    })?;
    let url = answer["url"].as_str().and_then(|url| Url::parse(url).ok());
    let url = url.filter(|url| api.url().may_be_followed(url));
    let mut url = url.ok_or("Slack named no socket that may be opened")?;
    let scheme = if url.scheme() == "ws" { "http" } else { "https" };
    if matches!(url.scheme(), "ws" | "wss") {
        // The ticket in it is spent by this; the handshake is a request like any other (RFC 6455, section 4.1).
        let rest = url.as_str().split_once(':').map(|(_, rest)| rest).unwrap_or_default();
        url = Url::parse(&format!("{scheme}:{rest}")).map_err(|error| error.to_string())?;
    }
    let key = generate_key();
    let request = api
        .http()
        .get(url)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", &key);
    let broken = |error: reqwest::Error| {
        format!("a socket is not opened: {}", kit::chain(&error.without_url()))
    };
    let response = request.send().await.map_err(broken)?;
    let accept = response.headers().get("sec-websocket-accept").and_then(|it| it.to_str().ok());
    let is_ours = accept == Some(derive_accept_key(key.as_bytes()).as_str());
    if response.status().as_u16() != 101 || !is_ours {
        return Err(format!("Slack answered {} to a socket", response.status().as_u16()));
    }
    let upgraded = response.upgrade().await.map_err(broken)?;
    let mut stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    while let Some(frame) = stream.next().await {
        let frame = frame.map_err(|error| format!("a socket broke off: {error}"))?;
        if let Message::Text(text) = frame {
            let said: Value = serde_json::from_str(&text).unwrap_or_default();
            match said["type"].as_str() {
                Some("hello") => return Ok(stream),
                Some("disconnect") => {
                    let why = said["reason"].as_str().unwrap_or("no reason");
                    return Err(format!("Slack closed a socket at once: {why}"));
                }
                _ => {}
            }
        }
    }
    Err("Slack closed a socket without a hello".to_owned())
}

/// Listens until it ends.
async fn listen(
    mut stream: Stream,
    inbound: &Inbound,
    tell: &mpsc::UnboundedSender<Change>,
    retire: &CancellationToken,
) {
    let mut asked = false;
    loop {
        let frame = tokio::select! {
            () = retire.cancelled() => return close(stream).await,
            frame = timeout(SILENCE, stream.next()) => frame,
        };
        let text = match frame {
            Err(_) if asked => {
                tracing::warn!("a socket of Slack's is silent; another one is opened");
                return;
            }
            Err(_) => {
                asked = true;
                if stream.send(Message::Ping(Vec::new().into())).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(None | Some(Ok(Message::Close(_)))) => return,
            Ok(Some(Err(error))) => {
                tracing::warn!(%error, "a socket of Slack's broke off");
                return;
            }
            Ok(Some(Ok(Message::Text(text)))) => text,
            // A question whether we live is answered by the library, and is a sign of life itself.
            Ok(Some(Ok(_))) => {
                asked = false;
                continue;
            }
        };
        asked = false;
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        match said["type"].as_str().unwrap_or_default() {
            "disconnect" if said["reason"] == "link_disabled" => return close(stream).await,
            // Nobody may be there to hear it.
            "disconnect" => drop(tell.send(Change::Ending)),
            kind => {
                let Some(envelope) = said["envelope_id"].as_str() else { continue };
                if !take(inbound, kind, &said).await {
                    continue;
                }
                let answer = json!({"envelope_id": envelope}).to_string();
                if stream.send(Message::text(answer)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Takes what is in an envelope. Whether it may be acknowledged.
async fn take(inbound: &Inbound, kind: &str, envelope: &Value) -> bool {
    let how = match kind {
        "events_api" => Channel::Event,
        "slash_commands" => Channel::Command,
        "interactive" => Channel::Interaction,
        // Nothing is done about it, now or when it comes again.
        _ => return true,
    };
    if envelope["retry_attempt"].as_u64().is_some_and(|attempt| attempt > 0) {
        inbound.figures.retried();
    }
    match inbound.take(how, &envelope["payload"]).await {
        Ok(()) => true,
        Err(error) => {
            inbound.figures.heard(crate::figures::Outcome::Lost);
            tracing::error!(error = %kit::chain(&error), "an event is not kept; Slack tells it again");
            false
        }
    }
}

async fn close(mut stream: Stream) {
    // Whether Slack sees it or not, it is over.
    let _closed = timeout(CLOSING, stream.close(None)).await.is_ok();
}
