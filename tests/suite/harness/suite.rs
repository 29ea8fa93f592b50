//! An instance: in one process, or each daemon by itself.

use super::{
    Mount,
    process::{Running, eventually, program, signal},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

/// The daemons that every instance has. The others are started by the stories that are about them.
pub const DAEMONS: [&str; 8] =
    ["authd", "routd", "runed", "timed", "onbod", "webd", "dashd", "proxyd"];

/// Where each daemon listens.
pub const PORTS: [(&str, u16); 10] = [
    ("authd", 8081),
    ("routd", 8080),
    ("runed", 8082),
    ("timed", 8083),
    ("onbod", 8084),
    ("webd", 8086),
    ("dashd", 8085),
    ("teled", 8087),
    ("slakd", 8088),
    ("proxyd", 8090),
];

/// A self-signed pair for the edge.
pub struct Tls {
    /// PEM.
    pub cert: String,
    /// PEM.
    pub key: String,
    /// DER, to recognise it on the wire.
    pub der: Vec<u8>,
}

impl Tls {
    /// A new pair for `localhost`.
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            cert: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().to_vec(),
        }
    }
}

/// An instance and its processes. Everything ends, and is removed, when this is dropped.
pub struct Suite {
    // Before the directory, so that processes end before their data goes.
    running: BTreeMap<&'static str, Running>,
    dir: tempfile::TempDir,
    /// What the data directory is called in it.
    data: &'static str,
    environment: Vec<(String, String)>,
    /// What one daemon alone is started with.
    own: Vec<(&'static str, String, String)>,
    address: String,
}

impl Suite {
    /// An instance that is made and not started.
    pub fn made() -> Self {
        let suite = Self::new();
        suite.ok(&["create", "test"]);
        suite
    }

    /// An instance that runs in one process.
    pub fn up() -> Self {
        let mut suite = Self::made();
        suite.start_up();
        suite
    }

    /// Nothing yet: a directory and an address.
    pub fn new() -> Self {
        // A loopback address for each suite, so that the default ports are free on it.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let address =
            format!("127.{}.{}.{}", 64 + process / 250 % 64, process % 250, next % 250 + 2);
        let dir = tempfile::Builder::new().prefix("az").tempdir_in("/tmp").unwrap();
        let environment = [
            ("INSTANCE_NAME", "test"),
            ("LOG_FORMAT", "text"),
            // No test speaks with a real platform.
            ("TELEGRAM_API_URL", "http://127.0.0.1:1"),
            ("SLACK_API_URL", "http://127.0.0.1:1/api"),
        ];
        let environment =
            environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { running: BTreeMap::new(), dir, data: "d", environment, own: Vec::new(), address }
    }

    /// Sets an environment variable for what is started from now on.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets an environment variable for one daemon alone, where it is a process of its own.
    pub fn set_for(&mut self, daemon: &'static str, name: &str, value: &str) -> &mut Self {
        self.own.retain(|(of, known, _)| (*of, known.as_str()) != (daemon, name));
        self.own.push((daemon, name.into(), value.into()));
        self
    }

    /// The environment of what is started from now on.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The loopback address that is this suite's alone.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join(self.data)
    }

    /// Calls the data directory by another name, before there is one.
    pub fn live_in(&mut self, data: &'static str) -> &mut Self {
        self.data = data;
        self
    }

    /// A place for files of the test.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts `arizuko up` and waits until it is ready.
    pub fn start_up(&mut self) -> &mut Self {
        let mut running = self.spawn_up();
        running.line("ready ");
        self.running.insert("up", running);
        self
    }

    /// Starts `arizuko up` and waits for nothing.
    pub fn spawn_up(&self) -> Running {
        let mut command = self.command();
        command.args(["up", "--port-base", "0"]);
        Running::start(command, self.scratch("up.log"))
    }

    /// Starts every daemon as a process of its own and waits until each is ready.
    pub fn start_apart(&mut self) -> &mut Self {
        for (daemon, port) in PORTS {
            let port = if daemon == "proxyd" { 8091 } else { port };
            let setting = if daemon == "routd" { "ROUTER".into() } else { daemon.to_uppercase() };
            let url = format!("http://{}:{port}", self.address);
            self.set(&format!("{setting}_URL"), &url);
        }
        for daemon in DAEMONS {
            self.spawn(daemon);
        }
        for daemon in DAEMONS {
            self.running.get_mut(daemon).unwrap().line("ready ");
        }
        self
    }

    /// Starts one daemon and waits for nothing.
    pub fn spawn(&mut self, daemon: &'static str) {
        let mut command = self.command();
        let port = PORTS.into_iter().find(|(name, _)| *name == daemon).unwrap().1;
        command.args(["run", daemon]);
        command.env("LISTEN_ADDR", format!("{}:{port}", self.address));
        command.env("PROXYD_ADMIN_ADDR", format!("{}:8091", self.address));
        command.env("PROXYD_TLS_ADDR", format!("{}:8443", self.address));
        let own = self.own.iter().filter(|(of, ..)| *of == daemon);
        command.envs(own.map(|(_, name, value)| (name, value)));
        let running = Running::start(command, self.scratch(&format!("{daemon}.log")));
        self.running.insert(daemon, running);
    }

    /// Starts one daemon and waits until it is ready.
    pub fn restart(&mut self, daemon: &'static str) {
        self.spawn(daemon);
        self.running.get_mut(daemon).unwrap().line("ready ");
    }

    /// The process of `daemon`, or of `up`.
    pub fn process(&mut self, daemon: &str) -> &mut Running {
        self.running.get_mut(daemon).unwrap()
    }

    /// The id of every process that was started and is meant to run, by name.
    pub fn pids(&self) -> BTreeMap<&'static str, u32> {
        self.running.iter().map(|(name, running)| (*name, running.pid())).collect()
    }

    /// Ends `daemon` with SIGKILL.
    pub fn kill(&mut self, daemon: &str) {
        self.running.remove(daemon).unwrap().kill();
    }

    /// Asks a process of an agent to end at once.
    pub fn kill_process(&self, pid: u32) {
        signal(pid, rustix::process::Signal::KILL);
    }

    /// The program, for this instance.
    pub fn command(&self) -> Command {
        self.commands()()
    }

    /// Makes commands of this instance as it is set now, from another thread too.
    pub fn commands(&self) -> impl Fn() -> Command + Send + 'static {
        let (home, data) = (self.dir.path().to_owned(), self.data());
        let environment = self.environment.clone();
        move || {
            let mut command = Command::new(program());
            command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", &home);
            command.envs(environment.iter().map(|(name, value)| (name, value)));
            command.arg("--data-dir").arg(&data);
            command
        }
    }

    /// Runs a command of the operator to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }

    /// Runs a command that must go well; its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        let errors = String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.success(),
            "arizuko {args:?} failed ({:?}): {errors}",
            out.status.code()
        );
        String::from_utf8(out.stdout).unwrap()
    }

    /// Runs a command that must go well, with `--json`.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        serde_json::from_str(&self.ok(&all)).unwrap()
    }

    /// Runs a command that must fail; its exit code and its one line on standard error.
    pub fn fails(&self, args: &[&str]) -> (i32, String) {
        let out = self.run(args);
        assert!(!out.status.success(), "arizuko {args:?} was meant to fail");
        (out.status.code().unwrap(), String::from_utf8(out.stderr).unwrap())
    }

    /// What `secrets status` says: for each daemon its generation and its secrets.
    pub fn secrets(&self) -> BTreeMap<String, Value> {
        let status = self.json(&["secrets", "status"]);
        let daemons = status["daemons"].as_array().unwrap().clone();
        daemons.into_iter().map(|of| (of["daemon"].as_str().unwrap().to_owned(), of)).collect()
    }

    /// The generation of one daemon.
    pub fn generation(&self, daemon: &str) -> u64 {
        self.secrets()[daemon]["generation"].as_u64().unwrap()
    }

    /// Waits until every one of `daemons` has a later generation than `before` says.
    pub fn newer(&self, daemons: &[&str], before: &BTreeMap<String, Value>) {
        for daemon in daemons {
            let old = before[*daemon]["generation"].as_u64().unwrap();
            eventually(&format!("{daemon} takes up the new value"), || {
                (self.generation(daemon) > old).then_some(())
            });
        }
    }

    /// Sets a value in `.env`, as an editor that writes a new file and renames it would.
    pub fn edit_dotenv(&self, values: &[(&str, &str)]) {
        let path = self.data().join(".env");
        let mut lines: Vec<String> =
            fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        for (name, value) in values {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let line = format!("{name}=\"{escaped}\"");
            lines.retain(|known| !known.starts_with(&format!("{name}=")));
            lines.push(line);
        }
        write_private(&path, &(lines.join("\n") + "\n"));
    }

    /// The value of `name` in `.env`.
    pub fn dotenv(&self, name: &str) -> String {
        let text = fs::read_to_string(self.data().join(".env")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap().trim_matches(['"', '\'']).to_owned()
    }

    /// Moves the secrets of `.env` into a projected volume and has the instance read that.
    pub fn mount(&mut self) -> Mount {
        let names = ["SECRETS_KEY", "CHANNEL_SECRET", "AUTHD_SERVICE_KEY"];
        let values: Vec<(&str, String)> = names.map(|name| (name, self.dotenv(name))).into();
        let values: Vec<(&str, &str)> = values.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let mount = Mount::new(self.scratch("mount"), &values);
        fs::remove_file(self.data().join(".env")).unwrap();
        let sources = format!("file://{}", mount.dir().display());
        self.set("SECRETS_SOURCES", &sources);
        mount
    }

    /// The edge, as browsers see it.
    pub fn edge(&self) -> String {
        if self.running.contains_key("up") {
            return self.addresses()["edge"].as_str().unwrap().to_owned();
        }
        format!("http://{}:8090", self.address)
    }

    /// The edge's TLS listener, as `host:port`.
    pub fn edge_tls(&self) -> String {
        if self.running.contains_key("up") {
            let url = self.addresses()["edge_tls"].as_str().unwrap().to_owned();
            return url.trim_start_matches("https://").to_owned();
        }
        format!("{}:8443", self.address)
    }

    fn addresses(&self) -> Value {
        let text = fs::read_to_string(self.data().join("run/addresses.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// Writes a file for its owner alone, by renaming a new one over it.
pub fn write_private(path: &Path, text: &str) {
    let draft = path.with_extension("new");
    fs::write(&draft, text).unwrap();
    fs::set_permissions(&draft, PermissionsExt::from_mode(0o600)).unwrap();
    fs::rename(draft, path).unwrap();
}

/// What the offline agent answers to a plain text.
pub fn reply_of(text: &str) -> String {
    format!("You said: {text}")
}
