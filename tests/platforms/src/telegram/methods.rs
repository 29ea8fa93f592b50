//! The methods that change or tell something at once.

use super::{
    html,
    request::{Answer, Request},
    state::{Sent, State, me, now},
};
use serde_json::{Value, json};

/// The methods that send a file, each with its field.
const FILES: [(&str, &str); 6] = [
    ("sendPhoto", "photo"),
    ("sendDocument", "document"),
    ("sendVideo", "video"),
    ("sendAnimation", "animation"),
    ("sendAudio", "audio"),
    ("sendVoice", "voice"),
];
/// Units of UTF-16 of a text, and of a caption.
const TEXT_MAX: u64 = 4_096;
const CAPTION_MAX: u64 = 1_024;
/// What a bot may react with.
const REACTIONS: [&str; 6] = ["👍", "👎", "❤", "🔥", "🎉", "👀"];

pub(super) fn answer(state: &mut State, method: &str, request: &Request) -> Result<Answer, Answer> {
    match method {
        "getMe" => {
            let mut me = me();
            for right in
                ["can_join_groups", "can_read_all_group_messages", "supports_inline_queries"]
            {
                me[right] = false.into();
            }
            Ok(Answer::done(me))
        }
        "sendMessage" => {
            let chat = chat(state, request)?;
            let (text, entities) = words(request, "text", TEXT_MAX)?;
            if text.trim().is_empty() {
                return Err(Answer::bad("message text is empty"));
            }
            let sent = sent(state, method, chat, request, text, entities);
            Ok(Answer::done(shown(state, sent)))
        }
        "sendMediaGroup" => media_group(state, request),
        "editMessageText" | "editMessageCaption" => edit(state, method, request),
        "deleteMessage" | "deleteMessages" => delete(state, request),
        "setMessageReaction" => react(state, request),
        "sendChatAction" => chat(state, request).map(|_| Answer::done(true.into())),
        "answerCallbackQuery" => Ok(Answer::done(true.into())),
        "getFile" => {
            let id = request.text("file_id").unwrap_or_default();
            let file = state.files.iter().find(|file| file.id == id);
            let file = file.ok_or_else(|| Answer::bad("invalid file_id"))?;
            Ok(Answer::done(
                json!({ "file_id": id, "file_unique_id": format!("u{id}"), "file_size": file.content.len(), "file_path": file.path }),
            ))
        }
        _ => match FILES.iter().find(|(name, _)| *name == method) {
            Some((_, field)) => {
                let chat = chat(state, request)?;
                let (text, entities) = words(request, "caption", CAPTION_MAX)?;
                let file = request
                    .file(field)
                    .ok_or_else(|| Answer::bad("there is no file in the request"))?;
                if *field == "photo" && file.3.starts_with(b"no picture") {
                    return Err(Answer::bad("IMAGE_PROCESS_FAILED"));
                }
                let mut sent = sent(state, method, chat, request, text, entities);
                sent.file = Some((file.1.clone(), file.3.clone()));
                let answer = shown(state, sent);
                Ok(Answer::done(with_file(state, answer, field, file)))
            }
            None => Err(Answer::refused(404, "Not Found")),
        },
    }
}

/// The chat that a call is about.
fn chat(state: &State, request: &Request) -> Result<i64, Answer> {
    let chat = request.number("chat_id").ok_or_else(|| Answer::bad("chat_id is empty"))?;
    if let Some(new) = state.became.get(&chat) {
        let text = "Bad Request: group chat was upgraded to a supergroup chat";
        return Err(Answer::refused_with(400, text, json!({ "migrate_to_chat_id": new })));
    }
    if state.blocked.contains(&chat) {
        return Err(Answer::refused(403, "Forbidden: bot was blocked by the user"));
    }
    if !state.chats.contains_key(&chat) {
        return Err(Answer::bad("chat not found"));
    }
    Ok(chat)
}

/// A text as people read it, with its entities.
fn words(request: &Request, field: &str, limit: u64) -> Result<(String, Vec<Value>), Answer> {
    let text = request.text(field).unwrap_or_default();
    let (text, entities) = match request.text("parse_mode").as_deref() {
        None => (text, Vec::new()),
        Some("HTML") => html::parse(&text)
            .map_err(|why| Answer::bad(&format!("can't parse entities: {why}")))?,
        Some(_) => return Err(Answer::bad("unsupported parse_mode")),
    };
    if html::units(&text) > limit {
        let what =
            if field == "text" { "message is too long" } else { "message caption is too long" };
        return Err(Answer::bad(what));
    }
    Ok((text, entities))
}

fn sent(
    state: &mut State,
    method: &str,
    chat: i64,
    request: &Request,
    text: String,
    entities: Vec<Value>,
) -> Sent {
    let reply = request.value("reply_parameters").and_then(|reply| reply["message_id"].as_i64());
    Sent {
        method: method.into(),
        chat,
        id: state.next_message(),
        text,
        entities,
        reply_to: reply,
        thread: request.number("message_thread_id"),
        file: None,
    }
}

/// Keeps what was sent; the message as it is shown.
fn shown(state: &mut State, sent: Sent) -> Value {
    let mut message = json!({ "message_id": sent.id, "date": now(), "chat": state.chats[&sent.chat], "from": me() });
    let is_text = sent.method == "sendMessage";
    if is_text || !sent.text.is_empty() {
        message[if is_text { "text" } else { "caption" }] = sent.text.as_str().into();
        message[if is_text { "entities" } else { "caption_entities" }] =
            sent.entities.clone().into();
    }
    if let Some(thread) = sent.thread {
        (message["message_thread_id"], message["is_topic_message"]) = (thread.into(), true.into());
    }
    state.sent.push(sent);
    message
}

fn with_file(
    state: &mut State,
    mut message: Value,
    field: &str,
    file: &(String, String, String, axum::body::Bytes),
) -> Value {
    let mut kept = state.keep_file(&file.1, &file.2, file.3.clone());
    if field == "photo" {
        (kept["width"], kept["height"]) = (10.into(), 10.into());
        message[field] = json!([kept]);
        return message;
    }
    if field != "document" {
        (kept["duration"], kept["width"], kept["height"]) = (1.into(), 10.into(), 10.into());
    }
    message[field] = kept;
    message
}

fn media_group(state: &mut State, request: &Request) -> Result<Answer, Answer> {
    let chat = chat(state, request)?;
    let media = request.value("media").and_then(|media| media.as_array().cloned());
    let media = media.filter(|media| (2..=10).contains(&media.len()));
    let media = media.ok_or_else(|| Answer::bad("an album has 2 to 10 files"))?;
    let mut messages = Vec::new();
    for one in &media {
        let part = one["media"].as_str().and_then(|media| media.strip_prefix("attach://"));
        let file = part.and_then(|part| request.file(part));
        let file = file.ok_or_else(|| Answer::bad("there is no such file in the request"))?;
        let caption = one["caption"].as_str().unwrap_or_default();
        let (text, entities) = html::parse(caption).map_err(|why| Answer::bad(&why))?;
        let mut sent = sent(state, "sendMediaGroup", chat, request, text, entities);
        sent.file = Some((file.1.clone(), file.3.clone()));
        let message = shown(state, sent);
        let field = one["type"].as_str().unwrap_or_default().to_owned();
        messages.push(with_file(state, message, &field, file));
    }
    Ok(Answer::done(messages.into()))
}

fn edit(state: &mut State, method: &str, request: &Request) -> Result<Answer, Answer> {
    let (chat, id) = (chat(state, request)?, request.number("message_id"));
    let is_text = method == "editMessageText";
    let (field, limit) = if is_text { ("text", TEXT_MAX) } else { ("caption", CAPTION_MAX) };
    let (text, entities) = words(request, field, limit)?;
    let found = state.sent.iter_mut().find(|sent| sent.chat == chat && Some(sent.id) == id);
    let sent = found.ok_or_else(|| Answer::bad("message to edit not found"))?;
    if is_text && sent.file.is_some() {
        return Err(Answer::bad("there is no text in the message to edit"));
    }
    if sent.text == text {
        return Err(Answer::bad(
            "message is not modified: specified new message content is the same",
        ));
    }
    (sent.text, sent.entities) = (text, entities);
    let message = json!({ "message_id": sent.id, "date": now(), "edit_date": now(), "chat": state.chats[&chat], "from": me(), field: sent.text.clone() });
    Ok(Answer::done(message))
}

fn delete(state: &mut State, request: &Request) -> Result<Answer, Answer> {
    let chat = chat(state, request)?;
    let several = request.value("message_ids").and_then(|ids| ids.as_array().cloned());
    let is_one = several.is_none();
    let ids: Vec<i64> = match several {
        Some(ids) => ids.iter().filter_map(Value::as_i64).collect(),
        None => request.number("message_id").into_iter().collect(),
    };
    let before = state.sent.len();
    state.sent.retain(|sent| sent.chat != chat || !ids.contains(&sent.id));
    if is_one && state.sent.len() == before {
        return Err(Answer::bad("message to delete not found"));
    }
    Ok(Answer::done(true.into()))
}

fn react(state: &mut State, request: &Request) -> Result<Answer, Answer> {
    let chat = chat(state, request)?;
    let id = request
        .number("message_id")
        .ok_or_else(|| Answer::bad("message identifier is not specified"))?;
    let reaction = request.value("reaction").unwrap_or_else(|| json!([]));
    match reaction[0]["emoji"].as_str() {
        Some(emoji) if REACTIONS.contains(&emoji) => {
            state.reactions.insert((chat, id), emoji.to_owned());
        }
        Some(_) => return Err(Answer::bad("REACTION_INVALID")),
        None => {
            state.reactions.remove(&(chat, id));
        }
    }
    Ok(Answer::done(true.into()))
}
