//! A Google Cloud of the test's own: Secret Manager, the metadata server, the token service, the IAM Credentials API and
//! Pub/Sub, as far as a source of secrets meets them. No such server can be had, so this one is written here, and Google's
//! own Python client proves it: see [`client`].
//!
//! It has one project, [`PROJECT`], takes only tokens that it gave (or that an account of its own signed), counts calls,
//! and runs on a thread of its own, so that it can be used from synchronous code as well.
#![allow(clippy::result_large_err, reason = "a refusal is an answer like any other")]

pub mod client;
mod pubsub;
mod secret_manager;
mod tokens;

use crate::log;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::Response,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{Notify, oneshot};

/// The project's id.
pub const PROJECT: &str = "demo-project";

/// Its number, by which answers name it.
pub const PROJECT_NUMBER: &str = "123456789012";

/// The account of the metadata server, and of impersonation.
pub const ACCOUNT: &str = "arizuko@demo-project.iam.gserviceaccount.com";

/// The provider of a workload identity pool that the token service knows.
pub const AUDIENCE: &str = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/pool/providers/cluster";

/// A server, which ends with this.
pub struct Gcp {
    shared: Arc<Shared>,
    /// Where tests keep their files.
    pub dir: tempfile::TempDir,
    port: u16,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    world: Mutex<World>,
    /// Something was published.
    published: Notify,
    calls: Mutex<Vec<String>>,
}

/// All that the server knows.
struct World {
    secrets: BTreeMap<String, secret_manager::Stored>,
    tokens: tokens::Tokens,
    subscriptions: BTreeMap<String, pubsub::Subscription>,
    /// Permissions that nobody has on a resource.
    denied: BTreeSet<(String, String)>,
    /// Of these secrets, `latest` is this version, whatever was added since.
    lagging: BTreeMap<String, u64>,
    /// Values of these secrets arrive damaged.
    damaged: BTreeSet<String>,
    /// Whether the project uses the API.
    is_enabled: bool,
    /// How long a pull waits where there is nothing.
    pull_wait: Duration,
    /// What somebody else writes just before the next version is added to this secret.
    interjection: Option<(String, Vec<u8>)>,
    /// Makes ids that never come again.
    sequence: u64,
}

/// One call, taken apart.
struct Call {
    method: Method,
    path: String,
    query: BTreeMap<String, String>,
    headers: HeaderMap,
    body: Bytes,
}

impl Gcp {
    /// A server that listens on a free port of 127.0.0.1.
    #[must_use]
    pub fn start() -> Self {
        log::listen();
        let world = World {
            secrets: BTreeMap::new(),
            tokens: tokens::Tokens::new(),
            subscriptions: BTreeMap::new(),
            denied: BTreeSet::new(),
            lagging: BTreeMap::new(),
            damaged: BTreeSet::new(),
            is_enabled: true,
            pull_wait: Duration::from_secs(5),
            interjection: None,
            sequence: 0,
        };
        let calls = Mutex::default();
        let shared = Shared { world: Mutex::new(world), published: Notify::new(), calls };
        let shared = Arc::new(shared);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, router) => served.unwrap(),
                    _ = ended => {}
                }
            });
            // What a pull still waits for is not waited for.
            runtime.shutdown_background();
        });
        let dir = tempfile::tempdir().unwrap();
        Self { shared, dir, port, end: Some(end), thread: Some(thread) }
    }

    /// The port that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT`, for every service.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The URL of a source: `NAME` or `PREFIX-*`, and more parameters, such as `&location=europe-west3`.
    #[must_use]
    pub fn url(&self, secret: &str, more: &str) -> String {
        self.url_at(&self.base(), secret, more)
    }

    /// The same through another address, such as a proxy's.
    #[must_use]
    pub fn url_at(&self, base: &str, secret: &str, more: &str) -> String {
        let metadata = if more.contains("auth=") {
            String::new()
        } else {
            format!("&metadata_endpoint={base}")
        };
        format!("gcp-sm://{PROJECT}/{secret}?endpoint={base}{metadata}{more}")
    }

    /// Adds a version to a secret, and makes that where it is not there. Answers with the version's number. A regional
    /// secret is named `LOCATION/NAME`.
    pub fn add(&self, secret: &str, payload: &[u8]) -> u64 {
        let number = self.world().add(&resource(secret), payload);
        self.shared.published.notify_waiters();
        number
    }

    /// The same with a JSON object.
    pub fn put(&self, secret: &str, object: &Value) -> u64 {
        self.add(secret, object.to_string().as_bytes())
    }

    /// Sets a version's state: `ENABLED`, `DISABLED` or `DESTROYED`.
    pub fn set_state(&self, secret: &str, number: u64, state: &'static str) {
        self.world().set_state(&resource(secret), number, state);
        self.shared.published.notify_waiters();
    }

    /// The states of a secret's versions, the first one first.
    #[must_use]
    pub fn states(&self, secret: &str) -> Vec<&'static str> {
        self.world()
            .secrets
            .get(&resource(secret))
            .map(secret_manager::Stored::states)
            .unwrap_or_default()
    }

    /// What a version holds.
    #[must_use]
    pub fn payload(&self, secret: &str, number: u64) -> Option<Vec<u8>> {
        self.world().secrets.get(&resource(secret))?.payload(number)
    }

    /// Deletes a secret.
    pub fn delete(&self, secret: &str) {
        self.world().secrets.remove(&resource(secret));
    }

    /// From now on nobody has that permission, such as `secretmanager.versions.access`, on a secret.
    pub fn deny(&self, permission: &str, secret: &str) {
        self.world().denied.insert((permission.to_owned(), resource(secret)));
    }

    /// From now on nobody has that permission on the project.
    pub fn deny_on_project(&self, permission: &str) {
        self.world().denied.insert((permission.to_owned(), format!("projects/{PROJECT}")));
    }

    /// From now on everybody has every permission again.
    pub fn allow_all(&self) {
        self.world().denied.clear();
    }

    /// Switches the API off or on for the project.
    pub fn enable_api(&self, is_enabled: bool) {
        self.world().is_enabled = is_enabled;
    }

    /// From now on `latest` of that secret is this version; `None` ends that.
    pub fn lag(&self, secret: &str, number: Option<u64>) {
        let mut world = self.world();
        match number {
            Some(number) => world.lagging.insert(resource(secret), number),
            None => world.lagging.remove(&resource(secret)),
        };
    }

    /// From now on the values of that secret arrive damaged, or whole again.
    pub fn damage(&self, secret: &str, is_damaged: bool) {
        let mut world = self.world();
        if is_damaged {
            world.damaged.insert(resource(secret));
        } else {
            world.damaged.remove(&resource(secret));
        }
    }

    /// Just before the next version is added to that secret by a call, somebody else adds this one.
    pub fn interject(&self, secret: &str, payload: &[u8]) {
        self.world().interjection = Some((resource(secret), payload.to_vec()));
    }

    /// From now on tokens live that long.
    pub fn token_life(&self, life: Duration) {
        self.world().tokens.life = life;
    }

    /// No token that was given is good any more.
    pub fn revoke_tokens(&self) {
        self.world().tokens.revoke();
    }

    /// Every token that was given so far, to look for in logs.
    #[must_use]
    pub fn tokens(&self) -> Vec<String> {
        self.world().tokens.given()
    }

    /// Whether a service account belongs to the machine.
    pub fn attach_account(&self, is_attached: bool) {
        self.world().tokens.is_attached = is_attached;
    }

    /// The token service exchanges this subject token and no other.
    pub fn expect_subject(&self, token: &str) {
        self.world().tokens.subject = Some(token.to_owned());
    }

    /// A key file of a service account of the project.
    #[must_use]
    pub fn service_account_file(&self) -> PathBuf {
        let key = self.world().tokens.service_account();
        self.file("service-account.json", &key.to_string())
    }

    /// A configuration of an external account, whose subject token is in `subject`, as an account of its own or, with
    /// `is_impersonating`, as [`ACCOUNT`].
    #[must_use]
    pub fn external_account(&self, subject: &Value, is_impersonating: bool) -> Value {
        let base = self.base();
        let mut config = json!({
            "type": "external_account",
            "audience": AUDIENCE,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{base}/v1/token"),
            "credential_source": subject,
        });
        if is_impersonating {
            let url = format!("{base}/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken");
            config["service_account_impersonation_url"] = json!(url);
        }
        config
    }

    /// Makes a subscription, to whose topic these secrets publish.
    pub fn subscribe(&self, subscription: &str, secrets: &[&str]) {
        let secrets = secrets.iter().map(|secret| resource(secret)).collect();
        let name = format!("projects/{PROJECT}/subscriptions/{subscription}");
        self.world().subscriptions.insert(name, pubsub::Subscription::new(secrets));
    }

    /// Publishes these attributes to a subscription's topic, whoever they are from.
    pub fn publish(&self, subscription: &str, attributes: &Value) {
        let mut world = self.world();
        world.publish(
            &format!("projects/{PROJECT}/subscriptions/{subscription}"),
            attributes.clone(),
            "{}",
        );
        drop(world);
        self.shared.published.notify_waiters();
    }

    /// How many messages of a subscription nobody has acknowledged.
    #[must_use]
    pub fn unacknowledged(&self, subscription: &str) -> usize {
        let name = format!("projects/{PROJECT}/subscriptions/{subscription}");
        self.world().subscriptions[&name].len()
    }

    /// What was asked so far, such as `GET /v1/projects/demo-project/secrets/az/versions/latest`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many calls have `part` in them.
    #[must_use]
    pub fn count(&self, part: &str) -> usize {
        self.calls().iter().filter(|call| call.contains(part)).count()
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

    /// None of these, nor any token that was given, stands in what was logged.
    pub fn assert_unsaid(&self, secrets: &[&str]) {
        let tokens = self.tokens();
        let all: Vec<&str> =
            secrets.iter().copied().chain(tokens.iter().map(String::as_str)).collect();
        log::assert_unsaid("hyper_util", &all);
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }
}

impl Drop for Gcp {
    fn drop(&mut self) {
        // A server that ended by itself is as good.
        self.end.take().map(|end| end.send(()));
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// A number that never came before.
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Refuses who lacks a permission, as Google words it.
    fn allow(&self, permission: &str, resource: &str) -> Result<(), Response> {
        if self.denied.contains(&(permission.to_owned(), resource.to_owned())) {
            let text = format!(
                "Permission '{permission}' denied for resource '{resource}' (or it may not exist)."
            );
            return Err(refusal(403, "PERMISSION_DENIED", &text));
        }
        Ok(())
    }
}

/// The full name of a secret, from `NAME` or `LOCATION/NAME`.
fn resource(secret: &str) -> String {
    match secret.split_once('/') {
        Some((location, id)) => format!("projects/{PROJECT}/locations/{location}/secrets/{id}"),
        None => format!("projects/{PROJECT}/secrets/{secret}"),
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let line = format!("{method} {uri}");
    shared.calls.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    let query = reqwest::Url::parse(&format!("http://host{uri}")).unwrap();
    let query = query.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
    let path = uri.path().to_owned();
    let call = Call { method, path, query, headers, body };
    if call.path.contains("/subscriptions/") {
        return pubsub::answer(&shared, &call).await.unwrap_or_else(|refusal| refusal);
    }
    let mut world = shared.world();
    let answer = if call.path == "/" || call.path.starts_with("/computeMetadata/") {
        tokens::metadata(&mut world, &call)
    } else if call.path == "/v1/token" {
        tokens::exchange(&mut world, &call)
    } else if call.path == "/subject" {
        tokens::subject(&world, &call)
    } else if call.path.starts_with("/v1/projects/-/serviceAccounts/") {
        tokens::generate(&mut world, &call)
    } else {
        secret_manager::answer(&mut world, &call)
    };
    drop(world);
    shared.published.notify_waiters();
    answer.unwrap_or_else(|refusal| refusal)
}

/// An answer in JSON.
fn reply(body: &Value) -> Response {
    respond(200, "application/json; charset=UTF-8", body.to_string())
}

/// A refusal, as all of Google's APIs word them (<https://google.aip.dev/193>).
fn refusal(code: u16, status: &str, message: &str) -> Response {
    let error = json!({"error": {"code": code, "message": message, "status": status}});
    respond(code, "application/json; charset=UTF-8", error.to_string())
}

fn respond(code: u16, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A metadata server's answer, marked as such.
fn flavoured(mut response: Response) -> Response {
    let flavor = HeaderName::from_static("metadata-flavor");
    response.headers_mut().insert(flavor, HeaderValue::from_static("Google"));
    response
}
