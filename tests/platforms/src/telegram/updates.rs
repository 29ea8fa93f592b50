//! Long polling.

use super::{
    Inner,
    request::{Answer, Request},
    state::id_of,
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Updates of one answer.
const LIMIT: usize = 100;

pub(super) async fn get(inner: &Arc<Inner>, request: &Request) -> Result<Answer, Answer> {
    let wait = u64::try_from(request.number("timeout").unwrap_or(0)).unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(wait);
    let limit = request.number("limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(LIMIT);
    let mine = {
        let mut state = inner.state();
        if state.webhook.is_some() {
            let text = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";
            return Err(Answer::refused(409, text));
        }
        if let Some(offset) = request.number("offset") {
            state.confirmed = state.confirmed.max(offset);
        }
        state.pollers += 1;
        inner.news.notify_waiters();
        (state.pollers, state.token())
    };
    loop {
        let news = inner.news.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        {
            let mut state = inner.state();
            if state.token() != mine.1 {
                return Err(Answer::refused(401, "Unauthorized"));
            }
            if state.pollers != mine.0 {
                let text = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
                return Err(Answer::refused(409, text));
            }
            let confirmed = state.confirmed;
            let fresh = state.updates.iter().filter(|update| id_of(update) >= confirmed);
            let mut found: Vec<Value> = fresh.take(limit.clamp(1, LIMIT)).cloned().collect();
            if std::mem::take(&mut state.told_again) {
                found.reverse();
            }
            if !found.is_empty() {
                return Ok(Answer::done(found.into()));
            }
        }
        if timeout_at(until, news).await.is_err() {
            return Ok(Answer::done(Value::Array(Vec::new())));
        }
    }
}
