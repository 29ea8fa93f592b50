//! Google's own client for Secret Manager, in Python: what proves the server, and an operator who changes secrets as
//! `gcloud` does.

use super::Gcp;
use crate::tools;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const CLIENT: &str = include_str!("client.py");

/// A client, which ends with this.
pub struct Client {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// What it says went wrong, for the tests.
    log: PathBuf,
}

/// The Python that has Google's client, where there is one.
#[must_use]
pub fn python() -> Option<PathBuf> {
    tools::python(&["google.cloud.secretmanager", "requests"])
}

impl Client {
    /// One that gets its tokens from the metadata server; `None`, with a word about it, where there is no such Python.
    #[must_use]
    pub fn by_metadata_server(gcp: &Gcp) -> Option<Self> {
        // It is looked for under one name and asked under the other.
        let host = format!("127.0.0.1:{}", gcp.port());
        Self::start(gcp, &[("GCE_METADATA_HOST", &host), ("GCE_METADATA_IP", &host)])
    }

    /// One that uses a file of credentials, of whatever kind.
    #[must_use]
    pub fn by_file(gcp: &Gcp, file: &Path) -> Option<Self> {
        let file = ("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap());
        // It would ask Google for the project otherwise.
        Self::start(gcp, &[file, ("GOOGLE_CLOUD_PROJECT", super::PROJECT)])
    }

    fn start(gcp: &Gcp, environment: &[(&str, &str)]) -> Option<Self> {
        let mut run = Command::new(python()?);
        run.args(["-c", CLIENT, &format!("127.0.0.1:{}", gcp.port())]);
        // No account of whoever runs the tests has any effect.
        let kept = ["PATH", "LANG"].map(|name| (name, std::env::var_os(name).unwrap_or_default()));
        run.env_clear().envs(kept).env("HOME", gcp.dir.path());
        run.env("CLOUDSDK_CONFIG", gcp.dir.path()).envs(environment.iter().copied());
        let log = gcp.dir.path().join("client.log");
        let errors = fs::File::create(&log).unwrap();
        let piped = run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = piped.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut client = Self { child, stdin, stdout, log };
        client.line();
        Some(client)
    }

    /// One call, such as `{"do": "access", "name": "projects/…/versions/latest"}`. What fails answers with an `error`,
    /// the name that the client has for it.
    pub fn call(&mut self, ask: &Value) -> Value {
        writeln!(self.stdin, "{ask}").unwrap();
        self.line()
    }

    /// One call that succeeds.
    pub fn ok(&mut self, ask: &Value) -> Value {
        let answer = self.call(ask);
        assert!(answer.get("error").is_none(), "{ask}: {answer}");
        answer
    }

    /// Gives a secret a new version, as `gcloud secrets versions add` does. The secret is there already.
    pub fn add(&mut self, secret: &str, payload: &[u8]) -> Value {
        let name = super::resource(secret);
        self.ok(&json!({"do": "add", "name": name, "data": STANDARD.encode(payload)}))
    }

    /// What a version holds, a number or `latest`.
    pub fn access(&mut self, secret: &str, which: &str) -> Vec<u8> {
        let name = format!("{}/versions/{which}", super::resource(secret));
        let answer = self.ok(&json!({"do": "access", "name": name}));
        STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("Google's client ended:\n{}", fs::read_to_string(&self.log).unwrap())
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Ended already is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
