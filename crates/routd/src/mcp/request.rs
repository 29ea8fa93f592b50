//! `http_request`: an HTTP request that routd makes under a tenant's secret, which the agent never sees.

use super::{arguments::HttpRequest, calls::Answer};
use crate::{
    app::App,
    attempt::Attempt,
    binding::Binding,
    fault::Fault,
    outside::{Incoming, Outgoing, secret_header},
    record::record,
    rights::Rights,
    scrub::Scrub,
    store::{tenant_secrets as rows, tools, turns},
    tenant,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use secrets::Secret;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Headers that an agent may add, and bytes of all of them.
const HEADERS_MAX: usize = 32;
const HEADERS_BYTES: usize = 8 * 1024;
/// Bytes of a body.
const BODY_MAX: usize = 1024 * 1024;
/// How long an answer may take, in seconds: when the call does not say, and at most.
const TIMEOUT: u64 = 30;
const TIMEOUT_MAX: u64 = 60;
/// Headers that the client writes by itself.
const OURS: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
];

/// Makes the request, once for each call: one whose answer was lost is not made again.
pub(super) async fn run(
    app: &Arc<App>,
    attempt: &Attempt,
    asked: HttpRequest,
    arguments: String,
    key: Option<String>,
) -> Result<Answer, Fault> {
    let method = method(asked.method.as_deref())?;
    let timeout = asked.timeout_seconds.unwrap_or(TIMEOUT);
    if !(1..=TIMEOUT_MAX).contains(&timeout) {
        return Err(Fault::Invalid(format!("`timeout_seconds` is 1 to {TIMEOUT_MAX}")));
    }
    let (body, is_json) = match (asked.body, asked.json) {
        (Some(_), Some(_)) => return Err(Fault::Invalid("give `body` or `json`, not both".into())),
        (text, None) => (text, false),
        (None, Some(value)) => (Some(value.to_string()), true),
    };
    if body.as_ref().is_some_and(|body| body.len() > BODY_MAX) {
        return Err(Fault::Invalid(format!("a body has at most {BODY_MAX} bytes")));
    }
    let mut headers = headers(asked.headers.unwrap_or_default())?;
    if is_json {
        let json = HeaderValue::from_static("application/json");
        headers.entry(header::CONTENT_TYPE).or_insert(json);
    }
    let call = Call { method: method.clone(), arguments, key, url: asked.url, name: asked.secret };
    let begun = begin(app, attempt, call.clone()).await?;
    let (binding, secret, url) = match begun {
        Begun::Answered(answer) => return Ok(answer),
        Begun::May { binding, secret, url } => (binding, secret, url),
    };
    let (name, value) = secret_header(binding.header(), binding.around(), &secret)?;
    headers.insert(name, value);
    let place = format!("{} {}{}", call.method, url.origin().ascii_serialization(), url.path());
    let timeout = Duration::from_secs(timeout);
    let sent = app.outside.send(Outgoing { method, url, headers, body, timeout }).await;
    let text = secret.text().unwrap_or_default().to_owned();
    let answer = sent.map(|incoming| told(incoming, &Scrub::of(&text)));
    end(app, attempt, call, &place, answer).await
}

/// One call, as it is remembered.
#[derive(Clone)]
struct Call {
    method: Method,
    arguments: String,
    key: Option<String>,
    url: String,
    name: String,
}

impl Call {
    fn row<'a>(&'a self, turn: &'a turns::Turn, epoch: i64) -> tools::Call<'a> {
        tools::Call {
            turn_id: &turn.id,
            attempt: turn.standing.attempt,
            key: self.key.as_deref(),
            tool: "http_request",
            arguments: &self.arguments,
            epoch,
        }
    }
}

enum Begun {
    /// It was made before.
    Answered(Answer),
    May {
        binding: Binding,
        secret: Secret,
        url: url::Url,
    },
}

/// Decides whether the request may be made, and writes that it is: before it is sent, so that no use goes unrecorded.
async fn begin(app: &Arc<App>, attempt: &Attempt, call: Call) -> Result<Begun, Fault> {
    let (attempt, now, epoch) = (attempt.clone(), app.now(), app.epoch);
    let begun = app.keyring.write("http_request", move |tx, key| {
        let turn = attempt.current(tx)?;
        if let Some(answer) = tools::answered(tx, &call.row(&turn, epoch))? {
            let answer = serde_json::from_str(&answer)
                .map_err(|_| Fault::Defect("the answer of a tool cannot be read".into()))?;
            return Ok(Begun::Answered(answer));
        }
        super::calls::check_count(tx, &turn)?;
        Rights::of(tx, &turn.folder)?.require("http_request", &turn.folder)?;
        let name = &call.name;
        let found = tenant::of_turn(tx, key, &turn, name)?;
        let (row, secret) = found.ok_or_else(|| {
            Fault::NotFound(format!("there is no secret {name} that this turn may use"))
        })?;
        let (Some(url), header) = (&row.url, row.header.as_deref()) else {
            let text = format!("{name} is a model's key, and goes to the model and nowhere else");
            return Err(Fault::Forbidden(text));
        };
        let defect = |_| Fault::Defect(format!("the binding of {name} cannot be read"));
        let binding = Binding::parse(url, header).map_err(defect)?;
        let refused = |error: crate::binding::BindingError| Fault::Forbidden(error.to_string());
        let asked = binding.admit(&call.url).map_err(refused)?;
        // A request that only reads may be made again by another attempt; any other may not.
        if !call.method.is_safe() {
            turns::acted(tx, &turn)?;
        }
        rows::used(tx, row.id.as_str(), now)?;
        let detail = format!(
            "{} {}{} in {}",
            call.method,
            asked.origin().ascii_serialization(),
            asked.path(),
            turn.id
        );
        let target = format!("{} {name}", row.owner);
        record(tx, now, &format!("folder:{}", turn.folder), "tenant-secret.use", &target, &detail)?;
        Ok(Begun::May { binding, secret, url: asked })
    });
    begun.await
}

/// Keeps the answer, so that the same call is answered alike.
async fn end(
    app: &Arc<App>,
    attempt: &Attempt,
    call: Call,
    place: &str,
    answer: Result<Answer, Fault>,
) -> Result<Answer, Fault> {
    let (attempt, now, epoch) = (attempt.clone(), app.now(), app.epoch);
    let status = match &answer {
        Ok(answer) => answer.structured.as_ref().map(|value| value["status"].to_string()),
        Err(fault) => Some(fault.to_string()),
    };
    let line = format!("{place}: {}", status.unwrap_or_default());
    let kept = answer.as_ref().ok().map(serde_json::to_string).transpose();
    let kept = kept.map_err(|_| Fault::Defect("the answer of a tool cannot be written".into()))?;
    let ended = app.db.try_write("http_request.end", move |tx| {
        let turn = attempt.turn(tx)?;
        turns::step(tx, &turn.id, now, "tool.http_request", &line)?;
        if let Some(kept) = &kept {
            tools::keep(tx, &call.row(&turn, epoch), kept, now)?;
        }
        Ok::<_, Fault>(())
    });
    ended.await?;
    answer
}

fn method(given: Option<&str>) -> Result<Method, Fault> {
    match given.unwrap_or("GET").to_ascii_uppercase().as_str() {
        "GET" => Ok(Method::GET),
        "HEAD" => Ok(Method::HEAD),
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        "DELETE" => Ok(Method::DELETE),
        other => {
            let text =
                format!("`{other}` is no method of this; GET, HEAD, POST, PUT, PATCH, DELETE are");
            Err(Fault::Invalid(text))
        }
    }
}

fn headers(given: std::collections::BTreeMap<String, String>) -> Result<HeaderMap, Fault> {
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if given.len() > HEADERS_MAX || bytes > HEADERS_BYTES {
        return Err(Fault::Invalid("`headers` are at most 32, and 8,192 bytes".into()));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let bad = || Fault::Invalid(format!("`{name}` cannot be sent as a header"));
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        if OURS.contains(&parsed) {
            return Err(bad());
        }
        headers.insert(parsed, HeaderValue::from_str(&value).map_err(|_| bad())?);
    }
    Ok(headers)
}

/// The answer without the secret, which some servers give back.
fn told(incoming: Incoming, scrub: &Scrub) -> Answer {
    let Incoming { status, headers, body, cut } = incoming;
    let mut shown = serde_json::Map::new();
    for (name, value) in headers {
        // A cookie is a credential of its own.
        if name != "set-cookie" {
            shown.insert(name, Value::from(scrub.apply(&value)));
        }
    }
    let structured =
        json!({ "status": status, "headers": shown, "body": scrub.apply(&body), "cut": cut });
    Answer { text: structured.to_string(), structured: Some(structured) }
}
