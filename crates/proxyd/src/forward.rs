//! Passing a request on to a daemon, and its answer back, without collecting either.

use crate::{
    answers::Refusal,
    body::{BodyFault, RequestBody},
};
use http::{Request, Response, StatusCode, Uri, uri::PathAndQuery};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kit::{Context, Peer, StartError};
use proto::{Code, Daemon};
use std::{collections::BTreeMap, error::Error, time::Duration};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_MAX: usize = 128;
/// When to come back while a daemon is away.
const AWAY: Duration = Duration::from_secs(2);

/// The way to the daemons behind the edge.
#[derive(Debug)]
pub struct Forward {
    client: Client<HttpConnector, RequestBody>,
    peers: BTreeMap<Daemon, Peer>,
    /// How long a daemon may take to begin its answer, once it has the whole request.
    answer_timeout: Duration,
    /// How long the whole may take until then, whatever the client and the daemon do.
    overall_timeout: Duration,
}

impl Forward {
    /// The way to `daemons`.
    ///
    /// # Errors
    /// A daemon's address is not one of plain HTTP.
    pub fn new(
        context: &Context,
        daemons: impl IntoIterator<Item = Daemon>,
        answer_timeout: Duration,
        body_time_max: Duration,
    ) -> Result<Self, StartError> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(connector);
        let mut peers = BTreeMap::new();
        for daemon in daemons {
            let peer = context.peers.get(daemon);
            let is_plain =
                peer.url().parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("http"));
            if !is_plain {
                return Err(StartError::Config {
                    what: format!("the address of {daemon} is `{}`", peer.url()),
                    hint: format!("set {} to an http:// address", daemon.url_setting()),
                });
            }
            peers.insert(daemon, peer);
        }
        let overall_timeout = body_time_max + answer_timeout;
        Ok(Self { client, peers, answer_timeout, overall_timeout })
    }

    /// The edge's proof of itself for `daemon`.
    pub async fn proof(&self, daemon: Daemon) -> Result<String, Refusal> {
        let peer = self.peers.get(&daemon).ok_or_else(|| away(daemon))?;
        match peer.bearer().await {
            Ok(token) => Ok(token.as_deref().unwrap_or_default().to_owned()),
            Err(error) => {
                tracing::warn!(error = %kit::chain(&error), "the edge has no token to prove itself with");
                Err(away(daemon))
            }
        }
    }

    /// Sends the request to `daemon`. Dropping the future cancels it there.
    pub async fn send(
        &self,
        daemon: Daemon,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Refusal> {
        let peer = self.peers.get(&daemon).ok_or_else(|| away(daemon))?;
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let uri: Uri = format!("{}{path}", peer.url()).parse().map_err(|_| {
            Refusal::of(Code::BadRequest, "the address of the request is malformed")
        })?;
        *request.uri_mut() = uri;
        *request.version_mut() = http::Version::HTTP_11;
        let sent = request.body().done();
        let answered = self.client.request(request);
        let too_late = async {
            sent.notified().await;
            tokio::time::sleep(self.answer_timeout).await;
        };
        tokio::select! {
            answer = answered => answer.map_err(|error| refusal(daemon, &error)),
            () = too_late => Err(late(daemon)),
            () = tokio::time::sleep(self.overall_timeout) => Err(late(daemon)),
        }
    }
}

/// What a client is told of a request that failed on its way.
fn refusal(daemon: Daemon, error: &ClientError) -> Refusal {
    if let Some(fault) = body_fault(error) {
        return match fault {
            BodyFault::TooLarge => {
                Refusal::of(Code::TooLarge, "the body is larger than the edge lets through")
            }
            BodyFault::TooSlow | BodyFault::Broken(_) => Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "too_slow",
                "The request took too long",
                "the body did not arrive in time; send it again, faster or in parts",
            ),
        };
    }
    tracing::warn!(%daemon, error = %kit::chain(error), "a daemon behind the edge does not answer");
    if error.is_connect() {
        return away(daemon);
    }
    Refusal::new(
        StatusCode::BAD_GATEWAY,
        "bad_gateway",
        "No good answer",
        "the service behind the edge broke off; whether it took the request is not known",
    )
    .retry_after(AWAY)
}

fn body_fault(error: &ClientError) -> Option<&BodyFault> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(fault) = error.downcast_ref() {
            return Some(fault);
        }
        cause = error.source();
    }
    None
}

fn away(daemon: Daemon) -> Refusal {
    tracing::debug!(%daemon, "a daemon behind the edge is away");
    Refusal::of(
        Code::Unavailable,
        "the service behind this page is not available now; try again shortly",
    )
    .retry_after(AWAY)
}

fn late(daemon: Daemon) -> Refusal {
    tracing::warn!(%daemon, "a daemon behind the edge took too long");
    Refusal::new(
        StatusCode::GATEWAY_TIMEOUT,
        "gateway_timeout",
        "No answer in time",
        "the service behind the edge took too long; whether it took the request is not known",
    )
}
