//! A run of the suite in which every secret is a canary.

use super::{
    super::rotation::Load,
    answers::{self, Answer},
    sweep::Canary,
};
use crate::harness::{Mount, Store, Suite, Tls, eventually, signal};
use rand::Rng;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
};

const DAEMONS: [&str; 7] = ["authd", "routd", "runed", "webd", "teled", "slakd", "proxyd"];

/// What a bearer credential may have (RFC 6750, section 2.1).
const OF_BEARERS: &[u8] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=-._~+/=";
/// What stands in a path as it is.
const OF_PATHS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// What any secret may have, and what encodings change.
const OF_TEXTS: &[u8] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789\"\\ &?%#+/={}<>'";

/// What the agent of `command` shows of itself: in its reply, and whole in its home.
const LOOK_AROUND: &str = r#"
exec 2>&1
show() {
  env; set
  for f in environ cmdline maps limits status mountinfo; do echo "== $f"; tr '\0' '\n' < /proc/self/$f; done
  cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline
  ls -la /proc/self/fd/ /proc/1/fd/
  find / -xdev \( -path /usr -o -path /proc -o -path /sys -o -path /lib -o -path /bin \) -prune -o -print
  find "$HOME" /tmp /run /srv /var /root -xdev -type f -size -256k -exec cat {} +
  cat /proc/1/mem | head -c 10
}
show > "$HOME/seen"
head -c 60000 "$HOME/seen"
PLANTED="$1" sleep 0.2
echo looked around; echo "$1"
"#;

/// Where the secrets of a run come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Volume,
    Dotenv,
    Environment,
    /// The one entry of a server of that kind.
    Store(&'static str),
}

pub(super) struct Run {
    pub(super) from: From,
    pub(super) suite: Suite,
    /// Every value there was.
    pub(super) canaries: Vec<Canary>,
    /// Not a secret of the suite: what the search must find.
    pub(super) decoy: Canary,
    /// What commands and daemons said.
    pub(super) said: Vec<Answer>,
    mount: Option<Mount>,
    pub(super) store: Option<Store>,
    /// The values in use, by name.
    current: BTreeMap<String, String>,
    links: Vec<String>,
}

/// A value of 32 bytes; its ends are letters, so that nothing trims them.
fn text(alphabet: &[u8]) -> String {
    let mut random = rand::rng();
    let mut pick = |from: &[u8]| char::from(from[random.random_range(0..from.len())]);
    let middle: String = (0..30).map(|_| pick(alphabet)).collect();
    format!("{}{middle}{}", pick(&alphabet[..52]), pick(&alphabet[..52]))
}

/// The private number in a P-256 key as PKCS#8 has it (RFC 5915, section 3): 32 bytes after this beginning.
fn scalar(pem: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    let der = STANDARD.decode(lines.collect::<String>()).unwrap();
    let head = b"\x02\x01\x01\x04\x20";
    let at = der.windows(head.len()).position(|window| window == head).unwrap() + head.len();
    der[at..at + 32].to_vec()
}

impl Run {
    /// `None`, with a word about it, where the server's program is not there.
    pub(super) fn begin(from: From) -> Option<Self> {
        let store = match from {
            From::Store(kind) => Some(Store::start(kind)?),
            _ => None,
        };
        let decoy = Canary { name: "planted".into(), bytes: text(OF_BEARERS).into_bytes() };
        let suite = Suite::new();
        let mut run = Self {
            from,
            suite,
            canaries: Vec::new(),
            decoy,
            said: Vec::new(),
            mount: None,
            store,
            current: BTreeMap::new(),
            links: Vec::new(),
        };
        let format = if from == From::Dotenv { "json" } else { "text" };
        run.suite.set("LOG_LEVEL", "trace,rmcp=trace").set("LOG_FORMAT", format);
        run.suite.set("SECRETS_OVERLAP", "3s").set("SECRETS_POLL_INTERVAL", "2s");
        run.suite.set("PROXYD_GUESSES", "1000");
        let first = run.fresh();
        match from {
            From::Volume => {
                let values: Vec<(&str, &str)> = pairs(&first);
                let mount = Mount::new(run.suite.scratch("mount"), &values);
                run.suite.set("SECRETS_SOURCES", &format!("file://{}", mount.dir().display()));
                run.mount = Some(mount);
                run.say(&["create", "test"]);
            }
            From::Dotenv => {
                run.suite.set("SECRETS_SOURCES", "dotenv:");
                run.say(&["create", "test"]);
                run.suite.edit_dotenv(&pairs(&first));
            }
            From::Environment => {
                for (name, value) in &first {
                    run.suite.set(name, value);
                }
                run.suite.set("SECRETS_SOURCES", "env:");
                run.say(&["create", "test"]);
            }
            From::Store(_) => {
                let store = run.store.as_ref().unwrap();
                run.suite.set("SECRETS_SOURCES", &store.url(""));
                store.set(&pairs(&first));
                run.say(&["create", "test"]);
            }
        }
        run.suite.start_apart();
        for adapter in ["teled", "slakd"] {
            run.suite.restart(adapter);
        }
        run.said_by(&[
            "group",
            "add",
            "seer",
            "--harness",
            "command",
            "--command",
            "/bin/sh",
            "-c",
            LOOK_AROUND,
            "sh",
        ]);
        Some(run)
    }

    /// A new value of every secret.
    fn fresh(&mut self) -> Vec<(String, String)> {
        let pair = Tls::new();
        let mut values = vec![
            ("SECRETS_KEY".to_owned(), text(OF_TEXTS)),
            ("CHANNEL_SECRET".to_owned(), text(OF_BEARERS)),
            ("CHANNEL_SECRET_TELED".to_owned(), text(OF_BEARERS)),
            ("AUTHD_SERVICE_KEY".to_owned(), text(OF_BEARERS)),
            ("AUTHD_SERVICE_KEY_WEBD".to_owned(), text(OF_BEARERS)),
            ("ANTHROPIC_API_KEY".to_owned(), text(OF_BEARERS)),
            // Here are no platforms to show these to.
            ("SLACK_BOT_TOKEN".to_owned(), format!("xoxb-{}", text(OF_BEARERS))),
            ("SLACK_SIGNING_SECRET".to_owned(), text(OF_BEARERS)),
        ];
        for (name, value) in &values {
            self.note(name, value.clone().into_bytes());
        }
        self.note("PROXYD_TLS_KEY", scalar(&pair.key));
        // What is before the colon is the bot's address.
        let token = text(OF_PATHS);
        self.note("TELEGRAM_BOT_TOKEN", token.clone().into_bytes());
        values.push(("TELEGRAM_BOT_TOKEN".into(), format!("8012345678:{token}")));
        values.push(("PROXYD_TLS_CERT".into(), pair.cert));
        values.push(("PROXYD_TLS_KEY".into(), pair.key));
        self.current.extend(values.iter().cloned());
        values
    }

    fn note(&mut self, name: &str, bytes: Vec<u8>) {
        let known = self
            .canaries
            .iter()
            .filter(|canary| canary.name.starts_with(&format!("{name} ")))
            .count();
        self.canaries.push(Canary { name: format!("{name} {}", known + 1), bytes });
    }

    /// The values that are in use no more.
    pub(super) fn replaced(&self) -> Vec<Canary> {
        let scalar = scalar(&self.current["PROXYD_TLS_KEY"]);
        let in_use = |canary: &Canary| {
            canary.bytes == scalar
                || self.current["TELEGRAM_BOT_TOKEN"].as_bytes().ends_with(&canary.bytes)
                || self.current.values().any(|value| value.as_bytes() == canary.bytes)
        };
        self.canaries.iter().filter(|canary| !in_use(canary)).cloned().collect()
    }

    /// Runs a command; what it says is searched.
    fn say(&mut self, args: &[&str]) -> String {
        let out = self.suite.run(args);
        let said = [out.stdout.as_slice(), &out.stderr].concat();
        let text = String::from_utf8_lossy(&said).into_owned();
        self.said.push((format!("arizuko {}", args[0]), said));
        assert!(out.status.success(), "arizuko {}: {text}", args[0]);
        text
    }

    /// As [`Run::say`], with the decoy as the last argument.
    fn said_by(&mut self, args: &[&str]) {
        let decoy = String::from_utf8(self.decoy.bytes.clone()).unwrap();
        self.say(&[args, &[decoy.as_str()]].concat());
    }

    /// Messages, with every secret changing twice under them.
    pub(super) fn work(&mut self) {
        for kind in ["chat", "hook"] {
            let link = self.suite.json(&["token", "issue", "--kind", kind, "--folder", "main"]);
            self.links.push(link["path"].as_str().unwrap().to_owned());
        }
        let load = Load::new(&self.suite);
        if self.from == From::Environment {
            load.ask(&self.suite);
            load.post();
        } else {
            for _ in 0..2 {
                self.replace_all(&load);
            }
            load.ask(&self.suite);
            load.post();
        }
    }

    fn replace_all(&mut self, load: &Load) {
        let before = self.suite.secrets();
        if self.from == From::Volume {
            let values = self.fresh();
            let mut mount = self.mount.take().unwrap();
            load.during(&self.suite, || {
                mount.set(&pairs(&values));
                self.suite.newer(&DAEMONS, &before);
            });
            self.mount = Some(mount);
        } else if let Some(store) = self.store.take() {
            let values = self.fresh();
            load.during(&self.suite, || {
                store.set(&pairs(&values));
                self.suite.newer(&DAEMONS, &before);
            });
            self.store = Some(store);
        } else {
            let mut changes: Vec<(String, Option<String>)> = Vec::new();
            for name in [
                "CHANNEL_SECRET",
                "AUTHD_SERVICE_KEY",
                "SECRETS_KEY",
                "CHANNEL_SECRET_TELED",
                "AUTHD_SERVICE_KEY_WEBD",
            ] {
                changes.push((name.into(), None));
            }
            let pair = Tls::new();
            let mut said = Vec::new();
            load.during(&self.suite, || {
                for (name, value) in &mut changes {
                    let out = self.suite.run(&["secrets", "rotate", name]);
                    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
                    said.push((
                        format!("arizuko secrets rotate {name}"),
                        [out.stdout, out.stderr].concat(),
                    ));
                    *value = Some(self.suite.dotenv(name));
                }
                // A pair is changed as one.
                self.suite
                    .edit_dotenv(&[("PROXYD_TLS_CERT", &pair.cert), ("PROXYD_TLS_KEY", &pair.key)]);
                let out = set(&self.suite, "PROXYD_TLS_KEY", &pair.key);
                said.push(("arizuko secrets set".into(), out));
                self.suite.newer(&DAEMONS, &before);
            });
            self.said.append(&mut said);
            for (name, value) in changes {
                let value = value.unwrap();
                self.note(&name, value.clone().into_bytes());
                self.current.insert(name, value);
            }
            self.note("PROXYD_TLS_KEY", scalar(&pair.key));
            self.current.insert("PROXYD_TLS_KEY".into(), pair.key);
        }
        eventually("every overlap ends", || {
            let all = self.suite.secrets();
            let mut secrets = all.values().flat_map(|of| of["secrets"].as_array().unwrap());
            secrets.all(|secret| secret["previous_accepted_until"].is_null()).then_some(())
        });
        if self.from == From::Dotenv {
            eventually("the previous values are removed", || {
                let text = fs::read_to_string(self.suite.data().join(".env")).unwrap();
                self.suite.ok(&["secrets", "refresh"]);
                (!text.contains("_PREVIOUS")).then_some(())
            });
        }
    }

    /// Has an agent say what it can see, and takes down what the tools of a turn answer.
    pub(super) fn look_around(&mut self) {
        let out = self.suite.run(&["ask", "--folder", "seer", "look around"]);
        let said = [out.stdout.as_slice(), &out.stderr].concat();
        let text = String::from_utf8_lossy(&said).into_owned();
        assert!(out.status.success() && text.contains("looked around"), "{text}");
        assert!(text.contains("ARIZUKO_MCP_SOCKET"), "it shows its environment: {text}");
        self.said.push(("arizuko ask".into(), said));
        let transcript = thread::scope(|scope| {
            let asked = scope.spawn(|| self.suite.ok(&["ask", "wait 3"]));
            let mut transcript = Vec::new();
            eventually("the tools of a turn are listed", || {
                for socket in self.turn_sockets() {
                    // One that has ended says so, or is gone.
                    let said = self.talk_to_tools(&socket).unwrap_or_default();
                    transcript.extend_from_slice(&said);
                    if String::from_utf8_lossy(&said).contains("inputSchema") {
                        return Some(());
                    }
                }
                None
            });
            asked.join().unwrap();
            transcript
        });
        self.said.push(("MCP".into(), transcript));
    }

    fn turn_sockets(&self) -> Vec<PathBuf> {
        let Ok(turns) = fs::read_dir(self.suite.data().join("run/t")) else { return Vec::new() };
        turns.filter_map(|entry| Some(entry.ok()?.path().join("s"))).collect()
    }

    fn talk_to_tools(&self, socket: &Path) -> io::Result<Vec<u8>> {
        let decoy = String::from_utf8(self.decoy.bytes.clone()).unwrap();
        let mut transcript = Vec::new();
        let tool = |name: &str, arguments| json!({ "name": name, "arguments": arguments });
        for (method, params) in [
            (
                "initialize",
                json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } }),
            ),
            ("tools/list", json!({})),
            ("tools/call", tool("history", json!({}))),
            ("tools/call", tool("send", json!({ "to": "web:nowhere", "content": decoy }))),
            ("tools/call", tool(&decoy, json!({}))),
            ("tools/call", tool("reply", json!({ "content": 7 }))),
        ] {
            let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
            let head = "POST /mcp HTTP/1.1\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json";
            transcript.extend(answers::exchange(answers::unix(socket)?, head, &body.to_string())?);
        }
        Ok(transcript)
    }

    /// Every endpoint of every daemon, and what the commands show.
    pub(super) fn ask_everything(&mut self) {
        let old: Vec<String> = self
            .canaries
            .iter()
            .take(5)
            .map(|canary| String::from_utf8(canary.bytes.clone()).unwrap())
            .collect();
        let piece = format!("{}{}", &self.current["CHANNEL_SECRET"][..20], "A".repeat(12));
        let credentials = [
            &piece,
            // Right values in wrong hands, and values that were replaced.
            &self.current["CHANNEL_SECRET"].clone(),
            &self.current["AUTHD_SERVICE_KEY"].clone(),
            &old[0],
            &old[1],
        ];
        let credentials: Vec<&str> = credentials.iter().map(|text| text.as_str()).collect();
        let links = self.links.clone();
        self.said.append(&mut answers::of_everything(&self.suite, &credentials, &links));
        for args in [
            &["secrets", "status"][..],
            &["--json", "secrets", "status"],
            &["secrets", "check"],
            &["secrets", "refresh"],
            &["status"],
            &["audit", "--limit", "500"],
            &["settings"],
            &["group", "list"],
        ] {
            let out = self.suite.run(args);
            self.said
                .push((format!("arizuko {}", args.join(" ")), [out.stdout, out.stderr].concat()));
        }
    }

    /// Ends one daemon as a fault would, and sees that nothing but its log is left of it.
    pub(super) fn crash_one(&mut self) {
        let daemon = self.suite.process("webd");
        signal(daemon.pid(), rustix::process::Signal::ABORT);
        let status = daemon.ended_somehow();
        assert_eq!(status.signal(), Some(rustix::process::Signal::ABORT.as_raw()));
        assert!(!status.core_dumped(), "webd left a core dump");
    }

    pub(super) fn stop(&mut self) {
        for daemon in ["proxyd", "runed", "routd", "authd"] {
            assert_eq!(self.suite.process(daemon).stop(), Some(0), "{daemon}");
        }
    }

    /// Every file that the run left behind, but the source of its secrets.
    pub(super) fn files(&self) -> Vec<Answer> {
        let mut files = Vec::new();
        let is_source = |path: &Path| {
            path.file_name().is_some_and(|name| name == ".env")
                || path.starts_with(self.suite.scratch("mount"))
        };
        below(&self.suite.scratch(""), &mut |path| {
            if !is_source(path) {
                files.push((path.display().to_string(), fs::read(path).unwrap()));
            }
        });
        for daemon in DAEMONS {
            let log = files.iter().find(|(path, _)| path.ends_with(&format!("{daemon}.log")));
            let text = String::from_utf8_lossy(&log.unwrap().1);
            assert!(text.contains("TRACE"), "the log of {daemon} is not at its most verbose");
            assert_eq!(
                text.starts_with('{'),
                self.from == From::Dotenv,
                "the format is the one asked for"
            );
        }
        files
    }

    /// Whether it was started by this test: a daemon, a command, or a child of a daemon that has not become its own
    /// program yet.
    pub(super) fn is_started_here(&self, arguments: &[u8]) -> bool {
        let line = String::from_utf8_lossy(arguments);
        line.contains(&format!("\0--data-dir\0{}\0", self.suite.data().display()))
    }

    pub(super) fn is_agent(&self, arguments: &[u8]) -> bool {
        let line = String::from_utf8_lossy(arguments);
        line.contains("--socket-dir") && line.contains(&self.suite.data().display().to_string())
    }
}

fn pairs(values: &[(String, String)]) -> Vec<(&str, &str)> {
    values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// `arizuko secrets set`, with the value on its standard input; what it said.
fn set(suite: &Suite, name: &str, value: &str) -> Vec<u8> {
    let mut command = suite.command();
    command.args(["secrets", "set", name]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    [out.stdout, out.stderr].concat()
}

fn below(dir: &Path, each: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            below(&entry.path(), each);
        } else if kind.is_file() {
            each(&entry.path());
        }
    }
}
