//! One request through the edge: whose it is, whether it may pass, where it goes, what comes back.

use crate::{
    access::Entry,
    answers::{self, Refusal},
    body::{AnswerBody, BYTES_A_SECOND, RequestBody},
    client_address::{self, ClientKey, Trusted},
    forward::Forward,
    headers::{self, Stamp},
    limits::Limits,
    path::{self, Backend, Target},
    sessions::Sessions,
    settings,
    tls::Pairs,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use kit::{Context, Fact, Span, StartError, Traces};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use proto::{Code, Daemon};
use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// The edge. One for both listeners.
#[derive(Debug)]
pub struct Edge {
    forward: Forward,
    sessions: Sessions,
    limits: Limits,
    trusted: Trusted,
    pairs: Arc<Pairs>,
    redirect_to: Option<String>,
    body_max: u64,
    body_time: Duration,
    stop: CancellationToken,
    traces: Traces,
    answered: Family<Answered, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    status: u16,
}

/// The connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    /// The address at its other end.
    pub peer: IpAddr,
    /// Whether it is TLS.
    pub tls: bool,
}

/// What is known of a request before it is looked at.
struct Asked {
    client: IpAddr,
    https: bool,
    request_id: String,
}

/// The answer, from a daemon or from the edge itself.
enum Answer {
    Relayed(Response<Incoming>),
    Own(Response<String>),
}

impl Edge {
    /// The edge, as the settings say.
    ///
    /// # Errors
    /// A setting does not parse, or two do not go together.
    pub fn new(context: &Context, pairs: Arc<Pairs>) -> Result<Self, StartError> {
        let set = &context.settings;
        let body_max = set.get(&settings::PROXYD_MAX_BODY)?;
        let body_time = set.get(&settings::PROXYD_BODY_TIMEOUT)?;
        let body_time_max = body_time + Duration::from_secs(body_max / BYTES_A_SECOND + 1);
        let daemons: BTreeSet<Daemon> = path::BACKENDS.iter().map(|b| b.daemon).collect();
        let answer_timeout = set.get(&settings::PROXYD_ANSWER_TIMEOUT)?;
        let host = set.get(&kit::WEB_HOST)?;
        let redirects = set.get(&settings::PROXYD_HTTPS_REDIRECT)?;
        if redirects && host.is_empty() {
            return Err(StartError::Config {
                what: "PROXYD_HTTPS_REDIRECT is on, and WEB_HOST does not say where to".into(),
                hint: "set WEB_HOST to the host that the certificate is for".into(),
            });
        }
        Ok(Self {
            forward: Forward::new(context, daemons, answer_timeout, body_time_max)?,
            sessions: Sessions::new(context.peers.get(Daemon::Authd)),
            limits: Limits::new(
                set.get(&settings::PROXYD_RATE)?,
                set.get(&settings::PROXYD_BURST)?,
                set.get(&settings::PROXYD_GUESSES)?,
            ),
            trusted: set.get(&settings::TRUSTED_PROXIES)?,
            pairs,
            redirect_to: redirects.then_some(host),
            body_max,
            body_time,
            stop: context.stop.clone(),
            traces: context.traces.clone(),
            answered: context
                .metrics
                .counter_family("edge_requests", "Requests through the edge, by where they went"),
        })
    }

    /// Whether `peer` is a proxy that is believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.contains(peer.to_canonical())
    }

    /// Answers one request. Never fails: what goes wrong is an answer too.
    pub async fn serve(&self, came: Came, request: Request<Incoming>) -> Response<AnswerBody> {
        let asked = self.asked(came, request.headers());
        let path = request.uri().path().to_owned();
        let mut entry =
            Entry::new(request.method(), &path, &asked.request_id, asked.client, asked.https);
        let accept: HeaderMap = request
            .headers()
            .get(header::ACCEPT)
            .map(|v| (header::ACCEPT, v.clone()))
            .into_iter()
            .collect();
        let is_head = request.method() == Method::HEAD;
        let answer = match self.answer(&asked, request).await {
            Ok(answer) => answer,
            Err(refusal) => Answer::Own(refusal.answer(&accept, &asked.request_id)),
        };
        let status = match &answer {
            Answer::Relayed(response) => response.status(),
            Answer::Own(response) => response.status(),
        };
        entry.answers(status);
        self.answered
            .get_or_create(&Answered { route: route(&path), status: status.as_u16() })
            .inc();
        let mut response = self.with_body(answer, entry, is_head);
        headers::finish_response(response.headers_mut(), asked.https, &asked.request_id);
        if self.stop.is_cancelled() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn asked(&self, came: Came, headers: &HeaderMap) -> Asked {
        let texts = |name: &str| {
            let values: Vec<&str> =
                headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
            values
        };
        let client =
            client_address::client(came.peer, texts("x-forwarded-for").into_iter(), &self.trusted);
        let trusted = self.trusts(came.peer);
        let https = came.tls || (trusted && texts("x-forwarded-proto") == ["https"]);
        let known = |id: &&str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
            trusted && (8..=64).contains(&id.len()) && id.bytes().all(plain)
        };
        let request_id = texts("x-request-id").into_iter().find(known).map(str::to_owned);
        let request_id = request_id.unwrap_or_else(|| hex::encode(rand::random::<[u8; 8]>()));
        Asked { client, https, request_id }
    }

    async fn answer(&self, asked: &Asked, request: Request<Incoming>) -> Result<Answer, Refusal> {
        let client = ClientKey::of(asked.client);
        self.limits.admit(client).map_err(too_many)?;
        if !is_method(request.method()) {
            let (status, detail) =
                (StatusCode::METHOD_NOT_ALLOWED, "the edge does not pass this method on");
            return Err(Refusal::new(status, "method_not_allowed", "Not possible here", detail));
        }
        let path = request.uri().path();
        path::check(path).map_err(|error| Refusal::of(Code::BadRequest, error.to_string()))?;
        let target = path::target(path);
        if let Some(host) =
            self.redirect_to.as_deref().filter(|_| !asked.https && self.pairs.exist())
            && target != Target::Health
        {
            let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
            return Ok(Answer::Own(answers::redirect(&format!("https://{host}{path}{query}"))));
        }
        match target {
            Target::Backend(backend) => self.pass_on(asked, client, backend, request).await,
            Target::Landing => Ok(Answer::Own(answers::landing())),
            Target::Health => Ok(Answer::Own(answers::health())),
            Target::Robots => Ok(Answer::Own(answers::robots())),
            Target::AddSlash => Ok(Answer::Own(answers::redirect(&format!("{path}/")))),
            Target::Nowhere => Err(Refusal::of(Code::NotFound, "there is nothing at this address")),
        }
    }

    async fn pass_on(
        &self,
        asked: &Asked,
        client: ClientKey,
        backend: Backend,
        request: Request<Incoming>,
    ) -> Result<Answer, Refusal> {
        if backend.is_capability {
            self.limits.may_try(client).map_err(too_many)?;
        }
        check_length(request.headers(), self.body_max)?;
        let path = request.uri().path();
        let is_asset = path.starts_with("/chat/assets/") || path.starts_with("/dash/assets/");
        let who = match headers::session(request.headers(), asked.https) {
            Some(cookie) if backend.wants_user && !is_asset => {
                self.sessions.whose(cookie, backend.acting()).await.map_err(|error| {
                    // Not as a stranger: what a person says would stand under another name.
                    tracing::warn!(error = %kit::chain(&error), "authd could not say whose session it is");
                    Refusal::of(Code::Unavailable, "the login could not be checked; try again shortly")
                        .retry_after(Duration::from_secs(2))
                })?
            }
            _ => None,
        };
        let proof = self.forward.proof(backend.daemon).await?;
        let (mut parts, body) = request.into_parts();
        let host = parts.headers.get(header::HOST).cloned();
        headers::strip_request(&mut parts.headers);
        if backend.daemon != Daemon::Authd {
            headers::strip_session(&mut parts.headers);
        }
        let client_ip = asked.client;
        let stamp = Stamp {
            client: client_ip,
            https: asked.https,
            host,
            request_id: &asked.request_id,
            subject: who.as_ref().map(|who| who.subject.as_str()),
            act: who.as_ref().and_then(|who| who.act.as_deref()),
            proof: &proof,
        };
        headers::stamp(&mut parts.headers, &stamp);
        let span = self.span(&parts, &backend);
        headers::go_on_from(&mut parts.headers, &span);
        let body = RequestBody::new(body, self.body_max, self.body_time);
        let answer = self.forward.send(backend.daemon, Request::from_parts(parts, body)).await?;
        span.say(Fact::Status(answer.status().as_u16()));
        if backend.is_capability && !is_asset && answer.status() == StatusCode::NOT_FOUND {
            self.limits.guessed(client);
        }
        Ok(Answer::Relayed(answer))
    }

    /// What is told of a request that may bring a message. Its path is not: that may be a right.
    fn span(&self, parts: &Parts, backend: &Backend) -> Span {
        let brings = matches!(backend.daemon, Daemon::Webd | Daemon::Teled | Daemon::Slakd);
        if parts.method != Method::POST || !brings || !self.traces.are_told() {
            return Span::default();
        }
        self.traces.at_the_edge(format!("POST {}", backend.prefix), &parts.headers)
    }

    fn with_body(&self, answer: Answer, entry: Entry, is_head: bool) -> Response<AnswerBody> {
        match answer {
            Answer::Own(response) if is_head => {
                response.map(|_| AnswerBody::own(String::new(), entry))
            }
            Answer::Own(response) => response.map(|text| AnswerBody::own(text, entry)),
            Answer::Relayed(response) => {
                let kind = response.headers().get(header::CONTENT_TYPE);
                let events =
                    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
                let stop = self.stop.clone();
                response.map(|body| {
                    if events {
                        AnswerBody::events(body, entry, stop.cancelled_owned())
                    } else {
                        AnswerBody::relayed(body, entry)
                    }
                })
            }
        }
    }
}

fn is_method(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ]
    .contains(method)
}

/// Refuses a body that says that it is too large before any of it is read. Where there is also a
/// `Transfer-Encoding`, hyper has taken the length out, as RFC 9112, section 6.3 says.
fn check_length(headers: &HeaderMap, max: u64) -> Result<(), Refusal> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(()) };
    let length = length.to_str().ok().and_then(|length| length.parse::<u64>().ok());
    match length {
        Some(length) if length <= max => Ok(()),
        Some(_) => {
            let detail =
                format!("the body is larger than the {max} bytes that the edge lets through");
            Err(Refusal::of(Code::TooLarge, detail))
        }
        None => Err(Refusal::of(Code::BadRequest, "Content-Length is not a number")),
    }
}

fn too_many(wait: Duration) -> Refusal {
    Refusal::of(Code::RateLimited, "too many requests; wait as long as Retry-After says")
        .retry_after(wait)
}

/// The first segment of a public path, for a metric.
fn route(path: &str) -> &'static str {
    if path::check(path).is_err() {
        return "refused";
    }
    match path::target(path) {
        Target::Backend(backend) => backend.prefix,
        Target::Nowhere => "none",
        _ => "edge",
    }
}
