//! `arizuko secrets rotate`, `forget`, `rekey` and `init`: under load, interrupted, and where they must refuse.

use super::rotation::Load;
use crate::harness::{LIMIT, Suite, eventually, is_alive, reply_of};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const DAEMONS: [&str; 5] = ["authd", "routd", "runed", "webd", "proxyd"];
const ISSUED: [&str; 3] = ["CHANNEL_SECRET", "AUTHD_SERVICE_KEY", "SECRETS_KEY"];

/// Where each daemon's own endpoints are.
fn addresses(suite: &Suite) -> BTreeMap<String, String> {
    let status = suite.json(&["status"]);
    let all = status["daemons"].as_array().unwrap().iter();
    let text = |of: &Value, field: &str| of[field].as_str().unwrap().to_owned();
    all.map(|of| (text(of, "daemon"), text(of, "address"))).collect()
}

/// The status and the body of one request.
fn request(method: &str, url: &str, bearer: &str, body: Option<Value>) -> (u16, String) {
    kit::testing::install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let http = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
        let mut request = http.request(method.parse().unwrap(), url).bearer_auth(bearer);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}

/// What routd says to a bearer of this channel secret. The message has no text: whoever is believed is told so.
fn shown_to_routd(suite: &Suite, secret: &str) -> u16 {
    let url = format!("{}/v1/messages", addresses(suite)["routd"]);
    let message = serde_json::json!({
        "id": "m1", "chat_jid": "telegram:user/1", "sender": "telegram:user/1", "content": "",
    });
    request("POST", &url, secret, Some(message)).0
}

/// A service token of `dashd`, which may see every daemon's secrets (and no value of them).
fn service_token(authd: &str, key: &str) -> Result<String, u16> {
    let body = serde_json::json!({ "daemon": "dashd" });
    let (status, text) = request("POST", &format!("{authd}/v1/service-token"), key, Some(body));
    let token = |text: &str| {
        serde_json::from_str::<Value>(text).unwrap()["token"].as_str().map(str::to_owned)
    };
    if status == 200 { Ok(token(&text).unwrap()) } else { Err(status) }
}

/// The names in `.env`.
fn names(suite: &Suite) -> Vec<String> {
    let text = fs::read_to_string(suite.data().join(".env")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect()
}

/// Runs `rotate`; what it says must hold neither value.
fn rotate(suite: &Suite, args: &[&str]) -> (String, Value) {
    let old = suite.dotenv(args[0]);
    let all: Vec<&str> =
        ["--json", "secrets", "rotate"].into_iter().chain(args.iter().copied()).collect();
    let out = suite.run(&all);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let all_said = format!("{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{args:?}: {all_said}");
    let new = suite.dotenv(args[0]);
    assert_ne!(old, new, "{args:?} changed nothing");
    assert!(!all_said.contains(&old) && !all_said.contains(&new), "a value was shown");
    (old, serde_json::from_str(&said).unwrap())
}

/// What each daemon says of `name`, by daemon.
fn states(suite: &Suite, name: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (daemon, of) in suite.secrets() {
        let all = of["secrets"].as_array().unwrap().iter();
        for state in all.filter(|s| s["name"] == name && s["source"].is_string()) {
            found.insert(daemon.clone(), state.clone());
        }
    }
    assert!(!found.is_empty(), "nobody uses {name}");
    found
}

/// All daemons that use `name` have the same value, and nothing to complain about.
fn agreed(suite: &Suite, name: &str) {
    let states = states(suite, name);
    let first = states.values().next().unwrap()["fingerprint"].clone();
    assert!(first.is_string());
    for (daemon, state) in &states {
        assert_eq!(state["fingerprint"], first, "{daemon} has another {name}");
        assert!(state["error"].is_null(), "{daemon}: {state}");
    }
}

fn set(suite: &Suite, name: &str, value: &str) {
    let mut command = suite.command();
    command.args(["secrets", "set", name]).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn each_issued_secret_is_rotated_again_and_again_and_no_message_fails() {
    let mut suite = Suite::made();
    suite.set("SECRETS_OVERLAP", "6s").start_up();
    let (pids, load) = (suite.pids(), Load::new(&suite));
    let mut replaced: Vec<(&str, String)> = Vec::new();
    load.during(&suite, || {
        for name in ISSUED.into_iter().chain(ISSUED) {
            let (old, said) = rotate(&suite, &[name]);
            assert!(said["previous_accepted_until"].is_string(), "{said}");
            assert_eq!(suite.dotenv(&format!("{name}_PREVIOUS")), old);
            agreed(&suite, name);
            replaced.push((name, old));
        }
        // At once, and one after the other all the same.
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| suite.ok(&["secrets", "rotate", "CHANNEL_SECRET"]));
            }
        });
        agreed(&suite, "CHANNEL_SECRET");
        for _ in 0..2 {
            let said = suite.json(&["secrets", "rekey"]);
            let databases = said["databases"].as_array().unwrap();
            assert_eq!(databases.len(), 2, "{said}");
            assert!(databases.iter().all(|of| of["opened_by"].as_array().unwrap().len() == 1));
        }
    });
    eventually("every previous value has gone by itself", || {
        names(&suite).iter().all(|name| !name.ends_with("_PREVIOUS")).then_some(())
    });
    for (name, old) in &replaced {
        if *name == "CHANNEL_SECRET" {
            assert_eq!(shown_to_routd(&suite, old), 401, "an old value is still accepted");
        }
    }
    assert_ne!(shown_to_routd(&suite, &suite.dotenv("CHANNEL_SECRET")), 401);
    let status = suite.json(&["status"]).to_string();
    assert!(!status.contains("PREVIOUS"), "something was left behind: {status}");
    assert_eq!(suite.pids(), pids, "a process was started again");
    let audit = suite.json(&["audit", "--limit", "500"]).to_string();
    assert!(
        audit.contains("key.renew") && audit.contains("keys.renew"),
        "both databases were sealed anew"
    );
    // What is sealed opens with what is in the source now, and with nothing else.
    assert_eq!(suite.process("up").stop(), Some(0));
    suite.start_up();
    load.ask(&suite);
}

#[test]
fn a_restart_in_the_middle_of_a_rotation_changes_nothing_nor_does_going_back() {
    let mut suite = Suite::made();
    suite.set("SECRETS_OVERLAP", "5s").start_up();
    let link = Load::new(&suite);
    let (first, _) = rotate(&suite, &["CHANNEL_SECRET"]);
    rotate(&suite, &["SECRETS_KEY"]);
    assert_eq!(suite.process("up").stop(), Some(0));
    suite.start_up();
    assert_ne!(shown_to_routd(&suite, &first), 401, "the restart lost the previous value");
    let second = suite.dotenv("CHANNEL_SECRET");
    link.moved(&suite).during(&suite, || {
        set(&suite, "CHANNEL_SECRET", &first);
        agreed(&suite, "CHANNEL_SECRET");
    });
    assert_eq!(suite.dotenv("CHANNEL_SECRET"), first);
    eventually("what it was replaced by for a while is refused", || {
        (shown_to_routd(&suite, &second) == 401).then_some(())
    });
    eventually("every previous value has gone by itself", || {
        names(&suite).iter().all(|name| !name.ends_with("_PREVIOUS")).then_some(())
    });
    assert_ne!(shown_to_routd(&suite, &first), 401, "the current value is refused");

    // While nothing runs: once, since a database may wait for the previous one.
    assert_eq!(suite.process("up").stop(), Some(0));
    let (before, said) = rotate(&suite, &["SECRETS_KEY"]);
    assert_eq!(said["daemons"], serde_json::json!([]));
    assert_eq!(suite.dotenv("SECRETS_KEY_PREVIOUS"), before);
    let text = fs::read_to_string(suite.data().join(".env")).unwrap();
    for args in [
        &["secrets", "rotate", "SECRETS_KEY"][..],
        &["secrets", "forget", "SECRETS_KEY"],
        &["secrets", "rotate", "SECRETS_KEY", "--leaked"],
    ] {
        let (code, line) = suite.fails(args);
        assert_eq!(code, 69, "{line}");
        assert!(line.contains("start it"), "{line}");
    }
    assert_eq!(fs::read_to_string(suite.data().join(".env")).unwrap(), text, "a refusal wrote");
    suite.start_up();
    link.moved(&suite).post();
}

/// Starts `rotate` and kills it as soon as `now` says so, or lets it end.
fn killed(suite: &Suite, name: &str, now: impl Fn() -> bool) {
    let mut command: Command = suite.command();
    command.args(["secrets", "rotate", name]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + LIMIT;
    while is_alive(child.id()) && !now() {
        assert!(Instant::now() < deadline, "it neither ends nor writes");
    }
    // Ended already is one of the points at which it may be killed.
    let _ended = child.kill().is_err();
    child.wait().unwrap();
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap_or_default()
}

#[test]
fn killed_at_any_point_it_is_finished_by_the_next() {
    let mut suite = Suite::made();
    // A directory of files: two writes, where `.env` is one.
    let dir = suite.scratch("plain");
    fs::create_dir(&dir).unwrap();
    for name in ISSUED {
        fs::write(dir.join(name), suite.dotenv(name)).unwrap();
    }
    fs::remove_file(suite.data().join(".env")).unwrap();
    suite.set("SECRETS_SOURCES", &format!("file://{}", dir.display()));
    suite.set("SECRETS_OVERLAP", "5s").start_up();
    let load = Load::new(&suite);
    for name in ISSUED {
        let before = read(&dir, name);
        let previous = format!("{name}_PREVIOUS");
        // Before anything, after the first write, after the second.
        killed(&suite, name, || true);
        assert_eq!(read(&dir, name), before, "killed before it wrote, it wrote");
        killed(&suite, name, || read(&dir, &previous) == before);
        let between = read(&dir, name);
        assert!(between == before || read(&dir, &previous) == before, "the old value is lost");
        killed(&suite, name, || read(&dir, name) != between);
        let after = read(&dir, name);
        assert!(!after.is_empty() && !read(&dir, &previous).is_empty());
        load.ask(&suite);
        // As the kill between the two writes leaves it, whichever came of the race above.
        fs::write(dir.join(&previous), &after).unwrap();
        let said = suite.json(&["secrets", "rotate", name]);
        assert_eq!(
            read(&dir, &previous),
            after,
            "the value that was in use stands beside the new one"
        );
        assert_ne!(read(&dir, name), after);
        assert!(!said["daemons"].as_array().unwrap().is_empty());
        agreed(&suite, name);
        load.post();
    }
    assert_eq!(suite.process("up").stop(), Some(0));
    suite.start_up();
    load.ask(&suite);
    eventually("every previous value has gone by itself", || {
        ISSUED.iter().all(|name| read(&dir, &format!("{name}_PREVIOUS")).is_empty()).then_some(())
    });
}

#[test]
fn what_leaked_is_refused_by_every_daemon_when_the_command_returns() {
    let mut suite = Suite::made();
    suite.start_apart();
    let (load, at) = (Load::new(&suite), addresses(&suite));
    let seen = |token: &str| -> Vec<u16> {
        let get =
            |daemon: &&str| request("GET", &format!("{}/v1/secrets", at[*daemon]), token, None).0;
        DAEMONS.iter().map(get).collect()
    };
    let key = suite.dotenv("AUTHD_SERVICE_KEY");
    let token = service_token(&at["authd"], &key).unwrap();
    assert_eq!(seen(&token), [200; 5], "and with that, every daemon has authd's keys at hand");
    load.during(&suite, || {
        let (old, _) = rotate(&suite, &["CHANNEL_SECRET", "--leaked"]);
        assert_eq!(shown_to_routd(&suite, &old), 401, "the old value is accepted");
        assert_eq!(seen(&token), [200; 5], "another secret's leak ended it");

        let (old, _) = rotate(&suite, &["AUTHD_SERVICE_KEY", "--leaked"]);
        let returned = Instant::now();
        assert_eq!(seen(&token), [401; 5], "a token that the old key made is believed");
        assert_eq!(service_token(&at["authd"], &old), Err(401), "the old key makes tokens");
        assert!(returned.elapsed() < Duration::from_secs(5), "it was refused only later");
        let token = service_token(&at["authd"], &suite.dotenv("AUTHD_SERVICE_KEY")).unwrap();
        assert_eq!(seen(&token), [200; 5], "the new key works");

        rotate(&suite, &["SECRETS_KEY", "--leaked"]);
        assert_eq!(seen(&token), [401; 5], "a token that was signed before is believed");
    });
    assert!(names(&suite).iter().all(|name| !name.ends_with("_PREVIOUS")), "an old value was kept");
}

/// Why a daemon does not start on `store` with this `SECRETS_KEY`.
fn refusal(daemon: &'static str, store: &Path, of: &Suite, key: &str) -> String {
    let mut suite = Suite::made();
    copy(store, &suite.data().join("store"));
    let values = ["CHANNEL_SECRET", "AUTHD_SERVICE_KEY"].map(|name| (name, of.dotenv(name)));
    let values: Vec<(&str, &str)> = values.iter().map(|(n, v)| (*n, v.as_str())).collect();
    suite.edit_dotenv(&values);
    suite.edit_dotenv(&[("SECRETS_KEY", key)]);
    suite.spawn(daemon);
    assert_eq!(suite.process(daemon).ended(), Some(78), "{daemon} opened what it must not");
    let log = suite.process(daemon).log_text();
    log.lines().last().unwrap_or_default().to_owned()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn a_leaked_secrets_key_opens_nothing_of_now_and_the_new_one_nothing_of_before() {
    let mut suite = Suite::up();
    let link = Load::new(&suite);
    link.post();
    assert_eq!(suite.process("up").stop(), Some(0));
    let (store, before) = (suite.data().join("store"), suite.scratch("before"));
    copy(&store, &before);
    suite.start_up();
    let old = suite.dotenv("SECRETS_KEY");
    link.moved(&suite).during(&suite, || {
        rotate(&suite, &["SECRETS_KEY", "--leaked"]);
    });
    let new = suite.dotenv("SECRETS_KEY");
    assert_eq!(suite.process("up").stop(), Some(0));
    for daemon in ["authd", "routd"] {
        for (store, key) in [(&before, &new), (&store, &old)] {
            let line = refusal(daemon, store, &suite, key);
            assert!(line.contains("no SECRETS_KEY at hand opens"), "{daemon}: {line}");
            assert!(!line.contains(key.as_str()), "the line shows the key");
        }
    }
    suite.start_up();
    link.moved(&suite).post();
}

#[test]
fn forgetting_ends_an_overlap_at_once_and_for_good() {
    let mut suite = Suite::up();
    let load = Load::new(&suite);
    let (old, _) = rotate(&suite, &["CHANNEL_SECRET"]);
    assert_ne!(shown_to_routd(&suite, &old), 401, "the overlap does not hold");
    load.during(&suite, || {
        let said = suite.json(&["secrets", "forget", "CHANNEL_SECRET"]);
        assert_eq!(said["removed_previous"], true, "{said}");
        assert_eq!(shown_to_routd(&suite, &old), 401);
        // Nothing is left to forget.
        let said = suite.json(&["secrets", "forget", "CHANNEL_SECRET"]);
        assert_eq!(said["removed_previous"], false, "{said}");
    });
    assert!(!names(&suite).contains(&"CHANNEL_SECRET_PREVIOUS".to_owned()));
    assert_eq!(suite.process("up").stop(), Some(0));
    suite.start_up();
    assert_eq!(shown_to_routd(&suite, &old), 401, "the restart brought the old value back");
    for (args, code, word) in [
        (&["secrets", "rotate", "PROXYD_TLS_KEY"][..], 64, "secrets set PROXYD_TLS_KEY"),
        (&["secrets", "rotate", "CHANNEL_SECRET_PREVIOUS"], 64, "nothing here uses"),
        (&["secrets", "rotate", "CHANNEL_SECRET_TELED"], 65, "no source has"),
        (&["secrets", "forget", "channel secret"], 64, "not a secret's name"),
    ] {
        let text = fs::read_to_string(suite.data().join(".env")).unwrap();
        let (exit, line) = suite.fails(args);
        assert_eq!((exit, line.contains(word)), (code, true), "{line}");
        assert_eq!(fs::read_to_string(suite.data().join(".env")).unwrap(), text, "{args:?} wrote");
    }
    // What nobody uses is replaced, and does not become the previous value.
    let (good, bad) = (suite.dotenv("CHANNEL_SECRET"), "short");
    suite.edit_dotenv(&[("CHANNEL_SECRET", bad)]);
    suite.ok(&["secrets", "rotate", "CHANNEL_SECRET"]);
    agreed(&suite, "CHANNEL_SECRET");
    assert_ne!(shown_to_routd(&suite, &good), 401, "the value that was in use has no overlap");
    assert!(!names(&suite).contains(&"CHANNEL_SECRET_PREVIOUS".to_owned()));
    assert_eq!(suite.ok(&["ask", "still"]).trim(), reply_of("still"));
}

#[test]
fn what_kubernetes_mounts_is_refused_with_what_to_do_and_an_empty_source_is_filled() {
    let mut suite = Suite::made();
    let mount = suite.mount();
    suite.start_up();
    let (held, generation) = (read(mount.dir(), "CHANNEL_SECRET"), suite.generation("routd"));
    for args in [
        &["secrets", "rotate", "CHANNEL_SECRET"][..],
        &["secrets", "rotate", "CHANNEL_SECRET", "--leaked"],
    ] {
        let (code, line) = suite.fails(args);
        assert_eq!(code, 78, "{line}");
        let next = if args.len() == 3 { "CHANNEL_SECRET_PREVIOUS" } else { "secrets forget" };
        assert!(line.contains("Kubernetes") && line.contains(next), "{line}");
        assert!(line.contains("Nothing was changed") && !line.contains(&held), "{line}");
    }
    assert_eq!(read(mount.dir(), "CHANNEL_SECRET"), held);
    assert_eq!(suite.generation("routd"), generation, "a refusal changed something");
    assert_ne!(shown_to_routd(&suite, &held), 401);
    suite.ok(&["ask", "still there"]);

    let mut empty = Suite::made();
    let volume = crate::harness::Mount::new(empty.scratch("volume"), &[]);
    fs::remove_file(empty.data().join(".env")).unwrap();
    empty.set("SECRETS_SOURCES", &format!("file://{}", volume.dir().display()));
    let out = empty.run(&["secrets", "init"]);
    let said = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(78));
    assert!(
        said.contains("kubectl create secret generic") && said.contains("--from-file"),
        "{said}"
    );
    assert!(!said.contains("--from-literal"), "a value would be an argument: {said}");
    assert!(!empty.data().join(".env").exists(), "it wrote where nothing reads");

    let plain = empty.scratch("plain");
    fs::create_dir(&plain).unwrap();
    empty.set("SECRETS_SOURCES", &format!("file://{}", plain.display()));
    let said = empty.json(&["secrets", "init"]);
    assert_eq!(said["generated"].as_array().unwrap().len(), 3, "{said}");
    let made = ISSUED.map(|name| read(&plain, name));
    assert!(made.iter().all(|value| value.len() == 64 && !said.to_string().contains(value)));
    let again = empty.json(&["secrets", "init"]);
    assert_eq!(again["generated"], serde_json::json!([]));
    assert_eq!(ISSUED.map(|name| read(&plain, name)), made, "what was there was replaced");
    empty.start_up();
    empty.ok(&["ask", "hello"]);
}
