//! Slack as the suite drives it: what is to be said, in calls of the Web API.

use crate::{
    api::{Api, CallError, Form},
    chat::{Chat, is_ts},
    emoji, files, history, mrkdwn,
    names::Names,
    reconcile,
};
use adapter::{
    Act, Found, Handing, OpenFile, Platform, Profile, Trouble,
    rich::{self, Block},
    split::split,
};
use async_trait::async_trait;
use proto::{
    Jid, Opaque,
    routd::{Attachment, History, HistoryQuery},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is shown under an assistant's thread while the agent is at work.
const AT_WORK: &str = "is working on it…";

/// One call of Slack's, on the way there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub(crate) enum Piece {
    /// A message.
    Post {
        /// The thread, where it is not for the whole conversation.
        thread: Option<String>,
        /// The text, as `mrkdwn`.
        text: String,
    },
    /// A file, with what names it at routd.
    File {
        /// The thread, where it is not for the whole conversation.
        thread: Option<String>,
        /// The file.
        file: Attachment,
    },
    /// Another text for a message.
    Update {
        /// The message.
        ts: String,
        /// The text, as `mrkdwn`.
        text: String,
    },
    /// A message, or a file, taken back.
    Remove {
        /// The message's time, or the file's id.
        id: String,
    },
    /// A reaction.
    React {
        /// The message.
        ts: String,
        /// Slack's name of the emoji.
        name: String,
    },
}

/// Slack. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Slack {
    pub(crate) api: Api,
    pub(crate) names: Names,
    pub(crate) clock: kit::Clock,
}

impl Slack {
    fn written(&self, blocks: &[Block]) -> String {
        mrkdwn::render(blocks, |name| self.names.member(name))
    }

    fn texts(&self, markdown: &str) -> Vec<String> {
        let blocks = rich::parse(markdown);
        let pieces = split(&blocks, mrkdwn::LENGTH_MAX, mrkdwn::length);
        let texts = pieces.iter().map(|piece| self.written(piece));
        texts.filter(|text| !text.trim().is_empty()).collect()
    }

    async fn post(
        &self,
        chat: &Chat,
        thread: Option<&str>,
        text: &str,
        handing: &Handing<'_>,
    ) -> Result<Vec<Opaque>, Trouble> {
        let mut form: Form = vec![
            ("channel", chat.channel().to_owned()),
            ("text", text.to_owned()),
            // A preview is a request to whatever address an agent writes, with whatever is in it.
            ("unfurl_links", "false".into()),
            ("unfurl_media", "false".into()),
            ("metadata", reconcile::mark(handing.key, handing.index).to_string()),
        ];
        form.extend(thread.map(|thread| ("thread_ts", thread.to_owned())));
        let answer = self.api.call("chat.postMessage", &form).await;
        let answer = answer.map_err(|error| error.trouble(false))?;
        // It is out, whatever else the answer says; without its id it can be looked for.
        id_of(&answer["ts"]).map(|id| vec![id]).ok_or_else(|| {
            Trouble::Ambiguous("chat.postMessage: the answer names no message".into())
        })
    }

    /// Calls a method whose repeat does no harm.
    async fn settle(&self, method: &'static str, form: Form) -> Result<Vec<Opaque>, Trouble> {
        match self.api.call(method, &form).await {
            Ok(_) => Ok(Vec::new()),
            Err(error) if error.is_already_so() => Ok(Vec::new()),
            Err(error) => Err(error.trouble(true)),
        }
    }
}

/// The id of a message, as Slack writes it.
fn id_of(ts: &Value) -> Option<Opaque> {
    ts.as_str().filter(|ts| is_ts(ts))?.parse().ok()
}

/// The conversation of an address.
pub(crate) fn chat_of(jid: &Jid) -> Result<Chat, Trouble> {
    Chat::of(jid).ok_or_else(|| {
        Trouble::Permanent(format!("{jid} names no conversation; write slack:TEAM/channel/ID"))
    })
}

#[async_trait]
impl Platform for Slack {
    type Piece = Piece;

    fn profile(&self) -> Profile {
        Profile {
            name: "slack",
            prefixes: &[crate::chat::PREFIX],
            capabilities: &["edit", "delete", "react", "send_file", "typing", "history"],
        }
    }

    fn plan(&self, act: &Act) -> Result<Vec<Piece>, Trouble> {
        match act {
            Act::Send(message) => {
                chat_of(&message.chat_jid)?;
                // What is no thread of Slack's, such as a topic's name, is no reason not to answer.
                let thread = message.thread_id.clone().filter(|thread| is_ts(thread));
                let texts = self.texts(&message.content).into_iter();
                let posts = texts.map(|text| Piece::Post { thread: thread.clone(), text });
                let attached = message.attachments.iter().cloned();
                let files = attached.map(|file| Piece::File { thread: thread.clone(), file });
                let pieces: Vec<Piece> = posts.chain(files).collect();
                match pieces.is_empty() {
                    true => Err(Trouble::Permanent("the message has no text and no file".into())),
                    false => Ok(pieces),
                }
            }
            Act::Edit(edit, ids) => update(&self.texts(&edit.content), &edit.id, ids),
            Act::Delete(delete, ids) => {
                let alone = std::slice::from_ref(&delete.id);
                let ids = if ids.is_empty() { alone } else { ids };
                Ok(ids.iter().map(|id| Piece::Remove { id: id.to_string() }).collect())
            }
            Act::React(react) => {
                let name = emoji::name(&react.emoji).ok_or_else(|| Trouble::Unsupported {
                    why: "Slack has no such emoji".into(),
                    hint: "use one emoji, or the name of one of the workspace's as :name:".into(),
                })?;
                let ts = react.id.to_string();
                match is_ts(&ts) {
                    true => Ok(vec![Piece::React { ts, name }]),
                    false => Err(Trouble::Permanent(format!("{ts} is no message of Slack's"))),
                }
            }
        }
    }

    async fn hand(&self, piece: &Piece, handing: &Handing<'_>) -> Result<Vec<Opaque>, Trouble> {
        let chat = chat_of(handing.chat)?;
        let channel = chat.channel().to_owned();
        match piece {
            Piece::Post { thread, text } => {
                self.post(&chat, thread.as_deref(), text, handing).await
            }
            Piece::File { thread, file } => {
                files::send(&self.api, &chat, thread.as_deref(), file, handing).await
            }
            Piece::Update { ts, text } => {
                let form = vec![("channel", channel), ("ts", ts.clone()), ("text", text.clone())];
                self.settle("chat.update", form).await
            }
            Piece::Remove { id } if is_ts(id) => {
                self.settle("chat.delete", vec![("channel", channel), ("ts", id.clone())]).await
            }
            Piece::Remove { id } => self.settle("files.delete", vec![("file", id.clone())]).await,
            Piece::React { ts, name } => {
                let form =
                    vec![("channel", channel), ("timestamp", ts.clone()), ("name", name.clone())];
                self.settle("reactions.add", form).await
            }
        }
    }

    async fn find(&self, piece: &Piece, handing: &Handing<'_>) -> Found {
        match piece {
            Piece::Post { thread, .. } => {
                reconcile::find(&self.api, thread.as_deref(), handing, self.clock.now()).await
            }
            // Nothing tells one of two files of the same name from the other.
            Piece::File { .. } => Found::Unknown,
            // A repeat of these comes to the same.
            Piece::Update { .. } | Piece::Remove { .. } | Piece::React { .. } => Found::NotOut,
        }
    }

    async fn typing(&self, chat: &Jid, thread: Option<&str>) -> Result<(), Trouble> {
        let chat = chat_of(chat)?;
        let Some(thread) = thread.filter(|thread| is_ts(thread) && chat.is_direct()) else {
            return Err(Trouble::Unsupported {
                why: "Slack shows that an app is at work in threads of its assistant alone".into(),
                hint: "leave it out".into(),
            });
        };
        let form = vec![
            ("channel_id", chat.channel().to_owned()),
            ("thread_ts", thread.to_owned()),
            ("status", AT_WORK.to_owned()),
        ];
        let answer = self.api.call("assistant.threads.setStatus", &form).await;
        answer.map(drop).map_err(|error| error.trouble(true))
    }

    async fn history(&self, query: &HistoryQuery) -> Result<History, Trouble> {
        history::read(self, query).await
    }

    async fn open_file(&self, id: &str) -> Result<OpenFile, Trouble> {
        files::open(&self.api, id).await
    }
}

/// Another text for a message that became `ids`: over the messages that there are.
fn update(texts: &[String], first: &Opaque, ids: &[Opaque]) -> Result<Vec<Piece>, Trouble> {
    let alone = std::slice::from_ref(first);
    let ids = if ids.is_empty() { alone } else { ids };
    // Files stay as they are.
    let messages: Vec<&str> = ids.iter().map(Opaque::as_str).filter(|id| is_ts(id)).collect();
    if texts.is_empty() {
        return Err(Trouble::Permanent("the new text is empty".into()));
    }
    if texts.len() > messages.len() {
        return Err(Trouble::Unsupported {
            why: format!(
                "the new text takes {} messages in Slack, and the old one took {}",
                texts.len(),
                messages.len()
            ),
            hint: "shorten it, or send what is new as another message".into(),
        });
    }
    let updates = texts
        .iter()
        .zip(&messages)
        .map(|(text, ts)| Piece::Update { ts: (*ts).to_owned(), text: text.clone() });
    let rest = messages.iter().skip(texts.len()).map(|ts| Piece::Remove { id: (*ts).to_owned() });
    Ok(updates.chain(rest).collect())
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        error.trouble(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(all: &[&str]) -> Vec<Opaque> {
        all.iter().map(|id| id.parse().unwrap()).collect()
    }

    #[test]
    fn another_text_goes_over_the_messages_that_there_are_and_over_no_file() {
        let first: Opaque = "1.1".parse().unwrap();
        let old = ids(&["1.1", "1.2", "F1"]);
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let over = |ts: &str, text: &str| Piece::Update { ts: ts.into(), text: text.into() };
        let off = |id: &str| Piece::Remove { id: id.into() };
        let plan = |new: &[&str], old: &[Opaque]| update(&texts(new), &first, old);
        assert_eq!(plan(&["a", "b"], &old).unwrap(), [over("1.1", "a"), over("1.2", "b")]);
        assert_eq!(plan(&["a"], &old).unwrap(), [over("1.1", "a"), off("1.2")]);
        assert_eq!(plan(&["a"], &[]).unwrap(), [over("1.1", "a")], "one that is not remembered");
        assert!(matches!(plan(&["a", "b", "c"], &old), Err(Trouble::Unsupported { .. })));
        assert!(matches!(plan(&[], &old), Err(Trouble::Permanent(_))));
    }

    #[test]
    fn a_piece_that_was_written_down_is_read_as_it_was() {
        let file = Attachment { filename: "a".into(), mime: "b".into(), url: None, size: Some(1) };
        for piece in [
            Piece::Post { thread: Some("1.1".into()), text: "a <b>".into() },
            Piece::File { thread: None, file },
            Piece::Update { ts: "1.1".into(), text: "a".into() },
            Piece::Remove { id: "F1".into() },
            Piece::React { ts: "1.1".into(), name: "+1".into() },
        ] {
            let row = serde_json::to_string(&piece).unwrap();
            assert_eq!(serde_json::from_str::<Piece>(&row).unwrap(), piece, "{row}");
        }
    }
}
