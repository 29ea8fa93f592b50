//! `deploy/compose` as an operator uses it: a container for each daemon, secrets in mounted directories; and the pod of
//! `deploy/kubernetes`, with the engine for a kubelet. Where no engine or no Compose answers, this says so and proves nothing.

use super::docker::has;
use crate::harness::{Chat, eventually, reply_of};
use serde_json::{Value, json};
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

/// The program, with `ant` as its entry point, and the directory that the daemons' own image has.
const IMAGE: &str = "arizuko-compose:1";
const DAEMONS: [&str; 10] =
    ["authd", "routd", "runed", "timed", "onbod", "webd", "dashd", "teled", "slakd", "proxyd"];

/// Whether there is an engine, with the image in it. Made once.
fn has_image() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| has(IMAGE, |root| fs::create_dir_all(root.join("srv/data"))))
}

/// Compose, in whichever form it is here.
fn compose() -> Option<Vec<&'static str>> {
    let forms = [vec!["docker", "compose"], vec!["docker-compose"]];
    let found = forms.into_iter().find(|form| {
        let mut asked = Command::new(form[0]);
        asked.args(&form[1..]).arg("version").stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    });
    if found.is_none() {
        eprintln!("compose: not verified (neither docker compose nor docker-compose is here)");
    }
    found
}

/// The instance. Its containers and networks are gone when this is dropped.
struct Composed {
    dir: tempfile::TempDir,
    compose: Vec<&'static str>,
    environment: Vec<(String, String)>,
    port: u16,
}

impl Composed {
    fn new(compose: Vec<&'static str>) -> Self {
        let dir = tempfile::Builder::new().prefix("azc").tempdir_in("/tmp").unwrap();
        // Others pass through it, as through a directory of an operator's.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        let (uid, gid) = match rustix::process::getuid().as_raw() {
            0 => (65532, 65532),
            own => (own, rustix::process::getgid().as_raw()),
        };
        chown(&data, Some(uid), Some(gid)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let group = fs::metadata("/var/run/docker.sock").unwrap().gid();
        let environment = vec![
            ("ARIZUKO_DATA".into(), data.display().to_string()),
            ("ARIZUKO_SECRETS".into(), dir.path().join("secrets").display().to_string()),
            ("ARIZUKO_USER".into(), format!("{uid}:{gid}")),
            ("ARIZUKO_IMAGE".into(), IMAGE.into()),
            ("ARIZUKO_AGENT_IMAGE".into(), IMAGE.into()),
            ("ARIZUKO_PORT".into(), port.to_string()),
            // Not published to a port that somebody else may have.
            ("ARIZUKO_TLS_PORT".into(), "0".into()),
            ("DOCKER_GID".into(), group.to_string()),
        ];
        // The image of the tests has the agent as its entry point.
        let services: serde_json::Map<String, Value> = DAEMONS
            .into_iter()
            .chain(["create"])
            .map(|name| (name.to_owned(), json!({ "entrypoint": ["/bin/arizuko"] })))
            .collect();
        let more = json!({ "services": services }).to_string();
        fs::write(dir.path().join("more.yaml"), more).unwrap();
        Self { dir, compose, environment, port }
    }

    fn run(&self, program: &Path, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.envs(self.environment.iter().cloned()).output().unwrap()
    }

    /// What Compose prints; it must have done it.
    fn compose(&self, args: &[&str]) -> String {
        told(&self.try_compose(args), args)
    }

    fn try_compose(&self, args: &[&str]) -> Output {
        let file = deploy("compose.yaml");
        let more = self.dir.path().join("more.yaml");
        let name = format!("azc{}", std::process::id());
        let mut all = self.compose[1..].to_vec();
        all.extend(["-p", &name, "-f", file.to_str().unwrap(), "-f", more.to_str().unwrap()]);
        all.extend(args);
        self.run(Path::new(self.compose[0]), &all)
    }

    /// What the operator's command says, as it is given in routd's container.
    fn arizuko(&self, args: &[&str]) -> String {
        let mut all = vec!["exec", "-T", "routd", "arizuko"];
        all.extend(args);
        self.compose(&all)
    }

    /// The operator's script.
    fn secrets(&self, args: &[&str]) -> String {
        told(&self.run(&deploy("secrets"), args), args)
    }

    fn secret(&self, file: &str) -> String {
        fs::read_to_string(self.dir.path().join("secrets").join(file)).unwrap()
    }

    /// What the engine knows of a daemon's container.
    fn container(&self, daemon: &str) -> Value {
        let id = self.compose(&["ps", "-q", daemon]);
        let told = self.run(Path::new("docker"), &["inspect", id.trim()]);
        serde_json::from_slice::<Value>(&told.stdout).unwrap()[0].take()
    }

    /// The fingerprint that `daemon` shows of a secret.
    fn print_of(&self, daemon: &str, name: &str) -> Value {
        let status: Value =
            serde_json::from_str(&self.arizuko(&["--json", "secrets", "status"])).unwrap();
        let daemons = status["daemons"].as_array().unwrap();
        let daemon = daemons.iter().find(|one| one["daemon"] == daemon).unwrap();
        let secrets = daemon["secrets"].as_array().unwrap();
        secrets.iter().find(|one| one["name"] == name).unwrap()["fingerprint"].clone()
    }
}

impl Drop for Composed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.try_compose(&["logs", "--no-color"]);
            eprintln!("{}", String::from_utf8_lossy(&logs.stdout));
        }
        let gone = self.try_compose(&["down", "--volumes", "--timeout", "5"]);
        if !gone.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&gone.stderr));
        }
    }
}

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/compose").join(name)
}

fn told(out: &Output, args: &[&str]) -> String {
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{args:?}: {errors}");
    String::from_utf8(out.stdout.clone()).unwrap()
}

#[test]
fn a_container_for_each_daemon_answers_and_takes_up_secrets_that_are_swapped_in_its_directory() {
    let Some(compose) = compose() else { return };
    if !has_image() {
        return;
    }
    let place = Composed::new(compose);
    place.secrets(&["init"]);
    let before = place.secret("webd/CHANNEL_SECRET");
    assert_eq!(place.secrets(&["init"]), "", "what is there is left as it is");
    place.compose(&["up", "-d"]);
    let asked = ["exec", "-T", "routd", "arizuko", "ask", "hello"];
    let said = eventually("an answer", || {
        let out = place.try_compose(&asked);
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
    });
    assert_eq!(said.trim(), reply_of("hello"));

    // Through the published port, with a secret that only webd and routd have, and then with the next one.
    let link = place.arizuko(&["token", "issue", "--kind", "chat", "--folder", "main"]);
    let path = link.lines().next().unwrap().split_once("/chat/").unwrap().1.to_owned();
    let chat = Chat::open(&format!("http://127.0.0.1:{}/chat/{path}", place.port));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let exchange = |text: &str| {
        runtime.block_on(async {
            chat.write(text).await;
            let reply = reply_of(text);
            let events = chat.events("", |event| event.data.to_string().contains(&reply)).await;
            assert!(!events.is_empty());
        });
    };
    exchange("one");
    let prints = || {
        [
            ("webd", "CHANNEL_SECRET"),
            ("routd", "CHANNEL_SECRET_WEBD"),
            ("webd", "AUTHD_SERVICE_KEY"),
            ("authd", "AUTHD_SERVICE_KEY_WEBD"),
        ]
        .map(|(daemon, name)| place.print_of(daemon, name))
    };
    let old = prints();
    place.secrets(&["rotate", "CHANNEL_SECRET_WEBD"]);
    place.secrets(&["rotate", "AUTHD_SERVICE_KEY_WEBD"]);
    exchange("two");
    eventually("both sides have both new values", || {
        prints().iter().zip(&old).all(|(new, old)| new != old).then_some(())
    });
    exchange("three");
    assert_eq!(place.secret("webd/CHANNEL_SECRET_PREVIOUS"), before);
    assert_ne!(place.secret("webd/CHANNEL_SECRET"), before);

    nobody_has_what_is_not_theirs(&place);
}

fn nobody_has_what_is_not_theirs(place: &Composed) {
    let secrets = ["routd/SECRETS_KEY", "routd/CHANNEL_SECRET", "webd/AUTHD_SERVICE_KEY"];
    for daemon in DAEMONS {
        let container = place.container(daemon);
        let told = container.to_string();
        for file in secrets {
            assert!(!told.contains(&place.secret(file)), "{file} is told of {daemon}'s container");
        }
        let mounts = container["Mounts"].as_array().unwrap();
        let sources: Vec<&str> = mounts.iter().map(|one| one["Source"].as_str().unwrap()).collect();
        let own = format!("/secrets/{daemon}");
        let mut secrets = sources.iter().filter(|source| source.contains("/secrets"));
        assert!(secrets.next().unwrap().ends_with(&own), "{daemon}: {sources:?}");
        assert!(secrets.next().is_none(), "{daemon}: {sources:?}");
        let has_engine = sources.iter().any(|source| source.contains("docker.sock"));
        assert_eq!(has_engine, daemon == "runed", "{daemon}: {sources:?}");
        let keeps = !["timed", "webd", "dashd", "proxyd"].contains(&daemon);
        let has_data = sources.iter().any(|source| source.ends_with("/data"));
        assert_eq!(has_data, keeps, "{daemon}: {sources:?}");
        let host = &container["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{daemon}");
        assert_eq!(host["CapDrop"], json!(["ALL"]), "{daemon}");
        assert_eq!(host["Privileged"], false, "{daemon}");
        assert_ne!(container["Config"]["User"], "", "{daemon}");
        let ports = host["PortBindings"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(ports > 0, daemon == "proxyd", "{daemon}: {host}");
    }
}

#[test]
fn the_pod_of_the_manifests_starts_answers_and_takes_up_a_secret_that_changes() {
    if !rustix::process::getuid().is_root() {
        eprintln!("pod: not verified (files of a kubelet's are root's)");
        return;
    }
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ci-tools/bin/python3");
    let mut places = [std::env::var_os("DEPLOY_PYTHON").map(PathBuf::from), Some(installed)]
        .into_iter()
        .flatten()
        .chain([PathBuf::from("python3")]);
    let has = |python: &PathBuf| {
        let mut asked = Command::new(python);
        asked.args(["-c", "import yaml"]).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    let Some(python) = places.find(has) else {
        eprintln!("pod: not verified (no PyYAML)");
        return;
    };
    if !has_image() {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/pod.py");
    let mut command = Command::new(python);
    command.arg(script).args(["--image", IMAGE, "--program", "/bin/arizuko"]);
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
}
