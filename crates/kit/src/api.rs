//! Mounting an [`Endpoint`] on a router: the request's parts become its one type, the caller is
//! admitted by what the endpoint needs, and the OpenAPI document learns of it.

use crate::{
    Context, Failure, Gate,
    guard::{Asker, Guard},
    openapi,
    refusals::Why,
    traces::{Fact, OnSocket, Span, Traces},
};
use auth::Caller;
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, StatusCode, request::Parts},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use proto::{Code, Endpoint, Method, Route};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use std::{borrow::Cow, future::Future, sync::Arc, time::Duration};

/// How long a request's body may take until it is whole.
const BODY_TIME: Duration = Duration::from_secs(30);

/// An extension of an answer that somebody outside gave: when it refuses, the audit of refusals says nothing of it.
#[derive(Clone, Copy, Debug)]
pub struct PassedOn;

/// The endpoints of a daemon, while they are being mounted.
#[derive(Debug)]
pub struct Api {
    router: Router,
    gate: Gate,
    document: openapi::Document,
    /// On a private socket: who is at its other end.
    socket: Option<Cow<'static, str>>,
    traces: Traces,
    /// On a private socket: what everything there is a part of.
    part_of: Option<OnSocket>,
}

impl Api {
    /// The endpoints that `context`'s daemon serves over TCP.
    pub fn new(context: &Context) -> Self {
        let mut document = openapi::Document::new(context.daemon.name());
        common::describe(&mut document);
        Self {
            router: Router::new(),
            gate: context.gate.clone(),
            document,
            socket: None,
            traces: context.traces.clone(),
            part_of: None,
        }
    }

    /// Endpoints on a private Unix socket, where [`Needs::Socket`](proto::Needs::Socket) is met by
    /// being there.
    pub fn on_socket(context: &Context) -> Self {
        Self::on_socket_of("anonymous", context)
    }

    /// The same, where the socket says who calls: the audit log names `subject`.
    pub fn on_socket_of(subject: impl Into<Cow<'static, str>>, context: &Context) -> Self {
        Self { socket: Some(subject.into()), ..Self::new(context) }
    }

    /// What is asked here is a part of `whole`, in a span of this name, which begins with the first request.
    #[must_use]
    pub fn part_of(self, whole: &Span, name: &'static str) -> Self {
        let part_of = Some(OnSocket::new(&self.traces, whole, name));
        Self { part_of, ..self }
    }

    /// Adds `endpoint`, served by `handler`, which answers 200.
    pub fn mount<S, Req, Res, F, Fut>(
        &mut self,
        endpoint: Endpoint<Req, Res>,
        state: S,
        handler: F,
    ) -> &mut Self
    where
        S: Clone + Send + Sync + 'static,
        Req: DeserializeOwned + JsonSchema + Send + 'static,
        Res: Serialize + JsonSchema + Send + 'static,
        F: Fn(S, Caller, Req) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Res, Failure>> + Send + 'static,
    {
        self.mount_status(endpoint, StatusCode::OK, state, handler)
    }

    /// Adds `endpoint`, served by `handler`, which answers `success`.
    pub fn mount_status<S, Req, Res, F, Fut>(
        &mut self,
        endpoint: Endpoint<Req, Res>,
        success: StatusCode,
        state: S,
        handler: F,
    ) -> &mut Self
    where
        S: Clone + Send + Sync + 'static,
        Req: DeserializeOwned + JsonSchema + Send + 'static,
        Res: Serialize + JsonSchema + Send + 'static,
        F: Fn(S, Caller, Req) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Res, Failure>> + Send + 'static,
    {
        let unkeyed = move |state, caller, _, request| handler(state, caller, request);
        self.mount_typed(endpoint, success, state, unkeyed)
    }

    /// Adds `endpoint`, served by `handler`, which answers 200 and is given the request's `Idempotency-Key` as well.
    pub fn mount_keyed<S, Req, Res, F, Fut>(
        &mut self,
        endpoint: Endpoint<Req, Res>,
        state: S,
        handler: F,
    ) -> &mut Self
    where
        S: Clone + Send + Sync + 'static,
        Req: DeserializeOwned + JsonSchema + Send + 'static,
        Res: Serialize + JsonSchema + Send + 'static,
        F: Fn(S, Caller, Option<String>, Req) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Res, Failure>> + Send + 'static,
    {
        self.mount_typed(endpoint, StatusCode::OK, state, handler)
    }

    fn mount_typed<S, Req, Res, F, Fut>(
        &mut self,
        endpoint: Endpoint<Req, Res>,
        success: StatusCode,
        state: S,
        handler: F,
    ) -> &mut Self
    where
        S: Clone + Send + Sync + 'static,
        Req: DeserializeOwned + JsonSchema + Send + 'static,
        Res: Serialize + JsonSchema + Send + 'static,
        F: Fn(S, Caller, Option<String>, Req) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Res, Failure>> + Send + 'static,
    {
        let route = endpoint.route;
        self.document.endpoint::<Req, Res>(route, success.as_u16());
        let guard = Arc::new(self.guard(route));
        let tracing = self.tracing(route);
        let serve = move |request: Request| {
            let (guard, state, handler) = (guard.clone(), state.clone(), handler.clone());
            let span = tracing.span(request.headers());
            async move {
                let (mut parts, body) = request.into_parts();
                let (asker, mut known) = (Asker::of(&parts), None);
                let answer = async {
                    let caller = guard.admit(&parts).await?;
                    known = Some(caller.clone());
                    let key = idempotency_key(&parts)?;
                    let request = decode::<Req>(route, &mut parts, body).await?;
                    handler(state, caller, key, request).await
                };
                match span.around(answer).await {
                    Ok(answer) => {
                        span.say(Fact::Status(success.as_u16()));
                        Ok((success, Json(answer)))
                    }
                    Err(failure) => {
                        span.say(Fact::Status(failure.status().as_u16()));
                        let why = failure.why();
                        guard.note(&asker, known.as_ref(), failure.status(), Some(why)).await;
                        Err(failure)
                    }
                }
            }
        };
        self.add(route, on(filter(route.method), serve));
        self
    }

    /// Adds a route that is served by hand: a page, a stream. The caller is admitted first and is
    /// an extension of the request.
    pub fn raw(&mut self, route: Route, served: MethodRouter) -> &mut Self {
        self.document.raw(route);
        let guard = Arc::new(self.guard(route));
        let tracing = self.tracing(route);
        let check = move |request: Request, next: middleware::Next| {
            let guard = guard.clone();
            let span = tracing.span(request.headers());
            async move {
                let (mut parts, body) = request.into_parts();
                let (asker, mut known) = (Asker::of(&parts), None);
                let response = match guard.admit(&parts).await {
                    Ok(caller) => {
                        known = Some(caller.clone());
                        parts.extensions.insert(caller);
                        let response =
                            span.around(next.run(Request::from_parts(parts, body))).await;
                        span.say(Fact::Status(response.status().as_u16()));
                        response
                    }
                    Err(failure) => failure.into_response(),
                };
                if response.extensions().get::<PassedOn>().is_some() {
                    return response;
                }
                let why = response.extensions().get::<Why>().cloned();
                guard.note(&asker, known.as_ref(), response.status(), why).await;
                response
            }
        };
        self.add(route, served.layer(middleware::from_fn(check)));
        self
    }

    fn tracing(&self, route: Route) -> Tracing {
        Tracing { traces: self.traces.clone(), part_of: self.part_of.clone(), route }
    }

    fn guard(&self, route: Route) -> Guard {
        Guard { gate: self.gate.clone(), route, socket: self.socket.clone() }
    }

    fn add(&mut self, route: Route, served: MethodRouter) {
        let router = std::mem::take(&mut self.router);
        self.router = router.route(route.path, served);
    }

    /// The endpoints that every daemon has: the document is the daemon's own to serve.
    pub(crate) fn into_common_router(self) -> Router {
        self.router
    }

    /// The router, with the document of its endpoints on `GET /openapi.json`.
    pub fn into_router(self) -> Router {
        if self.socket.is_some() {
            return self.router;
        }
        let document = Arc::new(self.document.into_json());
        let serve = move || {
            let document = document.clone();
            async move { Json((*document).clone()) }
        };
        self.router.route("/openapi.json", on(MethodFilter::GET, serve))
    }
}

/// Makes the spans of one route.
#[derive(Clone, Debug)]
struct Tracing {
    traces: Traces,
    part_of: Option<OnSocket>,
    route: Route,
}

impl Tracing {
    fn span(&self, headers: &HeaderMap) -> Span {
        if !self.traces.are_told() {
            return Span::default();
        }
        self.traces.of_request(self.route, headers, self.part_of.as_ref().map(OnSocket::span))
    }
}

/// The endpoints that every daemon has, for its document.
mod common {
    use crate::openapi::Document;
    use proto::{
        Nothing,
        kit::{
            DaemonSecrets, FORGET_SECRET, ForgetSecret, HEALTH, Health, READY, REFRESH_SECRETS,
            Ready, SECRETS,
        },
    };

    pub(super) fn describe(document: &mut Document) {
        document.endpoint::<Nothing, Health>(HEALTH.route, 200);
        document.endpoint::<Nothing, Ready>(READY.route, 200);
        document.endpoint::<Nothing, DaemonSecrets>(SECRETS.route, 200);
        document.endpoint::<Nothing, DaemonSecrets>(REFRESH_SECRETS.route, 200);
        document.endpoint::<ForgetSecret, DaemonSecrets>(FORGET_SECRET.route, 200);
    }
}

/// The key under which a repeat of a request is answered alike, if the caller gave one.
fn idempotency_key(parts: &Parts) -> Result<Option<String>, Failure> {
    let Some(key) = parts.headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().map_err(|_| Failure::bad_request("`Idempotency-Key` is plain text"))?;
    Ok(Some(key.to_owned()))
}

fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Delete => MethodFilter::DELETE,
    }
}

async fn decode<Req: DeserializeOwned>(
    route: Route,
    parts: &mut Parts,
    body: Body,
) -> Result<Req, Failure> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|_| Failure::bad_request("the path is not valid UTF-8"))?;
    let params: Vec<(&str, &str)> = params.iter().collect();
    if route.method.has_body() {
        let request = Request::from_parts(parts.clone(), body);
        return from_body(&whole(request).await?, &params);
    }
    from_query(parts.uri.query().unwrap_or_default(), &params)
}

/// The body, as long as it is not too large and does not take too long.
async fn whole(request: Request) -> Result<Bytes, Failure> {
    let read = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, &())).await;
    let read = read.map_err(|_| {
        let detail = format!("the body did not arrive within {} seconds", BODY_TIME.as_secs());
        Failure::new(Code::BadRequest, detail)
            .code("body_too_slow")
            .answered_with(StatusCode::REQUEST_TIMEOUT)
    })?;
    read.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Failure::new(Code::TooLarge, "the body is larger than this endpoint takes")
        }
        _ => Failure::bad_request("the body could not be read to its end"),
    })
}

fn from_body<Req: DeserializeOwned>(bytes: &[u8], params: &[(&str, &str)]) -> Result<Req, Failure> {
    // A request without fields may come without a body.
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    let wrong = |error: serde_json::Error| {
        Failure::bad_request(format!("the body is not what this endpoint takes: {}", brief(&error)))
    };
    if params.is_empty() {
        return serde_json::from_slice(bytes).map_err(wrong);
    }
    let mut fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(bytes).map_err(wrong)?;
    for (name, value) in params {
        fields.insert((*name).to_owned(), (*value).into());
    }
    serde_json::from_value(fields.into()).map_err(wrong)
}

fn from_query<Req: DeserializeOwned>(query: &str, params: &[(&str, &str)]) -> Result<Req, Failure> {
    let wrong = |detail: String| Failure::bad_request(format!("the query does not fit: {detail}"));
    let mut pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(query).map_err(|error| wrong(error.to_string()))?;
    pairs.retain(|(name, _)| !params.iter().any(|(param, _)| param == name));
    pairs.extend(params.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    let whole = serde_urlencoded::to_string(&pairs).map_err(|error| wrong(error.to_string()))?;
    serde_urlencoded::from_str(&whole).map_err(|error| wrong(error.to_string()))
}

/// What is wrong with a body, without quoting it: serde's message may hold the value.
fn brief(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let quotes = text.contains("invalid value") || text.contains("invalid type");
    if error.is_data() && !quotes {
        return text.chars().take(200).collect();
    }
    format!("{} at line {} column {}", category(error), error.line(), error.column())
}

fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Data => "a field of the wrong type",
        serde_json::error::Category::Eof => "it ends too early",
        _ => "it is not JSON",
    }
}

/// Answers every path that nothing serves.
pub(crate) async fn no_such_path() -> Response {
    Failure::not_found("there is nothing at this path").into_response()
}

/// Answers a method that a path does not serve.
pub(crate) async fn no_such_method() -> Response {
    Failure::bad_request("this path does not serve that method")
        .code("method_not_allowed")
        .answered_with(StatusCode::METHOD_NOT_ALLOWED)
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let silent = futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from("{")) });
        let silent = futures::StreamExt::chain(silent, futures::stream::pending());
        let request = Request::new(Body::from_stream(silent));
        let answer = whole(request).await.unwrap_err().into_response();
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
        let answer = whole(Request::new(Body::from("{}"))).await.unwrap();
        assert_eq!(&answer[..], b"{}", "one that ends is read");
    }
}
