//! The official client of the Model Context Protocol (PyPI `mcp`), on the Unix socket of a turn that runs and over
//! HTTP at a chat link. Where it is not, these tests say so and prove nothing.

use crate::harness::{Chat, Suite, eventually, reply_of};
use serde_json::{Value, json};
use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Names an interpreter that has the client.
const VARIABLE: &str = "MCP_PYTHON";
const CLIENT: &str = include_str!("mcp/client.py");
/// An agent that answers once its home has a file, which is when the test says so; or after two minutes.
const HELD: &str = "cat >/dev/null; for i in $(seq 2400); do [ -e let-go ] && break; sleep 0.05; done; echo held until now";

/// The client, in an interpreter that has it.
struct Client(PathBuf);

impl Client {
    fn find() -> Option<Self> {
        let mut places: Vec<PathBuf> =
            env::var_os(VARIABLE).map(PathBuf::from).into_iter().collect();
        places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ci-tools/bin/python3"));
        places.push("python3".into());
        let has = |python: &PathBuf| {
            let mut asked = Command::new(python);
            asked.args(["-c", "import mcp.client.streamable_http"]).stderr(Stdio::null());
            asked.status().is_ok_and(|status| status.success())
        };
        let found = places.into_iter().find(has);
        if found.is_none() {
            eprintln!(
                "mcp: not verified (no client; name an interpreter that has it in {VARIABLE})"
            );
        }
        found.map(Self)
    }

    fn run(&self, plan: &Value) -> Output {
        let mut command = Command::new(&self.0);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .args(["-c", CLIENT])
            .stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(plan.to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// What it was told; it must have got through.
    fn told(&self, plan: &Value) -> Value {
        let out = self.run(plan);
        let errors = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{plan}: {errors}");
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Its own words for why it did not get through.
    fn fails(&self, plan: &Value) -> String {
        let out = self.run(plan);
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(!out.status.success(), "{plan}: got through: {said}");
        String::from_utf8(out.stderr).unwrap()
    }
}

fn plan(url: &str, socket: Option<&Path>, mode: &str, calls: &Value) -> Value {
    json!({ "url": url, "socket": socket, "mode": mode, "calls": calls })
}

/// Asserts that a call was refused, and that the reason is told to whoever called.
fn refused(result: &Value, reason: &str) {
    assert_eq!(result["is_error"], true, "{result}");
    assert!(result["text"].as_str().unwrap().contains(reason), "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_uses_a_turns_tools_on_its_socket_while_the_turn_runs() {
    let Some(client) = Client::find() else { return };
    let suite = Suite::up();
    let command = ["--harness", "command", "--command", "sh", "-c", HELD];
    suite.ok(&[["group", "add", "held"].as_slice(), &command].concat());
    let link = suite.json(&["token", "issue", "--kind", "chat", "--folder", "held"]);
    let chat = Chat::open(&format!("{}{}", suite.edge(), link["path"].as_str().unwrap()));
    chat.write("hold on").await;
    let socket = eventually("the turn has a socket", || sockets(&suite).pop());
    let home = eventually("the agent has a home", || home(&suite));

    let url = "http://turn/mcp";
    let calls = json!([
        ["set_memory", { "content": "the client was here" }],
        ["get_memory", {}],
        ["reply", { "content": "said by the client" }],
        ["send", { "chat_jid": "web:main", "content": "not for you" }],
        ["delegate", { "folder": "main", "task": "not for you" }],
        ["reply", { "content": "misspelt", "contents": "x" }],
        ["grant_admin", {}],
    ]);
    let told = client.told(&plan(url, Some(&socket), "legacy", &calls));
    eprintln!("mcp: client {}, protocol {}", told["version"], told["protocol"]);
    assert_eq!(told["server"], "arizuko");
    let tools = told["tools"].as_object().unwrap();
    for (name, argument) in [("reply", "content"), ("set_memory", "content"), ("send", "chat_jid")]
    {
        let schema = &tools[name]["properties"][argument];
        assert!(schema.is_object(), "{name} says what it takes: {}", tools[name]);
    }
    let called = told["called"].as_array().unwrap();
    assert_eq!(called[0]["is_error"], false, "{told}");
    assert!(called[1]["text"].as_str().unwrap().contains("the client was here"), "{told}");
    assert!(called[2]["structured"]["id"].is_string(), "{told}");
    refused(&called[3], "mcp:send");
    refused(&called[4], "mcp:delegate");
    refused(&called[5], "contents");
    assert!(called[6]["raised"].is_string() || called[6]["is_error"] == true, "{told}");

    // A client that knows newer revisions of the protocol asks first which the server has.
    let told = client.told(&plan(url, Some(&socket), "auto", &json!([["get_memory", {}]])));
    assert!(told["called"][0]["text"].as_str().unwrap().contains("the client was here"), "{told}");

    fs::write(home.join("let-go"), "").unwrap();
    let events = chat.events("0", |event| event.kind == "done").await;
    let said: Vec<&str> = events
        .iter()
        .filter(|event| event.kind == "message")
        .filter_map(|event| event.data["content"].as_str())
        .collect();
    assert_eq!(said, ["hold on", "said by the client", "held until now"], "each once, in order");

    eventually("the socket goes", || (!socket.exists()).then_some(()));
    let late = json!([["set_memory", { "content": "too late" }]]);
    let why = client.fails(&plan(url, Some(&socket), "legacy", &late));
    assert!(why.contains("ConnectError"), "nobody answers any more: {why}");
    assert_eq!(count(&suite, "memories WHERE content != 'the client was here'"), 0);
    assert_eq!(count(&suite, "messages WHERE content LIKE '%not for you%'"), 0);
    let audit = suite.ok(&["--json", "audit", "--limit", "1000"]);
    assert!(audit.contains("mcp:send") && audit.contains("mcp:delegate"), "{audit}");
    assert!(!audit.contains("not for you"), "nothing of what it presented is kept");
}

#[test]
fn the_official_client_asks_over_http_at_a_chat_link_until_that_ends() {
    let Some(client) = Client::find() else { return };
    let suite = Suite::up();
    let link = suite.json(&["token", "issue", "--kind", "chat", "--folder", "main"]);
    let other = suite.json(&["token", "issue", "--kind", "chat", "--folder", "main"]);
    let url = |link: &Value| {
        format!("{}{}/mcp", suite.edge(), link["path"].as_str().unwrap().trim_end_matches('/'))
    };
    let asks = json!([
        ["ask", { "content": "hello from a program", "id": "p-1" }],
        ["ask", { "content": "hello from a program", "id": "p-1" }],
        ["history", {}],
        ["outcome", { "id": "no-such-message" }],
        ["ask", { "content": "", "wait_seconds": 1 }],
        ["ask", { "content": "x", "wait_seconds": 3600 }],
    ]);
    for mode in ["legacy", "auto"] {
        let told = client.told(&plan(&url(&link), None, mode, &asks));
        let names: Vec<&String> = told["tools"].as_object().unwrap().keys().collect();
        for name in ["ask", "send", "outcome", "history"] {
            assert!(names.iter().any(|known| *known == name), "{names:?}");
        }
        let called = told["called"].as_array().unwrap();
        for same in &called[..2] {
            assert_eq!(same["text"], reply_of("hello from a program"), "{told}");
            assert_eq!(same["is_error"], false);
        }
        let history = called[2]["structured"]["messages"].as_array().unwrap();
        assert_eq!(history.len(), 2, "asked and answered once, however often: {history:?}");
        refused(&called[3], "no such message");
        refused(&called[4], "");
        refused(&called[5], "wait_seconds");
    }
    // What was said in one chat is not read with another's link.
    let theirs = json!([["outcome", { "id": "p-1" }], ["history", {}]]);
    let told = client.told(&plan(&url(&other), None, "legacy", &theirs));
    refused(&told["called"][0], "no such message");
    assert_eq!(told["called"][1]["structured"]["messages"], json!([]), "{told}");

    suite.ok(&["token", "revoke", link["id"].as_str().unwrap()]);
    let look = plan(&url(&link), None, "legacy", &json!([]));
    eventually("the link ends", || (!client.run(&look).status.success()).then_some(()));
    let late = json!([["send", { "content": "too late" }]]);
    let why = client.fails(&plan(&url(&link), None, "legacy", &late));
    assert!(why.contains("MCPError: Not Found"), "{why}");
    assert_eq!(count(&suite, "messages WHERE content = 'too late'"), 0);
}

fn sockets(suite: &Suite) -> Vec<PathBuf> {
    let turns = fs::read_dir(suite.data().join("run/t")).into_iter().flatten().flatten();
    turns.map(|entry| entry.path().join("s")).filter(|socket| socket.exists()).collect()
}

/// The only home that there is.
fn home(suite: &Suite) -> Option<PathBuf> {
    let homes = fs::read_dir(suite.data().join("homes")).into_iter().flatten().flatten();
    let homes: Vec<PathBuf> = homes.map(|entry| entry.path()).collect();
    <[PathBuf; 1]>::try_from(homes).ok().map(|[home]| home)
}

fn count(suite: &Suite, what: &str) -> i64 {
    let path = suite.data().join("store/routd.db");
    let flags = db::rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = db::rusqlite::Connection::open_with_flags(path, flags).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}
