//! The model gateway on a turn's socket: reading a request, and writing an answer or a refusal in the vendor's form.

use crate::{
    attempt::Attempt,
    gateway::{self, Answer, BODY_MAX, Kind, Refusal, Vendor},
};
use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kit::Failure;
use proto::Code;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a request's body may take.
const BODY_TIME: Duration = Duration::from_secs(60);

/// One vendor's part of the gateway, on one turn's socket.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) attempt: Attempt,
    pub(super) vendor: Vendor,
    pub(super) closed: CancellationToken,
}

/// Serves a request.
pub(super) async fn serve(State(side): State<Side>, request: Request) -> Response {
    let Side { attempt, vendor, closed } = side;
    let served = async {
        let request = read(vendor, request).await?;
        gateway::serve(&attempt, closed, request).await
    };
    match served.await {
        Ok(answer) => passed(answer),
        Err(refusal) => refused(vendor, &refusal),
    }
}

async fn read(vendor: Vendor, request: Request) -> Result<gateway::Request, Refusal> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().strip_prefix(vendor.prefix()).unwrap_or_default().to_owned();
    let body = tokio::time::timeout(BODY_TIME, to_bytes(body, BODY_MAX)).await;
    let too_large = || {
        let text = format!("the body did not arrive whole, or has more than {BODY_MAX} bytes");
        Refusal::new(Kind::TooLarge, text)
    };
    let body = body.ok().and_then(Result::ok).ok_or_else(too_large)?;
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let (method, headers) = (parts.method, parts.headers);
    Ok(gateway::Request { vendor, method, path, query, headers, body })
}

fn passed(answer: Answer) -> Response {
    let mut response = Response::new(Body::from_stream(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.headers_mut() = answer.headers;
    // What the model refuses is no refusal of this daemon's.
    response.extensions_mut().insert(kit::PassedOn);
    response
}

fn refused(vendor: Vendor, refusal: &Refusal) -> Response {
    let kind = refusal.kind;
    // For its extensions: the audit of refusals reads there why.
    let failure = Failure::new(Code::Forbidden, &refusal.message).code(kind.code());
    let mut response = failure.into_response();
    *response.status_mut() = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let again = if kind.may_be_retried() { "true" } else { "false" };
    // Both vendors' libraries heed it.
    headers.insert(HeaderName::from_static("x-should-retry"), HeaderValue::from_static(again));
    if let Some(seconds) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    *response.body_mut() = Body::from(refusal.body(vendor).to_string());
    response
}
