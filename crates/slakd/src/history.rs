//! What Slack has of a conversation.

use crate::{
    api::Form,
    chat::{is_id, is_ts, sender},
    platform::{Slack, chat_of},
    text::{self, Ref},
};
use adapter::Trouble;
use proto::{
    Timestamp,
    routd::{History, HistoryQuery, PastMessage},
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How long names may be asked for.
const NAMES: Duration = Duration::from_secs(5);

/// Messages of a conversation, oldest first; without those of its threads.
pub(crate) async fn read(slack: &Slack, query: &HistoryQuery) -> Result<History, Trouble> {
    let chat = chat_of(&query.chat_jid)?;
    let limit = query.limit.clamp(1, 100);
    let mut form: Form = vec![("channel", chat.channel().to_owned()), ("limit", limit.to_string())];
    if let Some(before) = &query.before {
        if !is_ts(before.as_str()) {
            return Err(Trouble::Permanent(format!("{before} is no message of Slack's")));
        }
        form.push(("latest", before.to_string()));
    }
    let page = slack.api.call("conversations.history", &form).await?;
    let found: Vec<&Value> = page["messages"].as_array().into_iter().flatten().rev().collect();
    let mut wanted: Vec<Ref> = Vec::new();
    for message in &found {
        wanted.extend(text::refs(message["text"].as_str().unwrap_or_default()));
        wanted.extend(message["user"].as_str().map(|user| Ref::User(user.to_owned())));
    }
    wanted.sort();
    wanted.dedup();
    slack.names.learn(wanted, Instant::now() + NAMES).await;
    let messages = found.into_iter().filter_map(|message| past(slack, message)).collect();
    Ok(History { messages })
}

fn past(slack: &Slack, message: &Value) -> Option<PastMessage> {
    let ts = message["ts"].as_str().filter(|ts| is_ts(ts))?;
    let who = message["user"].as_str().or_else(|| message["bot_id"].as_str());
    let who = who.filter(|who| is_id(who))?;
    let thread = message["thread_ts"].as_str().filter(|thread| is_ts(thread) && *thread != ts);
    let said = message["text"].as_str().unwrap_or_default();
    let mut content = text::readable(said, |one| slack.names.get(one));
    for file in message["files"].as_array().into_iter().flatten() {
        content.push_str(&format!(" ({})", file["name"].as_str().unwrap_or("a file")));
    }
    let at = crate::event::milliseconds(ts)?;
    Some(PastMessage {
        id: ts.parse().ok()?,
        sender: sender(who),
        sender_name: slack.names.get(&Ref::User(who.to_owned())),
        content: content.trim().to_owned(),
        timestamp: Timestamp(at),
        reply_to: thread.and_then(|thread| thread.parse().ok()),
        thread_id: thread.map(str::to_owned),
    })
}
