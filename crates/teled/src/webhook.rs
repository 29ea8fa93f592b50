//! What Telegram calls: one update at a time. <https://core.telegram.org/bots/api#setwebhook>

use crate::{credentials::WebhookSecret, intake::Intake};
use adapter::SpoolError;
use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use kit::{Api, Failure};
use proto::{Method, Needs, Route};
use secrets::Watched;
use serde_json::Value;

/// Telegram proves itself with the secret, in a header of its own.
const WEBHOOK: Route =
    Route::new(Method::Post, "/telegram/webhook", Needs::Nobody, "Telegram brings an update");

/// Every route of this daemon, without those that every daemon and every adapter has.
pub const ROUTES: &[Route] = &[WEBHOOK];

/// The header that has the secret.
const SECRET: &str = "x-telegram-bot-api-secret-token";

/// What the webhook needs.
#[derive(Clone)]
pub(crate) struct Webhook {
    pub(crate) intake: Intake,
    pub(crate) secret: Watched<Option<WebhookSecret>>,
    /// Whether Telegram was told to call it.
    pub(crate) is_wanted: bool,
}

pub(crate) fn mount(api: &mut Api, webhook: Webhook) {
    api.raw(WEBHOOK, post(update).with_state(webhook));
}

async fn update(
    State(webhook): State<Webhook>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    match webhook.take(&headers, body.ok()).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(failure) => failure.into_response(),
    }
}

impl Webhook {
    async fn take(&self, headers: &HeaderMap, body: Option<Bytes>) -> Result<(), Failure> {
        if !self.is_wanted {
            return Err(Failure::not_found("there is nothing at this path"));
        }
        let shown = headers.get(SECRET).map(|shown| shown.as_bytes());
        let is = |secret: &Option<WebhookSecret>| {
            secret.as_ref().zip(shown).filter(|(secret, shown)| secret.is(shown)).map(drop)
        };
        if shown.is_none() || self.secret.check(is).await.is_none() {
            return Err(Failure::unauthorized("this is not the secret of the webhook"));
        }
        let body = body.ok_or_else(|| Failure::bad_request("the update cannot be read"))?;
        let update: Value = serde_json::from_slice(&body)
            .map_err(|_| Failure::bad_request("the update is no JSON"))?;
        let later = "updates are not taken yet; bring it again";
        let me = self.intake.me().ok_or_else(|| Failure::unavailable(later))?;
        self.intake.brought(&update, me).await.map_err(|error| match error {
            SpoolError::Full => Failure::unavailable("too many updates wait; bring it again"),
            other => Failure::internal(&other),
        })
    }
}
