//! The real Claude Code CLI, as a process and in a container, against a Messages API on loopback. The key of the model
//! is another one before its turn is over, and neither key was ever with it. Where the CLI is not, these tests say so
//! and prove nothing.

mod agents;

use super::{
    canary::sweep::{Canary, Sweep},
    docker::{self, Contained},
};
use crate::harness::{Asked, Chat, MessagesApi, Says, Suite, eventually};
use agents::Agents;
use serde_json::{Value, json};
use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

/// Names the CLI's file.
const VARIABLE: &str = "CLAUDE_CLI";
/// An image that holds this very program, the CLI, and a shell for it.
const IMAGE: &str = "arizuko-claude:1";
/// What the shell of the image can do.
const TOOLS: [&str; 8] = ["bash", "cat", "env", "grep", "ls", "mkdir", "rm", "uname"];

#[tokio::test(flavor = "multi_thread")]
async fn the_cli_as_a_process_never_holds_the_key_that_rotates_in_its_turn() {
    let Some(cli) = cli() else { return };
    let mut suite = Suite::made();
    suite.set("CONTAINER_BACKEND", "process").set(VARIABLE, cli.to_str().unwrap());
    story(&mut suite, "process", String::new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cli_in_a_container_never_holds_the_key_that_rotates_in_its_turn() {
    let Some(cli) = cli() else { return };
    if !docker::has(IMAGE, |root| lay_out(&cli, root)) {
        eprintln!("claude: not verified in a container");
        return;
    }
    let mut place = Contained::of(IMAGE);
    let (data, image) = (place.suite.data(), docker::image_id(IMAGE));
    story(&mut place.suite, "docker", move || {
        let found = docker::running(&data);
        // Made before there was a key, and the container cannot write to it.
        assert_eq!(found.image.as_deref(), Some(image.as_str()));
        let host = found.host_config.as_ref().unwrap();
        assert_eq!(host.readonly_rootfs, Some(true));
        format!("{found:?}")
    })
    .await;
    place.none_left();
}

fn cli() -> Option<PathBuf> {
    let named = env::var_os(VARIABLE).map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = named.into_iter().collect();
    places.extend(env::split_paths(&path).map(|dir| dir.join("claude")));
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ci-tools/lib");
    for python in fs::read_dir(tools).into_iter().flatten().flatten() {
        places.push(python.path().join("site-packages/claude_agent_sdk/_bundled/claude"));
    }
    let found = places.into_iter().find_map(|place| fs::canonicalize(place).ok());
    if found.is_none() {
        eprintln!("claude: not verified (no CLI; name it in {VARIABLE})");
    }
    found
}

/// Puts the CLI into an image, with a shell, and the libraries of both.
fn lay_out(cli: &Path, root: &Path) -> std::io::Result<()> {
    let lib = root.join("lib");
    fs::copy(cli, root.join("bin/claude"))?;
    fs::set_permissions(root.join("bin/claude"), PermissionsExt::from_mode(0o755))?;
    docker::libraries(cli, &lib)?;
    for tool in TOOLS {
        let place = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(tool));
        let Some(file) = place.iter().find_map(|file| fs::canonicalize(file).ok()) else {
            continue;
        };
        fs::copy(&file, root.join("bin").join(tool))?;
        docker::libraries(&file, &lib)?;
    }
    symlink("bash", root.join("bin/sh"))?;
    fs::create_dir(root.join("usr"))?;
    symlink("../bin", root.join("usr/bin"))
}

/// A value that nothing else holds.
fn value() -> String {
    hex::encode(rand::random::<[u8; 24]>())
}

fn canary(name: &str, value: &str) -> Canary {
    Canary { name: name.into(), bytes: value.into() }
}

fn script() -> Vec<Says> {
    let look = json!({ "command": "env; cat /proc/self/environ", "description": "look around" });
    vec![
        Says::Uses(vec![
            ("toolu_memory", "mcp__arizuko__set_memory", json!({ "content": "likes tea" })),
            ("toolu_look", "Bash", look),
        ]),
        Says::Text("I will remember tea."),
        Says::Text("Tea, as you said."),
    ]
}

/// A turn in which the CLI uses our tool and its own, with a rotation in its middle; then one that goes on in its
/// session. `container` tells what the engine says of the container of a turn that runs.
async fn story(suite: &mut Suite, backend: &str, container: impl Fn() -> String) {
    let (first, second, planted) = (value(), value(), value());
    let keys = [canary("the first key", &first), canary("the second key", &second)];
    let sweep = Sweep::new(&keys);
    let found_if_there = Sweep::new(&[canary("what it was told", &planted)]);
    let api = MessagesApi::begin(script()).await;
    api.accept(&first);
    suite.set("ANTHROPIC_BASE_URL", api.url());
    suite.edit_dotenv(&[("ANTHROPIC_API_KEY", &first)]);
    suite.start_up();
    suite.ok(&["group", "add", "research", "--harness", "claude"]);
    let link = suite.json(&["token", "issue", "--kind", "chat", "--folder", "research"]);
    let chat = Chat::open(&format!("{}{}", suite.edge(), link["path"].as_str().unwrap()));

    chat.write(&format!("remember that I like tea, and {planted}")).await;
    if !asked_or_over(suite, &api) {
        let said = chat.events("0", |event| event.kind == "message").await;
        let said = said.iter().map(|event| event.data.to_string()).collect::<String>();
        assert!(said.contains("network namespace"), "the CLI asked nothing: {said}");
        eprintln!("claude: not verified with `{backend}` (no network namespace for an agent here)");
        return;
    }
    // The model has begun to answer. The key is another one now, and the model knows the old one no more.
    let before = suite.secrets();
    suite.edit_dotenv(&[("ANTHROPIC_API_KEY", &second)]);
    suite.newer(&["routd"], &before);
    api.accept(&second);
    let mut places = Vec::new();
    for answers in [1, 3] {
        let agents = Agents::of_turn(&running_turn(suite));
        places.extend(agents.seen());
        agents.memory_holds_no(&sweep, &found_if_there);
        places.push(("what the engine says".into(), container().into_bytes()));
        api.release(answers);
        // Under the new key it is asked again, and looked at again before that is answered.
        eventually("the CLI asks again", || (api.asked().len() >= 2).then_some(()));
    }
    let said = chat.events("0", |event| event.kind == "done").await;
    let told = said.iter().map(|event| event.data.to_string()).collect::<Vec<_>>().join("\n");
    assert!(told.contains("I will remember tea."), "{told}");
    assert!(told.contains("look around"), "what it does is shown: {told}");

    chat.write("what do I like?").await;
    let after = said.last().unwrap().id.clone();
    let again = chat.events(&after, |event| event.kind == "done").await;
    let told = again.iter().map(|event| event.data.to_string()).collect::<String>();
    assert!(told.contains("Tea, as you said."), "{told}");

    let asked = api.asked();
    let spent: Vec<&str> = asked.iter().map(Asked::key).collect();
    assert_eq!(spent, [&first, &second, &second], "each request under the key of its moment");
    used_our_tools(suite, &asked);
    for asked in &asked {
        let mut headers = asked.headers.clone();
        headers.remove("x-api-key");
        places.push(("what the CLI sent".into(), format!("{headers:?} {}", asked.body).into()));
        assert!(asked.place.starts_with("/v1/messages"), "{}", asked.place);
    }
    places.extend(left_behind(suite));
    for (place, bytes) in &places {
        let copies = sweep.copies(bytes);
        assert!(copies.is_empty(), "{backend}: {place}: {}", copies[0]);
    }
    for place in ["a file of its own", "homes/", "what the CLI sent", "routd.db"] {
        let mut there = places.iter().filter(|(name, _)| name.contains(place));
        let found = there.any(|(_, bytes)| !found_if_there.copies(bytes).is_empty());
        assert!(found, "the search does not find what the CLI was told in {place}");
    }
    let size: usize = places.iter().map(|(_, bytes)| bytes.len()).sum();
    eprintln!("claude: {backend}: no key in {} places, {size} bytes", places.len());
}

/// Waits for the CLI's first request; whether it came before the turn was over.
fn asked_or_over(suite: &Suite, api: &MessagesApi) -> bool {
    eventually("the CLI asks the model", || {
        let asked = !api.asked().is_empty();
        let over = text(suite, "SELECT group_concat(state) FROM turns") == "ended";
        (asked || over).then_some(asked)
    })
}

fn running_turn(suite: &Suite) -> String {
    text(suite, "SELECT max(id) FROM turns WHERE state = 'running'")
}

/// One text of routd's database; empty where there is none.
fn text(suite: &Suite, sql: &str) -> String {
    let path = suite.data().join("store/routd.db");
    let flags = db::rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = db::rusqlite::Connection::open_with_flags(path, flags).unwrap();
    db.query_row(sql, [], |row| row.get::<_, Option<String>>(0)).unwrap().unwrap_or_default()
}

/// Our tool did what it was called for, the CLI's own shell ran, and the second turn went on in the session of the first.
fn used_our_tools(suite: &Suite, asked: &[Asked]) {
    assert_eq!(text(suite, "SELECT content FROM memories WHERE folder = 'research'"), "likes tea");
    let offered: Vec<&str> = asked[0].body["tools"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    assert!(offered.contains(&"mcp__arizuko__reply") && offered.contains(&"Bash"), "{offered:?}");
    let results = results(&asked[1].body);
    assert_eq!(results.len(), 2, "{results:?}");
    let shell = results.iter().find(|(id, _)| id == "toolu_look").unwrap();
    assert!(shell.1.contains("ANTHROPIC_API_KEY=not-a-key"), "what its shell saw: {}", shell.1);
    let resumed = asked[2].body["messages"].to_string();
    assert!(resumed.contains("toolu_memory"), "it goes on in its session: {resumed}");
    let usage = suite.json(&["usage", "--folder", "research", "--by", "model"]);
    assert_eq!(usage[0]["requests"], 3, "each is counted once: {usage}");
}

/// The results of tools in the last message of a request.
fn results(body: &Value) -> Vec<(String, String)> {
    let last = body["messages"].as_array().unwrap().last().unwrap();
    let blocks = last["content"].as_array().cloned().unwrap_or_default();
    let results = blocks.into_iter().filter(|block| block["type"] == "tool_result");
    let id = |block: &Value| block["tool_use_id"].as_str().unwrap_or_default().to_owned();
    results.map(|block| (id(&block), block["content"].to_string())).collect()
}

/// Every file of the instance but the one that the key is in, and the log.
fn left_behind(suite: &Suite) -> Vec<(String, Vec<u8>)> {
    let mut files = agents::files(&suite.data(), &[]);
    files.retain(|(name, _)| !name.ends_with("/.env"));
    let log = suite.scratch("up.log");
    files.push((log.display().to_string(), fs::read(&log).unwrap()));
    files
}
