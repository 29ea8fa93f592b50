//! What one call of the Bot API is given, and how what routd asks for is cut into such. Pure.

use crate::{
    address,
    html::{self, CAPTION_MAX, TEXT_MAX},
};
use adapter::{
    Act, Trouble,
    rich::{Blocks, parse},
    split::split,
};
use proto::{
    Opaque,
    routd::{Attachment, Edit, Send as Message},
};
use serde::{Deserialize, Serialize};

/// Files of one album.
const ALBUM_MAX: usize = 10;
/// Bytes of a picture that Telegram shows as one.
const PHOTO_MAX: u64 = 10 * 1024 * 1024;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Piece {
    /// A message of text.
    Text {
        /// The text.
        text: Text,
        /// Where it goes.
        place: Place,
    },
    /// One file, or an album.
    Files {
        /// The files.
        files: Vec<Media>,
        /// What stands under the first.
        caption: Option<Text>,
        /// Where they go.
        place: Place,
    },
    /// Another text for a message.
    Edit {
        /// The message.
        id: i64,
        /// Its new text.
        text: Text,
    },
    /// Messages taken back.
    Delete {
        /// The messages.
        ids: Vec<i64>,
    },
    /// A reaction.
    React {
        /// To what.
        id: i64,
        /// Which; none to take it back.
        emoji: String,
    },
}

/// A text, with markup and without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Text {
    pub(crate) html: String,
    pub(crate) plain: String,
}

/// Where a message goes within its chat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The message that it answers.
    pub(crate) reply_to: Option<i64>,
    /// The topic.
    pub(crate) thread: Option<i64>,
}

/// A file, as Telegram shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Media {
    pub(crate) class: Class,
    pub(crate) file: Attachment,
}

/// How Telegram shows a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    Photo,
    Video,
    Animation,
    Audio,
    Voice,
    Document,
}

impl Class {
    /// The method that sends one of these, and the field that has the file.
    pub(crate) const fn method(self) -> (&'static str, &'static str) {
        match self {
            Self::Photo => ("sendPhoto", "photo"),
            Self::Video => ("sendVideo", "video"),
            Self::Animation => ("sendAnimation", "animation"),
            Self::Audio => ("sendAudio", "audio"),
            Self::Voice => ("sendVoice", "voice"),
            Self::Document => ("sendDocument", "document"),
        }
    }

    /// Whether the two can stand in one album.
    const fn goes_with(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Photo | Self::Video, Self::Photo | Self::Video)
                | (Self::Audio, Self::Audio)
                | (Self::Document, Self::Document)
        )
    }

    fn of(file: &Attachment) -> Self {
        let mime = file.mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let small = file.size.is_some_and(|size| size <= PHOTO_MAX);
        match mime.as_str() {
            "image/jpeg" | "image/png" | "image/webp" if small => Self::Photo,
            "image/gif" => Self::Animation,
            "video/mp4" => Self::Video,
            "audio/ogg" | "audio/opus" => Self::Voice,
            "audio/mpeg" | "audio/mp4" | "audio/x-m4a" => Self::Audio,
            _ => Self::Document,
        }
    }
}

/// Cuts what routd asks for into calls.
pub(crate) fn plan(act: &Act) -> Result<Vec<Piece>, Trouble> {
    match act {
        Act::Send(message) => send(message),
        Act::Edit(edit, ids) => self::edit(edit, ids),
        Act::Delete(_, ids) => {
            let ids = ids.iter().map(address::message_id).collect::<Result<Vec<_>, _>>()?;
            // The Bot API takes a hundred at a time.
            Ok(ids.chunks(100).map(|ids| Piece::Delete { ids: ids.to_vec() }).collect())
        }
        Act::React(react) => {
            let id = address::message_id(&react.id)?;
            Ok(vec![Piece::React { id, emoji: react.emoji.clone() }])
        }
    }
}

fn send(message: &Message) -> Result<Vec<Piece>, Trouble> {
    let thread = message.thread_id.as_deref().map(str::parse).transpose();
    let thread = thread.map_err(|_| Trouble::Permanent("there is no such topic".into()))?;
    // An answer to what is no message, such as a button that was pressed, is a message of its own.
    let reply_to = message.reply_to.as_ref().and_then(|id| address::message_id(id).ok());
    let first = Place { reply_to, thread };
    let later = Place { reply_to: None, thread };
    let place = |index: usize| if index == 0 { first.clone() } else { later.clone() };
    let blocks = parse(&message.content);
    let is_caption = !message.attachments.is_empty()
        && html::length(&blocks, CAPTION_MAX) <= CAPTION_MAX
        && !blocks.is_empty();
    let mut pieces = Vec::new();
    if !is_caption {
        for piece in texts(&blocks, TEXT_MAX) {
            pieces.push(Piece::Text { text: piece, place: place(pieces.len()) });
        }
    }
    let mut caption = is_caption.then(|| text(&blocks));
    for files in albums(&message.attachments) {
        pieces.push(Piece::Files { files, caption: caption.take(), place: place(pieces.len()) });
    }
    if pieces.is_empty() {
        return Err(Trouble::Permanent("there is nothing in the message".into()));
    }
    Ok(pieces)
}

fn edit(edit: &Edit, ids: &[Opaque]) -> Result<Vec<Piece>, Trouble> {
    let texts = texts(&parse(&edit.content), TEXT_MAX);
    let ids = ids.iter().map(address::message_id).collect::<Result<Vec<_>, _>>()?;
    if texts.is_empty() {
        return Err(Trouble::Permanent("there is nothing in the new text".into()));
    }
    if texts.len() > ids.len() {
        return Err(Trouble::Unsupported {
            why: format!(
                "the new text needs {} messages, and the old one was {}",
                texts.len(),
                ids.len()
            ),
            hint: "send what is new as another message".into(),
        });
    }
    let surplus = ids.get(texts.len()..).unwrap_or_default().to_vec();
    let mut pieces: Vec<Piece> =
        ids.into_iter().zip(texts).map(|(id, text)| Piece::Edit { id, text }).collect();
    if !surplus.is_empty() {
        pieces.push(Piece::Delete { ids: surplus });
    }
    Ok(pieces)
}

fn texts(blocks: &Blocks, limit: usize) -> Vec<Text> {
    let pieces = split(blocks, limit, |blocks| html::length(blocks, limit));
    // Telegram takes no message that is nothing but space.
    pieces.iter().map(|piece| text(piece)).filter(|text| !text.plain.trim().is_empty()).collect()
}

fn text(blocks: &[adapter::rich::Block]) -> Text {
    let written = html::write(blocks);
    Text { html: written.html, plain: written.text }
}

/// Files in groups that one call takes, in order.
fn albums(files: &[Attachment]) -> Vec<Vec<Media>> {
    let mut albums: Vec<Vec<Media>> = Vec::new();
    for file in files {
        let media = Media { class: Class::of(file), file: file.clone() };
        match albums.last_mut() {
            Some(album)
                if album.len() < ALBUM_MAX
                    && album.iter().all(|one| one.class.goes_with(media.class)) =>
            {
                album.push(media);
            }
            _ => albums.push(vec![media]),
        }
    }
    albums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content: &str, files: &[(&str, u64)]) -> Message {
        let file = |(mime, size): &(&str, u64)| Attachment {
            filename: "f".into(),
            mime: (*mime).into(),
            url: Some("/v1/files/1".into()),
            size: Some(*size),
        };
        Message {
            chat_jid: "telegram:user/1".parse().unwrap(),
            content: content.into(),
            reply_to: Some("42".parse().unwrap()),
            thread_id: Some("7".into()),
            attachments: files.iter().map(file).collect(),
        }
    }

    fn plan_of(content: &str, files: &[(&str, u64)]) -> Vec<Piece> {
        plan(&Act::Send(message(content, files))).unwrap()
    }

    #[test]
    fn a_long_text_is_several_messages_the_first_of_which_answers() {
        let pieces = plan_of(&"word ".repeat(2_000), &[]);
        assert_eq!(pieces.len(), 3);
        for (index, piece) in pieces.iter().enumerate() {
            let Piece::Text { text, place } = piece else { panic!("{piece:?}") };
            assert!(text.plain.encode_utf16().count() <= TEXT_MAX);
            assert_eq!(place.reply_to, (index == 0).then_some(42));
            assert_eq!(place.thread, Some(7));
        }
    }

    #[test]
    fn files_go_in_albums_of_what_goes_together() {
        let (jpeg, mp4, pdf, ogg) = ("image/jpeg", "video/mp4", "application/pdf", "audio/ogg");
        let files = [(jpeg, 1), (mp4, 1), (pdf, 1), (ogg, 1), (ogg, 1), (jpeg, PHOTO_MAX + 1)];
        let pieces = plan_of("look", &files);
        let groups: Vec<Vec<Class>> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Files { files, .. } => files.iter().map(|media| media.class).collect(),
                other => panic!("{other:?}"),
            })
            .collect();
        use Class::{Document, Photo, Video, Voice};
        assert_eq!(
            groups,
            [vec![Photo, Video], vec![Document], vec![Voice], vec![Voice], vec![Document]]
        );
        let captions = pieces.iter().filter(|p| matches!(p, Piece::Files { caption: Some(_), .. }));
        assert_eq!(captions.count(), 1);
        assert_eq!(plan_of("", &[(jpeg, 1); 12]).len(), 2);
        let long = plan_of(&"word ".repeat(300), &[(pdf, 1)]);
        assert!(matches!(long[..], [Piece::Text { .. }, Piece::Files { caption: None, .. }]));
    }

    #[test]
    fn an_edit_reaches_every_message_of_the_old_text() {
        let ids: Vec<Opaque> = ["1", "2", "3"].iter().map(|id| id.parse().unwrap()).collect();
        let edit = |content: &str| {
            let chat_jid = "telegram:user/1".parse().unwrap();
            let edit = Edit { chat_jid, id: ids[0].clone(), content: content.into() };
            plan(&Act::Edit(edit, ids.clone()))
        };
        let pieces = edit("short").unwrap();
        assert!(matches!(&pieces[0], Piece::Edit { id: 1, .. }));
        assert_eq!(pieces[1], Piece::Delete { ids: vec![2, 3] });
        let longer = edit(&"word ".repeat(4_000)).unwrap_err();
        assert!(matches!(longer, Trouble::Unsupported { .. }), "{longer:?}");
        assert!(matches!(edit(" "), Err(Trouble::Permanent(_))));
    }

    #[test]
    fn what_is_empty_is_refused() {
        for content in ["", " \n ", "<!-- -->".trim_start_matches('<')] {
            let planned = plan(&Act::Send(message(content, &[])));
            assert_eq!(planned.is_err(), content.trim().is_empty(), "{content:?}");
        }
    }
}
