//! The Bot API, as teled calls it. <https://core.telegram.org/bots/api>
//!
//! The token is a part of every address here. So no address is ever kept, logged or put into an error.

use crate::{
    answer::{self, ApiError},
    credentials::BotToken,
};
use adapter::{OpenFile, Trouble, capped};
use futures::{StreamExt, TryStreamExt};
use kit::HttpClient;
use reqwest::{Response, Url, multipart::Form};
use secrets::{Attempt, Watched};
use serde_json::Value;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a call may take, unless it says otherwise.
pub(crate) const CALL: Duration = Duration::from_secs(20);
/// How long a call that carries files may take.
pub(crate) const UPLOAD: Duration = Duration::from_secs(300);
/// Bytes of an answer that are read.
const ANSWER_MAX: usize = 16 << 20;

/// The bot. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Bot {
    http: HttpClient,
    base: String,
    token: Watched<Option<BotToken>>,
}

/// The first reason why a body that was to be sent broke off.
pub(crate) type Broken = Arc<Mutex<Option<Trouble>>>;

impl Bot {
    pub(crate) const fn new(
        http: HttpClient,
        base: String,
        token: Watched<Option<BotToken>>,
    ) -> Self {
        Self { http, base, token }
    }

    /// Whether there is a token.
    pub(crate) fn has_token(&self) -> bool {
        self.token.current().is_some()
    }

    /// Waits until there is a token.
    pub(crate) async fn token_there(&self) {
        let mut token = self.token.clone();
        while token.current().is_none() {
            token.changed().await;
        }
    }

    /// Waits until the token is another one than at the last return of this.
    pub(crate) fn token_watch(&self) -> Watched<Option<BotToken>> {
        self.token.clone()
    }

    /// Calls `method`. A token that is refused is looked for again, and the same call made with the new one.
    pub(crate) async fn call(
        &self,
        method: &str,
        parameters: &Value,
        timeout: Duration,
    ) -> Result<Value, ApiError> {
        let attempt = |token: Arc<Option<BotToken>>| async move {
            let Some(url) = self.url(&token, "bot", method) else {
                return Attempt::Failed(ApiError::NoToken);
            };
            let request = self.http.post(url).timeout(timeout).json(parameters);
            attempted(finish(request.send().await).await)
        };
        self.token.present(attempt).await
    }

    /// Calls `method` with a form that is made anew for each attempt, because a body can be sent once.
    pub(crate) async fn upload<F>(
        &self,
        method: &str,
        form: impl Fn(Broken) -> F,
    ) -> Result<Value, ApiError>
    where
        F: Future<Output = Result<Form, Trouble>>,
    {
        let form = &form;
        let attempt = |token: Arc<Option<BotToken>>| async move {
            let Some(url) = self.url(&token, "bot", method) else {
                return Attempt::Failed(ApiError::NoToken);
            };
            let broken = Broken::default();
            let form = match form(broken.clone()).await {
                Ok(form) => form,
                Err(trouble) => return Attempt::Failed(ApiError::BrokeOff(trouble)),
            };
            let sent = self.http.post(url).timeout(UPLOAD).multipart(form).send().await;
            let answer = finish(sent).await;
            let why = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
            match (answer, why) {
                // What was cut off in its middle is no request.
                (Err(ApiError::NoAnswer(_) | ApiError::Failed(_)), Some(trouble)) => {
                    Attempt::Failed(ApiError::BrokeOff(trouble))
                }
                (answer, _) => attempted(answer),
            }
        };
        self.token.present(attempt).await
    }

    /// Opens a file of Telegram's.
    pub(crate) async fn file(&self, path: &str, limit: u64) -> Result<OpenFile, Trouble> {
        let attempt = |token: Arc<Option<BotToken>>| async move {
            let Some(url) = self.url(&token, "file/bot", path) else {
                return Attempt::Failed(ApiError::NoToken);
            };
            match self.http.get(url).send().await {
                Ok(answer) if answer.status().is_success() => Attempt::Done(answer),
                other => match finish(other).await {
                    Err(error @ ApiError::Unauthorized(_)) => Attempt::Refused(error),
                    Err(error) => Attempt::Failed(error),
                    Ok(_) => Attempt::Failed(ApiError::Failed("no file".into())),
                },
            }
        };
        let answer = self.token.present(attempt).await.map_err(|error| error.trouble(true))?;
        let size = answer.content_length();
        let broken = |error: reqwest::Error| {
            Trouble::Transient(format!("Telegram's file breaks off: {}", error.without_url()))
        };
        let content = capped(answer.bytes_stream().map_err(broken).boxed(), limit);
        Ok(OpenFile { mime: None, size, content })
    }

    /// The address of a method or a file. Made for one request, and gone with it.
    fn url(&self, token: &Option<BotToken>, kind: &str, rest: &str) -> Option<Url> {
        let token = std::str::from_utf8(token.as_ref()?.expose()).ok()?;
        Url::parse(&format!("{}/{kind}{token}/{rest}", self.base)).ok()
    }
}

fn attempted(answer: Result<Value, ApiError>) -> Attempt<Value, ApiError> {
    match answer {
        Ok(result) => Attempt::Done(result),
        Err(error @ ApiError::Unauthorized(_)) => Attempt::Refused(error),
        Err(error) => Attempt::Failed(error),
    }
}

/// Reads an answer to its end.
async fn finish(sent: Result<Response, reqwest::Error>) -> Result<Value, ApiError> {
    let mut answer = sent.map_err(unsent)?;
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_MAX => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err(ApiError::NoAnswer("its answer is too large".into())),
            Ok(None) => return answer::read(status, &body),
            Err(error) => return Err(ApiError::NoAnswer(told(error))),
        }
    }
}

fn unsent(error: reqwest::Error) -> ApiError {
    if error.is_connect() || error.is_builder() {
        return ApiError::Unreachable(told(error));
    }
    ApiError::NoAnswer(told(error))
}

/// An error of the client's, without the address, which has the token in it.
fn told(error: reqwest::Error) -> String {
    kit::chain(&error.without_url())
}
