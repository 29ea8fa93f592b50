//! The pod of `deploy/kubernetes/base`, in a cluster of this machine: its containers are processes, and its volumes are
//! projected from the Secret as a kubelet does it.

use super::{
    Suite, eventually,
    process::program,
    suite::{PORTS, reply_of},
};
use base64::Engine;
use cluster::{Cluster, Image, OPERATOR, Options};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// What the manifests call the images.
const IMAGES: [(&str, &str); 2] = [("arizuko:0.1.0", "arizuko"), ("arizuko-ant:0.1.0", "ant")];
/// The Secret: its namespace and its name.
pub const SECRET: &str = "arizuko/arizuko";

/// A cluster with the suite's pod in it. Everything ends, and is removed, when this is dropped.
pub struct Town {
    // Before the cluster, which ends its processes.
    pub suite: Suite,
    pub cluster: Cluster,
}

/// What is under `deploy/kubernetes`.
pub fn kubernetes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes")
}

/// The documents of a manifest.
pub fn documents(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(kubernetes().join(path)).unwrap();
    // Kubernetes reads YAML 1.1, in which a number that begins with 0 is octal.
    serde_saphyr::from_multiple(&text.replace("defaultMode: 0440", "defaultMode: 288")).unwrap()
}

impl Town {
    /// A cluster that has nothing in it.
    pub fn empty() -> Self {
        let mut suite = Suite::new();
        // As the manifests have it.
        suite.live_in("instance").set("INSTANCE_NAME", "demo");
        let address = suite.address().to_owned();
        let disk = suite.data().parent().unwrap().to_owned();
        let images = IMAGES.map(|(image, name)| {
            let args = Vec::new();
            (image.to_owned(), Image::Program { program: program(), name: name.into(), args })
        });
        for (daemon, port) in PORTS {
            let port = if daemon == "proxyd" { 8091 } else { port };
            let setting = if daemon == "routd" { "ROUTER".into() } else { daemon.to_uppercase() };
            suite.set(&format!("{setting}_URL"), &format!("http://{address}:{port}"));
        }
        let told = told(&suite);
        let claims = [("arizuko-data".to_owned(), disk)].into();
        let options =
            Options { images: images.into(), claims, address, told, ..Options::default() };
        Self { suite, cluster: Cluster::start(options) }
    }

    /// Everything of the manifests that a pod needs, but the pod and its Secret.
    pub fn configured() -> Self {
        let town = Self::empty();
        for (path, resource) in
            [("base/20-config.yaml", "configmaps"), ("base/65-services.yaml", "services")]
        {
            for mut object in documents(path) {
                if resource == "services" && object["spec"]["clusterIP"].is_null() {
                    object["spec"]["clusterIP"] = town.suite.address().into();
                }
                town.cluster.create(resource, object);
            }
        }
        town
    }

    /// The pod of the manifests, ready, with a Secret out of `make-secret`.
    pub fn made() -> Self {
        let town = Self::configured();
        town.cluster.create("secrets", made_secret());
        let [deployment] = &documents("base/70-deployment.yaml")[..] else {
            panic!("one document")
        };
        town.deploy(deployment.clone());
        town
    }

    /// Adds a Deployment, and waits until its daemons answer.
    pub fn deploy(&self, deployment: Value) {
        self.cluster.create("deployments", deployment);
        let is_ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
        eventually("every container is ready", || {
            let pods = self.cluster.list("pods");
            let all = pods.iter().filter_map(|pod| pod["status"]["conditions"].as_array());
            all.flatten().any(is_ready).then_some(())
        });
        eventually("an answer", || {
            let asked = self.suite.run(&["ask", "hello"]);
            (String::from_utf8_lossy(&asked.stdout).trim() == reply_of("hello")).then_some(())
        });
    }

    /// The suite's pod.
    pub fn pod(&self) -> Value {
        let pods = self.cluster.list("pods").into_iter();
        let mut ours =
            pods.filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == "arizuko");
        ours.next().unwrap()
    }

    /// The Secret.
    pub fn secret(&self) -> BTreeMap<String, String> {
        let secrets = self.cluster.list("secrets");
        let secret = secrets.iter().find(|secret| secret["metadata"]["name"] == "arizuko").unwrap();
        let data = secret["data"].as_object().cloned().unwrap_or_default();
        let text = |value: &Value| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap());
            String::from_utf8(bytes.unwrap()).unwrap()
        };
        data.iter().map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// Puts a value into the Secret, whatever it is, and touches the pod; the value that was there.
    pub fn put(&self, name: &str, value: &str) -> String {
        let old = self.secret()[name].clone();
        let encoded = base64::engine::general_purpose::STANDARD.encode(value);
        self.cluster
            .change("secrets", "arizuko", |secret| secret["data"][name] = encoded.clone().into());
        let pod = self.pod()["metadata"]["name"].as_str().unwrap().to_owned();
        self.cluster.change("pods", &pod, |pod| {
            pod["metadata"]["annotations"]["test/touched"] = encoded.into();
        });
        old
    }

    /// The operator's command on a machine of their own: it has a kubeconfig, and nothing of the instance.
    pub fn workstation(&self, user: &str) -> Command {
        let mut command = Command::new(program());
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command
            .env("HOME", self.cluster.place())
            .env("KUBECONFIG", self.cluster.kubeconfig_of(user));
        command
    }

    /// Runs `arizuko secrets …` there, on the Secret.
    pub fn operator(&self, args: &[&str]) -> Output {
        let mut command = self.workstation(OPERATOR);
        command.args(["--json", "secrets"]).args(args).args(["--kubernetes-secret", SECRET]);
        command.output().unwrap()
    }

    /// The same, where it must go well; what it said.
    pub fn operated(&self, args: &[&str]) -> Value {
        let before = self.secret();
        let out = self.operator(args);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{args:?}: {errors}");
        for (name, value) in before.iter().chain(&self.secret()) {
            assert!(!said.contains(value) && !errors.contains(value), "{name} was shown");
        }
        serde_json::from_str(&said).unwrap()
    }
}

/// What each container is told beyond its specification. Processes share this machine's network and its root, so each
/// is told where to listen and where the others are, as it would be by itself in a pod.
fn told(suite: &Suite) -> BTreeMap<String, Vec<(String, String)>> {
    let address = suite.address();
    let urls = suite.environment().iter().filter(|(name, _)| name.ends_with("_URL"));
    let mut all: Vec<(String, String)> = urls.cloned().collect();
    for (name, value) in [
        ("PROXYD_ADMIN_ADDR", format!("{address}:8091")),
        ("PROXYD_TLS_ADDR", format!("{address}:8443")),
        ("TURN_LISTEN_ADDR", format!("{address}:8089")),
        (
            "KUBERNETES_API_URL",
            "https://$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)".into(),
        ),
        // The path of the kubelet's volume stands in its place, as in every variable.
        ("KUBERNETES_ACCOUNT_DIR", "/var/run/secrets/kubernetes.io/serviceaccount".into()),
    ] {
        all.push((name.to_owned(), value));
    }
    let of = |(daemon, port): (&str, u16)| {
        let mut own = all.clone();
        own.push(("LISTEN_ADDR".to_owned(), format!("{address}:{port}")));
        if ["timed", "webd", "dashd", "proxyd"].contains(&daemon) {
            // They keep nothing, and are in the image's own empty directory.
            let empty = suite.scratch(&format!("image-{daemon}"));
            fs::create_dir_all(&empty).unwrap();
            own.push(("DATA_DIR".to_owned(), empty.display().to_string()));
        }
        (daemon.to_owned(), own)
    };
    PORTS.into_iter().map(of).collect()
}

/// A Secret with random values, as `make-secret` prints it.
pub fn made_secret() -> Value {
    let out = Command::new(kubernetes().join("make-secret")).output().unwrap();
    let made: Vec<Value> =
        serde_saphyr::from_multiple(&String::from_utf8(out.stdout).unwrap()).unwrap();
    let [secret] = &made[..] else { panic!("one document") };
    json!(secret)
}

/// kubectl, as it is installed, or out of the wheel that holds it; `None` where there is none.
pub fn kubectl() -> Option<PathBuf> {
    tool("kubectl")
}

/// helm, likewise.
pub fn helm() -> Option<PathBuf> {
    tool("helm")
}

/// The tools that a wheel may hold.
const TOOLS: [&str; 2] = ["kubectl", "helm"];

fn tool(name: &str) -> Option<PathBuf> {
    static FOUND: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let kept = root.join("target/ci-tools/layer");
        let pythons = [root.join("target/ci-tools/bin/python3"), "python3".into()];
        tools(&kept, &pythons, &root.join("tests/deploy/tools.py"))
    });
    found.get(name).cloned()
}

/// The tools in `kept`, which `script` lays out there where they are in a wheel; else those that it finds elsewhere.
fn tools(kept: &Path, pythons: &[PathBuf], script: &Path) -> BTreeMap<String, PathBuf> {
    if let Some(found) = laid_out(kept) {
        return found;
    }
    // Beside it, and renamed when it is whole: another process may be at the same.
    let into = kept.with_extension(std::process::id().to_string());
    for python in pythons {
        let Ok(out) = Command::new(python).arg("-B").arg(script).arg(&into).output() else {
            continue;
        };
        let text = String::from_utf8(out.stdout).unwrap();
        let found = text.lines().filter_map(|line| line.split_once(' '));
        let found: BTreeMap<String, PathBuf> =
            found.map(|(name, path)| (name.to_owned(), path.into())).collect();
        if found.is_empty() {
            continue;
        }
        let renamed = fs::rename(&into, kept);
        // What it printed is where they were before; and what another process has laid out is as good.
        if let Some(kept) = laid_out(kept) {
            if renamed.is_err() && into.exists() {
                fs::remove_dir_all(&into).unwrap();
            }
            return kept;
        }
        return found;
    }
    BTreeMap::new()
}

fn laid_out(kept: &Path) -> Option<BTreeMap<String, PathBuf>> {
    let there = |name: &str| kept.join(name).join(name);
    let all = TOOLS.into_iter().all(|name| there(name).exists());
    all.then(|| TOOLS.map(|name| (name.to_owned(), there(name))).into())
}

#[test]
fn tools_are_where_it_is_said_also_when_they_were_laid_out_just_now() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("a")).unwrap();
    // Prints plain paths, as Python does of one with dots in it.
    let script = place.path().join("script");
    let text = r#"for name in kubectl helm; do
    mkdir -p "$1/$name" && printf '#!/bin/sh\necho %s' $name > "$1/$name/$name" && chmod +x "$1/$name/$name"
    echo $name "$(realpath "$1")/$name/$name"
done"#;
    fs::write(&script, text).unwrap();
    let python = place.path().join("python");
    fs::write(&python, "#!/bin/sh\nexec sh \"$2\" \"$3\"\n").unwrap();
    fs::set_permissions(&python, PermissionsExt::from_mode(0o755)).unwrap();
    let kept = place.path().join("a/../layer");
    let none = place.path().join("no-python");
    for _ in 0..2 {
        let found = tools(&kept, &[none.clone(), python.clone()], &script);
        for name in TOOLS {
            let out = Command::new(&found[name]).output();
            assert_eq!(String::from_utf8(out.unwrap().stdout).unwrap(), format!("{name}\n"));
        }
    }
    // Who has laid them out meanwhile keeps them, and nothing lies beside.
    fs::write(&script, format!("mkdir {0}; mv {0}.keep/* {0}; {text}", kept.display())).unwrap();
    fs::rename(&kept, place.path().join("layer.keep")).unwrap();
    assert_eq!(tools(&kept, &[python], &script).len(), 2);
    let beside = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let beside: Vec<_> = beside.filter(|name| name.to_string_lossy().contains("layer.")).collect();
    assert_eq!(beside, ["layer.keep"], "{beside:?}");
    assert!(tools(&place.path().join("nowhere"), &[none], &script).is_empty());
}
