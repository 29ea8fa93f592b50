//! Telegram, as the adapter crate drives it.

use crate::{
    address,
    answer::ApiError,
    bot::{Bot, Broken, CALL},
    piece::{self, Class, Media, Piece, Place, Text},
};
use adapter::{Act, Files, Handing, OpenFile, Platform, Profile, Spool, SpoolError, Trouble};
use async_trait::async_trait;
use futures::StreamExt;
use proto::{Jid, Opaque};
use reqwest::{
    Body,
    multipart::{Form, Part},
};
use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Bytes of a file, as Telegram's own Bot API takes and gives it.
const CLOUD_UP: u64 = 50 * 1024 * 1024;
const CLOUD_DOWN: u64 = 20 * 1024 * 1024;
/// The same of a Bot API server of one's own.
const OWN_MAX: u64 = 2_000 * 1024 * 1024;
/// What Telegram lets a bot react with, as a hint.
const REACTIONS: &str = "use one of 👍 👎 ❤ 🔥 🎉 👏 😁 🤔 😢 🙏 👀 👌";

/// Where groups went that became supergroups, as JSON.
const MOVED: &str = "moved";

/// The platform.
#[derive(Debug)]
pub(crate) struct Telegram {
    bot: Bot,
    spool: Spool,
    upload_max: u64,
    download_max: u64,
    /// The supergroups that groups have become.
    moved: Mutex<HashMap<i64, i64>>,
}

impl Telegram {
    /// Telegram through `bot`, at its own server or at one of one's own.
    pub(crate) async fn new(bot: Bot, spool: Spool, is_cloud: bool) -> Result<Self, SpoolError> {
        let (upload_max, download_max) =
            if is_cloud { (CLOUD_UP, CLOUD_DOWN) } else { (OWN_MAX, OWN_MAX) };
        let known = spool.mark(MOVED).await?;
        let moved = known.and_then(|mark| serde_json::from_str(&mark.value).ok());
        let moved = Mutex::new(moved.unwrap_or_default());
        Ok(Self { bot, spool, upload_max, download_max, moved })
    }

    /// Bytes of the largest file that can be had.
    pub(crate) const fn download_max(&self) -> u64 {
        self.download_max
    }

    /// Remembers that the group `old` has become the supergroup `new`.
    pub(crate) async fn has_moved(&self, old: i64, new: i64) {
        let text = {
            let mut moved = self.moved();
            moved.insert(old, new);
            serde_json::to_string(&*moved)
        };
        tracing::info!(old, new, "a group has become a supergroup");
        if let Ok(text) = text
            && let Err(error) = self.spool.set_mark(MOVED, text).await
        {
            tracing::error!(error = %kit::chain(&error), "a group's new id is known until a restart");
        }
    }

    fn moved(&self) -> MutexGuard<'_, HashMap<i64, i64>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chat(&self, jid: &Jid) -> Result<i64, Trouble> {
        let id = address::chat_id(jid)?;
        Ok(self.moved().get(&id).copied().unwrap_or(id))
    }

    async fn once(
        &self,
        piece: &Piece,
        chat: i64,
        handing: &Handing<'_>,
    ) -> Result<Vec<Opaque>, ApiError> {
        match piece {
            Piece::Text { text, place } => self.text(chat, text, place).await,
            Piece::Files { files, caption, place } => {
                let batch = Batch { chat, files, caption: caption.as_ref(), place, handing };
                self.files(&batch).await
            }
            Piece::Edit { id, text } => self.edit(chat, *id, text).await.map(|()| Vec::new()),
            Piece::Delete { ids } => {
                let (method, field, value) = match ids.as_slice() {
                    [id] => ("deleteMessage", "message_id", json!(id)),
                    ids => ("deleteMessages", "message_ids", json!(ids)),
                };
                let request = json!({ "chat_id": chat, field: value });
                already(self.bot.call(method, &request, CALL).await)
            }
            Piece::React { id, emoji } => {
                let reaction = match emoji.as_str() {
                    "" => json!([]),
                    emoji => json!([{ "type": "emoji", "emoji": emoji }]),
                };
                let request = json!({ "chat_id": chat, "message_id": id, "reaction": reaction });
                already(self.bot.call("setMessageReaction", &request, CALL).await)
            }
        }
    }

    async fn text(&self, chat: i64, text: &Text, place: &Place) -> Result<Vec<Opaque>, ApiError> {
        let mut request = placed(chat, place);
        request.insert("text".into(), text.html.as_str().into());
        request.insert("parse_mode".into(), "HTML".into());
        // Telegram would fetch every address that an agent writes.
        request.insert("link_preview_options".into(), json!({ "is_disabled": true }));
        let sent = match self.bot.call("sendMessage", &request.clone().into(), CALL).await {
            // It was refused as a whole, so it can be sent again without its markup.
            Err(error) if error.is_about_markup() => {
                tracing::warn!(%error, "a message goes without its markup");
                request.insert("text".into(), text.plain.as_str().into());
                request.remove("parse_mode");
                self.bot.call("sendMessage", &request.into(), CALL).await
            }
            other => other,
        };
        ids(&sent?)
    }

    async fn edit(&self, chat: i64, id: i64, text: &Text) -> Result<(), ApiError> {
        let base = json!({ "chat_id": chat, "message_id": id });
        let request = |field: &str, text: &str, is_html: bool| {
            let mut request = base.as_object().cloned().unwrap_or_default();
            request.insert(field.into(), text.into());
            if is_html {
                request.insert("parse_mode".into(), "HTML".into());
            }
            Value::from(request)
        };
        let text_of =
            |is_html| request("text", if is_html { &text.html } else { &text.plain }, is_html);
        let mut answer = self.bot.call("editMessageText", &text_of(true), CALL).await;
        if answer.as_ref().is_err_and(ApiError::is_about_markup) {
            answer = self.bot.call("editMessageText", &text_of(false), CALL).await;
        }
        if answer.as_ref().is_err_and(ApiError::is_a_caption) {
            let caption = request("caption", &text.html, true);
            answer = self.bot.call("editMessageCaption", &caption, CALL).await;
        }
        already(answer).map(drop)
    }

    async fn files(&self, batch: &Batch<'_>) -> Result<Vec<Opaque>, ApiError> {
        if let [media] = batch.files {
            let sent = self.file(batch, media, media.class).await;
            return match sent {
                // It was refused as a whole, and any file can be a document.
                Err(error) if media.class == Class::Photo && error.is_about_the_picture() => {
                    self.file(batch, media, Class::Document).await
                }
                other => other,
            };
        }
        let form = async |broken: Broken| {
            let mut described = Vec::new();
            let mut form = fields(Form::new(), &placed(batch.chat, batch.place));
            for (index, media) in batch.files.iter().enumerate() {
                let name = format!("file{index}");
                let (_, class) = media.class.method();
                let mut one = json!({ "type": class, "media": format!("attach://{name}") });
                if let (0, Some(caption), Some(one)) = (index, batch.caption, one.as_object_mut()) {
                    one.insert("caption".into(), caption.html.as_str().into());
                    one.insert("parse_mode".into(), "HTML".into());
                }
                described.push(one);
                form = form.part(name, self.part(batch, media, &broken).await?);
            }
            Ok(form.text("media", Value::from(described).to_string()))
        };
        ids(&self.bot.upload("sendMediaGroup", form).await?)
    }

    async fn file(
        &self,
        batch: &Batch<'_>,
        media: &Media,
        class: Class,
    ) -> Result<Vec<Opaque>, ApiError> {
        let (method, field) = class.method();
        let form = async |broken: Broken| {
            let mut request = placed(batch.chat, batch.place);
            if let Some(caption) = batch.caption {
                request.insert("caption".into(), caption.html.as_str().into());
                request.insert("parse_mode".into(), "HTML".into());
            }
            let form = fields(Form::new(), &request);
            Ok(form.part(field, self.part(batch, media, &broken).await?))
        };
        ids(&self.bot.upload(method, form).await?)
    }

    /// A file as a part of a form, read from routd while it is sent.
    async fn part(
        &self,
        batch: &Batch<'_>,
        media: &Media,
        broken: &Broken,
    ) -> Result<Part, Trouble> {
        let files: &Files = batch.handing.files;
        let open = files.open(&media.file, batch.handing.chat, self.upload_max).await?;
        let note = broken.clone();
        let content = open.content.inspect(move |piece| {
            if let Err(trouble) = piece {
                let mut broken = note.lock().unwrap_or_else(PoisonError::into_inner);
                broken.get_or_insert_with(|| trouble.clone());
            }
        });
        let body = Body::wrap_stream(content);
        let part = match open.size {
            Some(size) => Part::stream_with_length(body, size),
            None => Part::stream(body),
        };
        let part = part.file_name(media.file.filename.clone());
        // A type that is none is left to Telegram to guess.
        let mime = media.file.mime.as_str();
        let is_mime = mime.parse::<axum::http::HeaderValue>().is_ok() && mime.contains('/');
        if !is_mime {
            return Ok(part);
        }
        part.mime_str(mime).map_err(|_| Trouble::Permanent(format!("{mime} is no media type")))
    }
}

/// Files on their way, and where to.
struct Batch<'a> {
    chat: i64,
    files: &'a [Media],
    caption: Option<&'a Text>,
    place: &'a Place,
    handing: &'a Handing<'a>,
}

/// The fields that say where a message goes.
fn placed(chat: i64, place: &Place) -> Map<String, Value> {
    let mut request = Map::new();
    request.insert("chat_id".into(), chat.into());
    if let Some(thread) = place.thread {
        request.insert("message_thread_id".into(), thread.into());
    }
    if let Some(reply_to) = place.reply_to {
        // A message that was taken back meanwhile is answered all the same.
        let reply = json!({ "message_id": reply_to, "allow_sending_without_reply": true });
        request.insert("reply_parameters".into(), reply);
    }
    request
}

fn fields(form: Form, request: &Map<String, Value>) -> Form {
    request.iter().fold(form, |form, (name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        form.text(name.clone(), text)
    })
}

/// The ids of the message or messages in a result.
fn ids(result: &Value) -> Result<Vec<Opaque>, ApiError> {
    let messages = match result {
        Value::Array(messages) => messages.as_slice(),
        message => std::slice::from_ref(message),
    };
    let id = |message: &Value| message.get("message_id")?.as_i64().and_then(address::opaque);
    let ids: Option<Vec<Opaque>> = messages.iter().map(id).collect();
    ids.filter(|ids| !ids.is_empty())
        .ok_or_else(|| ApiError::NoAnswer("its answer names no message".into()))
}

fn already(answer: Result<Value, ApiError>) -> Result<Vec<Opaque>, ApiError> {
    match answer {
        Err(error) if error.is_already_so() => Ok(Vec::new()),
        other => other.map(|_| Vec::new()),
    }
}

#[async_trait]
impl Platform for Telegram {
    type Piece = Piece;

    fn profile(&self) -> Profile {
        Profile {
            name: "telegram",
            prefixes: &[address::PREFIX],
            capabilities: &["edit", "delete", "react", "send_file", "typing"],
        }
    }

    fn plan(&self, act: &Act) -> Result<Vec<Piece>, Trouble> {
        piece::plan(act)
    }

    async fn hand(&self, piece: &Piece, handing: &Handing<'_>) -> Result<Vec<Opaque>, Trouble> {
        let chat = self.chat(handing.chat)?;
        let mut handed = self.once(piece, chat, handing).await;
        if let Err(ApiError::Migrated(new)) = handed {
            self.has_moved(chat, new).await;
            handed = self.once(piece, new, handing).await;
        }
        // What changes a message can be done twice; what makes one cannot.
        let harmless = !matches!(piece, Piece::Text { .. } | Piece::Files { .. });
        handed.map_err(|error| {
            if error.is_about_the_reaction() {
                let why = "Telegram has no such reaction".to_owned();
                return Trouble::Unsupported { why, hint: REACTIONS.into() };
            }
            error.trouble(harmless)
        })
    }

    async fn typing(&self, chat: &Jid, thread: Option<&str>) -> Result<(), Trouble> {
        let thread = thread.and_then(|thread| thread.parse().ok());
        let mut request = placed(self.chat(chat)?, &Place { reply_to: None, thread });
        request.insert("action".into(), "typing".into());
        let shown = self.bot.call("sendChatAction", &request.into(), CALL).await;
        shown.map(drop).map_err(|error| error.trouble(true))
    }

    async fn open_file(&self, id: &str) -> Result<OpenFile, Trouble> {
        let found = self.bot.call("getFile", &json!({ "file_id": id }), CALL).await;
        let found = found.map_err(|error| error.trouble(true))?;
        let path = found.get("file_path").and_then(Value::as_str).unwrap_or_default();
        // A server in its local mode names a file of its own machine, which it does not serve.
        if path.is_empty() || path.starts_with('/') || path.contains("..") {
            return Err(Trouble::Permanent("Telegram does not serve this file".into()));
        }
        self.bot.file(path, self.download_max).await
    }
}
