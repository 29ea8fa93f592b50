//! What every daemon serves, around what it serves itself.

use crate::{Context, Failure, api, condition::Condition, gate::makes_tokens};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use proto::{
    Code, Nothing, Timestamp,
    kit::{
        DaemonSecrets, FORGET_SECRET, ForgetSecret, HEALTH, Health, READY, REFRESH_SECRETS, Ready,
        SECRETS, SecretState,
    },
};
use secrets::Name;
use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tower::ServiceExt;
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};

/// Bytes of a request's body, where an endpoint does not say otherwise.
pub const BODY_MAX: usize = 1 << 20;
/// How long a handler may take until it begins to answer. Longer than any long poll.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What a daemon serves itself, once it has started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Late(Arc<OnceLock<Router>>);

impl Late {
    pub(crate) fn set(&self, router: Router) {
        let router =
            router.fallback(api::no_such_path).method_not_allowed_fallback(api::no_such_method);
        // A daemon starts once; a second router would be a defect and is not served.
        let _second = self.0.set(router).is_err();
    }

    async fn serve(self, request: Request) -> Response {
        let Some(router) = self.0.get() else {
            return Failure::new(
                Code::Unavailable,
                "the daemon is starting; /ready says what it waits for",
            )
            .retry_after(Duration::from_secs(1))
            .into_response();
        };
        router.clone().oneshot(request).await.unwrap_or_else(|never: Infallible| match never {})
    }
}

/// The router of a daemon: the common endpoints, and `late` for everything else.
pub(crate) fn front(context: &Context, late: Late) -> Router {
    let started_at = context.clock.now();
    // Whoever is served may be refused, from the first request on.
    let refusals = context.gate.refusals().clone();
    context.tasks.spawn("refusals", refusals.follow(context.health.clone(), context.stop.clone()));
    context.metrics.registry().register_collector(Box::new(Condition::of(context)));
    let mut common = api::Api::new(context);
    common.mount(HEALTH, context.clone(), move |context, _, _| health(context, started_at));
    common.mount(SECRETS, context.clone(), |context, _, _: Nothing| async move {
        Ok(state_of_secrets(&context))
    });
    common.mount(REFRESH_SECRETS, context.clone(), |context, caller, _: Nothing| async move {
        context.secrets.refresh_for(caller.subject().as_str()).await;
        Ok(state_of_secrets(&context))
    });
    common.mount(FORGET_SECRET, context.clone(), forget);
    let (figures, ready_context) = (context.clone(), context.clone());
    common
        .into_common_router()
        .route(READY.route.path, get(move || ready(ready_context.clone())))
        .route("/metrics", get(move || metrics(figures.clone())))
        .fallback(move |request: Request| late.clone().serve(request))
        .layer(middleware::from_fn(one_credential))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, ANSWER_TIMEOUT))
        .layer(CatchPanicLayer::custom(panicked))
}

/// Refuses who presents two credentials: which of them counts would be a matter of who reads it, the
/// edge, a proxy or the gate (RFC 9110, section 5.3: the field is not a list).
async fn one_credential(request: Request, next: middleware::Next) -> Response {
    if request.headers().get_all(header::AUTHORIZATION).iter().count() > 1 {
        return Failure::bad_request("there is more than one Authorization header; send one")
            .into_response();
    }
    next.run(request).await
}

async fn health(context: Context, started_at: Timestamp) -> Result<Health, Failure> {
    Ok(Health {
        status: "ok".into(),
        daemon: context.daemon,
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        started_at,
    })
}

async fn ready(context: Context) -> Response {
    let ready = context.health.is_ready();
    let (mut waiting_for, mut degraded) = (context.health.waiting_for(), context.health.troubles());
    degraded.extend(context.secrets.degraded());
    degraded.extend(context.stores.troubles());
    if !ready {
        waiting_for.extend(context.secrets.waiting());
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Ready { ready, waiting_for, degraded })).into_response()
}

async fn forget(
    context: Context,
    caller: auth::Caller,
    request: ForgetSecret,
) -> Result<DaemonSecrets, Failure> {
    let name: Name =
        request.name.parse().map_err(|error| Failure::bad_request(format!("{error}")))?;
    if !context.health.is_ready() {
        let detail = "the daemon is starting, and cannot end what the secret made yet; ask again";
        return Err(Failure::unavailable(detail).retry_after(Duration::from_secs(1)));
    }
    let by = caller.subject().as_str();
    context.secrets.forget_for(&name, by).await;
    // The daemon's own first: a token of before must not meet a peer that is told at the same time.
    if let Some(tokens) = context.peers.tokens()
        && makes_tokens(&name)
    {
        tokens.end();
    }
    context.gate.forgotten(&name, by).await?;
    Ok(state_of_secrets(&context))
}

/// The state of a daemon's secrets, as it travels.
pub(crate) fn state_of_secrets(context: &Context) -> DaemonSecrets {
    let time = |text: String| serde_json::from_value::<Timestamp>(text.into()).ok();
    let state = |known: secrets::SecretStatus| SecretState {
        name: known.name.to_string(),
        source: known.source,
        version: if known.is_static { Some("static".into()) } else { known.version },
        fingerprint: known.fingerprint,
        age_seconds: known.age_seconds,
        changed_at: known.changed_at.and_then(time),
        taken_at: known.taken_at.and_then(time),
        previous_accepted_until: known.previous_accepted_until.and_then(time),
        last_checked: known.last_checked.and_then(time),
        error: known.error,
    };
    DaemonSecrets {
        daemon: context.daemon,
        generation: context.secrets.generation(),
        secrets: context.secrets.status().into_iter().map(state).collect(),
    }
}

async fn metrics(context: Context) -> Response {
    match context.metrics.text() {
        Ok(text) => {
            let kind = HeaderValue::from_static(
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            );
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => Failure::internal(&error).into_response(),
    }
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    // The panic's own message went to standard error; it is not for the caller.
    Failure::new(Code::Internal, "the daemon failed on this request").into_response()
}
