//! Calls of the model, through the gateway behind the turn's socket. The gateway has the key.

use super::refusal::{self, Advice, Refusal};
use super::reply::{Broken, Coming, Reply};
use crate::link::{Link, ORIGIN};
use crate::progress::Progress;
use crate::retry::Pauses;
use futures::StreamExt;
use proto::turn::MODEL_ANTHROPIC;
use reqwest::{Response, header};
use serde_json::Value;
use sse_stream::SseStream;
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The version of the API that this speaks.
const VERSION: &str = "2023-06-01";
/// How long the model may say nothing.
const SILENCE: Duration = Duration::from_secs(180);
/// Tries of one call.
const TRIES: u32 = 8;
/// The first pause between tries; each later one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Bytes of an error that are read.
const ERROR_MAX: usize = 64 * 1024;
/// Bytes of an answer as it comes over the wire.
const WIRE_MAX: usize = 64 << 20;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoReply {
    /// The conversation is longer than the model can read.
    Full,
    /// A line for the person.
    Failed(String),
}

/// The model of a turn.
#[derive(Debug)]
pub(crate) struct Model<'a> {
    pub link: &'a Link,
    pub progress: &'a Progress,
    /// When the work must have ended.
    pub limit: Instant,
}

impl Model<'_> {
    /// Calls until there is an answer. Nothing is done with an answer that is not whole, so a call may be repeated.
    pub async fn answer(&self, request: &Value) -> Result<Reply, NoReply> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let (after, what) = match self.try_once(request).await {
                Ok(reply) => return Ok(reply),
                Err(Refusal::Full) => return Err(NoReply::Full),
                Err(Refusal::Final(line)) => return Err(NoReply::Failed(line)),
                Err(Refusal::Passing { after, what }) => (after, what),
            };
            let wait = after.unwrap_or(pause);
            if attempt >= TRIES || Instant::now() + wait >= self.limit {
                return Err(NoReply::Failed(format!("{what}, {attempt} times; try again later")));
            }
            tracing::warn!(
                attempt,
                what,
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "calling the model again"
            );
            self.progress.tell(&format!("{what}; trying again in {} s", wait.as_secs().max(1)));
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        // The loop has no other end; `1..` is not known to be endless.
        Err(NoReply::Failed("the model was not called".into()))
    }

    async fn try_once(&self, request: &Value) -> Result<Reply, Refusal> {
        let call = self
            .link
            .http()
            .post(format!("{ORIGIN}{MODEL_ANTHROPIC}/v1/messages"))
            .header("anthropic-version", VERSION)
            .header(header::ACCEPT, "text/event-stream")
            .json(request);
        let answer = within(Pauses::until(self.limit).one_try(SILENCE), call.send()).await?;
        let answer = answer.map_err(|error| passing("the model cannot be reached", &error))?;
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(self.refused(status, answer).await);
        }
        stream(answer).await
    }

    async fn refused(&self, status: u16, mut answer: Response) -> Refusal {
        let headers = answer.headers().clone();
        let word = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let mut body = Vec::new();
        // An error that cannot be read whole is judged by its status.
        while let Ok(Ok(Some(piece))) = timeout(SILENCE, answer.chunk()).await {
            body.extend(piece.iter().take(ERROR_MAX - body.len()));
            if body.len() >= ERROR_MAX {
                break;
            }
        }
        let advice =
            Advice { retry_after: word("retry-after"), should_retry: word("x-should-retry") };
        let refusal = refusal::read(status, advice, &body);
        let said = String::from_utf8_lossy(&body).chars().take(500).collect::<String>();
        tracing::warn!(status, ?refusal, said, "no answer of the model");
        refusal
    }
}

async fn stream(answer: Response) -> Result<Reply, Refusal> {
    let mut wire = 0_usize;
    let bounded = answer.bytes_stream().map(move |piece| {
        let piece = piece.map_err(io::Error::other)?;
        wire = wire.saturating_add(piece.len());
        if wire > WIRE_MAX { Err(io::Error::from(io::ErrorKind::FileTooLarge)) } else { Ok(piece) }
    });
    let mut events = SseStream::from_bytes_stream(bounded);
    let mut coming = Coming::default();
    while let Some(event) = within(SILENCE, events.next()).await? {
        let event = event.map_err(|error| passing("the model's answer broke off", &error))?;
        let Some(data) = event.data else { continue };
        if coming.take(&data).map_err(broken)? {
            break;
        }
    }
    coming.whole().map_err(broken)
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Refusal> {
    timeout(limit, work).await.map_err(|_| Refusal::Passing {
        after: None,
        what: "the model said nothing for too long".into(),
    })
}

fn passing(what: &str, error: &(dyn Error + 'static)) -> Refusal {
    tracing::warn!(error, what, "no answer of the model");
    Refusal::Passing { after: None, what: what.into() }
}

fn broken(error: Broken) -> Refusal {
    tracing::warn!(error = &error as &dyn Error, "no answer of the model");
    match &error {
        Broken::Failed { kind, .. } if kind == "invalid_request_error" => {
            Refusal::Final(error.to_string())
        }
        Broken::Failed { .. } => {
            Refusal::Passing { after: None, what: "the model is overloaded".into() }
        }
        Broken::NotUnderstood(_) => {
            Refusal::Passing { after: None, what: "the model's answer is not understood".into() }
        }
    }
}
