//! What the server knows.

use super::{BOT, USERNAME};
use axum::body::Bytes;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What goes wrong with a call.
#[derive(Clone, Debug)]
pub enum Lie {
    /// It is refused with this code, description and `parameters`.
    Refuses(u16, &'static str, Value),
    /// It is done, and half an answer comes back.
    TakesAndBreaksOff,
    /// It is not done, and half an answer comes back.
    DropsAndBreaksOff,
    /// Something in front of Telegram answers with this status.
    Garbage(u16),
    /// It takes this long.
    Waits(Duration),
}

/// A message of the bot's, or a file with its caption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub method: String,
    pub chat: i64,
    pub id: i64,
    /// As people read it.
    pub text: String,
    pub entities: Vec<Value>,
    pub reply_to: Option<i64>,
    pub thread: Option<i64>,
    /// A file's name and content.
    pub file: Option<(String, Bytes)>,
}

/// A file that Telegram keeps.
pub(super) struct File {
    pub(super) id: String,
    pub(super) path: String,
    pub(super) content: Bytes,
}

/// A webhook, while there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Webhook {
    pub(super) url: String,
    pub(super) secret: String,
    pub(super) last_error: Option<String>,
}

#[derive(Default)]
pub(super) struct State {
    tokens: u64,
    last_message: i64,
    last_update: i64,
    pub(super) updates: Vec<Value>,
    /// The first update that was not confirmed.
    pub(super) confirmed: i64,
    pub(super) told_again: bool,
    /// Counts the pollers: the last one is served.
    pub(super) pollers: u64,
    pub(super) webhook: Option<Webhook>,
    pub(super) chats: BTreeMap<i64, Value>,
    pub(super) blocked: BTreeSet<i64>,
    pub(super) became: BTreeMap<i64, i64>,
    pub(super) sent: Vec<Sent>,
    pub(super) reactions: BTreeMap<(i64, i64), String>,
    pub(super) files: Vec<File>,
    pub(super) calls: Vec<String>,
    pub(super) last: BTreeMap<String, Value>,
    pub(super) lies: Vec<(String, Lie)>,
}

impl State {
    pub(super) fn token(&self) -> String {
        format!("{BOT}:AA-token-of-the-loopback-bot-{:08}", self.tokens)
    }

    pub(super) fn revoke(&mut self) -> String {
        self.tokens += 1;
        // Whoever polls under the old one is sent away.
        self.pollers += 1;
        self.token()
    }

    pub(super) fn lie(&mut self, method: &str) -> Option<Lie> {
        let at = self.lies.iter().position(|(of, _)| of == method)?;
        Some(self.lies.remove(at).1)
    }

    pub(super) fn next_message(&mut self) -> i64 {
        self.last_message += 1;
        self.last_message
    }

    pub(super) fn written(&mut self, chat: &Value, person: i64, fields: Value) -> i64 {
        let id = self.next_message();
        let mut message =
            json!({ "message_id": id, "date": now(), "chat": chat, "from": somebody(person) });
        for (name, value) in fields.as_object().unwrap() {
            message[name] = value.clone();
        }
        self.chats.insert(chat["id"].as_i64().unwrap(), chat.clone());
        self.happened(json!({ "message": message }));
        id
    }

    pub(super) fn happened(&mut self, mut content: Value) -> i64 {
        self.last_update += 1;
        content["update_id"] = (10_000 + self.last_update).into();
        self.updates.push(content);
        10_000 + self.last_update
    }

    pub(super) fn moved(&mut self, old: i64, new: i64) {
        self.became.insert(old, new);
        let mut chat = self.chats.get(&old).cloned().unwrap_or_else(|| json!({}));
        (chat["id"], chat["type"]) = (new.into(), "supergroup".into());
        self.chats.insert(new, chat);
    }

    pub(super) fn tell_again(&mut self) {
        (self.confirmed, self.told_again) = (0, true);
    }

    pub(super) fn pending(&self) -> usize {
        self.updates.iter().filter(|update| id_of(update) >= self.confirmed).count()
    }

    pub(super) fn keep_file(&mut self, name: &str, mime: &str, content: impl Into<Bytes>) -> Value {
        let content = content.into();
        let id = format!("file_{}", self.files.len() + 1);
        let path = format!("documents/{id}");
        let size = content.len();
        self.files.push(File { id: id.clone(), path, content });
        json!({ "file_id": id, "file_unique_id": format!("u{id}"), "file_name": name, "mime_type": mime, "file_size": size })
    }

    pub(super) fn texts(&self, chat: i64) -> Vec<String> {
        self.sent.iter().filter(|sent| sent.chat == chat).map(|sent| sent.text.clone()).collect()
    }
}

pub(super) fn id_of(update: &Value) -> i64 {
    update["update_id"].as_i64().unwrap()
}

pub(super) fn me() -> Value {
    json!({ "id": BOT, "is_bot": true, "first_name": "Bot", "username": USERNAME })
}

pub(super) fn somebody(person: i64) -> Value {
    json!({ "id": person, "is_bot": false, "first_name": format!("P{person}") })
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
