//! Every endpoint of every daemon with another folder's names and ids, by somebody with one folder, by somebody with none,
//! and by the operator: each gets what is theirs.
//!
//! The endpoints and their fields are those of each daemon's own document. A field for which there is no value here fails
//! the test, and so does a request that not even the operator can make: none is refused because it is no request.

use super::{client, mint::Mint};
use crate::harness::{LIMIT, Suite};
use auth::{Kind, Scopes, person_scopes};
use proto::Daemon;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Somebody who administers `corp/eng`, and somebody who administers nothing.
const ANN: &str = "user:p00000000000000000000000a";
const BOB: &str = "user:p00000000000000000000000b";
/// The folder that is neither's, a chat of it, and a word that is in everything of it.
const THEIRS: &str = "corp/ops";
const CHAT: &str = "web:corp/ops~1";
const WORD: &str = "zircon";

/// One operation of a document.
#[derive(Clone, Debug)]
struct Operation {
    daemon: Daemon,
    method: String,
    path: String,
    scope: String,
    /// Names of the fields in the path and in the query or body, each with whether it has to be there.
    fields: Vec<(String, bool)>,
}

impl Operation {
    fn has_body(&self) -> bool {
        matches!(self.method.as_str(), "POST" | "PUT")
    }

    /// Whether a person's token opens it at all.
    fn is_open(&self) -> bool {
        person_scopes(self.daemon).iter().any(|held| held.covers(&self.scope))
    }

    fn place(&self) -> String {
        format!("{} {} {}", self.daemon, self.method, self.path)
    }
}

/// What is asked with, and as whom.
struct Matrix {
    mint: Mint,
    addresses: BTreeMap<Daemon, String>,
    /// Ids of things of the other folder, by the path that they are for.
    ids: BTreeMap<&'static str, String>,
}

impl Matrix {
    async fn of(suite: &Suite) -> Self {
        let status = suite.json(&["status"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let daemons = status["daemons"].as_array().unwrap();
        let addresses = daemons
            .iter()
            .map(|of| (text(&of["daemon"]).parse().unwrap(), text(&of["address"])))
            .collect();
        let mut matrix = Self { mint: Mint::of(suite), addresses, ids: BTreeMap::new() };
        matrix.fill(suite).await;
        matrix
    }

    /// Puts into the other folder whatever a folder can have.
    async fn fill(&mut self, suite: &Suite) {
        for folder in ["corp/eng", THEIRS] {
            suite.ok(&["group", "add", folder]);
        }
        for scope in ["corp/eng", "corp/eng/**"] {
            suite.ok(&["acl", "grant", ANN, "admin", scope]);
        }
        suite.ok(&["acl", "grant", "folder:corp/ops", "mcp:send", "corp/ops"]);
        suite.ok(&["route", "add", "--match", "chat_jid=telegram:group/1", "--target", THEIRS]);
        suite.ok(&["usage", "cap", THEIRS, "--daily-tokens", "1000"]);
        let persona = json!({ "folder": THEIRS, "content": format!("You know of {WORD}.") });
        let said =
            self.asks("operator:local", Daemon::Routd, "PUT", "/v1/groups/persona", persona).await;
        assert_eq!(said.0, 200, "{}", said.1);
        let daily = format!("{WORD} every day");
        suite.ok(&["task", "add", "@daily", &daily, "--folder", THEIRS]);
        let message = json!({
            "id": "m-1", "chat_jid": CHAT, "sender": "x", "content": format!("remember {WORD}"),
        });
        let said =
            self.asks("operator:local", Daemon::Routd, "POST", "/v1/messages", message).await;
        assert_eq!(said.0, 200, "{}", said.1);
        self.says("I will remember", 1).await;
        let held = self.held(suite).await;
        let link = json!({ "kind": "hook", "folder": THEIRS, "signature": "github" });
        let link = self.asks("operator:local", Daemon::Routd, "POST", "/v1/tokens", link).await;
        assert_eq!(link.0, 200, "{}", link.1);
        let link: Value = serde_json::from_str(&link.1).unwrap();
        let first = |of: &Value, list: &str, fits: &dyn Fn(&Value) -> bool| {
            let all = of[list].as_array().unwrap().clone();
            let id = all.iter().find(|one| fits(one)).unwrap()["id"].clone();
            id.as_str().map_or_else(|| id.to_string(), str::to_owned)
        };
        let schedules = suite.json(&["task", "list"]);
        let routes = suite.json(&["route", "list"]);
        let theirs = |one: &Value| one["folder"] == THEIRS || one["target"] == THEIRS;
        self.ids = BTreeMap::from([
            ("/v1/schedules", first(&schedules, "schedules", &theirs)),
            ("/v1/routes", first(&routes, "routes", &theirs)),
            ("/v1/tokens", link["link"]["id"].as_str().unwrap().to_owned()),
            ("/v1/messages", "m-1".to_owned()),
            ("/v1/approvals/{id}", held[0].clone()),
            ("/v1/approvals/{id}/deny", held[1].clone()),
        ]);
    }

    /// Waits until the other folder's agent has said these words so often.
    async fn says(&self, words: &str, times: usize) {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let said = self.asks("operator:local", Daemon::Routd, "GET", "/v1/messages", json!({}));
            let said = said.await.1;
            if said.matches(words).count() >= times {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "it never says `{words}`: {said}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Two calls of the other folder's agent that wait for a person: one to be approved, one to be denied.
    async fn held(&self, suite: &Suite) -> Vec<String> {
        suite.ok(&["acl", "grant", "folder:corp/ops", "mcp:send", "corp/ops", "--hold"]);
        for nth in 1..=2 {
            let content = format!("send web:corp/ops~board {WORD} {nth}");
            let id = format!("m-held-{nth}");
            let message = json!({ "id": id, "chat_jid": CHAT, "sender": "x", "content": content });
            let said = self.asks("operator:local", Daemon::Routd, "POST", "/v1/messages", message);
            let said = said.await;
            assert_eq!(said.0, 200, "{}", said.1);
            self.says("Not made yet", nth).await;
        }
        let held = suite.json(&["approval", "list", "--state", "pending"]);
        let id = |one: &Value| one["id"].as_str().unwrap().to_owned();
        held.as_array().unwrap().iter().map(id).collect()
    }

    /// A token as authd makes it for a person, or the operator's.
    fn token(&self, subject: &str, daemon: Daemon) -> String {
        if subject.starts_with("operator:") {
            return self.mint.operator(daemon, |_, _| {});
        }
        self.mint.token(subject, Kind::User, daemon, |claims, _| {
            claims.scope = Scopes::from(person_scopes(daemon));
        })
    }

    async fn asks(
        &self,
        subject: &str,
        daemon: Daemon,
        method: &str,
        path: &str,
        fields: Value,
    ) -> (u16, String) {
        let url = format!("{}{path}", self.addresses[&daemon]);
        let request = client("127.0.0.79").request(method.parse().unwrap(), url);
        let request = request.bearer_auth(self.token(subject, daemon));
        let request = match method {
            "POST" | "PUT" => request.json(&fields),
            _ => {
                let fields = fields.as_object().cloned().unwrap_or_default();
                let text =
                    |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let pairs: Vec<(String, String)> =
                    fields.iter().map(|(name, value)| (name.clone(), text(value))).collect();
                request.query(&pairs)
            }
        };
        let answer = request.header("idempotency-key", "k").send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Every operation that somebody with a token may try.
    async fn operations(&self) -> Vec<Operation> {
        let mut all = Vec::new();
        for (daemon, address) in &self.addresses {
            let url = format!("{address}/openapi.json");
            let document: Value =
                client("127.0.0.79").get(url).send().await.unwrap().json().await.unwrap();
            for (path, methods) in document["paths"].as_object().unwrap() {
                for (method, operation) in methods.as_object().unwrap() {
                    let scope = operation["security"][0]["token"][0].as_str();
                    // What needs nobody, or a secret, is tried elsewhere.
                    let Some(scope) = scope else { continue };
                    all.push(Operation {
                        daemon: *daemon,
                        method: method.to_uppercase(),
                        path: path.clone(),
                        scope: scope.to_owned(),
                        fields: fields(&document, operation),
                    });
                }
            }
        }
        all
    }

    /// The request about the other folder's things: its path and its fields.
    fn request(&self, of: &Operation) -> (String, Value) {
        let mut path = of.path.clone();
        let mut fields = Map::new();
        for (name, needed) in &of.fields {
            let hole = format!("{{{name}}}");
            // The longest that fits.
            let id = self.ids.iter().rev().find(|(begin, _)| of.path.starts_with(**begin));
            match (value(of, name), id) {
                (_, Some((_, id))) if name == "id" && path.contains(&hole) => {
                    path = path.replace(&hole, id);
                }
                (Some(value), _) => {
                    fields.insert(name.clone(), value);
                }
                // Whoever is refused at the door is asked for nothing.
                (None, _) if !of.is_open() => path = path.replace(&hole, "x1"),
                (None, _) if *needed => panic!("{}: say here what `{name}` is", of.place()),
                (None, _) => {}
            }
        }
        assert!(!path.contains('{'), "{}: say here whose the id is", of.place());
        (path, fields.into())
    }
}

/// The fields of an operation.
fn fields(document: &Value, operation: &Value) -> Vec<(String, bool)> {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<(String, bool)> = parameters
        .iter()
        .map(|one| {
            (one["name"].as_str().unwrap().to_owned(), one["required"].as_bool() == Some(true))
        })
        .collect();
    let mut schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    while let Some(reference) = schema["$ref"].as_str() {
        schema = document.pointer(reference.trim_start_matches('#')).unwrap();
    }
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for name in schema["properties"].as_object().into_iter().flat_map(Map::keys) {
        if !all.iter().any(|(known, _)| known == name) {
            all.push((name.clone(), required.iter().any(|one| one == name)));
        }
    }
    all
}

/// What a field says, where it says something of the other folder, or has to be there.
fn value(of: &Operation, name: &str) -> Option<Value> {
    let value = match (of.path.as_str(), name) {
        ("/v1/tokens", "signature") => return None,
        ("/v1/tokens", "kind") => json!("chat"),
        ("/v1/acl/check", "principal") | ("/v1/acl", "principal") => json!("folder:corp/ops"),
        ("/v1/acl", "action") | ("/v1/acl/check", "action") => json!("mcp:send"),
        ("/v1/acl", "effect") => json!("allow"),
        ("/v1/messages", "id") if of.method == "POST" => json!("m-intruder"),
        ("/v1/acl/members", "child") => json!("folder:corp/ops"),
        ("/v1/acl/members", "parent") => json!("role:lead"),
        ("/v1/usage", "by") => json!("folder"),
        ("/v1/usage/caps", "of") => json!("folder:corp/ops"),
        ("/v1/schedules/{id}/run", "key") => json!("k1"),
        (_, "folder" | "scope" | "target") => json!(THEIRS),
        (_, "chat_jid" | "jid") => json!(CHAT),
        (_, "content") => json!("an intruder was here"),
        (_, "sender") => json!("x"),
        (_, "when") => json!("@daily"),
        (_, "match") => json!("chat_jid=telegram:group/2"),
        _ => return None,
    };
    Some(value)
}

/// What the operator sees of everything, to be compared.
async fn everything(matrix: &Matrix) -> Vec<String> {
    let mut all = Vec::new();
    for path in
        ["/v1/groups", "/v1/routes", "/v1/tokens", "/v1/schedules", "/v1/acl", "/v1/messages"]
    {
        let seen = matrix.asks("operator:local", Daemon::Routd, "GET", path, json!({})).await;
        assert_eq!(seen.0, 200, "{path}: {}", seen.1);
        all.push(seen.1);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gets_what_is_theirs_at_every_endpoint() {
    ::kit::testing::install_crypto();
    let suite = Suite::up();
    let matrix = Matrix::of(&suite).await;
    let operations = matrix.operations().await;
    assert!(operations.len() > 60, "the documents are not read whole: {}", operations.len());
    let before = everything(&matrix).await;
    let mut reached = 0;
    for of in &operations {
        let (path, fields) = matrix.request(of);
        let is_open = of.is_open();
        for subject in [ANN, BOB] {
            let (status, text) =
                matrix.asks(subject, of.daemon, &of.method, &path, fields.clone()).await;
            let place = format!("{}, {subject}: {status} {text}", of.place());
            match status {
                403 | 404 => {}
                // Of what one cannot see there is nothing; ending nothing is as good as ending it.
                200..300 if is_open => assert!(!of.has_body() && !text.contains(WORD), "{place}"),
                _ => panic!("{place}"),
            }
            assert!(is_open || status == 403, "{place}");
            assert!(!text.contains(WORD), "{place}");
            reached += usize::from(is_open);
        }
        if of.method == "GET" && is_open && !of.path.contains('{') {
            whole(&matrix, of).await;
        }
    }
    assert!(reached > 30, "only {reached} of them are open to people at all");
    assert_eq!(everything(&matrix).await, before, "nothing was done");
    // Each of these was a request that somebody may make: the operator does, what ends things last.
    let is_end = |of: &&Operation| of.method == "DELETE";
    let open = operations.iter().filter(|of| of.is_open());
    let (last, first): (Vec<_>, Vec<_>) = open.partition(is_end);
    for of in first.into_iter().chain(last) {
        let (path, fields) = matrix.request(of);
        let (status, text) =
            matrix.asks("operator:local", of.daemon, &of.method, &path, fields).await;
        assert!((200..300).contains(&status), "{}, the operator: {status} {text}", of.place());
    }
    assert_ne!(everything(&matrix).await, before, "the operator's requests were no dummies");
}

/// A list that is not narrowed down: it has nothing of the other folder, and for the operator it has.
async fn whole(matrix: &Matrix, of: &Operation) {
    let needed = of.fields.iter().filter(|(_, needed)| *needed);
    if needed.count() > 0 {
        return;
    }
    for subject in [ANN, BOB] {
        let (status, text) = matrix.asks(subject, of.daemon, &of.method, &of.path, json!({})).await;
        let place = format!("{}, {subject}: {status} {text}", of.place());
        assert!(matches!(status, 200 | 403), "{place}");
        assert!(!text.contains(WORD) && !text.contains(THEIRS), "{place}");
    }
}
