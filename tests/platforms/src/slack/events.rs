//! What people do, as events: signed and posted to the app, or sent through its sockets.

use super::{APP, BOT_USER, Kind, Slack, TEAM, files, state::File};
use aws_lc_rs::hmac;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long Slack waits for an app to acknowledge.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often Slack posts an event again.
const REPEATS: u32 = 3;

/// What became of an event that was posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The status of each attempt; 0 where no answer came in time.
    pub attempts: Vec<u16>,
    /// The last answer's body.
    pub body: String,
}

impl Delivered {
    /// Whether the app acknowledged it.
    pub fn is_acknowledged(&self) -> bool {
        self.attempts.last() == Some(&200)
    }
}

/// The signature of a request of Slack's (`v0`).
pub fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut message = format!("v0:{timestamp}:").into_bytes();
    message.extend_from_slice(body);
    format!("v0={}", hex::encode(hmac::sign(&key, &message)))
}

/// Seconds since 1970, now.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Slack {
    /// An event of the Events API around `event`, with an id of its own.
    pub fn envelope(&self, event: Value) -> Value {
        let id = format!("Ev{:08}", self.shared.inner().fresh());
        json!({"token": "deprecated", "team_id": TEAM, "api_app_id": APP, "type": "event_callback",
            "event_id": id, "event_time": now(), "is_ext_shared_channel": false, "event": event,
            "authorizations": [{"enterprise_id": null, "team_id": TEAM, "user_id": BOT_USER, "is_bot": true,
                "is_enterprise_install": false}]})
    }

    /// A member says something; the event that tells of it.
    pub fn says(&self, user: &str, channel: &str, text: &str) -> Value {
        self.says_in(user, channel, None, text)
    }

    /// The same in a thread.
    pub fn says_in(&self, user: &str, channel: &str, thread: Option<&str>, text: &str) -> Value {
        let mut message = json!({"type": "message", "user": user, "text": text, "team": TEAM});
        if let Some(thread) = thread {
            message["thread_ts"] = thread.into();
        }
        self.happens(channel, message)
    }

    /// A member sends a file; the event that tells of it.
    pub fn sends_file(
        &self,
        user: &str,
        channel: &str,
        name: &str,
        mime: &str,
        content: &[u8],
    ) -> Value {
        let file = {
            let mut inner = self.shared.inner();
            let id = format!("F{}", inner.fresh());
            let file = File {
                name: name.into(),
                mime: mime.into(),
                promised: content.len(),
                content: content.to_vec(),
                shared: true,
            };
            let shown = files::shown(&self.shared, &id, &file);
            inner.files.insert(id, file);
            shown
        };
        let message = json!({"type": "message", "subtype": "file_share", "user": user, "text": "", "team": TEAM,
            "files": [file]});
        self.happens(channel, message)
    }

    fn happens(&self, channel: &str, mut message: Value) -> Value {
        let kind = {
            let mut inner = self.shared.inner();
            message["ts"] = inner.next_ts().into();
            let found = inner.channel_mut(channel).unwrap();
            found.messages.push(message.clone());
            found.kind
        };
        message["channel"] = channel.into();
        message["event_ts"] = message["ts"].clone();
        message["channel_type"] = match kind {
            Kind::Public => "channel",
            Kind::Private => "group",
            Kind::Direct => "im",
        }
        .into();
        self.shared.changed();
        self.envelope(message)
    }

    /// The event of a mention, beside that of the message itself.
    pub fn mention_of(&self, said: &Value) -> Value {
        let mut event = said["event"].clone();
        event["type"] = "app_mention".into();
        if let Some(fields) = event.as_object_mut() {
            fields.remove("channel_type");
        }
        self.envelope(event)
    }

    /// A member changes what was said; the event that tells of it.
    pub fn edits(&self, said: &Value, text: &str) -> Value {
        let (channel, ts) = (said["event"]["channel"].clone(), said["event"]["ts"].clone());
        let (before, after, at) = {
            let mut inner = self.shared.inner();
            let at = inner.next_ts();
            let found = inner.channel_mut(channel.as_str().unwrap()).unwrap();
            let message = found.messages.iter_mut().find(|message| message["ts"] == ts).unwrap();
            let before = message.clone();
            message["text"] = text.into();
            message["edited"] = json!({"user": before["user"], "ts": at});
            (before, message.clone(), at)
        };
        self.envelope(json!({"type": "message", "subtype": "message_changed", "hidden": true, "channel": channel,
            "ts": at, "event_ts": at, "message": after, "previous_message": before}))
    }

    /// A member takes back what was said; the event that tells of it.
    pub fn deletes(&self, said: &Value) -> Value {
        let (channel, ts) = (said["event"]["channel"].clone(), said["event"]["ts"].clone());
        let (before, at) = {
            let mut inner = self.shared.inner();
            let at = inner.next_ts();
            let found = inner.channel_mut(channel.as_str().unwrap()).unwrap();
            let place = found.messages.iter().position(|message| message["ts"] == ts).unwrap();
            (found.messages.remove(place), at)
        };
        self.envelope(json!({"type": "message", "subtype": "message_deleted", "hidden": true, "channel": channel,
            "ts": at, "event_ts": at, "deleted_ts": ts, "previous_message": before}))
    }

    /// A member reacts to a message; the event that tells of it.
    pub fn reacts(&self, user: &str, channel: &str, ts: &str, name: &str) -> Value {
        let at = self.shared.inner().next_ts();
        self.envelope(
            json!({"type": "reaction_added", "user": user, "reaction": name, "item_user": BOT_USER,
            "item": {"type": "message", "channel": channel, "ts": ts}, "event_ts": at}),
        )
    }

    /// A member opens the assistant's pane; the event that tells of it, and the thread.
    pub fn opens_pane(&self, user: &str, channel: &str) -> (Value, String) {
        let thread = {
            let mut inner = self.shared.inner();
            let ts = inner.next_ts();
            let root = json!({"type": "message", "subtype": "assistant_app_thread", "user": BOT_USER,
                "text": "New Assistant Thread", "ts": ts, "thread_ts": ts, "team": TEAM});
            inner.channel_mut(channel).unwrap().messages.push(root);
            ts
        };
        let pane = json!({"user_id": user, "channel_id": channel, "thread_ts": thread,
            "context": {"channel_id": "C1", "team_id": TEAM}});
        let event = json!({"type": "assistant_thread_started", "assistant_thread": pane, "event_ts": thread});
        (self.envelope(event), thread)
    }

    /// Posts an event to `url`, signed with `secret`, and again as Slack does while it is not acknowledged; without
    /// Slack's minutes between.
    pub async fn deliver(&self, url: &str, secret: &str, event: &Value) -> Delivered {
        let body = event.to_string();
        let mut delivered = Delivered { attempts: Vec::new(), body: String::new() };
        let mut reason = "";
        for attempt in 0..=REPEATS {
            let mut request = self.request(url, secret, "application/json", body.clone());
            if attempt > 0 {
                request = request
                    .header("x-slack-retry-num", attempt.to_string())
                    .header("x-slack-retry-reason", reason);
            }
            let sent = request.timeout(PATIENCE).send().await;
            let status = sent.as_ref().map_or(0, |answer| answer.status().as_u16());
            delivered.attempts.push(status);
            if let Ok(answer) = sent {
                delivered.body = answer.text().await.unwrap_or_default();
            }
            if status == 200 {
                break;
            }
            reason = if status == 0 { "http_timeout" } else { "http_error" };
        }
        delivered
    }

    /// Posts a form to `url`, signed with `secret`, once: a slash command, or an interaction in its field `payload`.
    pub async fn deliver_form(
        &self,
        url: &str,
        secret: &str,
        fields: &[(&str, &str)],
    ) -> Delivered {
        let body: String =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.request(url, secret, "application/x-www-form-urlencoded", body);
        match request.timeout(PATIENCE).send().await {
            Ok(answer) => Delivered {
                attempts: vec![answer.status().as_u16()],
                body: answer.text().await.unwrap_or_default(),
            },
            Err(_) => Delivered { attempts: vec![0], body: String::new() },
        }
    }

    fn request(
        &self,
        url: &str,
        secret: &str,
        kind: &str,
        body: String,
    ) -> reqwest::RequestBuilder {
        let timestamp = now().to_string();
        let signature = sign(secret, &timestamp, body.as_bytes());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        http.post(url)
            .header("content-type", kind)
            .header("x-slack-request-timestamp", timestamp)
            .header("x-slack-signature", signature)
            .body(body)
    }
}
