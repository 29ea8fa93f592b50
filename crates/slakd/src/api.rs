//! Slack's Web API, as slakd calls it.
//!
//! Every method takes a form and answers JSON with `ok`. Answers are read field by field: a strict type would turn a
//! message that is out into a failure when Slack adds something to its answer.

use crate::{
    credentials::Token,
    refusal::{Class, advice, class, class_of_status},
    settings::ApiUrl,
};
use adapter::Trouble;
use kit::HttpClient;
use secrets::{Attempt, Watched};
use serde_json::Value;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long a call may take, until it is whole.
const CALL: Duration = Duration::from_secs(20);
/// What a pause is when Slack asks for one and does not say how long.
const PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that is believed.
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);
/// Bytes of an answer that are read.
const ANSWER_MAX: usize = 4 << 20;

/// Why a call did not do what it was to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// There is no token yet.
    NoToken,
    /// Slack was not reached: nothing was done.
    Unreached(String),
    /// No answer came that can be understood: it may have been done.
    Unanswered(String),
    /// Slack answered that it did not.
    Refused {
        /// In Slack's word.
        word: String,
        /// What that means.
        class: Class,
        /// How long to wait, where it wants that.
        wait: Option<Duration>,
        /// All of it, for people.
        why: String,
    },
}

impl CallError {
    /// Slack's word, if it said one.
    pub(crate) fn word(&self) -> Option<&str> {
        match self {
            Self::Refused { word, .. } => Some(word),
            _ => None,
        }
    }

    /// Whether it is already as the call wanted it.
    pub(crate) fn is_already_so(&self) -> bool {
        matches!(self, Self::Refused { class: Class::AlreadySo, .. })
    }

    /// What it is to whoever asked for it. `repeats` says whether the call may be made again without harm.
    pub(crate) fn trouble(self, repeats: bool) -> Trouble {
        match self {
            Self::NoToken => Trouble::Refused("there is no SLACK_BOT_TOKEN yet".into()),
            Self::Unreached(why) => Trouble::Transient(why),
            Self::Unanswered(why) if repeats => Trouble::Transient(why),
            Self::Unanswered(why) => Trouble::Ambiguous(why),
            Self::Refused { class, wait, why, .. } => match class {
                Class::Credential => Trouble::Refused(why),
                Class::RateLimited => Trouble::RateLimited { wait: wait.unwrap_or(PAUSE), why },
                Class::Ambiguous if !repeats => Trouble::Ambiguous(why),
                Class::Transient | Class::Ambiguous => Trouble::Transient(why),
                Class::AlreadySo | Class::Scope | Class::Permanent => Trouble::Permanent(why),
            },
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoToken => f.write_str("there is no token yet"),
            Self::Unreached(why) | Self::Unanswered(why) | Self::Refused { why, .. } => {
                f.write_str(why)
            }
        }
    }
}

/// A form's fields.
pub(crate) type Form = Vec<(&'static str, String)>;

/// The Web API. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    http: HttpClient,
    url: ApiUrl,
    bot: Watched<Option<Token>>,
    /// Until when Slack wants no call of a method.
    pauses: Arc<Mutex<HashMap<&'static str, Instant>>>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Api").field(&self.url).finish()
    }
}

impl Api {
    pub(crate) fn new(http: HttpClient, url: ApiUrl, bot: Watched<Option<Token>>) -> Self {
        Self { http, url, bot, pauses: Arc::default() }
    }

    /// The client, for what is no method.
    pub(crate) const fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Where the Web API is.
    pub(crate) const fn url(&self) -> &ApiUrl {
        &self.url
    }

    /// The bot's token, as it changes.
    pub(crate) const fn bot(&self) -> &Watched<Option<Token>> {
        &self.bot
    }

    /// Calls a method under the bot's token. Where the token is refused, it is looked for again, and the call made again
    /// under what is found: nothing was done by then.
    pub(crate) async fn call(&self, method: &'static str, form: &Form) -> Result<Value, CallError> {
        self.call_under(&self.bot, method, form).await
    }

    /// The same under another token.
    pub(crate) async fn call_under(
        &self,
        token: &Watched<Option<Token>>,
        method: &'static str,
        form: &Form,
    ) -> Result<Value, CallError> {
        if let Some(wait) = self.pause(method) {
            return Err(CallError::Refused {
                word: "ratelimited".into(),
                class: Class::RateLimited,
                wait: Some(wait),
                why: format!("Slack asked for a pause in calls of {method}"),
            });
        }
        let attempt = |token: Arc<Option<Token>>| async move {
            let Some(token) = token.as_ref() else { return Attempt::Failed(CallError::NoToken) };
            match self.once(token, method, form).await {
                Ok(answer) => Attempt::Done(answer),
                Err(error @ CallError::Refused { class: Class::Credential, .. }) => {
                    Attempt::Refused(error)
                }
                Err(error) => Attempt::Failed(error),
            }
        };
        let answer = token.present(attempt).await;
        if let Err(CallError::Refused { class: Class::RateLimited, wait, .. }) = &answer {
            let until = Instant::now() + wait.unwrap_or(PAUSE);
            self.pauses.lock().unwrap_or_else(PoisonError::into_inner).insert(method, until);
        }
        answer
    }

    /// How long no call of `method` is wanted.
    fn pause(&self, method: &'static str) -> Option<Duration> {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let left = pauses.get(method)?.checked_duration_since(Instant::now());
        let left = left.filter(|left| !left.is_zero());
        if left.is_none() {
            pauses.remove(method);
        }
        left
    }

    async fn once(
        &self,
        token: &Token,
        method: &'static str,
        form: &Form,
    ) -> Result<Value, CallError> {
        let broke = |error: reqwest::Error| {
            let is_connect = error.is_connect() || error.is_builder();
            let why = format!("{method}: {}", kit::chain(&error.without_url()));
            if is_connect { CallError::Unreached(why) } else { CallError::Unanswered(why) }
        };
        let request = self.http.post(self.url.of(method)).header("authorization", bearer(token)?);
        let sent = request.form(form).timeout(CALL).send().await;
        let mut answer = sent.map_err(broke)?;
        let status = answer.status().as_u16();
        let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let wait = wait.map(|wait| wait.clamp(Duration::from_secs(1), PAUSE_MAX));
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(broke)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(CallError::Unanswered(format!("{method}: the answer has no end")));
            }
            body.extend_from_slice(&chunk);
        }
        read(method, status, wait, &body)
    }
}

/// The header that carries a token.
pub(crate) fn bearer(token: &Token) -> Result<reqwest::header::HeaderValue, CallError> {
    let value = reqwest::header::HeaderValue::from_bytes(&secrets::bearer_header(token.expose()));
    let mut value = value.map_err(|_| CallError::Unreached("the token fits no header".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What an answer says.
fn read(
    method: &'static str,
    status: u16,
    wait: Option<Duration>,
    body: &[u8],
) -> Result<Value, CallError> {
    let answer: Value = match serde_json::from_slice(body) {
        Ok(answer @ Value::Object(_)) => answer,
        // Something in between answered, or Slack is not well.
        _ if status == 200 => {
            return Err(CallError::Unanswered(format!("{method}: the answer is no JSON")));
        }
        _ => {
            let class = class_of_status(method, status);
            let why = format!("{method}: Slack answered {status}");
            return Err(CallError::Refused { word: format!("http_{status}"), class, wait, why });
        }
    };
    if answer["ok"] == true {
        return Ok(answer);
    }
    let word = answer["error"].as_str().unwrap_or("no_reason").to_owned();
    let class = if status == 429 { Class::RateLimited } else { class(method, &word) };
    let mut why = format!("{method}: {word}");
    if let Some(needed) = answer["needed"].as_str() {
        why.push_str(&format!(" (needed: {needed})"));
    }
    if let Some(advice) = advice(&word) {
        why.push_str(&format!("; {advice}"));
    }
    Err(CallError::Refused { word, class, wait, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_it_says_and_one_that_says_nothing_leaves_a_post_in_doubt() {
        let post = |status, body: &str| read("chat.postMessage", status, None, body.as_bytes());
        assert_eq!(post(200, r#"{"ok":true,"ts":"1.2"}"#).unwrap()["ts"], "1.2");
        let trouble = |status, body| post(status, body).unwrap_err().trouble(false);
        assert!(matches!(trouble(200, "<html>"), Trouble::Ambiguous(_)));
        assert!(matches!(trouble(503, "<html>"), Trouble::Ambiguous(_)));
        assert!(matches!(
            trouble(200, r#"{"ok":false,"error":"fatal_error"}"#),
            Trouble::Ambiguous(_)
        ));
        assert!(matches!(
            trouble(200, r#"{"ok":false,"error":"is_archived"}"#),
            Trouble::Permanent(_)
        ));
        assert!(matches!(
            trouble(200, r#"{"ok":false,"error":"token_revoked"}"#),
            Trouble::Refused(_)
        ));
        assert!(matches!(trouble(200, r#"{"ok":false}"#), Trouble::Permanent(_)));
        let wait = Some(Duration::from_secs(7));
        let limited = read("chat.postMessage", 429, wait, br#"{"ok":false,"error":"ratelimited"}"#);
        let limited = limited.unwrap_err().trouble(false);
        assert!(matches!(limited, Trouble::RateLimited { wait, .. } if wait.as_secs() == 7));
        let scope = post(200, r#"{"ok":false,"error":"missing_scope","needed":"chat:write"}"#);
        assert!(scope.unwrap_err().to_string().contains("chat:write"));
        let question = read("users.info", 503, None, b"<html>").unwrap_err().trouble(true);
        assert!(matches!(question, Trouble::Transient(_)));
    }
}
