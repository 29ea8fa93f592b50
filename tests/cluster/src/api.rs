//! The API: which path and verb means what, and what is done.

mod changes;
mod kinds;

pub use changes::completed;

use crate::faults::Fault;
use crate::store::{Change, Key, Since, has_fields, selected, status};
use crate::wire::Body;
use crate::{Shared, controllers, exec, lock, runtime};
use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How often a watch that asked for them is given a bookmark.
const BOOKMARK: Duration = Duration::from_secs(5);

/// A request, understood.
#[derive(Debug)]
pub struct Asked {
    pub verb: String,
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub subresource: String,
    query: HashMap<String, String>,
    /// What `exec` is to run.
    words: Vec<String>,
    body: Value,
    path: String,
}

/// What comes of it.
pub enum Done {
    Object(u16, Value),
    Text(Vec<u8>),
    Stream(Body),
}

impl Asked {
    pub fn read(method: &str, path: &str, query: &str, body: &[u8]) -> Option<Self> {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let pairs: Vec<(String, String)> =
            pairs.map(|(name, value)| (decoded(name), decoded(value))).collect();
        let words = pairs.iter().filter(|(name, _)| name == "command");
        let words = words.map(|(_, word)| word.clone()).collect();
        let query: HashMap<String, String> = pairs.into_iter().collect();
        let body = match body {
            [] => Value::Null,
            body => serde_json::from_slice(body).ok()?,
        };
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut asked = Self {
            verb: String::new(),
            resource: String::new(),
            namespace: String::new(),
            name: String::new(),
            subresource: String::new(),
            query,
            words,
            body,
            path: path.to_owned(),
        };
        let rest = match parts.as_slice() {
            ["version" | "api" | "apis"]
            | ["api", "v1"]
            | ["apis", _, _]
            | ["openapi", "v3", ..] => {
                asked.verb = "get".into();
                asked.resource = "version".into();
                return Some(asked);
            }
            ["api", "v1", rest @ ..] => rest,
            ["apis", _, _, rest @ ..] => rest,
            _ => return None,
        };
        let rest = match rest {
            // A namespace is also an object of its own.
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
                asked.namespace = (*namespace).into();
                rest
            }
            rest => rest,
        };
        asked.resource = (*rest.first()?).into();
        asked.name = rest.get(1).copied().unwrap_or_default().into();
        asked.subresource = rest.get(2).copied().unwrap_or_default().into();
        let watches = asked.query.get("watch").is_some_and(|value| is_true(value));
        asked.verb = match (method, asked.name.is_empty()) {
            ("GET", true) if watches => "watch",
            ("GET", true) => "list",
            ("GET", false) => "get",
            ("POST", _) => "create",
            ("DELETE", _) => "delete",
            ("PATCH", _) => "patch",
            _ => "update",
        }
        .into();
        kinds::find(&asked.resource).map(|_| asked)
    }

    /// Such as `pods/log`.
    pub fn full_resource(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.clone(),
            sub => format!("{}/{sub}", self.resource),
        }
    }

    /// The command that `exec` is to run.
    pub fn command(&self) -> exec::Asked {
        exec::Asked { words: self.words.clone(), container: self.query("container").to_owned() }
    }

    pub fn key(&self) -> Key {
        Key::of(&self.resource, &self.namespace, &self.name)
    }

    fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn kind(&self) -> (&'static str, &'static str) {
        kinds::find(&self.resource).map_or(("", ""), |found| (found.kind, found.version))
    }

    fn fits(&self, object: &Value) -> bool {
        selected(object, self.query("labelSelector"))
            && has_fields(object, self.query("fieldSelector"))
    }

    fn not_found(&self) -> Done {
        let message = format!("{} \"{}\" not found", self.resource, self.name);
        Done::Object(404, status(404, "NotFound", &message))
    }
}

/// As the API reads it: clients write `1`, `true` and `True`.
fn is_true(text: &str) -> bool {
    text == "1" || text.eq_ignore_ascii_case("true")
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let hex = String::from_utf8_lossy(&hex).into_owned();
                bytes.push(u8::from_str_radix(&hex, 16).unwrap_or(b'?'));
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Does what was asked.
pub async fn act(shared: &Arc<Shared>, asked: &Asked, fault: Option<Fault>) -> Done {
    if asked.resource == "version" {
        return match kinds::discovery(&asked.path) {
            Some(found) => Done::Object(200, found),
            None => Done::Object(404, status(404, "NotFound", "404 page not found")),
        };
    }
    match (asked.verb.as_str(), asked.full_resource().as_str()) {
        ("get", "pods/log") => log(shared, asked).await,
        ("create", "tokenreviews") => Done::Object(201, review(shared, &asked.body)),
        ("create", "jobs") => create(shared, asked),
        ("create", kind) => changes::create(shared, asked, kind),
        ("patch", _) => changes::patch(shared, asked),
        ("get", _) => match shared.store.get(&asked.key()) {
            Some(object) => Done::Object(200, object),
            None => asked.not_found(),
        },
        ("list", _) => Done::Object(200, list(shared, asked)),
        ("watch", _) => watch(shared, asked, fault),
        ("delete", "jobs") => delete_job(shared, asked),
        ("delete", "pods") => {
            let grace = asked.body["gracePeriodSeconds"].as_u64();
            match controllers::delete_pod(shared, &asked.key(), grace) {
                Some(pod) => Done::Object(200, pod),
                None => asked.not_found(),
            }
        }
        _ => Done::Object(405, status(405, "MethodNotAllowed", "not served here")),
    }
}

fn create(shared: &Shared, asked: &Asked) -> Done {
    let mut object = asked.body.clone();
    let (kind, version) = asked.kind();
    object["kind"] = kind.into();
    object["apiVersion"] = version.into();
    let invalid = |what: &str| {
        let message = format!("Job.batch \"{}\" is invalid: {what}", object["metadata"]["name"]);
        Done::Object(422, status(422, "Invalid", &message))
    };
    let spec = &object["spec"]["template"]["spec"];
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        return invalid("spec.template.spec.containers: Required value");
    }
    if !["Never", "OnFailure"].contains(&spec["restartPolicy"].as_str().unwrap_or_default()) {
        return invalid("spec.template.spec.restartPolicy: Unsupported value");
    }
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    for (name, value) in labels {
        let value = value.as_str().unwrap_or_default();
        let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
        if value.len() > 63 || !plain || !ends(value.chars().next()) || !ends(value.chars().last())
        {
            return invalid(&format!("metadata.labels: Invalid value: \"{name}={value}\""));
        }
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    match shared.store.create("jobs", &asked.namespace, object) {
        Some(made) => Done::Object(201, made),
        None => {
            let message = format!("jobs.batch \"{name}\" already exists");
            Done::Object(409, status(409, "AlreadyExists", &message))
        }
    }
}

fn delete_job(shared: &Shared, asked: &Asked) -> Done {
    let policy = asked.body["propagationPolicy"].as_str().map(str::to_owned);
    let policy = policy.unwrap_or_else(|| asked.query("propagationPolicy").to_owned());
    let key = asked.key();
    let changed = match policy.as_str() {
        "Foreground" => shared.store.change(&key, |job| {
            let fresh = job["metadata"]["deletionTimestamp"].is_null();
            job["metadata"]["deletionTimestamp"] = crate::now().into();
            job["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
            fresh
        }),
        _ => shared.store.remove(&key),
    };
    changed.map_or_else(|| asked.not_found(), |job| Done::Object(200, job))
}

fn list(shared: &Shared, asked: &Asked) -> Value {
    let (found, version) = shared.store.list(&asked.resource, &asked.namespace);
    let (kind, group) = asked.kind();
    let items: Vec<Value> =
        found.into_iter().map(|(_, object)| object).filter(|object| asked.fits(object)).collect();
    json!({
        "kind": format!("{kind}List"), "apiVersion": group,
        "metadata": {"resourceVersion": version.to_string()}, "items": items,
    })
}

/// What a watch has still to say.
struct Watching {
    shared: Arc<Shared>,
    asked: (String, String, String, String, String),
    version: u64,
    kind: (&'static str, &'static str),
    waiting: VecDeque<Value>,
    news: tokio::sync::watch::Receiver<u64>,
    until: tokio::time::Instant,
    bookmarks: bool,
    /// Lines until it breaks off, if it does.
    left: Option<(u32, Fault)>,
    over: bool,
}

fn watch(shared: &Arc<Shared>, asked: &Asked, fault: Option<Fault>) -> Done {
    let (found, now) = shared.store.list(&asked.resource, &asked.namespace);
    let mut waiting = VecDeque::new();
    // A list by way of a watch (KEP-3157): all that there is, and a bookmark that says so.
    let lists = is_true(asked.query("sendInitialEvents"));
    let version = match asked.query("resourceVersion").parse::<u64>() {
        Ok(version) if version > 0 && !lists => version,
        _ => {
            let added = |object: Value| json!({"type": "ADDED", "object": object});
            let fit = found.into_iter().map(|(_, object)| object).filter(|o| asked.fits(o));
            waiting.extend(fit.map(added));
            if lists {
                let (kind, group) = asked.kind();
                let end = json!({"k8s.io/initial-events-end": "true"});
                let metadata = json!({"resourceVersion": now.to_string(), "annotations": end});
                let object = json!({"kind": kind, "apiVersion": group, "metadata": metadata});
                waiting.push_back(json!({"type": "BOOKMARK", "object": object}));
            }
            now
        }
    };
    let seconds = asked.query("timeoutSeconds").parse().unwrap_or(300);
    let text = |name: &str| asked.query(name).to_owned();
    let breaks = |fault| matches!(fault, Fault::WatchEnds | Fault::WatchGone | Fault::LostAfter);
    let watching = Watching {
        shared: shared.clone(),
        asked: (
            asked.resource.clone(),
            asked.namespace.clone(),
            text("labelSelector"),
            text("fieldSelector"),
            String::new(),
        ),
        version,
        kind: asked.kind(),
        waiting,
        news: shared.store.news(),
        until: tokio::time::Instant::now() + Duration::from_secs(seconds),
        bookmarks: is_true(asked.query("allowWatchBookmarks")),
        left: fault.filter(|fault| breaks(*fault)).map(|fault| (2, fault)),
        over: false,
    };
    let lines = stream::unfold(watching, |mut watching| async move {
        let line = watching.next().await?;
        let line = line.map(|event| Frame::data(Bytes::from(format!("{event}\n"))));
        Some((line, watching))
    });
    Done::Stream(StreamBody::new(lines).boxed_unsync())
}

impl Watching {
    async fn next(&mut self) -> Option<std::io::Result<Value>> {
        if self.over {
            return None;
        }
        let mut bookmark = tokio::time::Instant::now() + BOOKMARK;
        loop {
            if let Some((0, fault)) = self.left {
                self.over = true;
                return match fault {
                    Fault::WatchGone => Some(Ok(gone())),
                    Fault::WatchEnds => None,
                    // In the middle of the answer.
                    _ => Some(Err(std::io::ErrorKind::ConnectionReset.into())),
                };
            }
            if let Some(event) = self.waiting.pop_front() {
                self.left = self.left.map(|(left, fault)| (left - 1, fault));
                return Some(Ok(event));
            }
            self.news.mark_unchanged();
            match self.shared.store.since(self.version) {
                Since::Gone => {
                    self.over = true;
                    return Some(Ok(gone()));
                }
                Since::Changes(changes, version) => {
                    self.version = version;
                    let fit: Vec<Value> = changes.iter().filter_map(|c| self.event(c)).collect();
                    self.waiting.extend(fit);
                }
            }
            if !self.waiting.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.news.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = tokio::time::sleep_until(self.until) => return None,
                () = tokio::time::sleep_until(bookmark), if self.bookmarks => {
                    bookmark = tokio::time::Instant::now() + BOOKMARK;
                    self.waiting.push_back(json!({"type": "BOOKMARK", "object": {
                        "kind": self.kind.0, "apiVersion": self.kind.1,
                        "metadata": {"resourceVersion": self.version.to_string()},
                    }}));
                }
            }
        }
    }

    fn event(&self, change: &Change) -> Option<Value> {
        let (resource, namespace, labels, fields, _) = &self.asked;
        let here = change.key.resource == *resource
            && (namespace.is_empty() || change.key.namespace == *namespace);
        let fits = selected(&change.object, labels) && has_fields(&change.object, fields);
        (here && fits).then(|| json!({"type": change.kind, "object": change.object}))
    }
}

fn gone() -> Value {
    let said = status(410, "Expired", "too old resource version");
    json!({"type": "ERROR", "object": said})
}

/// Says whose a token is, as the API server does of the tokens that it issued.
fn review(shared: &Shared, asked: &Value) -> Value {
    let spec = &asked["spec"];
    let token = spec["token"].as_str().unwrap_or_default();
    let known = lock(&shared.tokens).get(token).cloned();
    let audiences: Vec<&str> =
        spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let api = crate::AUDIENCE;
    let status = match known {
        None => json!({"authenticated": false, "error": "invalid bearer token"}),
        Some(who) => {
            let own = who.pod.as_ref().map_or(api, |(audience, ..)| audience.as_str());
            let wanted = if audiences.is_empty() { vec![api] } else { audiences };
            let bound = who.pod.as_ref().is_none_or(|(_, name, uid)| {
                let pod = shared.store.get(&Key::of("pods", crate::NAMESPACE, name));
                pod.is_some_and(|pod| pod["metadata"]["uid"] == *uid)
            });
            if !bound || !wanted.contains(&own) {
                let error = if bound { "invalid audience" } else { "pod is gone" };
                json!({"authenticated": false, "error": error})
            } else {
                let extra = who.pod.as_ref().map(|(_, name, uid)| {
                    json!({
                        "authentication.kubernetes.io/pod-name": [name],
                        "authentication.kubernetes.io/pod-uid": [uid],
                        "authentication.kubernetes.io/node-name": ["node-1"],
                    })
                });
                json!({"authenticated": true, "audiences": [own], "user": {
                    "username": who.username, "uid": "0", "extra": extra,
                    "groups": ["system:serviceaccounts", "system:authenticated"],
                }})
            }
        }
    };
    json!({
        "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"creationTimestamp": null}, "spec": spec, "status": status,
    })
}

async fn log(shared: &Arc<Shared>, asked: &Asked) -> Done {
    let Some(pod) = shared.store.get(&asked.key()) else { return asked.not_found() };
    let begun = !pod["status"]["containerStatuses"][0]["state"]["waiting"].is_object()
        && pod["status"]["containerStatuses"][0].is_object();
    if !begun {
        let message = format!("container in pod \"{}\" is waiting to start", asked.name);
        return Done::Object(400, status(400, "BadRequest", &message));
    }
    Done::Text(runtime::log(shared, &pod, asked.query("container")).await)
}
