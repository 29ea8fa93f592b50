//! The conversation of a topic, as it is kept in the home from turn to turn.
//!
//! Each turn that ends well writes a new file and names it as its session; the file that it went on from stays until
//! the turn after, because routd may not have heard of the new one. So a topic has two files at most.

use crate::beneath::Beneath;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io;
use std::path::Path;

/// Where they are, beneath the home.
const PLACE: &str = ".arizuko/conversations";
/// Bytes of a conversation that are kept.
const KEPT_MAX: usize = 384 * 1024;
/// Bytes of a file that are read.
const READ_MAX: usize = 2 * KEPT_MAX;

/// A conversation: messages as the Messages API takes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transcript {
    /// The session that this one went on from.
    #[serde(default)]
    before: Option<String>,
    pub messages: Vec<Value>,
}

impl Transcript {
    /// The conversation of a session. `None` where it cannot be gone on with, which the log explains.
    pub fn resume(home: &Path, session: &str) -> Option<Self> {
        let found = Beneath::open(home)
            .and_then(|home| home.read(&format!("{PLACE}/{}", file(session)?), READ_MAX));
        let read = match found {
            Ok(Some(bytes)) => {
                serde_json::from_slice::<Self>(&bytes).map_err(|error| error.to_string())
            }
            Ok(None) => Err("it is not there".into()),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(found) if found.is_sound() => Some(found),
            Ok(_) => {
                tracing::warn!(session, "the conversation is not sound and begins anew");
                None
            }
            Err(error) => {
                tracing::warn!(
                    session,
                    error,
                    "the conversation cannot be gone on with and begins anew"
                );
                None
            }
        }
    }

    /// Keeps it as `session`, where it went on from `before`.
    pub fn keep(mut self, home: &Path, session: &str, before: Option<&str>) -> io::Result<()> {
        let older = self.before.take();
        self.before = before.map(str::to_owned);
        self.shorten(KEPT_MAX);
        let place = Beneath::open(home)?.make(PLACE)?;
        place.replace(&file(session)?, &serde_json::to_vec(&self)?)?;
        match older {
            Some(older) if Some(older.as_str()) != before => place.remove(&file(&older)?),
            _ => Ok(()),
        }
    }

    /// Says something to the model: a message of its own, or more of the one that was said last.
    pub fn say(&mut self, text: &str) {
        let block = json!({ "type": "text", "text": text });
        match self.messages.last_mut() {
            Some(last) if last["role"] == "user" => {
                if let Some(content) = last["content"].as_array_mut() {
                    content.push(block);
                }
            }
            _ => self.messages.push(json!({ "role": "user", "content": [block] })),
        }
    }

    /// Leaves out the oldest turns until at most so many bytes are left. A turn is never cut in two: an answer of a
    /// tool without its question is refused by the API.
    pub fn shorten(&mut self, most: usize) {
        let size = |messages: &[Value]| messages.iter().map(|m| m.to_string().len()).sum::<usize>();
        while size(&self.messages) > most {
            let later = self.messages.iter().enumerate().skip(1).find(|(_, m)| begins(m));
            match later {
                Some((index, _)) => drop(self.messages.drain(..index)),
                // One turn alone is too large: it is not remembered.
                None => self.messages.clear(),
            }
            if self.messages.is_empty() {
                return;
            }
        }
    }

    /// Whether the API would take it: it begins with what a person said, and ends with an answer.
    fn is_sound(&self) -> bool {
        let ends = self.messages.last().is_some_and(|message| message["role"] == "assistant");
        let blocks = self.messages.iter().all(|message| message["content"].is_array());
        self.messages.is_empty() || (ends && blocks && self.messages.first().is_some_and(begins))
    }
}

/// Whether a turn begins with this message: somebody speaks, and it is no answer of a tool.
fn begins(message: &Value) -> bool {
    let blocks = message["content"].as_array();
    let answers = blocks.is_some_and(|all| all.iter().any(|block| block["type"] == "tool_result"));
    message["role"] == "user" && blocks.is_some() && !answers
}

/// The name of a session's file. A session comes from routd, but a home's file is what it names.
fn file(session: &str) -> io::Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match (1..=128).contains(&session.len()) && session.chars().all(plain) {
        true => Ok(format!("{session}.json")),
        false => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a conversation"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(text: &str) -> Vec<Value> {
        vec![
            json!({ "role": "user", "content": [{ "type": "text", "text": text }] }),
            json!({ "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "name": "n", "input": {} }] }),
            json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": "x" }] }),
            json!({ "role": "assistant", "content": [{ "type": "text", "text": "done" }] }),
        ]
    }

    fn of(texts: &[&str]) -> Transcript {
        Transcript { before: None, messages: texts.iter().flat_map(|text| turn(text)).collect() }
    }

    #[test]
    fn a_conversation_is_shortened_by_whole_turns() {
        let mut transcript = of(&["one", "two", "three"]);
        let whole = transcript.messages.iter().map(|m| m.to_string().len()).sum::<usize>();
        transcript.shorten(whole - 1);
        assert_eq!(transcript.messages, of(&["two", "three"]).messages);
        transcript.shorten(10);
        assert!(transcript.messages.is_empty() && transcript.is_sound());
    }

    #[test]
    fn a_topic_has_two_files_at_most_and_the_newer_is_gone_on_with() {
        let home = tempfile::tempdir().unwrap();
        of(&["one"]).keep(home.path(), "s1", None).unwrap();
        let resumed = Transcript::resume(home.path(), "s1").unwrap();
        resumed.keep(home.path(), "s2", Some("s1")).unwrap();
        assert!(Transcript::resume(home.path(), "s1").is_some(), "routd may not know of the other");
        let resumed = Transcript::resume(home.path(), "s2").unwrap();
        resumed.keep(home.path(), "s3", Some("s2")).unwrap();
        assert!(Transcript::resume(home.path(), "s1").is_none());
        assert_eq!(Transcript::resume(home.path(), "s3").unwrap().messages, of(&["one"]).messages);
        let files = std::fs::read_dir(home.path().join(PLACE)).unwrap().count();
        assert_eq!(files, 2);
    }

    #[test]
    fn what_is_no_conversation_is_not_gone_on_with() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join(PLACE);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("garbage.json"), "{").unwrap();
        std::fs::write(place.join("cut.json"), json!({ "messages": &turn("a")[..3] }).to_string())
            .unwrap();
        std::fs::write(
            place.join("orphan.json"),
            json!({ "messages": &turn("a")[2..] }).to_string(),
        )
        .unwrap();
        for session in ["garbage", "cut", "orphan", "none", "../../x", "", "a/b"] {
            assert_eq!(Transcript::resume(home.path(), session), None, "{session}");
        }
    }
}
