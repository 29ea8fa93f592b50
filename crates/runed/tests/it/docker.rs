//! The Docker backend: the suite against a real engine, and what only it does. Where no engine answers, the tests say
//! so and prove nothing.

use crate::conformance::{Place, conformance};
use crate::process::Machine;
use crate::waiting::{until, within};
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, InspectContainerOptions,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::StreamExt;
use kit::Clock;
use proto::runed::{Egress, Limits};
use proto::turn::Harness;
use runed::backend::{Backend, Found, NotStarted};
use runed::docker::{DockerBackend, DockerConfig};
use runed::process::Without;
use runed::run::{How, RunId, RunSpec};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const SOCKET: &str = "/var/run/docker.sock";
/// The image of these tests. Its entry point runs the file `script` of the home.
const IMAGE: &str = "arizuko-conformance:1";

conformance!(containers, super::Engine::new(), super::here());

/// Does something with the engine from anywhere, also from within a runtime.
fn with_engine<T: Send>(work: impl AsyncFnOnce(Docker) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let docker = Docker::connect_with_unix(SOCKET, 120, API_DEFAULT_VERSION).unwrap();
                work(docker.negotiate_version().await.unwrap()).await
            })
        });
        done.join().unwrap()
    })
}

/// Whether there is an engine to be tried, and an image in it. Says once why not.
pub fn here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| match image(IMAGE, 4) {
        Ok(()) => true,
        Err(why) => {
            eprintln!("docker: not verified ({why})");
            false
        }
    })
}

/// Makes an image from files of this machine. Its entry point is given the home as the argument of this number.
pub fn image(name: &str, home: u32) -> Result<(), String> {
    let unanswered = |error: &dyn std::error::Error| format!("no engine at {SOCKET}: {error}");
    std::os::unix::net::UnixStream::connect(SOCKET).map_err(|error| unanswered(&error))?;
    let tools = [
        "sh", "bash", "cat", "ls", "sleep", "head", "tail", "tr", "seq", "sed", "sort", "grep",
        "env", "touch", "rm", "mkdir", "id", "setsid", "unshare", "mount", "mknod", "chown",
        "hostname", "dash",
    ];
    let root = tempfile::tempdir().map_err(|error| error.to_string())?;
    lay_out(root.path(), &tools).map_err(|error| format!("cannot make an image: {error}"))?;
    let tar = Command::new("tar").arg("-C").arg(root.path()).args(["-c", "."]).output();
    let tar = tar.map_err(|error| format!("no tar: {error}"))?.stdout;
    with_engine(async |docker: Docker| {
        let entry = format!(
            "ENTRYPOINT [\"/bin/sh\", \"-c\", \"exec sh \\\"${home}/script\\\"\", \"agent\"]"
        );
        let (repo, tag) = name.split_once(':').unwrap();
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(repo)
            .tag(tag)
            .changes(vec![entry, "ENV PATH=/bin".into()])
            .build();
        let made = docker.create_image(Some(options), Some(bollard::body_full(tar.into())), None);
        let made: Vec<_> = made.collect().await;
        let failed = made.into_iter().find_map(Result::err);
        failed.map_or(Ok(()), |error| Err(format!("the engine takes no image: {error}")))
    })
}

/// Copies programs and the libraries that they need.
fn lay_out(root: &Path, tools: &[&str]) -> std::io::Result<()> {
    for dir in ["bin", "lib", "etc"] {
        fs::create_dir(root.join(dir))?;
    }
    for (link, target) in [("usr", "."), ("sbin", "bin"), ("lib64", "lib")] {
        symlink(target, root.join(link))?;
    }
    let found = |tool: &&str| {
        let places =
            ["/bin", "/usr/bin", "/sbin", "/usr/sbin"].map(|dir| Path::new(dir).join(tool));
        places.into_iter().find(|path| path.exists())
    };
    for program in tools.iter().filter_map(found) {
        fs::copy(&program, root.join("bin").join(program.file_name().unwrap()))?;
        let needs = Command::new("ldd").arg(&program).output()?.stdout;
        for library in
            String::from_utf8_lossy(&needs).split_whitespace().filter(|word| word.starts_with('/'))
        {
            let copy = root.join("lib").join(Path::new(library).file_name().unwrap());
            if !copy.exists() {
                fs::copy(library, copy)?;
            }
            // Where the loader and its libraries are looked for differs; both names lead to one place.
            let multi = root.join("lib/x86_64-linux-gnu");
            if !multi.exists() && library.contains("x86_64-linux-gnu") {
                symlink(".", multi)?;
            }
        }
    }
    Ok(())
}

/// A data directory, and the engine.
pub struct Engine {
    machine: Machine,
}

impl Engine {
    pub fn new() -> Self {
        Self { machine: Machine::new(Without::default()) }
    }

    pub fn config(&self) -> DockerConfig {
        DockerConfig {
            data_dir: self.machine.data().to_owned(),
            instance: "test".into(),
            socket: SOCKET.into(),
            host_data_dir: None,
            skills: None,
            network: None,
            user: None,
            grace: Duration::from_millis(500),
            clock: Clock::real(),
        }
    }

    async fn docker(&self) -> DockerBackend {
        DockerBackend::new(self.config()).await.unwrap()
    }

    fn run(&self, name: &str, script: &str) -> (RunSpec, PathBuf) {
        let home = self.data().join("homes").join(name);
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("script"), script).unwrap();
        let id: RunId = name.parse().unwrap();
        let spec = RunSpec {
            turn_dir: self.turn_dir(&id),
            listener: None,
            id,
            folder: Some("corp/eng".parse().unwrap()),
            home: name.parse().unwrap(),
            image: Some(IMAGE.into()),
            limits: Limits::default(),
            egress: Egress::None,
            harness: Harness::Command,
        };
        (spec, home)
    }

    /// The names of this place's containers, all of them or those that run.
    fn containers(&self, all: bool, run: Option<&str>) -> Vec<String> {
        let mut labels = vec![format!("arizuko.data={}", self.data().display())];
        labels.extend(run.map(|run| format!("arizuko.run={run}")));
        let filters: HashMap<String, Vec<String>> = [("label".into(), labels)].into();
        with_engine(async |docker: Docker| {
            let options = ListContainersOptionsBuilder::new().all(all).filters(&filters).build();
            let found = docker.list_containers(Some(options)).await.unwrap();
            found.into_iter().filter_map(|found| found.id).collect()
        })
    }

    fn inspect(&self, run: &str) -> ContainerInspectResponse {
        let id = self.containers(true, Some(run)).pop().unwrap();
        with_engine(async |docker: Docker| {
            docker.inspect_container(&id, None::<InspectContainerOptions>).await.unwrap()
        })
    }
}

impl Place for Engine {
    async fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.docker().await)
    }

    fn data(&self) -> &Path {
        self.machine.data()
    }

    fn turn_dir(&self, id: &RunId) -> PathBuf {
        self.machine.turn_dir(id)
    }

    fn image(&self) -> Option<String> {
        Some(IMAGE.into())
    }

    /// A container that runs has one at least.
    fn processes(&self, home: &Path) -> usize {
        self.containers(false, home.file_name().unwrap().to_str()).len()
    }

    fn keeps_time_alone(&self) -> bool {
        false
    }
}

impl Drop for Engine {
    /// A test that failed leaves no container behind.
    fn drop(&mut self) {
        if std::os::unix::net::UnixStream::connect(SOCKET).is_err() {
            return;
        }
        for id in self.containers(true, None) {
            with_engine(async |docker: Docker| {
                let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
                docker.remove_container(&id, Some(options)).await.ok();
            });
        }
    }
}

#[tokio::test]
async fn the_engine_was_asked_for_a_home_a_socket_and_nothing_else() {
    if !here() {
        return;
    }
    let place = Engine::new();
    let backend = place.docker().await;
    let (spec, home) = place.run("exact", "touch up; while :; do sleep 0.1; done");
    backend.start(&spec).await.unwrap();
    until("the agent is up", || home.join("up").exists()).await;
    let found = place.inspect("exact");
    let mut mounts: Vec<(String, String, bool)> = found
        .mounts
        .unwrap()
        .into_iter()
        .map(|mount| (mount.source.unwrap(), mount.destination.unwrap(), mount.rw.unwrap()))
        .collect();
    mounts.sort();
    let expected = [
        (home.display().to_string(), "/home/agent".to_owned(), true),
        (spec.turn_dir.display().to_string(), "/run/arizuko".to_owned(), false),
    ];
    assert_eq!(mounts, expected, "the exact set");
    let (host, config) = (found.host_config.unwrap(), found.config.unwrap());
    assert_eq!(host.network_mode.as_deref(), Some("none"));
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.pids_limit, Some(512));
    assert_eq!(host.memory, Some(2 << 30));
    assert_ne!(config.user.as_deref(), Some("0:0"));
    let labels = config.labels.unwrap();
    assert_eq!(labels["arizuko.instance"], "test");
    assert_eq!(labels["arizuko.run"], "exact");
    assert_eq!(labels["arizuko.folder"], "corp/eng");
    let all = format!("{labels:?} {:?} {:?} {:?}", config.env, config.cmd, found.args);
    for word in ["do-not-read", "CARGO", "SECRET"] {
        assert!(!all.contains(word), "{word} in {all}");
    }
    let found = home.join("up").metadata().unwrap();
    assert_ne!(found.uid(), 0, "the agent is not root, on this machine either");
    let described = backend.describe();
    assert_eq!(described.harnesses, ["offline", "command", "claude", "builtin"], "{described:?}");
    within("a cancel", backend.cancel(&spec.id)).await.unwrap();
    assert_eq!(place.containers(true, None), [""; 0], "gone with its container");
}

#[tokio::test]
async fn what_can_never_start_is_refused_with_what_to_do_and_the_rest_may_yet() {
    if !here() {
        return;
    }
    let place = Engine::new();
    let backend = place.docker().await;
    let refused = async |backend: &DockerBackend, spec: &RunSpec| {
        let error = backend.start(spec).await.unwrap_err();
        assert!(matches!(error, NotStarted::Refused(_)), "{}", error.chain());
        error.chain()
    };
    let (spec, home) = place.run("never", "touch ran");
    let no_image = RunSpec { image: Some("nobody/has-this:9".into()), ..spec.clone() };
    let said = refused(&backend, &no_image).await;
    assert!(said.contains("nobody/has-this:9") && said.contains("CONTAINER_IMAGE"), "{said}");
    let unnamed = RunSpec { image: None, ..spec.clone() };
    assert!(refused(&backend, &unnamed).await.contains("CONTAINER_IMAGE"));
    let granted = RunSpec { egress: Egress::Granted, ..spec.clone() };
    assert!(refused(&backend, &granted).await.contains("EGRESS_NETWORK"));
    let network = Some("no-such-network-of-agents".into());
    let other = DockerBackend::new(DockerConfig { network, ..place.config() }).await.unwrap();
    let said = refused(&other, &granted).await;
    assert!(said.contains("EGRESS_NETWORK") && said.contains("no-such-network"), "{said}");
    let elsewhere = Some("/nowhere/on/this/machine".into());
    let config = DockerConfig { host_data_dir: elsewhere, ..place.config() };
    let lost = DockerBackend::new(config).await.unwrap();
    assert!(refused(&lost, &spec).await.contains("HOST_DATA_DIR"));

    // An engine that does not answer may come back; a socket that is somebody else's does not become ours.
    let away = DockerConfig { socket: place.data().join("none.sock"), ..place.config() };
    let away = DockerBackend::new(away).await.unwrap();
    assert!(away.trouble().await.unwrap().contains("none.sock"));
    assert_eq!(away.describe().harnesses, [""; 0]);
    assert!(away.validate(&spec).is_ok(), "what passes is no refusal");
    assert!(away.find(&spec.id).await.is_err(), "and nobody knows what it runs");

    assert!(!home.join("ran").exists(), "nothing ran");
    assert_eq!(place.containers(true, None), [""; 0], "nor is anything left");
    backend.start(&spec).await.unwrap();
    let ended = within("the end", backend.watch(&spec.id)).await.unwrap();
    assert_eq!(ended.how, How::Exited { code: 0 }, "a start that was refused is not the last one");
    assert!(home.join("ran").exists());
}

#[tokio::test]
async fn a_start_that_another_may_still_have_under_way_is_not_made_again() {
    if !here() {
        return;
    }
    let place = Engine::new();
    let (spec, home) = place.run("halfway", "touch ran");
    // As a runed leaves it that was killed between its claim and the engine's answer.
    let first = place.docker().await;
    first.start(&spec).await.unwrap();
    within("the end", first.watch(&spec.id)).await.unwrap();
    fs::remove_file(home.join("ran")).unwrap();
    let dir = place.data().join("run/r/halfway");
    fs::remove_file(dir.join("end.json")).unwrap();
    let name = container_name(&dir);
    with_engine(async |docker: Docker| {
        let body = bollard::models::ContainerCreateBody {
            image: Some(IMAGE.into()),
            ..bollard::models::ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        docker.create_container(Some(options), body).await.unwrap();
    });
    let second = place.docker().await;
    assert_eq!(second.find(&spec.id).await.unwrap(), Found::Lost);
    second.start(&spec).await.unwrap();
    let ended = within("the end", second.watch(&spec.id)).await.unwrap();
    assert_eq!(ended.how, How::Lost);
    with_engine(async |docker: Docker| {
        let late = docker.start_container(&name, None::<StartContainerOptions>).await;
        assert!(late.is_err(), "the request that comes late finds nothing to start");
    });
    assert!(!home.join("ran").exists(), "and it did not run again");
}

/// The container's name, as runed wrote it down.
fn container_name(dir: &Path) -> String {
    let order: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("container.json")).unwrap()).unwrap();
    order["container"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_container_that_somebody_suspended_or_removed_is_not_waited_for_without_end() {
    if !here() {
        return;
    }
    let place = Engine::new();
    let backend = place.docker().await;
    let (paused, home) = place.run("paused", "touch up; while :; do sleep 0.1; done");
    backend.start(&paused).await.unwrap();
    until("the agent is up", || home.join("up").exists()).await;
    let name = container_name(&place.data().join("run/r/paused"));
    with_engine(async |docker: Docker| docker.pause_container(&name).await.unwrap());
    assert_eq!(backend.find(&paused.id).await.unwrap(), Found::Alive);
    within("a cancel", backend.cancel(&paused.id)).await.unwrap();
    let ended = within("the end", backend.watch(&paused.id)).await.unwrap();
    assert_eq!(ended.how, How::Stopped);

    let (removed, home) = place.run("removed", "touch up; while :; do sleep 0.1; done");
    backend.start(&removed).await.unwrap();
    until("the agent is up", || home.join("up").exists()).await;
    let name = container_name(&place.data().join("run/r/removed"));
    let watched = async { within("the end", backend.watch(&removed.id)).await.unwrap() };
    let removing = async {
        with_engine(async |docker: Docker| {
            let options = RemoveContainerOptionsBuilder::new().force(true).build();
            docker.remove_container(&name, Some(options)).await.unwrap();
        });
    };
    let (ended, ()) = tokio::join!(watched, removing);
    assert!(matches!(ended.how, How::Lost | How::Signalled { signal: 9 }), "{ended:?}");
    assert_eq!(place.containers(true, None), [""; 0]);
}

#[tokio::test]
async fn skills_are_there_to_read_and_an_egress_network_only_for_the_granted() {
    if !here() {
        return;
    }
    let place = Engine::new();
    let skills = place.data().join("skills");
    fs::create_dir(&skills).unwrap();
    fs::write(skills.join("howto"), "knead well").unwrap();
    let network = format!("arizuko-test-{}", std::process::id());
    let made = with_engine(async |docker: Docker| {
        let body = bollard::models::NetworkCreateRequest {
            name: network.clone(),
            internal: Some(true),
            ..bollard::models::NetworkCreateRequest::default()
        };
        docker.create_network(body).await.map(drop)
    });
    let config =
        DockerConfig { skills: Some(skills), network: Some(network.clone()), ..place.config() };
    let backend = DockerBackend::new(config).await.unwrap();
    let script = "cat /workspace/howto; echo x 2> /dev/null > /workspace/planted && echo planted; sed 's/:.*//' /proc/net/dev";
    let (spec, _) = place.run("plain", script);
    let (granted, _) = place.run("granted", script);
    let granted = RunSpec { egress: Egress::Granted, ..granted };
    let mut logs = Vec::new();
    for spec in [&spec, &granted] {
        if let Err(error) = backend.start(spec).await {
            logs.push(error.chain());
            continue;
        }
        within("the end", backend.watch(&spec.id)).await.unwrap();
        logs.push(String::from_utf8(backend.log(&spec.id).await.unwrap().bytes).unwrap());
    }
    with_engine(async |docker: Docker| docker.remove_network(&network).await.ok());
    assert!(logs[0].contains("knead well") && !logs[0].contains("planted"), "{}", logs[0]);
    assert!(!logs[0].contains("eth"), "who is not granted it has none: {}", logs[0]);
    match made {
        Ok(()) => assert!(logs[1].contains("eth0"), "{}", logs[1]),
        Err(error) => eprintln!("docker: a network for agents is not verified ({error})"),
    }
}
