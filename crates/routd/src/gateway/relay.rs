//! Passing a model's answer on as it comes, and counting it on its way.
//!
//! A piece is asked of the model when the agent has taken the one before it, so a slow agent slows the model down and
//! nothing piles up here. When the agent goes away the answer is dropped, and the connection to the model with it.

use super::{
    Answer, Call,
    admission::{Admitted, Open},
    headers,
    meter::{Form, Reader, Tokens},
    refusal::{Kind, Refusal},
    seconds,
    upstream::Sent,
};
use crate::{
    app::App,
    figures::{Figures, ModelLabels, TokenLabels},
    scrub::Scrub,
    store::usage::Ended,
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use http::header;
use reqwest::Response;
use std::{io, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Bytes of an error's body that are passed on.
const ERROR_MAX: usize = 64 * 1024;

/// Passes an answer on.
pub(super) async fn relay(
    app: &Arc<App>,
    call: &Call<'_>,
    admitted: Admitted,
    sent: Sent,
    closed: CancellationToken,
) -> Result<Answer, Refusal> {
    let vendor = call.request.vendor;
    let status = sent.response.status();
    let patience = app.gateway.upstream.patience;
    if !status.is_success() {
        count(&app.figures, vendor.name(), Ended::Failed, &Tokens::default());
        if let Some(open) = admitted.open {
            open.failed().await;
        }
        return refusal_of_model(sent, patience).await;
    }
    let headers = headers::answered(sent.response.headers());
    let is_stream = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let hides = call.asked.as_ref().is_some_and(|asked| asked.hides_usage);
    let form = match (is_stream, hides) {
        (true, true) => Form::EventsWithoutUsage,
        (true, false) => Form::Events,
        (false, _) => Form::Whole,
    };
    let passing = Passing {
        response: sent.response,
        count: Count {
            reader: Reader::new(vendor, form),
            vendor: vendor.name(),
            open: admitted.open,
            figures: app.figures.clone(),
        },
        patience,
        closed,
    };
    let body = stream::unfold(Some(passing), next).boxed();
    Ok(Answer { status: status.as_u16(), headers, body })
}

/// An answer on its way.
struct Passing {
    response: Response,
    count: Count,
    patience: Duration,
    closed: CancellationToken,
}

/// What is counted of it. Dropped, it counts what came.
struct Count {
    reader: Reader,
    vendor: &'static str,
    open: Option<Open>,
    figures: Figures,
}

impl Count {
    /// What the answer came to.
    fn result(&self, open: &Open) -> (Ended, Tokens) {
        let meter = self.reader.meter();
        let how = if meter.is_final() { Ended::Done } else { Ended::Cut };
        let tokens = meter.counted(open.guess());
        count(&self.figures, self.vendor, how, &tokens);
        (how, tokens)
    }

    async fn close(&mut self) {
        if let Some(open) = self.open.take() {
            let (how, tokens) = self.result(&open);
            open.close(how, tokens).await;
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let (how, tokens) = self.result(&open);
            open.close_soon(how, tokens);
        }
    }
}

/// The next piece, and what is left. What ends early ends with an error, so that nobody takes it for the whole.
async fn next(passing: Option<Passing>) -> Option<(io::Result<Bytes>, Option<Passing>)> {
    let mut passing = passing?;
    loop {
        let piece = tokio::select! {
            biased;
            () = passing.closed.cancelled() => Err("the turn is over".to_owned()),
            piece = tokio::time::timeout(passing.patience, passing.response.chunk()) => match piece {
                Ok(Ok(piece)) => Ok(piece),
                Ok(Err(error)) => Err(kit::chain(&error.without_url())),
                Err(_) => Err(format!("it said nothing for {}", seconds(passing.patience))),
            },
        };
        match piece {
            Ok(Some(piece)) => {
                let passed = passing.count.reader.take(piece);
                if !passed.is_empty() {
                    return Some((Ok(passed), Some(passing)));
                }
            }
            Ok(None) => {
                let rest = passing.count.reader.finish();
                // Before the agent sees the end, so that its next request finds this one counted.
                passing.count.close().await;
                return (!rest.is_empty()).then_some((Ok(rest), None));
            }
            Err(why) => {
                tracing::warn!(vendor = passing.count.vendor, why, "a model's answer broke off");
                passing.count.close().await;
                return Some((Err(io::Error::other(why)), None));
            }
        }
    }
}

/// An error of the model's, read to its end and without the key, which some servers give back.
async fn refusal_of_model(sent: Sent, patience: Duration) -> Result<Answer, Refusal> {
    let Sent { mut response, key } = sent;
    let status = response.status();
    if status.is_redirection() || status.is_informational() {
        let text = format!("the model's API answered {status}, and a key is not sent elsewhere");
        return Err(Refusal::new(Kind::Upstream, text));
    }
    let mut headers = headers::answered(response.headers());
    let mut body = BytesMut::new();
    while let Ok(Ok(Some(piece))) = tokio::time::timeout(patience, response.chunk()).await {
        let room = ERROR_MAX - body.len();
        body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        if piece.len() >= room {
            break;
        }
    }
    let text = String::from_utf8_lossy(&body);
    let clean = match key.secret().and_then(|secret| secret.text().ok()) {
        Some(secret) => {
            let scrub = Scrub::of(secret);
            for value in headers.values_mut() {
                if scrub.apply(&String::from_utf8_lossy(value.as_bytes())).contains("[secret]") {
                    *value = header::HeaderValue::from_static("[secret]");
                }
            }
            scrub.apply(&text)
        }
        None => text.into_owned(),
    };
    let body = stream::once(async move { Ok(Bytes::from(clean)) }).boxed();
    Ok(Answer { status: status.as_u16(), headers, body })
}

/// Counts a request that has ended.
fn count(figures: &Figures, vendor: &'static str, how: Ended, tokens: &Tokens) {
    figures.model_requests.get_or_create(&ModelLabels { vendor, outcome: how.name() }).inc();
    let kinds = [
        ("input", tokens.input),
        ("output", tokens.output),
        ("cache_read", tokens.cache_read),
        ("cache_write", tokens.cache_write),
    ];
    for (kind, tokens) in kinds {
        figures.model_tokens.get_or_create(&TokenLabels { vendor, kind }).inc_by(tokens);
    }
}
