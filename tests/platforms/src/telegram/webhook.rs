//! Bringing updates to whoever asked for that, one after another, until each is taken.

use super::{
    Inner,
    request::{Answer, Request},
    state::{State, Webhook, id_of},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// The pause after an update was not taken.
const AGAIN: Duration = Duration::from_millis(100);

pub(super) fn method(state: &mut State, method: &str, request: &Request) -> Result<Answer, Answer> {
    if method == "getWebhookInfo" {
        let hook = state.webhook.clone().unwrap_or_default();
        let mut info = json!({ "url": hook.url, "has_custom_certificate": false, "pending_update_count": state.pending() });
        if let Some(error) = hook.last_error {
            (info["last_error_message"], info["last_error_date"]) = (error.into(), 1.into());
        }
        return Ok(Answer::done(info));
    }
    let url = request.text("url").filter(|url| !url.is_empty() && method == "setWebhook");
    if request.text("drop_pending_updates").as_deref() == Some("true") {
        state.updates.clear();
    }
    state.webhook = url.map(|url| Webhook {
        url,
        secret: request.text("secret_token").unwrap_or_default(),
        last_error: None,
    });
    Ok(Answer::done(true.into()))
}

pub(super) async fn bring(inner: Arc<Inner>) {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
    let Ok(http) = http.build() else { return };
    loop {
        let next: Option<(Webhook, Value)> = {
            let state = inner.state();
            let confirmed = state.confirmed;
            let update = state.updates.iter().find(|update| id_of(update) >= confirmed);
            state.webhook.clone().zip(update.cloned())
        };
        let Some((hook, update)) = next else {
            let _late = tokio::time::timeout(AGAIN, inner.news.notified()).await.is_err();
            continue;
        };
        let sent = http
            .post(&hook.url)
            .header("X-Telegram-Bot-Api-Secret-Token", &hook.secret)
            .header("Content-Type", "application/json")
            .body(update.to_string())
            .send();
        let error = match sent.await {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("Wrong response from the webhook: {}", answer.status())),
            Err(_) => Some("Connection refused".to_owned()),
        };
        let failed = error.is_some();
        {
            let mut state = inner.state();
            if !failed {
                state.confirmed = state.confirmed.max(id_of(&update) + 1);
            }
            if let Some(hook) = &mut state.webhook {
                hook.last_error = error;
            }
        }
        inner.news.notify_waiters();
        if failed {
            tokio::time::sleep(AGAIN).await;
        }
    }
}
