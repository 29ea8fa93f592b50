//! Connections: TLS, HTTP/1.1, and those that are lost on purpose.

use crate::api::{self, Done};
use crate::faults::Fault;
use crate::store::status;
use crate::{ACCOUNT, CLERK, Call, Identity, OPERATOR, Shared, VIEWER, exec, lock};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The connection is to be dropped.
#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("lost on purpose")
    }
}

impl std::error::Error for Lost {}

pub async fn serve(
    shared: Arc<Shared>,
    listener: std::net::TcpListener,
    cert: Vec<u8>,
    key: Vec<u8>,
) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(cert)],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut open = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = open.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (acceptor, shared) = (acceptor.clone(), shared.clone());
                open.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(shared.clone(), request));
                    let connection = hyper::server::conn::http1::Builder::new();
                    // One that is lost on purpose ends with an error.
                    let served = connection.serve_connection(TokioIo::new(stream), service);
                    let _lost = served.with_upgrades().await;
                });
            }
        }
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Lost> {
    let (mut head, body) = request.into_parts();
    let upgrade = head.extensions.remove::<OnUpgrade>();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
    let token = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    let who = token.and_then(|token| lock(&shared.tokens).get(token).cloned());
    let query = head.uri.query().unwrap_or_default().to_owned();
    let Some(asked) = api::Asked::read(head.method.as_str(), head.uri.path(), &query, &body) else {
        return Ok(refused(404, "NotFound", "the server could not find the requested resource"));
    };
    let Some(who) = who else {
        return Ok(refused(401, "Unauthorized", "Unauthorized"));
    };
    if let Some(refusal) = unless_allowed(&shared, &who, &asked) {
        return Ok(refusal);
    }
    let fault = (who.username == ACCOUNT).then(|| lock(&shared.faults).fault()).flatten();
    match fault {
        Some(Fault::TooMany) => {
            let mut said = status(429, "TooManyRequests", "too many requests, please try again");
            said["details"] = serde_json::json!({"retryAfterSeconds": 1});
            let mut refusal = json(429, &said);
            refusal.headers_mut().insert("retry-after", hyper::header::HeaderValue::from(1));
            return Ok(refusal);
        }
        Some(Fault::Broken(code)) => {
            return Ok(refused(code, "InternalError", "an error on the server"));
        }
        Some(Fault::WatchEnds | Fault::WatchGone) if asked.verb != "watch" => {
            return Ok(refused(503, "ServiceUnavailable", "apiserver is shutting down"));
        }
        Some(Fault::LostBefore) => return Err(Lost),
        _ => {}
    }
    if asked.subresource == "exec" {
        return Ok(commanded(&shared, &asked, &head.headers, upgrade));
    }
    let done = api::act(&shared, &asked, fault).await;
    match fault {
        Some(Fault::LostAfter) if asked.verb != "watch" => return Err(Lost),
        Some(Fault::Silent) if asked.verb != "watch" => std::future::pending::<()>().await,
        _ => {}
    }
    Ok(match done {
        Done::Object(code, object) => json(code, &object),
        Done::Text(text) => {
            let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
            let mut answer = Response::new(body.boxed_unsync());
            answer.headers_mut().insert("content-type", "text/plain".parse().unwrap());
            answer
        }
        Done::Stream(body) => {
            let mut answer = Response::new(body);
            answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
            answer
        }
    })
}

/// Begins a command in a container.
#[expect(
    clippy::disallowed_methods,
    reason = "it ends with the connection, or with the cluster's runtime"
)]
fn commanded(
    shared: &Arc<Shared>,
    asked: &api::Asked,
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
) -> Response<Body> {
    let command = asked.command();
    let (recipe, image) = match exec::found(shared, &asked.key(), &command) {
        Ok(found) => found,
        Err(said) => return json(u16::try_from(said["code"].as_u64().unwrap()).unwrap(), &said),
    };
    let Some((switched, upgrade)) = exec::switched(headers).zip(upgrade) else {
        return refused(400, "BadRequest", "you must specify at least 1 of stdin, stdout, stderr");
    };
    tokio::spawn(exec::run(upgrade, recipe, image, command.words));
    let body = Full::new(Bytes::new()).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = switched;
    answer
}

/// What somebody may do who changes the suite's secrets.
const OPERATORS: &[(&str, &[&str])] = &[
    ("secrets", &["get", "patch"]),
    ("pods", &["get", "list", "patch"]),
    ("pods/exec", &["get", "create"]),
    ("deployments", &["get"]),
    ("version", &["get"]),
];

/// What somebody may do who looks at them.
const VIEWERS: &[(&str, &[&str])] =
    &[("secrets", &["get", "patch"]), ("pods", &["get", "list"]), ("version", &["get"])];

/// What somebody may do who enters pods and changes none.
const CLERKS: &[(&str, &[&str])] = &[
    ("secrets", &["get", "patch"]),
    ("pods", &["get", "list"]),
    ("pods/exec", &["get", "create"]),
    ("version", &["get"]),
];

/// What runed's Role lets it do, and nothing else.
const ALLOWED: &[(&str, &[&str])] = &[
    ("jobs", &["create", "get", "list", "watch", "delete"]),
    ("pods", &["list", "watch"]),
    ("pods/log", &["get"]),
    ("tokenreviews", &["create"]),
    ("runtimeclasses", &["get"]),
    ("version", &["get"]),
];

fn unless_allowed(shared: &Shared, who: &Identity, asked: &api::Asked) -> Option<Response<Body>> {
    if who.username == "admin" {
        return None;
    }
    let resource = asked.full_resource();
    let rights = match who.username.as_str() {
        ACCOUNT => ALLOWED,
        OPERATOR => OPERATORS,
        VIEWER => VIEWERS,
        CLERK => CLERKS,
        _ => &[],
    };
    let row = rights.iter().find(|(name, _)| *name == resource);
    let allowed = row.is_some_and(|(_, verbs)| verbs.contains(&asked.verb.as_str()));
    let call = Call {
        user: who.username.clone(),
        verb: asked.verb.clone(),
        resource: resource.clone(),
        denied: !allowed,
    };
    lock(&shared.calls).push(call);
    let message = format!(
        "{resource} is forbidden: User \"{}\" cannot {} resource \"{resource}\" in the namespace \"{}\"",
        who.username, asked.verb, asked.namespace
    );
    (!allowed).then(|| refused(403, "Forbidden", &message))
}

fn refused(code: u16, reason: &str, message: &str) -> Response<Body> {
    json(code, &status(code, reason, message))
}

fn json(code: u16, object: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(object.to_string())).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = hyper::StatusCode::from_u16(code).unwrap();
    answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
    answer
}
