//! An AWS of the test's own: moto's server, with boto3 as its operator.
//!
//! It has Secrets Manager, STS, IAM and SQS of one account, checks signatures where it is asked to, and believes every
//! web identity. Its region is `eu-west-1`.

use crate::{LIMIT, log, tools};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const SERVE: &str = include_str!("moto/serve.py");

/// A server, which ends with this.
pub struct Moto {
    child: Child,
    operator: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    /// Where tests keep their files.
    pub dir: tempfile::TempDir,
    port: u16,
    /// Its authority, where it speaks TLS.
    pub ca: Option<PathBuf>,
    /// The access key that the operator's calls are signed with.
    key: Mutex<(String, String)>,
}

/// The Python that has moto and boto3, where there is one.
#[must_use]
pub fn python() -> Option<PathBuf> {
    tools::python(&["moto.server", "boto3"])
}

impl Moto {
    /// A server; `None`, with a word about it, where there is no moto.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::begin(None)
    }

    /// One that speaks TLS under an authority of its own.
    #[must_use]
    pub fn start_tls() -> Option<Self> {
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        Self::begin(Some((pair.cert.pem(), pair.signing_key.serialize_pem())))
    }

    fn begin(tls: Option<(String, String)>) -> Option<Self> {
        log::listen();
        let python = python()?;
        let dir = tempfile::tempdir().unwrap();
        let mut run = Command::new(python);
        run.args(["-c", SERVE]);
        let mut ca = None;
        if let Some((certificate, key)) = tls {
            let (pem, private) = (dir.path().join("tls.pem"), dir.path().join("tls.key"));
            fs::write(&pem, certificate).unwrap();
            fs::write(&private, key).unwrap();
            run.args([&pem, &private]);
            ca = Some(pem);
        }
        // No account of whoever runs the tests has any effect.
        let kept = ["PATH", "LANG"].map(|name| (name, std::env::var_os(name).unwrap_or_default()));
        run.env_clear().envs(kept).env("HOME", dir.path());
        let errors = fs::File::create(dir.path().join("moto.log")).unwrap();
        let mut child =
            run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            let log = fs::read_to_string(dir.path().join("moto.log")).unwrap();
            panic!("moto does not start:\n{log}");
        };
        let port = ready["port"].as_u64().unwrap().try_into().unwrap();
        let key = Mutex::new(("AKIAOPERATOR".to_owned(), "operator".to_owned()));
        Some(Self { child, operator: Mutex::new((stdin, stdout)), dir, port, ca, key })
    }

    /// The port that it listens on, at 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT`, for every service.
    #[must_use]
    pub fn base(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// One call of the operator's, by boto3: `call("secretsmanager", "describe_secret", json!({"SecretId": "az"}))`.
    /// Bytes are `{"base64": …}`. What fails answers `{"error": CODE}`.
    pub fn call(&self, service: &str, call: &str, with: &Value) -> Value {
        let (id, key) = self.key.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ask = json!({"service": service, "call": call, "with": with, "id": id, "key": key});
        let mut operator = self.operator.lock().unwrap_or_else(PoisonError::into_inner);
        let (stdin, stdout) = &mut *operator;
        writeln!(stdin, "{ask}").unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| {
            let log = fs::read_to_string(self.dir.path().join("moto.log")).unwrap();
            panic!("{call} ended boto3:\n{log}")
        })
    }

    /// One call of the operator's that succeeds.
    pub fn ok(&self, service: &str, call: &str, with: &Value) -> Value {
        let answer = self.call(service, call, with);
        assert!(answer.get("error").is_none(), "{call} {with}: {answer}");
        answer
    }

    /// Gives the secret a new version that holds `text`, as `aws secretsmanager put-secret-value` does, and makes it
    /// where it is not there. Answers with the version's id.
    pub fn put_secret_value(&self, secret: &str, text: &str) -> String {
        let sm = "secretsmanager";
        let put = json!({"SecretId": secret, "SecretString": text});
        let mut answer = self.call(sm, "put_secret_value", &put);
        if answer["error"] == "ResourceNotFoundException" {
            answer = self.ok(sm, "create_secret", &json!({"Name": secret, "SecretString": text}));
        }
        answer["VersionId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// What the secret's version with that label holds; `None` where there is none.
    pub fn get_secret_value(&self, secret: &str, label: &str) -> Option<String> {
        let get = json!({"SecretId": secret, "VersionStage": label});
        let answer = self.call("secretsmanager", "get_secret_value", &get);
        answer["SecretString"].as_str().map(str::to_owned)
    }

    /// From now on every call must be signed, by a key of an account, whose policies allow it. The operator is a user
    /// who may do everything.
    pub fn check_signatures(&self) {
        let (id, key) =
            self.user("operator", &json!([{"Effect": "Allow", "Action": "*", "Resource": "*"}]));
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = (id, key);
        let mut connection = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let ask = "POST /moto-api/reset-auth HTTP/1.1\r\nhost: moto\r\nconnection: close\r\ncontent-length: 1\r\n\r\n0";
        connection.write_all(ask.as_bytes()).unwrap();
        let mut status = String::new();
        BufReader::new(connection).read_line(&mut status).unwrap();
        assert!(status.contains(" 200 "), "{status}");
    }

    /// A user with these statements, and the key of an account for it.
    pub fn user(&self, name: &str, statements: &Value) -> (String, String) {
        let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        self.ok("iam", "create_user", &json!({"UserName": name}));
        let policy = json!({"UserName": name, "PolicyName": "p", "PolicyDocument": document});
        self.ok("iam", "put_user_policy", &policy);
        let made = self.ok("iam", "create_access_key", &json!({"UserName": name}));
        let text = |field: &str| made["AccessKey"][field].as_str().unwrap().to_owned();
        (text("AccessKeyId"), text("SecretAccessKey"))
    }

    /// A role with these statements, for web identities. Answers with its ARN.
    pub fn role(&self, name: &str, statements: &Value) -> String {
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
            "Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/EX"},
        }]});
        let role = json!({"RoleName": name, "AssumeRolePolicyDocument": trust.to_string()});
        let made = self.ok("iam", "create_role", &role);
        let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let policy = json!({"RoleName": name, "PolicyName": "p", "PolicyDocument": document});
        self.ok("iam", "put_role_policy", &policy);
        made["Role"]["Arn"].as_str().unwrap().to_owned()
    }

    /// A file of the test's, written as the kubelet does: a new one, renamed over the old one.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        let draft = self.dir.path().join("draft");
        let mut file = fs::File::create(&draft).unwrap();
        writeln!(file, "{text}").unwrap();
        fs::rename(draft, &path).unwrap();
        path
    }

    /// A file of the AWS tools with a key of an account.
    pub fn credentials_file(&self, name: &str, id: &str, key: &str) -> PathBuf {
        let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {key}");
        self.file(name, &text)
    }

    /// Waits until the server's clock shows another second: it dates versions by the second.
    pub fn next_second(&self) {
        let date = || {
            let mut connection = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
            connection
                .write_all(b"GET /moto-api/ HTTP/1.1\r\nhost: moto\r\nconnection: close\r\n\r\n")
                .unwrap();
            let lines = BufReader::new(connection).lines().map_while(Result::ok);
            lines.into_iter().find(|line| line.to_ascii_lowercase().starts_with("date:")).unwrap()
        };
        let (first, deadline) = (date(), Instant::now() + LIMIT);
        while date() == first {
            assert!(Instant::now() < deadline, "its clock stands");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // Ended already is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What EventBridge puts into a queue where a label of `secret` moved.
#[must_use]
pub fn label_updated(secret: &str, version: &str) -> String {
    json!({
        "version": "0", "id": "8f7a3d1c-0000-4000-8000-000000000001", "detail-type": "Secret Label Updated",
        "source": "aws.secretsmanager", "account": "123456789012", "time": "2026-11-29T00:00:00Z",
        "region": "eu-west-1", "resources": [format!("arn:aws:secretsmanager:eu-west-1:123456789012:secret:{secret}-AbCdEf")],
        "detail": {"name": secret, "labelUpdated": "AWSCURRENT", "versionId": version},
    })
    .to_string()
}
