//! From what Slack tells us to what is on disk for routd.

use crate::{
    api::Api,
    event::{self, Channel, Heard, Pane, Post, Verb},
    figures::{Figures, Outcome},
    names::{Names, tidy},
    text::{self, Ref},
};
use adapter::{Event, Spool, SpoolError};
use proto::{
    Timestamp, Topic,
    routd::{Attachment, NewMessage},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How long names may be asked for before a message is taken without them. Slack waits three seconds for an answer.
const NAMES: Duration = Duration::from_millis(1_200);
/// What routd takes as the text of one message, in bytes.
const CONTENT_MAX: usize = 262_144;
/// Files of a message that routd takes.
const FILES_MAX: usize = 32;

/// Takes what Slack tells.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) spool: Spool,
    pub(crate) names: Names,
    pub(crate) api: Api,
    pub(crate) prompts: Vec<String>,
    pub(crate) figures: Figures,
    pub(crate) tasks: kit::Tasks,
}

impl Inbound {
    /// Takes one delivery. When this answers, Slack may be told that it arrived.
    ///
    /// # Errors
    /// It is not on disk. Slack is to tell it again.
    pub(crate) async fn take(&self, how: Channel, payload: &Value) -> Result<(), SpoolError> {
        let outcome = match event::read(how, payload) {
            Heard::Nothing(why) => {
                tracing::debug!(why, "nothing to routd");
                Outcome::Nothing
            }
            Heard::Opened(pane) => {
                self.suggest(pane);
                Outcome::Nothing
            }
            Heard::Post(post) => {
                let key = event::delivery_id(how, payload);
                // What has no id of its own is known by what it says.
                let key = key.unwrap_or_else(|| format!("{}/{}", post.chat.channel(), post.id));
                match self.message(*post).await {
                    None => Outcome::Nothing,
                    Some(message) => {
                        let taken = self.spool.take(vec![Event { key, message }], None).await?;
                        if taken.new > 0 { Outcome::New } else { Outcome::Repeated }
                    }
                }
            }
        };
        self.figures.heard(outcome);
        Ok(())
    }

    async fn message(&self, post: Post) -> Option<NewMessage> {
        let writer = Ref::User(post.user.clone());
        let mut wanted = text::refs(&post.text);
        if post.user_name.is_none() && !wanted.contains(&writer) {
            wanted.push(writer.clone());
        }
        self.names.learn(wanted, Instant::now() + NAMES).await;
        let told = || post.user_name.as_deref().map(tidy).filter(|name| !name.is_empty());
        let sender_name = self.names.get(&writer).or_else(told);
        let content = match post.verb {
            Verb::Message | Verb::Mention | Verb::Edit | Verb::Command => {
                text::readable(&post.text, |one| self.names.get(one))
            }
            _ => post.text.clone(),
        };
        message(post, &content, sender_name)
    }

    /// Suggests what to ask to whoever opened the pane. What is lost of it costs a click.
    fn suggest(&self, pane: Pane) {
        if self.prompts.is_empty() {
            return;
        }
        let all: Vec<Value> =
            self.prompts.iter().map(|one| json!({"title": one, "message": one})).collect();
        let form = vec![
            ("channel_id", pane.chat.channel().to_owned()),
            ("thread_ts", pane.thread),
            ("prompts", Value::from(all).to_string()),
        ];
        let api = self.api.clone();
        self.tasks.spawn("slakd.suggest", async move {
            if let Err(error) = api.call("assistant.threads.setSuggestedPrompts", &form).await {
                tracing::warn!(%error, "nothing is suggested in the assistant's pane");
            }
        });
    }
}

/// What routd is told of a post. `None` for what fits no message of routd's, which no text of Slack's should.
fn message(post: Post, content: &str, sender_name: Option<String>) -> Option<NewMessage> {
    let mut content = shortened(content.trim()).to_owned();
    if content.is_empty() {
        let names: Vec<&str> = post.files.iter().map(|file| file.name.as_str()).collect();
        content = match names.as_slice() {
            [] => "(no words)".to_owned(),
            names => format!("({})", names.join(", ")),
        };
    }
    let attachments = post.files.into_iter().take(FILES_MAX).map(|file| Attachment {
        url: Some(format!("/files/{}", file.id)),
        filename: file.name,
        mime: file.mime,
        size: file.size,
    });
    Some(NewMessage {
        id: post.id.parse().ok()?,
        chat_jid: post.chat.jid()?,
        sender: crate::chat::sender(&post.user),
        sender_name,
        content,
        timestamp: post.at.map(Timestamp),
        topic: post.thread.and_then(|thread| thread.parse::<Topic>().ok()),
        verb: (post.verb != Verb::Message).then(|| post.verb.name().to_owned()),
        reply_to: post.about.and_then(|about| about.parse().ok()),
        is_group: post.is_group,
        attachments: attachments.collect(),
    })
}

fn shortened(text: &str) -> &str {
    let end = (0..=CONTENT_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}
