//! `http_request`: an HTTP request that routd makes under a tenant's secret, which the agent never sees.

use super::{
    arguments::Arguments,
    call::{answered, check_count, check_key, keep},
    tool::{Answer, Call, Tool},
};
use crate::{
    binding::Binding,
    fault::Fault,
    outside::{Incoming, Outgoing, secret_header},
    record::record,
    scrub::Scrub,
    store::{tenant_secrets as rows, turns},
    tenant,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use schemars::JsonSchema;
use secrets::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

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

pub(super) fn tools() -> Vec<Tool> {
    let about = "Make an HTTP request under one of the secrets that this folder, or the person who asked, has. You \
         name the secret and never see its value. Redirects are not followed.";
    vec![Tool::outside("http_request", about, run).hint(|hints| hints.destructive(true))]
}

/// Arguments of `http_request`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HttpRequest {
    /// The name of the secret to use, such as `GITHUB_TOKEN`. Its value is put into the request for you.
    secret: String,
    /// The URL; it must lie where that secret may go.
    url: String,
    /// GET, HEAD, POST, PUT, PATCH or DELETE; GET when left out.
    #[serde(default)]
    method: Option<String>,
    /// More headers.
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    /// The body, as text.
    #[serde(default)]
    body: Option<String>,
    /// The body, as JSON.
    #[serde(default)]
    json: Option<Value>,
    /// How long the answer may take, 1 to 60 seconds; 30 when left out.
    #[serde(default)]
    timeout_seconds: Option<u64>,
}

impl Arguments for HttpRequest {
    fn check(&self) -> Result<(), Fault> {
        let timeout = self.timeout_seconds.unwrap_or(TIMEOUT);
        if !(1..=TIMEOUT_MAX).contains(&timeout) {
            return Err(Fault::Invalid(format!("`timeout_seconds` is 1 to {TIMEOUT_MAX}")));
        }
        if self.body.is_some() && self.json.is_some() {
            return Err(Fault::Invalid("give `body` or `json`, not both".into()));
        }
        Ok(())
    }
}

/// What is asked for, as far as it is decided on.
#[derive(Clone)]
struct Wanted {
    method: Method,
    url: String,
    secret: String,
}

/// Makes the request, once for each call: one whose answer was lost is not made again.
async fn run(call: Call, asked: HttpRequest) -> Result<Answer, Fault> {
    check_key(&call)?;
    let method = method(asked.method.as_deref())?;
    let (body, is_json) = match asked.json {
        Some(value) => (Some(value.to_string()), true),
        None => (asked.body, false),
    };
    if body.as_ref().is_some_and(|body| body.len() > BODY_MAX) {
        return Err(Fault::Invalid(format!("a body has at most {BODY_MAX} bytes")));
    }
    let mut headers = headers(asked.headers.unwrap_or_default())?;
    if is_json {
        let json = HeaderValue::from_static("application/json");
        headers.entry(header::CONTENT_TYPE).or_insert(json);
    }
    let wanted = Wanted { method: method.clone(), url: asked.url, secret: asked.secret };
    let (binding, secret, url) = match begin(call.clone(), wanted).await? {
        Begun::Answered(answer) => return Ok(answer),
        Begun::May { binding, secret, url } => (binding, secret, url),
    };
    let (name, value) = secret_header(binding.header(), binding.around(), &secret)?;
    headers.insert(name, value);
    let place = format!("{method} {}{}", url.origin().ascii_serialization(), url.path());
    let timeout = Duration::from_secs(asked.timeout_seconds.unwrap_or(TIMEOUT));
    let sent = call.app.outside.send(Outgoing { method, url, headers, body, timeout }).await;
    let text = secret.text().unwrap_or_default().to_owned();
    let answer = sent.map(|incoming| told(incoming, &Scrub::of(&text)));
    end(call, &place, answer).await
}

enum Begun {
    /// It was made before.
    Answered(Answer),
    May {
        binding: Box<Binding>,
        secret: Secret,
        url: url::Url,
    },
}

/// Decides whether the request may be made, and writes that it is: before it is sent, so that no use goes unrecorded.
async fn begin(call: Call, wanted: Wanted) -> Result<Begun, Fault> {
    let app = call.app.clone();
    let (now, epoch) = (app.now(), app.epoch);
    let begun = app.keyring.write("http_request", move |tx, key| {
        let turn = call.attempt.current(tx)?;
        if let Some(answer) = answered(tx, &call.row(&turn, epoch))? {
            return Ok(Begun::Answered(answer));
        }
        check_count(tx, &turn)?;
        call.attempt.rights(tx, &turn)?.require(&call.action, &turn.folder)?;
        let name = &wanted.secret;
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
        let asked = binding.admit(&wanted.url).map_err(refused)?;
        // A request that only reads may be made again by another attempt; any other may not.
        if !wanted.method.is_safe() {
            call.attempt.acted(tx, &turn)?;
        }
        rows::used(tx, row.id.as_str(), now)?;
        let detail = format!(
            "{} {}{} in {}",
            wanted.method,
            asked.origin().ascii_serialization(),
            asked.path(),
            turn.id
        );
        let target = format!("{} {name}", row.owner);
        record(tx, now, &format!("folder:{}", turn.folder), "tenant-secret.use", &target, &detail)?;
        Ok(Begun::May { binding: Box::new(binding), secret, url: asked })
    });
    begun.await
}

/// Keeps the answer, so that the same call is answered alike.
async fn end(call: Call, place: &str, answer: Result<Answer, Fault>) -> Result<Answer, Fault> {
    let app = call.app.clone();
    let (now, epoch) = (app.now(), app.epoch);
    let status = match &answer {
        Ok(answer) => answer.structured.as_ref().map(|value| value["status"].to_string()),
        Err(fault) => Some(fault.to_string()),
    };
    let line = format!("{place}: {}", status.unwrap_or_default());
    let kept = answer.as_ref().ok().cloned();
    let ended = app.db.try_write("http_request.end", move |tx| {
        let turn = call.attempt.turn(tx)?;
        turns::step(tx, &turn.id, now, "tool.http_request", &line)?;
        if let Some(kept) = &kept {
            keep(tx, &call.row(&turn, epoch), kept, now)?;
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

fn headers(given: BTreeMap<String, String>) -> Result<HeaderMap, Fault> {
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
