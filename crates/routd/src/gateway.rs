//! The model gateway: agents speak to models through their turn's socket, and hold no key.
//!
//! A request is read whole and inspected ([`inspect`]), admitted in one transaction ([`admission`]: the attempt, the
//! folder's rights and caps, whose key, what is set aside), and sent under that key ([`upstream`]). What the model says
//! is passed on as it comes and counted on its way ([`relay`], [`meter`]).
//!
//! What holds:
//! - Nothing of the agent's but its body, and the headers of a list, reaches the model; nothing of the model's but its
//!   answer, and the headers of a list, reaches the agent.
//! - The key is asked for at the moment of each request, and is in no answer, log or metric.
//! - A request that costs something has its row before it is sent, and the row is closed however the request ends.
//! - A client that goes away takes its request with it.

mod admission;
pub(crate) mod budget;
mod headers;
mod inspect;
pub(crate) mod key;
pub(crate) mod meter;
pub(crate) mod price;
mod refusal;
mod relay;
mod strict;
mod upstream;
mod vendor;

pub(crate) use refusal::{Kind, Refusal};
pub(crate) use upstream::Base;
pub(crate) use vendor::{Operation, Vendor};

use crate::{attempt::Attempt, fault::Fault, settings::Values};
use bytes::Bytes;
use futures::stream::BoxStream;
use http::{HeaderMap, Method};
use inspect::Asked;
use key::ModelKeys;
use kit::{Failure, StartError};
use price::Prices;
use std::{
    collections::BTreeSet,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use upstream::Upstream;

/// Bytes of a request's body: what Anthropic takes at most.
pub(crate) const BODY_MAX: usize = 32 * 1024 * 1024;

/// Fields that the log tells of: an agent may make up as many as it likes.
const TOLD_MAX: usize = 100;

/// What the gateway needs beside the turn. Holds no key.
#[derive(Debug)]
pub(crate) struct Gateway {
    upstream: Upstream,
    prices: Prices,
    keys: ModelKeys,
    /// Fields that were left out of requests, as far as the log has told of them.
    told: Mutex<BTreeSet<String>>,
}

impl Gateway {
    pub(crate) fn new(settings: &Values, keys: ModelKeys) -> Result<Self, StartError> {
        let upstream = Upstream::new(
            settings.anthropic.clone(),
            settings.openai.clone(),
            settings.model_timeout,
        )?;
        let told = Mutex::default();
        Ok(Self { upstream, prices: settings.prices.clone(), keys, told })
    }

    /// Tells of fields that were left out, once for each.
    fn note(&self, vendor: Vendor, left_out: &[String]) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for field in left_out {
            let vendor = vendor.name();
            if told.len() < TOLD_MAX && told.insert(format!("{vendor} {field}")) {
                tracing::warn!(
                    vendor,
                    field,
                    "a client sends a field that is not known; it is left out where the folder has no right `egress`"
                );
            }
        }
    }
}

/// A request of an agent, as it came on its turn's socket.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) vendor: Vendor,
    pub(crate) method: Method,
    /// Below the vendor's prefix, beginning with a slash.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What the model answered, to be passed on.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: BoxStream<'static, io::Result<Bytes>>,
}

/// A request that is being served.
#[derive(Debug)]
struct Call<'a> {
    request: &'a Request,
    operation: Operation,
    asked: Option<Asked>,
}

/// Serves a request of the attempt whose socket `closed` stands for.
pub(crate) async fn serve(
    attempt: &Attempt,
    closed: CancellationToken,
    request: Request,
) -> Result<Answer, Refusal> {
    let app = attempt.app()?;
    let vendor = request.vendor;
    let operation = operation(&request)?;
    let body = request.body.clone();
    let asked = match operation {
        Operation::Models => None,
        _ => Some(inspect::inspect(vendor, operation, body)?),
    };
    let mut call = Call { request: &request, operation, asked };
    let admitted = admission::admit(&app, attempt, &call).await?;
    if let Some(asked) = call.asked.as_mut().filter(|_| !admitted.whole) {
        let left_out = asked.trim();
        if !left_out.is_empty() {
            app.gateway.note(vendor, &left_out);
        }
    }
    let over = || Refusal::new(Kind::Over, "this turn is over");
    let sent = tokio::select! {
        biased;
        () = closed.cancelled() => Err(over()),
        sent = upstream::send(&app, attempt, &call, &admitted.key) => sent,
    };
    match sent {
        Ok(sent) => relay::relay(&app, &call, admitted, sent, closed).await,
        Err(refusal) => {
            if let Some(open) = admitted.open {
                open.failed().await;
            }
            Err(refusal)
        }
    }
}

fn operation(request: &Request) -> Result<Operation, Refusal> {
    let Request { vendor, method, path, .. } = request;
    Operation::of(*vendor, method, path).ok_or_else(|| {
        let text = format!("the model gateway passes on {} only", vendor.passed());
        Refusal::new(Kind::NotFound, text)
    })
}

impl From<Fault> for Refusal {
    /// As the daemon would tell it, in the vendor's form.
    fn from(fault: Fault) -> Self {
        let failure = Failure::from(fault);
        let kind = match failure.status().as_u16() {
            409 | 410 => Kind::Over,
            400..=499 => Kind::Invalid,
            _ => Kind::Internal,
        };
        let problem = failure.problem();
        let reference =
            problem.reference.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
        Self::new(kind, format!("{}{reference}", problem.detail))
    }
}

/// How long a model may be waited for, as a person would say it.
fn seconds(time: Duration) -> String {
    format!("{} seconds", time.as_secs_f32())
}
