//! A Kubernetes cluster for tests, on this machine: the API as it is on the wire, the controllers of Jobs, and a small
//! stand-in for the kubelet, which runs a pod's command as a process or in a container of a Docker engine, and projects
//! Secrets into a pod's volumes.
//!
//! What it does not do, nobody here takes for granted: it knows agents' pods and the suite's own, and has no admission,
//! no quotas, no events, no networks, no nodes but one. Clients that nobody here wrote talk to it in runed's
//! tests (`kubernetes/clients.rs`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test's own server fails by panicking, with the reason"
)]

mod api;
mod controllers;
mod deployments;
mod exec;
mod faults;
mod kubelet;
mod runtime;
mod service;
mod store;
mod volumes;
mod wire;

pub use faults::{Fault, Faults};
pub use kubelet::Image;
pub use runtime::Runtime;
pub use store::Key;

use rand::Rng;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The namespace in which agents are.
pub const NAMESPACE: &str = "arizuko";
/// The service account of runed.
pub const ACCOUNT: &str = "system:serviceaccount:arizuko:arizuko";
/// Somebody who may change the suite's secrets, and nothing else.
pub const OPERATOR: &str = "operator";
/// Somebody who may read Secrets and pods.
pub const VIEWER: &str = "viewer";
/// Somebody who may change the suite's secrets and enter pods, and change none.
pub const CLERK: &str = "clerk";

/// For whom a token is that is for the API itself.
const AUDIENCE: &str = "https://kubernetes.default.svc";

/// How a cluster is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// What runs containers.
    pub runtime: Runtime,
    /// The images that nodes can get.
    pub images: BTreeMap<String, Image>,
    /// Where the claims' volumes are, by the claim's name.
    pub claims: BTreeMap<String, PathBuf>,
    /// Processes that a pod may have.
    pub pod_pids: i64,
    /// Labels of the one node.
    pub node: Vec<(String, String)>,
    /// RuntimeClasses.
    pub classes: Vec<String>,
    /// The address of this machine that stands for a lasting pod's own and for its Services'.
    pub address: String,
    /// What containers of lasting pods are told beyond their specification, by their names: where to listen, since
    /// processes share this machine's network.
    pub told: BTreeMap<String, Vec<(String, String)>>,
    /// How many times faster than a real one the kubelet looks at volumes.
    pub speed: u32,
}

impl Default for Options {
    /// Processes, and nothing in it.
    fn default() -> Self {
        Self {
            runtime: Runtime::Process,
            images: BTreeMap::new(),
            claims: BTreeMap::new(),
            pod_pids: 512,
            node: Vec::new(),
            classes: Vec::new(),
            address: "127.0.0.1".into(),
            told: BTreeMap::new(),
            speed: 1,
        }
    }
}

/// A request that was let in or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// Whose it was.
    pub user: String,
    /// `create`, `get`, `list`, `watch`, `delete`.
    pub verb: String,
    /// Such as `pods` or `pods/log`.
    pub resource: String,
    /// Its user has no right to it.
    pub denied: bool,
}

/// What the parts of the cluster share.
#[derive(Debug)]
struct Shared {
    store: Store,
    options: Options,
    /// Tokens and whom they are.
    tokens: Mutex<HashMap<String, Identity>>,
    faults: Mutex<Faults>,
    /// Calls of everybody but the administrator.
    calls: Mutex<Vec<Call>>,
    /// Pods too many that the next Job gets.
    twins: AtomicU32,
    /// Where the kubelet keeps tokens and logs.
    place: PathBuf,
    /// Containers that run now, by the pod's id, with the pod's labels.
    running: Mutex<HashMap<String, Value>>,
    /// Containers that were ever started.
    started: AtomicU64,
    /// The codes with which containers have ended, in order.
    exits: Mutex<Vec<i64>>,
    /// The ids of pods of which a container may be left on the node.
    on_node: Mutex<HashSet<String>>,
    /// Tokens that were projected into volumes, by the pod's id and the audience.
    projected: Mutex<HashMap<(String, String), String>>,
    /// What the containers of lasting pods are made of, by the pod's id and their names.
    containers: Mutex<HashMap<(String, String), (runtime::Recipe, Image)>>,
    /// The volumes that the kubelet does not get to.
    held: Mutex<HashSet<String>>,
    /// Somebody who writes the Secret behind the back of whoever writes it next.
    meddling: Mutex<Option<Meddling>>,
    /// The certificate of the API.
    ca: String,
    address: SocketAddr,
}

/// What somebody else does to an object just before the next patch of it arrives.
struct Meddling(Box<dyn FnMut(&mut Value) + Send>);

impl std::fmt::Debug for Meddling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meddling")
    }
}

/// Whose a token is.
#[derive(Clone, Debug)]
struct Identity {
    username: String,
    /// For pods: audience, name and id.
    pod: Option<(String, String, String)>,
}

/// A cluster that runs until it is dropped.
pub struct Cluster {
    shared: Arc<Shared>,
    place: tempfile::TempDir,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Cluster {
    /// Starts one on 127.0.0.1.
    pub fn start(options: Options) -> Self {
        let place = tempfile::Builder::new().prefix("azk").tempdir_in("/tmp").unwrap();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let identity = |username: &str| Identity { username: username.into(), pod: None };
        let tokens = ["admin", OPERATOR, VIEWER, CLERK];
        let tokens = tokens.map(|name| (name.to_owned(), identity(name)));
        let mut tokens = HashMap::from(tokens);
        tokens.insert("runed".into(), identity(ACCOUNT));
        let shared = Arc::new(Shared {
            store: Store::new(),
            tokens: Mutex::new(tokens),
            faults: Mutex::default(),
            calls: Mutex::default(),
            twins: AtomicU32::new(0),
            place: place.path().to_owned(),
            running: Mutex::default(),
            started: AtomicU64::new(0),
            exits: Mutex::default(),
            on_node: Mutex::default(),
            projected: Mutex::default(),
            containers: Mutex::default(),
            held: Mutex::default(),
            meddling: Mutex::default(),
            ca: made.cert.pem(),
            address: listener.local_addr().unwrap(),
            options,
        });
        for class in &shared.options.classes {
            let class = serde_json::json!({
                "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
                "metadata": {"name": class}, "handler": class,
            });
            shared.store.create("runtimeclasses", "", class).unwrap();
        }
        let (cert, key) = (made.cert.der().to_vec(), made.signing_key.serialize_der());
        runtime.spawn(wire::serve(shared.clone(), listener, cert, key));
        runtime.spawn(controllers::run(shared.clone()));
        runtime.spawn(kubelet::run(shared.clone()));
        let cluster = Self { shared, place, runtime: Some(runtime) };
        cluster.write_account();
        cluster
    }

    /// The API's address.
    pub fn url(&self) -> String {
        format!("https://{}", self.shared.address)
    }

    fn write_account(&self) {
        let dir = self.account_dir();
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in
            [("token", "runed"), ("namespace", NAMESPACE), ("ca.crt", &self.shared.ca)]
        {
            std::fs::write(dir.join(name), text).unwrap();
        }
        for user in ["admin", OPERATOR, VIEWER, CLERK] {
            let config = serde_json::json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "clusters": [{"name": "test", "cluster": {
                    "server": self.url(), "certificate-authority": dir.join("ca.crt"),
                }}],
                "users": [{"name": user, "user": {"token": user}}],
                "contexts": [{"name": "test", "context": {
                    "cluster": "test", "user": user, "namespace": NAMESPACE,
                }}],
            });
            std::fs::write(self.kubeconfig_of(user), config.to_string()).unwrap();
        }
    }

    /// The directory with runed's account: `token`, `ca.crt`, `namespace`.
    pub fn account_dir(&self) -> PathBuf {
        self.place.path().join("account")
    }

    /// The configuration of an administrator's client. It is JSON, which is YAML.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of("admin")
    }

    /// The same of another user: [`OPERATOR`], [`VIEWER`] or [`CLERK`].
    pub fn kubeconfig_of(&self, user: &str) -> PathBuf {
        self.place.path().join(format!("kubeconfig-{user}"))
    }

    /// Adds an object, as `kubectl create` does; what became of it.
    pub fn create(&self, resource: &str, object: Value) -> Value {
        self.shared.store.create(resource, NAMESPACE, api::completed(resource, object)).unwrap()
    }

    /// Changes an object at once.
    pub fn change(&self, resource: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let changed = self.shared.store.change(&Key::of(resource, NAMESPACE, name), |object| {
            change(object);
            true
        });
        assert!(changed.is_some(), "there is no {resource} {name}");
    }

    /// Has somebody else change the object of the next patch just before it arrives.
    pub fn meddle(&self, change: impl FnMut(&mut Value) + Send + 'static) {
        *lock(&self.shared.meddling) = Some(Meddling(Box::new(change)));
    }

    /// Where the kubelet keeps a volume of a pod.
    pub fn volume(&self, pod: &Value, name: &str) -> PathBuf {
        volumes::place(&self.shared, pod).join(name)
    }

    /// Has the kubelet leave the volume of this name as it is, until it is let go.
    pub fn hold(&self, volume: &str) {
        lock(&self.shared.held).insert(volume.to_owned());
    }

    /// Lets the kubelet look at that volume again, when it looks.
    pub fn let_go(&self, volume: &str) {
        lock(&self.shared.held).remove(volume);
    }

    /// What goes wrong from now on.
    pub fn faults(&self, faults: Faults) {
        *lock(&self.shared.faults) = faults;
    }

    /// Forgets old versions: watches that begin or go on are told 410.
    pub fn compact(&self) {
        self.shared.store.compact();
    }

    /// The next Job gets so many pods too many.
    pub fn twins(&self, more: u32) {
        self.shared.twins.store(more, Ordering::SeqCst);
    }

    /// All objects of a kind in all namespaces.
    pub fn list(&self, resource: &str) -> Vec<Value> {
        self.shared.store.list(resource, "").0.into_iter().map(|(_, object)| object).collect()
    }

    /// The last changes of objects of a kind, with when each was made, the oldest first.
    pub fn changes(&self, resource: &str) -> Vec<(std::time::Instant, Value)> {
        let ours = self.shared.store.kept().into_iter();
        let ours = ours.filter(|change| change.key.resource == resource);
        ours.map(|change| (change.at, change.object)).collect()
    }

    /// Removes a pod without its kubelet's word, as when a node is lost.
    pub fn lose_pod(&self, name: &str) {
        self.shared.store.remove(&Key::of("pods", NAMESPACE, name));
    }

    /// How many containers run now of pods that have this label.
    pub fn alive(&self, label: &str, value: &str) -> usize {
        let running = lock(&self.shared.running);
        running.values().filter(|labels| labels[label] == value).count()
    }

    /// How many containers were ever started.
    pub fn started(&self) -> u64 {
        self.shared.started.load(Ordering::SeqCst)
    }

    /// The codes with which containers have ended so far.
    pub fn exits(&self) -> Vec<i64> {
        lock(&self.shared.exits).clone()
    }

    /// The calls of everybody but the administrator so far.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }

    /// A token as the kubelet gives them, for a pod that need not be there.
    pub fn token(&self, audience: &str, account: &str, pod: &str, uid: &str) -> String {
        self.shared.issue(account, audience, pod, uid)
    }

    /// Where it keeps what it needs.
    pub fn place(&self) -> &Path {
        self.place.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // From a thread of its own: a runtime may not be waited for from within another.
            let stop = || runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            std::thread::scope(|scope| drop(scope.spawn(stop).join()));
        }
        runtime::clear(&self.shared);
    }
}

impl Shared {
    /// A token of the form that the cluster's have.
    fn issue(&self, account: &str, audience: &str, pod: &str, pod_uid: &str) -> String {
        use base64::Engine;
        let encode = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let username = format!("system:serviceaccount:{NAMESPACE}:{account}");
        let claims = serde_json::json!({"aud": [audience], "sub": username, "jti": uid()});
        let head = serde_json::json!({"alg": "RS256", "kid": "test"});
        let signature = encode(letters(64));
        let token =
            format!("{}.{}.{signature}", encode(head.to_string()), encode(claims.to_string()));
        let pod = Some((audience.to_owned(), pod.to_owned(), pod_uid.to_owned()));
        lock(&self.tokens).insert(token.clone(), Identity { username, pod });
        token
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Now, as the API writes it.
fn now() -> String {
    OffsetDateTime::now_utc().replace_nanosecond(0).unwrap().format(&Rfc3339).unwrap()
}

fn uid() -> String {
    let hex = hex::encode(rand::rng().random::<[u8; 16]>());
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn letters(count: usize) -> String {
    let mut random = rand::rng();
    (0..count).map(|_| char::from(b'a' + random.random_range(0..26))).collect()
}
