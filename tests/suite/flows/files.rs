//! Files both ways through a whole suite: from a platform to an agent and back, and to a person in the web chat.

use super::docker::{self, Contained};
use crate::harness::{Chat, LIMIT, Suite, eventually};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path as UrlPath, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::stream;
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

const IMAGE: &str = "arizuko-suite:1";
const CHAT: &str = "telegram:user/7";
const MIB: usize = 1 << 20;
/// More than what is said to pass, and far more than a daemon may grow by meanwhile.
const LARGE: usize = 40 * MIB;

/// Byte number `at` of every large file here.
fn byte(at: usize) -> u8 {
    u8::try_from(at.wrapping_mul(31).wrapping_add(at / MIB) % 251).unwrap()
}

/// A platform's adapter, as small as one can be.
#[derive(Clone)]
struct Adapter {
    routd: String,
    secret: String,
    /// What the platform has: the caption, the name, and whether each byte is as it should be.
    sent: Arc<Mutex<Vec<(String, String, bool)>>>,
    served: Arc<Mutex<Vec<String>>>,
}

impl Adapter {
    async fn of(suite: &Suite) -> Self {
        kit::testing::install_crypto();
        let status = suite.json(&["status"]);
        let daemons = status["daemons"].as_array().unwrap();
        let routd = daemons.iter().find(|one| one["daemon"] == "routd").unwrap();
        let adapter = Self {
            routd: routd["address"].as_str().unwrap().to_owned(),
            secret: suite.dotenv("CHANNEL_SECRET"),
            sent: Arc::default(),
            served: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/send", post(send))
            .route("/files/{id}", get(file))
            .with_state(adapter.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let registration = json!({
            "name": "telegram", "url": url, "jid_prefixes": ["telegram:"],
            "capabilities": ["send_file", "idempotency"],
        });
        adapter.post("/v1/channels/register", &registration).await;
        adapter
    }

    async fn post(&self, path: &str, body: &Value) {
        let http = http();
        let request = http.post(format!("{}{path}", self.routd)).bearer_auth(&self.secret);
        let answer = request.json(body).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{path}: {status} {}", answer.text().await.unwrap());
    }

    fn sent(&self) -> Vec<(String, String, bool)> {
        self.sent.lock().unwrap().clone()
    }
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap()
}

/// The file, piece by piece.
async fn file(
    State(adapter): State<Adapter>,
    headers: HeaderMap,
    UrlPath(id): UrlPath<String>,
) -> Response {
    assert!(headers["authorization"].to_str().unwrap().starts_with("Bearer "));
    adapter.served.lock().unwrap().push(id.clone());
    if id != "large" {
        return StatusCode::NOT_FOUND.into_response();
    }
    let pieces = (0..LARGE / MIB).map(|nth| {
        let piece: Vec<u8> = (nth * MIB..(nth + 1) * MIB).map(byte).collect();
        Ok::<_, std::io::Error>(Bytes::from(piece))
    });
    Body::from_stream(stream::iter(pieces)).into_response()
}

/// Fetches what it is to send from routd, before it answers.
async fn send(State(adapter): State<Adapter>, Json(message): Json<Value>) -> Json<Value> {
    let caption = message["content"].as_str().unwrap().to_owned();
    let attachments = message["attachments"].as_array().cloned().unwrap_or_default();
    if attachments.is_empty() {
        adapter.sent.lock().unwrap().push((caption, String::new(), true));
        return Json(json!({ "ids": ["p1"] }));
    }
    for file in attachments {
        let url = format!("{}{}", adapter.routd, file["url"].as_str().unwrap());
        let mut answer = http().get(url).bearer_auth(&adapter.secret).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let (mut at, mut same) = (0, true);
        while let Some(piece) = answer.chunk().await.unwrap() {
            same &= piece.iter().enumerate().all(|(nth, found)| *found == byte(at + nth));
            at += piece.len();
        }
        let name = file["filename"].as_str().unwrap().to_owned();
        adapter.sent.lock().unwrap().push((caption.clone(), name, same && at == LARGE));
    }
    Json(json!({ "ids": ["p1"] }))
}

/// The most memory that a process ever had, in KiB.
fn peak(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A person sends a large file on a platform, and asks for it back.
async fn there_and_back(suite: &Suite) -> Adapter {
    let adapter = Adapter::of(suite).await;
    suite.ok(&["route", "add", "--target", "main", "--match", "platform=telegram"]);
    let files = json!([
        { "filename": "Q3 report.bin", "mime": "application/octet-stream", "url": "/files/large" },
        { "filename": "lost.txt", "mime": "text/plain", "url": "/files/lost" },
    ]);
    let message = json!({
        "id": "m1", "chat_jid": CHAT, "sender": "telegram:user/7", "content": "back", "attachments": files,
    });
    adapter.post("/v1/messages", &message).await;
    let done = |adapter: &Adapter| {
        let sent = adapter.sent();
        sent.iter().any(|(_, name, _)| name.is_empty()).then_some(sent)
    };
    let waiting = adapter.clone();
    let sent = tokio::task::spawn_blocking(move || {
        eventually("the answer is on the platform", || done(&waiting))
    });
    let sent = sent.await.unwrap();
    // It has its place in the home, of which its name is a part. What was lost cannot be sent back, and is told.
    let is_back = |name: &str| name.ends_with("-0-Q3_report.bin");
    assert!(sent.iter().any(|(_, name, same)| is_back(name) && *same), "{sent:?}");
    let said = &sent.last().unwrap().0;
    let refused = "-1-lost.txt` cannot be sent: there is no such file in the home";
    assert!(said.starts_with("I could not use `send_file`: `inbox/"), "{sent:?}");
    assert!(said.ends_with(refused), "{sent:?}");
    assert_eq!(sent.len(), 2, "each is sent once: {sent:?}");
    let served = adapter.served.lock().unwrap().clone();
    assert_eq!(served, ["large", "lost"], "each is fetched once");
    adapter
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_passes_both_ways_and_no_daemon_holds_it() {
    let mut suite = Suite::made();
    suite.start_apart();
    suite.ok(&["ask", "hello"]);
    let pids = suite.pids();
    let before: Vec<_> = pids.iter().map(|(name, pid)| (*name, *pid, peak(*pid))).collect();
    there_and_back(&suite).await;
    for (name, pid, before) in before {
        let grown = peak(pid).saturating_sub(before);
        assert!(grown < LARGE / 1024 / 2, "{name} grew by {grown} KiB for a file of 40 MiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_a_container_without_a_network_gets_a_file_and_sends_one() {
    if !docker::has(IMAGE, |_| Ok(())) {
        return;
    }
    let mut place = Contained::of(IMAGE);
    place.suite.start_up();
    there_and_back(&place.suite).await;
    place.none_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_saves_a_file_from_the_web_chat_and_nobody_else_does() {
    let suite = Suite::up();
    suite.ok(&["ask", "hello"]);
    let homes = fs::read_dir(suite.data().join("homes")).unwrap();
    let homes: Vec<PathBuf> = homes.map(|entry| entry.unwrap().path()).collect();
    let [home] = homes.as_slice() else { panic!("{homes:?}") };
    let page = b"<script>alert(document.cookie)</script>".repeat(1_000);
    fs::create_dir(home.join("out")).unwrap();
    fs::write(home.join("out/page.html"), &page).unwrap();
    fs::write(suite.data().join("beside.txt"), "not the agent's").unwrap();
    std::os::unix::fs::symlink(suite.data().join("beside.txt"), home.join("out/link.txt")).unwrap();

    let link = suite.json(&["token", "issue", "--kind", "chat", "--folder", "main"]);
    let url = link["url"].as_str().unwrap();
    let chat = Chat::open(url);
    chat.write("file out/page.html The page").await;
    let events = chat.events("0", |event| event.kind == "done").await;
    let said = events.iter().find(|event| event.data["from_agent"] == json!(true)).unwrap();
    assert_eq!(said.data["content"], "The page");
    let file = &said.data["files"][0];
    assert_eq!((&file["name"], &file["size"]), (&json!("page.html"), &json!(page.len())));
    let href = file["href"].as_str().unwrap();
    assert!(chat.page().await.text().await.unwrap().contains(&format!("href=\"{href}\"")));

    let saved = http().get(format!("{}/{href}", url.trim_end_matches('/'))).send().await.unwrap();
    assert_eq!(saved.status(), 200);
    let header = |name: &str| saved.headers()[name].to_str().unwrap().to_owned();
    assert!(header("content-disposition").starts_with("attachment; filename=\"page.html\""));
    assert_eq!(header("content-security-policy"), "sandbox; default-src 'none'");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(saved.bytes().await.unwrap(), page);

    // Another chat's link does not open it.
    suite.ok(&["group", "add", "team/b"]);
    let other = suite.json(&["token", "issue", "--kind", "chat", "--folder", "team/b"]);
    let other = other["url"].as_str().unwrap();
    let refused = http().get(format!("{}/{href}", other.trim_end_matches('/'))).send().await;
    assert_eq!(refused.unwrap().status(), 404);
    let last = events.last().unwrap().id.clone();
    chat.write("file out/link.txt").await;
    let more = chat.events(&last, |event| event.kind == "done").await;
    let told =
        more.iter().any(|event| event.data.to_string().contains("I could not use `send_file`"));
    assert!(told, "{more:?}");
    assert!(more.iter().all(|event| event.data.get("files").is_none()), "{more:?}");
}
