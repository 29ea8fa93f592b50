//! The Kubernetes backend: the suite against a cluster whose kubelet runs containers of a real Docker engine, and what
//! only this backend does, where pods are processes.

use crate::conformance::{Place, conformance};
use crate::docker::{here as engine, image};
use crate::process::Machine;
use crate::waiting::{until, within};
use cluster::{Cluster, Image, Options, Runtime};
use kit::Clock;
use proto::runed::{Egress, Limits};
use proto::turn::Harness;
use runed::backend::{Backend, Found, NotStarted};
use runed::kubernetes::{JobSettings, KubernetesBackend, KubernetesConfig, KubernetesError};
use runed::process::Without;
use runed::run::{Ended, How, RunId, RunSpec, TurnListener};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

mod clients;
mod faults;
mod share;

/// The image of these tests. Its entry point runs the file `script` of the home.
const IMAGE: &str = "arizuko-conformance-pod:1";

conformance!(pods, super::Town::contained(), super::here());

/// Whether there is an engine that holds containers, and an image in it.
fn here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| engine() && image(IMAGE, 8).is_ok())
}

/// A data directory, and a cluster.
pub struct Town {
    machine: Machine,
    cluster: Cluster,
    slack: Duration,
}

impl Town {
    /// Whose pods are containers.
    fn contained() -> Self {
        Self::of(Runtime::Docker, Image::Docker(IMAGE.into()))
    }

    /// Whose pods are processes.
    fn loose() -> Self {
        let shell = Image::Program {
            program: "/bin/sh".into(),
            name: "sh".into(),
            args: ["-c", "exec sh \"$8/script\"", "agent"].map(Into::into).into(),
        };
        Self::of(Runtime::Process, shell)
    }

    fn of(runtime: Runtime, image: Image) -> Self {
        let machine = Machine::new(Without::default());
        let options = Options {
            runtime,
            images: [(IMAGE.to_owned(), image)].into(),
            claims: [("arizuko-data".to_owned(), machine.data().to_owned())].into(),
            pod_pids: 40,
            node: vec![("pool".into(), "agents".into())],
            classes: vec!["gvisor".into()],
            ..Options::default()
        };
        Self { machine, cluster: Cluster::start(options), slack: Duration::from_secs(4) }
    }

    fn config(&self) -> KubernetesConfig {
        KubernetesConfig {
            data_dir: self.machine.data().to_owned(),
            instance: "test".into(),
            api_url: self.cluster.url(),
            account_dir: self.cluster.account_dir(),
            namespace: None,
            jobs: JobSettings {
                service_account: "arizuko-agent".into(),
                claim: "arizuko-data".into(),
                requests: (50, 64),
                ..JobSettings::default()
            },
            user: None,
            slack: self.slack,
            grace: Duration::from_millis(500),
            clock: Clock::real(),
        }
    }

    async fn kubernetes(&self) -> KubernetesBackend {
        KubernetesBackend::new(self.config()).await.unwrap()
    }

    fn run(&self, name: &str, script: &str) -> (RunSpec, PathBuf) {
        let home = self.data().join("homes").join(name);
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("script"), script).unwrap();
        let id: RunId = name.parse().unwrap();
        let spec = RunSpec {
            turn_dir: self.turn_dir(&id),
            listener: self.listener(),
            id,
            folder: Some("corp/eng".parse().unwrap()),
            home: name.parse().unwrap(),
            image: Some(IMAGE.into()),
            limits: Limits { wall_clock_seconds: 60, ..Limits::default() },
            egress: Egress::None,
            harness: Harness::Command,
        };
        (spec, home)
    }

    /// Waits until nothing of any run is left in the cluster.
    async fn empty(&self) {
        until("the cluster is empty", || {
            self.cluster.list("jobs").is_empty() && self.cluster.list("pods").is_empty()
        })
        .await;
    }

    /// No call was made that runed has no right to.
    fn nothing_forbidden(&self) {
        let denied: BTreeSet<_> = self.cluster.calls().into_iter().filter(|c| c.denied).collect();
        assert_eq!(denied, BTreeSet::new(), "calls that runed's Role does not allow");
    }
}

impl Place for Town {
    async fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.kubernetes().await)
    }

    fn data(&self) -> &Path {
        self.machine.data()
    }

    /// No pod would reach one.
    fn turn_dir(&self, _: &RunId) -> PathBuf {
        PathBuf::new()
    }

    fn listener(&self) -> Option<TurnListener> {
        let url = "https://routd.example:8089".into();
        Some(TurnListener { url, certificate_sha256: "00".repeat(32) })
    }

    fn image(&self) -> Option<String> {
        Some(IMAGE.into())
    }

    /// The kubelet says where the API is, whatever a pod's specification says. That is no secret.
    fn environment(&self) -> &'static str {
        "KUBERNETES_"
    }

    /// A pod that runs has one at least.
    fn processes(&self, home: &Path) -> usize {
        let run = home.file_name().unwrap().to_str().unwrap();
        self.cluster.alive("arizuko.run", run)
    }
}

async fn end(backend: &KubernetesBackend, spec: &RunSpec) -> Ended {
    within("the end", backend.watch(&spec.id)).await.unwrap()
}

#[tokio::test]
async fn the_cluster_was_asked_for_a_home_a_token_and_nothing_secret() {
    let mut town = Town::loose();
    town.slack = Duration::from_secs(30);
    let mut config = town.config();
    config.jobs.runtime_class = Some("gvisor".into());
    config.jobs.node_selector = vec![("pool".into(), "agents".into())];
    config.jobs.tolerations = vec![serde_json::json!({"key": "agents", "operator": "Exists"})];
    config.jobs.pull_secrets = vec!["registry".into()];
    config.jobs.labels = vec![("team".into(), "ops".into()), ("arizuko.run".into(), "x".into())];
    let backend = KubernetesBackend::new(config).await.unwrap();
    let (spec, home) = town.run("exact", "touch up; while :; do sleep 0.05; done");
    backend.start(&spec).await.unwrap();
    until("the agent is up", || home.join("up").exists()).await;

    let jobs = town.cluster.list("jobs");
    let (job, pod) = (&jobs[0], &town.cluster.list("pods")[0]);
    assert_eq!(job["spec"]["backoffLimit"], 0);
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 3600);
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 60 + 30 + 60);
    for object in [job, pod] {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["arizuko.instance"], "test");
        assert_eq!(labels["arizuko.run"], "exact", "no setting changes it");
        assert_eq!(labels["arizuko.folder"], "corp.eng");
        assert_eq!(labels["team"], "ops");
        assert_eq!(object["metadata"]["annotations"]["arizuko.folder"], "corp/eng");
    }
    let spec_of = &pod["spec"];
    assert_eq!(spec_of["runtimeClassName"], "gvisor");
    assert_eq!(spec_of["nodeSelector"]["pool"], "agents");
    assert_eq!(spec_of["tolerations"][0]["key"], "agents");
    assert_eq!(spec_of["imagePullSecrets"][0]["name"], "registry");
    assert_eq!(spec_of["serviceAccountName"], "arizuko-agent");
    assert_eq!(spec_of["automountServiceAccountToken"], false);
    assert_eq!(spec_of["enableServiceLinks"], false);
    assert_eq!(spec_of["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec_of["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for absent in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
        assert!(spec_of[absent].is_null(), "{absent}");
    }
    let container = &spec_of["containers"][0];
    assert_eq!(container["command"], serde_json::Value::Null, "the image's own entry point");
    let own = &container["securityContext"];
    assert_eq!(own["readOnlyRootFilesystem"], true);
    assert_eq!(own["allowPrivilegeEscalation"], false);
    assert_eq!(own["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!(container["volumeMounts"][0]["subPath"], "homes/exact");
    let volumes: Vec<_> = spec_of["volumes"].as_array().unwrap().iter().collect();
    assert_eq!(volumes.len(), 3);
    let token = &volumes[1]["projected"]["sources"];
    assert_eq!(token.as_array().unwrap().len(), 1);
    assert_eq!(token[0]["serviceAccountToken"]["audience"], "arizuko");
    assert_eq!(token[0]["serviceAccountToken"]["expirationSeconds"], 600);
    let all = format!("{job} {pod}");
    for word in ["do-not-read", "CARGO", "SECRET", "secretKeyRef", "configMap", "hostPath"] {
        assert!(!all.contains(word), "{word} in {all}");
    }
    within("a cancel", backend.cancel(&spec.id)).await.unwrap();
    assert_eq!(town.cluster.alive("arizuko.run", "exact"), 0);
    assert!(town.cluster.list("jobs").is_empty() && town.cluster.list("pods").is_empty());
    town.nothing_forbidden();
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_the_runs_answer_within_ten_seconds() {
    let mut town = Town::loose();
    town.slack = Duration::from_secs(120);
    let backend = town.kubernetes().await;
    for (name, image, words) in [
        ("upper", "Nobody/Has This", "InvalidImageName"),
        ("nowhere", "nobody/has-this:9", "nobody/has-this:9"),
    ] {
        let (spec, home) = town.run(name, "touch ran");
        let spec = RunSpec { image: Some(image.into()), ..spec };
        let began = Instant::now();
        backend.start(&spec).await.unwrap();
        let ended = end(&backend, &spec).await;
        assert_eq!(ended.how, How::NotStarted { permanent: true }, "{ended:?}");
        let said = ended.detail.unwrap();
        assert!(said.contains(words) && said.contains("CONTAINER_IMAGE"), "{said}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(!home.join("ran").exists());
    }
    town.empty().await;
    town.nothing_forbidden();
}

#[tokio::test]
async fn what_no_node_takes_waits_a_while_and_may_be_tried_again() {
    let town = Town::loose();
    let mut config = town.config();
    config.jobs.node_selector = vec![("pool".into(), "none".into())];
    let backend = KubernetesBackend::new(config).await.unwrap();
    let (spec, home) = town.run("unplaced", "touch ran");
    backend.start(&spec).await.unwrap();
    let ended = end(&backend, &spec).await;
    assert_eq!(ended.how, How::NotStarted { permanent: false }, "{ended:?}");
    assert!(ended.detail.unwrap().contains("0/1 nodes are available"));
    town.empty().await;
    assert!(!home.join("ran").exists());
}

#[tokio::test]
async fn what_can_never_start_is_refused_at_start_with_what_to_do() {
    let town = Town::loose();
    let mut config = town.config();
    config.jobs.runtime_class = Some("no-such-class".into());
    let error = KubernetesBackend::new(config).await.unwrap_err();
    assert!(matches!(error, KubernetesError::NoRuntimeClass(_)), "{error}");
    let config = KubernetesConfig { account_dir: "/nowhere".into(), ..town.config() };
    let error = KubernetesBackend::new(config).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/namespace"), "{error}");

    let backend = town.kubernetes().await;
    let (spec, _) = town.run("never", "touch ran");
    let refused = |spec: &RunSpec| backend.validate(spec).unwrap_err().0;
    assert!(refused(&RunSpec { image: None, ..spec.clone() }).contains("CONTAINER_IMAGE"));
    assert!(refused(&RunSpec { listener: None, ..spec.clone() }).contains("TURN_URL"));
    let socket = RunSpec { turn_dir: "/run/t/1".into(), ..spec.clone() };
    assert!(refused(&socket).contains("TURN_URL"));
    let granted = RunSpec { egress: Egress::Granted, ..spec };
    assert!(refused(&granted).contains("EGRESS_NETWORK"));
    assert_eq!(town.cluster.list("jobs").len(), 0, "nothing was asked of the cluster");
}

#[tokio::test]
async fn a_pod_that_was_taken_away_is_a_lost_run_and_is_not_run_again() {
    let town = Town::loose();
    let backend = town.kubernetes().await;
    let (spec, home) = town.run("taken", "echo ran >> ran; touch up; while :; do sleep 0.05; done");
    backend.start(&spec).await.unwrap();
    until("the agent is up", || home.join("up").exists()).await;
    let pod = town.cluster.list("pods")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    town.cluster.lose_pod(&pod);
    let ended = end(&backend, &spec).await;
    assert_eq!(ended.how, How::Lost, "{ended:?}");
    backend.start(&spec).await.unwrap();
    assert_eq!(backend.find(&spec.id).await.unwrap(), Found::Ended(ended));
    town.empty().await;
    assert_eq!(fs::read_to_string(home.join("ran")).unwrap(), "ran\n");
}

#[tokio::test]
async fn a_pod_is_known_by_a_token_of_its_own_and_by_no_other() {
    let town = Town::loose();
    let backend = town.kubernetes().await;
    let (spec, home) = town.run("known", "touch up; while :; do sleep 0.05; done");
    backend.start(&spec).await.unwrap();
    until("the agent is up", || home.join("up").exists()).await;
    let pod = town.cluster.list("pods").remove(0);
    let text = |name: &str| pod["metadata"][name].as_str().unwrap().to_owned();
    let (name, uid) = (text("name"), text("uid"));
    let whose = async |token: &str| backend.whose(token).await.unwrap().map(|pod| pod.run);
    let token = |audience: &str, account: &str| town.cluster.token(audience, account, &name, &uid);
    assert_eq!(whose(&token("arizuko", "arizuko-agent")).await, Some(spec.id.clone()));
    // Its own token for the API, another account, another pod, one that was made up, and runed's.
    let api = "https://kubernetes.default.svc";
    assert_eq!(whose(&token(api, "arizuko-agent")).await, None);
    assert_eq!(whose(&token("arizuko", "default")).await, None);
    let other = town.cluster.token("arizuko", "arizuko-agent", &name, "another-uid");
    for token in [other.as_str(), "made.up.token", "runed", ""] {
        assert_eq!(whose(token).await, None, "{token}");
    }
    let kept = token("arizuko", "arizuko-agent");
    within("a cancel", backend.cancel(&spec.id)).await.unwrap();
    assert_eq!(whose(&kept).await, None, "a pod that is gone is nobody");
}
