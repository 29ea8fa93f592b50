//! Whether a message is out whose answer was lost.
//!
//! Every message carries a mark as Slack's message metadata: the key under which routd asked for it, and which piece of
//! it this is (<https://docs.slack.dev/messaging/message-metadata>). A message in doubt is looked for by it, in the
//! conversation's history or its thread, and again after a while: a request may be carried out after it broke off.

use crate::{
    api::{Api, Form},
    chat::is_ts,
    platform::chat_of,
};
use adapter::{Found, Handing, Trouble};
use proto::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// The type of our mark.
const EVENT_TYPE: &str = "arizuko_delivery";
/// The waits before each look.
const LOOKS: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(1_500), Duration::from_millis(3_000)];
/// The waits before something is asked again that Slack did not answer.
const AGAIN: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(20),
];
/// The longest pause of Slack's that is waited out.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How far back it is looked for, in milliseconds: longer than routd hands a message over.
const BACK_MS: i64 = 25 * 60 * 60 * 1_000;
/// Messages asked for at once.
const PAGE: usize = 200;
/// Pages that are looked through.
const PAGES_MAX: usize = 15;

/// What is put on a message.
pub(crate) fn mark(key: &str, index: usize) -> Value {
    json!({"event_type": EVENT_TYPE, "event_payload": {"key": key, "piece": index.to_string()}})
}

/// Whether a message carries that mark.
fn is_marked(message: &Value, key: &str, index: usize) -> bool {
    let (metadata, wanted) = (&message["metadata"], mark(key, index));
    metadata["event_type"] == wanted["event_type"]
        && metadata["event_payload"]["key"] == wanted["event_payload"]["key"]
        && metadata["event_payload"]["piece"] == wanted["event_payload"]["piece"]
}

/// Looks for a message.
pub(crate) async fn find(
    api: &Api,
    thread: Option<&str>,
    handing: &Handing<'_>,
    now: Timestamp,
) -> Found {
    for wait in LOOKS {
        sleep(wait).await;
        match look(api, thread, handing, now).await {
            Found::NotOut => {}
            other => return other,
        }
    }
    Found::NotOut
}

/// Asks something that clears up a doubt, and again while Slack is not well, wants a pause, or waits for another token:
/// what is not known in the end is never known.
pub(crate) async fn ask(api: &Api, method: &'static str, form: &Form) -> Option<Value> {
    for wait in AGAIN {
        let error = match api.call(method, form).await {
            Ok(answer) => return Some(answer),
            Err(error) => error,
        };
        tracing::warn!(%error, "it cannot be seen yet whether something is out");
        match error.trouble(true) {
            Trouble::RateLimited { wait: asked, .. } => sleep(asked.min(PAUSE_MAX)).await,
            Trouble::Transient(_) | Trouble::Refused(_) => sleep(wait).await,
            _ => return None,
        }
    }
    None
}

async fn look(api: &Api, thread: Option<&str>, handing: &Handing<'_>, now: Timestamp) -> Found {
    let Ok(chat) = chat_of(handing.chat) else { return Found::Unknown };
    let method = if thread.is_some() { "conversations.replies" } else { "conversations.history" };
    let oldest = now.0.saturating_sub(BACK_MS).max(0).div_euclid(1_000);
    let mut cursor = String::new();
    for _ in 0..PAGES_MAX {
        let mut form: Form = vec![
            ("channel", chat.channel().to_owned()),
            ("include_all_metadata", "true".into()),
            ("oldest", format!("{oldest}.000000")),
            ("limit", PAGE.to_string()),
        ];
        form.extend(thread.map(|thread| ("ts", thread.to_owned())));
        if !cursor.is_empty() {
            form.push(("cursor", cursor));
        }
        let Some(page) = ask(api, method, &form).await else { return Found::Unknown };
        let Some(messages) = page["messages"].as_array() else { return Found::Unknown };
        let ours = messages.iter().find(|one| is_marked(one, handing.key, handing.index));
        if let Some(ts) = ours.and_then(|one| one["ts"].as_str()).filter(|ts| is_ts(ts)) {
            return ts.parse().map_or(Found::Unknown, |id| Found::Out(vec![id]));
        }
        cursor = page["response_metadata"]["next_cursor"].as_str().unwrap_or_default().to_owned();
        if cursor.is_empty() {
            return Found::NotOut;
        }
    }
    Found::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_key_and_piece_and_by_nothing_less() {
        let message = json!({"text": "hi", "metadata": mark("k1", 0)});
        assert!(is_marked(&message, "k1", 0));
        for (key, index) in [("k2", 0), ("k1", 1), ("", 0)] {
            assert!(!is_marked(&message, key, index));
        }
        let mut other = message;
        other["metadata"]["event_type"] = "another_app".into();
        assert!(!is_marked(&other, "k1", 0));
        assert!(!is_marked(&json!({"text": "hi"}), "k1", 0));
    }
}
