//! What is in a message: its text, its files, and what else Telegram puts there. Pure.

use super::Known;
use crate::{address, entities::markdown};
use frankenstein::types::{Message, MessageEntity, MessageOrigin};
use proto::routd::Attachment;

/// The text or caption of a message, with its entities.
pub(super) fn words(message: &Message) -> (&str, &[MessageEntity]) {
    let text = message.text.as_deref().map(|text| (text, &message.entities));
    let caption = message.caption.as_deref().map(|text| (text, &message.caption_entities));
    match text.or(caption) {
        Some((text, entities)) => (text, entities.as_deref().unwrap_or_default()),
        None => ("", &[]),
    }
}

/// What a message says, as Markdown: what it quotes and forwards, its text, and what is no text.
pub(super) fn text(message: &Message, known: &Known) -> String {
    let (text, entities) = words(message);
    let mut parts: Vec<String> = Vec::new();
    parts.extend(
        message
            .forward_origin
            .as_deref()
            .map(|origin| format!("(forwarded from {})", origin_name(origin))),
    );
    if let Some(quote) = &message.quote {
        parts.push(format!("> {}", quote.text.replace('\n', "\n> ")));
    }
    parts.extend(things(message));
    let text = markdown(text, entities);
    parts.push(without_own_name(&text, &known.me.username));
    parts.retain(|part| !part.trim().is_empty());
    parts.join("\n\n")
}

/// A command without the name of this bot behind it: `/status@the_bot now` is `/status now`.
fn without_own_name(text: &str, username: &str) -> String {
    let (first, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    match first.split_once('@') {
        Some((command, bot))
            if command.starts_with('/')
                && !username.is_empty()
                && bot.eq_ignore_ascii_case(username) =>
        {
            format!("{command}{rest}")
        }
        _ => text.to_owned(),
    }
}

fn origin_name(origin: &MessageOrigin) -> String {
    let name = match origin {
        MessageOrigin::User(origin) => address::name(&origin.sender_user),
        MessageOrigin::HiddenUser(origin) => origin.sender_user_name.clone(),
        MessageOrigin::Chat(origin) => origin.sender_chat.title.clone().unwrap_or_default(),
        MessageOrigin::Channel(origin) => origin.chat.title.clone().unwrap_or_default(),
    };
    address::clean(&name)
}

/// What a message has that is neither text nor a file.
fn things(message: &Message) -> Vec<String> {
    let mut things = Vec::new();
    if let Some(venue) = &message.venue {
        let (at, place) = (&venue.location, format!("{}, {}", venue.title, venue.address));
        things.push(format!("Location: {place} ({}, {})", at.latitude, at.longitude));
    } else if let Some(at) = &message.location {
        things.push(format!("Location: {}, {}", at.latitude, at.longitude));
    }
    if let Some(contact) = &message.contact {
        let last = contact.last_name.as_deref().unwrap_or_default();
        let name = format!("{} {last}", contact.first_name);
        things.push(format!("Contact: {}, {}", name.trim(), contact.phone_number));
    }
    if let Some(poll) = &message.poll {
        let options = poll.options.iter().map(|option| format!("- {}", option.text));
        things.push(format!("Poll: {}\n{}", poll.question, options.collect::<Vec<_>>().join("\n")));
    }
    if let Some(dice) = &message.dice {
        things.push(format!("{} {}", dice.emoji, dice.value));
    }
    if let Some(sticker) = &message.sticker {
        things.push(
            format!("Sticker {}", sticker.emoji.as_deref().unwrap_or_default()).trim().to_owned(),
        );
    }
    things
}

/// What Telegram itself says in a chat, as far as an agent may want to know, with its kind.
pub(super) fn service(message: &Message) -> Option<(String, &'static str)> {
    if let Some(new) = &message.new_chat_members {
        let names: Vec<String> = new.iter().map(address::name).collect();
        return Some((format!("{} joined", names.join(", ")), "join"));
    }
    let left = message.left_chat_member.as_deref();
    left.map(|person| (format!("{} left", address::name(person)), "leave"))
}

/// A file as Telegram tells of it.
struct Told<'a> {
    id: &'a str,
    size: Option<u64>,
    name: Option<&'a str>,
    mime: Option<&'a str>,
    /// The name and the media type, where Telegram has none.
    like: (&'static str, &'static str),
}

/// The files of a message, to be fetched from teled.
pub(super) fn attachments(message: &Message, known: &Known) -> Vec<Attachment> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let attachment = |file: Told<'_>| {
        let filename = file.name.map(file_name).filter(|name| !name.is_empty());
        let fits = |mime: &&str| mime.len() <= 127 && !mime.chars().any(char::is_control);
        // What is too large, or has an id that no path can hold, is named and cannot be had.
        let can_be_had = file.id.chars().all(plain)
            && file.id.len() <= 512
            && file.size.is_none_or(|size| size <= known.file_max);
        Attachment {
            filename: filename.unwrap_or_else(|| file.like.0.to_owned()),
            mime: file.mime.filter(fits).unwrap_or(file.like.1).to_owned(),
            url: can_be_had.then(|| format!("/files/{}", file.id)),
            size: file.size,
        }
    };
    told(message).into_iter().map(attachment).collect()
}

fn told(message: &Message) -> Vec<Told<'_>> {
    let mut files = Vec::new();
    let mut add = |id, size, name, mime, like| files.push(Told { id, size, name, mime, like });
    let area = |one: &&frankenstein::types::PhotoSize| u64::from(one.width) * u64::from(one.height);
    if let Some(one) = message.photo.as_ref().and_then(|sizes| sizes.iter().max_by_key(area)) {
        add(&*one.file_id, one.file_size, None, None, ("photo.jpg", "image/jpeg"));
    }
    // An animation comes as a document too.
    if let Some(one) = &message.animation {
        let (name, mime) = (one.file_name.as_deref(), one.mime_type.as_deref());
        add(&one.file_id, one.file_size, name, mime, ("animation.mp4", "video/mp4"));
    } else if let Some(one) = &message.document {
        let (name, mime) = (one.file_name.as_deref(), one.mime_type.as_deref());
        add(&one.file_id, one.file_size, name, mime, ("document", "application/octet-stream"));
    }
    if let Some(one) = &message.audio {
        let (name, mime) = (one.file_name.as_deref(), one.mime_type.as_deref());
        add(&one.file_id, one.file_size, name, mime, ("audio.mp3", "audio/mpeg"));
    }
    if let Some(one) = &message.voice {
        let mime = one.mime_type.as_deref();
        add(&one.file_id, one.file_size, None, mime, ("voice.ogg", "audio/ogg"));
    }
    if let Some(one) = &message.video {
        let (name, mime) = (one.file_name.as_deref(), one.mime_type.as_deref());
        add(&one.file_id, one.file_size, name, mime, ("video.mp4", "video/mp4"));
    }
    if let Some(one) = &message.video_note {
        add(&one.file_id, one.file_size, None, None, ("video.mp4", "video/mp4"));
    }
    if let Some(one) = &message.sticker {
        let like = match (one.is_animated, one.is_video) {
            (true, _) => ("sticker.tgs", "application/gzip"),
            (false, true) => ("sticker.webm", "video/webm"),
            (false, false) => ("sticker.webp", "image/webp"),
        };
        add(&one.file_id, one.file_size, None, None, like);
    }
    files
}

/// A file's name: one that is no path, of at most 255 bytes.
fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut clean = String::new();
    for c in last.chars().filter(|c| !c.is_control()) {
        if clean.len() + c.len_utf8() > 255 {
            break;
        }
        clean.push(c);
    }
    if clean.chars().all(|c| c == '.') { String::new() } else { clean }
}
