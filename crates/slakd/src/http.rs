//! What slakd serves to Slack: events, commands and interactions. Translation only.

use crate::{
    credentials::SigningSecret,
    event::Channel,
    figures::{Figures, Outcome},
    inbound::Inbound,
    signature::{SIGNATURE, Signed, TIMESTAMP},
};
use axum::{
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use kit::{Api, Clock, Failure};
use proto::{Method, Needs, Route};
use secrets::Watched;
use serde_json::Value;
use std::sync::Arc;

const EVENTS: Route = Route::new(
    Method::Post,
    "/slack/events",
    Needs::Nobody,
    "Slack's events, signed under the app's signing secret",
);
const COMMANDS: Route =
    Route::new(Method::Post, "/slack/commands", Needs::Nobody, "Slack's slash commands, signed");
const INTERACTIONS: Route = Route::new(
    Method::Post,
    "/slack/interactions",
    Needs::Nobody,
    "What people do with parts of messages in Slack, signed",
);

/// Every route of this daemon, without those that every daemon and every adapter has.
pub const ROUTES: &[Route] = &[EVENTS, COMMANDS, INTERACTIONS];

/// Most bytes of a request.
const BODY_MAX: usize = 1 << 20;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) inbound: Arc<Inbound>,
    pub(crate) signing: Watched<Option<SigningSecret>>,
    pub(crate) clock: Clock,
    pub(crate) figures: Figures,
}

/// Adds the endpoints.
pub(crate) fn mount(api: &mut Api, app: &Arc<App>) {
    let mut add = |route: Route, served: MethodRouter<Arc<App>>| {
        let served = served.layer(DefaultBodyLimit::max(BODY_MAX));
        api.raw(route, served.with_state(app.clone()));
    };
    add(EVENTS, post(events));
    add(COMMANDS, post(commands));
    add(INTERACTIONS, post(interactions));
}

type Body = Result<Bytes, BytesRejection>;

async fn events(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let body = app.admit(&headers, body).await?;
    let payload: Value = serde_json::from_slice(&body)
        .map_err(|_| Failure::bad_request("the body is not JSON, although Slack signed it"))?;
    if payload["type"] == "url_verification" {
        let challenge = payload["challenge"].as_str().unwrap_or_default().to_owned();
        return Ok(([(header::CONTENT_TYPE, "text/plain")], challenge).into_response());
    }
    if payload["type"] == "app_rate_limited" {
        tracing::warn!("Slack holds events back: more than 30,000 came within an hour");
        return Ok(StatusCode::OK.into_response());
    }
    app.take(Channel::Event, &payload).await
}

async fn commands(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let body = app.admit(&headers, body).await?;
    let fields = form_urlencoded::parse(&body).into_owned();
    let payload = fields.map(|(name, value)| (name, Value::from(value))).collect();
    app.take(Channel::Command, &Value::Object(payload)).await
}

async fn interactions(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let body = app.admit(&headers, body).await?;
    let mut fields = form_urlencoded::parse(&body);
    let payload = fields.find(|(name, _)| name == "payload").map(|(_, value)| value);
    let payload = payload.and_then(|text| serde_json::from_str(&text).ok());
    let payload: Value =
        payload.ok_or_else(|| Failure::bad_request("the form has no JSON in `payload`"))?;
    app.take(Channel::Interaction, &payload).await
}

impl App {
    /// The body, where Slack signed it.
    async fn admit(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Failure> {
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Failure::new(proto::Code::TooLarge, "the body has more than 1 MiB")
            }
            _ => Failure::bad_request("the body could not be read to its end"),
        })?;
        let now = self.clock.now().0.div_euclid(1_000);
        let signed = Signed::read(only(headers, TIMESTAMP), only(headers, SIGNATURE), &body, now);
        let signed = signed.map_err(|error| self.refuse(error.to_string()))?;
        if self.signing.current().is_none() {
            let detail = "there is no SLACK_SIGNING_SECRET yet, so nothing can be believed";
            return Err(Failure::unavailable(detail));
        }
        let made = |secret: &Option<SigningSecret>| {
            let by = secret.as_ref().filter(|one| signed.made_with(one.secret()))?;
            // Asked now: the check may have found a newer one.
            let current = self.signing.current();
            let current = current.as_ref().as_ref();
            Some(current.is_some_and(|current| current.secret().same_as(by.secret())))
        };
        let by_current = self.signing.check(made).await;
        let by_current = by_current.ok_or_else(|| {
            self.refuse("the signature is not made with a signing secret that is accepted".into())
        })?;
        self.figures.verified(by_current);
        if headers.contains_key("x-slack-retry-num") {
            self.figures.retried();
        }
        Ok(body)
    }

    fn refuse(&self, why: String) -> Failure {
        self.figures.heard(Outcome::Unsigned);
        Failure::unauthorized(why)
    }

    async fn take(&self, how: Channel, payload: &Value) -> Result<Response, Failure> {
        match self.inbound.take(how, payload).await {
            Ok(()) => Ok(StatusCode::OK.into_response()),
            Err(error) => {
                self.figures.heard(Outcome::Lost);
                tracing::error!(error = %kit::chain(&error), "an event is not kept; Slack tells it again");
                Err(Failure::unavailable("it could not be kept; tell it again"))
            }
        }
    }
}

/// A header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let one = all.next().filter(|_| all.next().is_none())?;
    one.to_str().ok()
}
