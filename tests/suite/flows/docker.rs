//! Agents in containers of a real Docker engine. Where none answers, these tests say so and prove nothing.

use crate::harness::{Chat, Suite, eventually, program, reply_of};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HostConfig, Mount, MountType,
};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptionsBuilder, InspectContainerOptions,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::StreamExt;
use std::{
    collections::HashMap,
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixStream,
    },
    path::Path,
    process::Command,
    sync::OnceLock,
    thread,
};

const SOCKET: &str = "/var/run/docker.sock";
/// An image that holds this very program, and `ant` as its entry point.
const IMAGE: &str = "arizuko-suite:1";
/// A value that is in the environment of every daemon here, as secrets may be.
const CANARY: &str = "canary-3f9c1e77a5";

/// Does something with the engine, from anywhere.
fn with_engine<T: Send>(work: impl AsyncFnOnce(Docker) -> T + Send) -> T {
    thread::scope(|scope| {
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

/// Whether there is an engine, with the image in it. Says once why not.
fn here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| has(IMAGE, |_| Ok(())))
}

/// Whether there is an engine, now with this image in it. Says why not.
pub(super) fn has(name: &str, more: impl Fn(&Path) -> std::io::Result<()>) -> bool {
    let made = UnixStream::connect(SOCKET)
        .map_err(|error| format!("no engine at {SOCKET}: {error}"))
        .and_then(|_| image(name, more));
    if let Err(why) = &made {
        eprintln!("docker: not verified ({why})");
    }
    made.is_ok()
}

/// Copies the libraries that a program needs.
pub(super) fn libraries(program: &Path, to: &Path) -> std::io::Result<()> {
    let needs = Command::new("ldd").arg(program).output()?.stdout;
    let needs = String::from_utf8_lossy(&needs).into_owned();
    for library in needs.split_whitespace().filter(|word| word.starts_with('/')) {
        fs::copy(library, to.join(Path::new(library).file_name().unwrap()))?;
    }
    Ok(())
}

/// Makes an image from the program, the libraries that it needs, and what `more` puts beside them.
fn image(name: &str, more: impl Fn(&Path) -> std::io::Result<()>) -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    let root = place.path();
    let lay_out = || -> std::io::Result<Vec<u8>> {
        for dir in ["bin", "lib", "etc/ssl/certs", "tmp"] {
            fs::create_dir_all(root.join(dir))?;
        }
        // Some engines give a temporary directory the mode that the image has there.
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        symlink("lib", root.join("lib64"))?;
        symlink(".", root.join("lib/x86_64-linux-gnu"))?;
        fs::copy(program(), root.join("bin/arizuko"))?;
        symlink("arizuko", root.join("bin/ant"))?;
        // Smaller, where there is a tool for it.
        let _as_it_is = Command::new("strip").arg(root.join("bin/arizuko")).status().is_err();
        libraries(&program(), &root.join("lib"))?;
        more(root)?;
        let roots = Path::new("/etc/ssl/certs/ca-certificates.crt");
        if roots.exists() {
            fs::copy(roots, root.join("etc/ssl/certs/ca-certificates.crt"))?;
        }
        Ok(Command::new("tar").arg("-C").arg(root).args(["-c", "."]).output()?.stdout)
    };
    let tar = lay_out().map_err(|error| format!("cannot make an image: {error}"))?;
    with_engine(async |docker: Docker| {
        let (repo, tag) = name.split_once(':').unwrap();
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(repo)
            .tag(tag)
            .changes(vec!["ENTRYPOINT [\"/bin/ant\"]".into(), "ENV PATH=/bin".into()])
            .build();
        let made = docker.create_image(Some(options), Some(bollard::body_full(tar.into())), None);
        let made: Vec<_> = made.collect().await;
        let failed = made.into_iter().find_map(Result::err);
        failed.map_or(Ok(()), |error| Err(format!("the engine takes no image: {error}")))
    })
}

/// The id of an image that is here.
pub(super) fn image_id(name: &str) -> String {
    with_engine(async |docker: Docker| docker.inspect_image(name).await.unwrap().id.unwrap())
}

/// The ids of the containers of the instance with this data directory.
fn containers(data: &Path) -> Vec<String> {
    let label = format!("arizuko.data={}", data.display());
    let filters: HashMap<String, Vec<String>> = [("label".into(), vec![label])].into();
    with_engine(async |docker: Docker| {
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = docker.list_containers(Some(options)).await.unwrap();
        found.into_iter().filter_map(|found| found.id).collect()
    })
}

/// The one of them that runs now, once there is one.
pub(super) fn running(data: &Path) -> ContainerInspectResponse {
    eventually("an agent's container runs", || {
        let id = containers(data).pop()?;
        let found = with_engine(async |docker: Docker| {
            docker.inspect_container(&id, None::<InspectContainerOptions>).await.ok()
        })?;
        found.state.as_ref()?.running?.then_some(found)
    })
}

/// An instance whose agents are containers. They are gone when this is dropped.
pub(super) struct Contained {
    pub(super) suite: Suite,
}

impl Contained {
    fn made() -> Self {
        Self::of(IMAGE)
    }

    pub(super) fn of(image: &str) -> Self {
        let mut suite = Suite::made();
        suite.set("CONTAINER_BACKEND", "docker").set("CONTAINER_IMAGE", image);
        suite.set("SOME_CANARY", CANARY);
        Self { suite }
    }

    /// The ids of its containers, whatever they do.
    fn containers(&self) -> Vec<String> {
        containers(&self.suite.data())
    }

    /// The one that runs now, once there is one.
    fn running(&self) -> ContainerInspectResponse {
        running(&self.suite.data())
    }

    pub(super) fn none_left(&self) {
        eventually("no container is left", || self.containers().is_empty().then_some(()));
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        for id in self.containers() {
            remove(&id);
        }
    }
}

fn remove(id: &str) {
    with_engine(async |docker: Docker| {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        // Gone already is as good.
        let _gone = docker.remove_container(id, Some(options)).await.is_err();
    });
}

#[test]
fn an_agent_answers_from_a_container_that_has_no_network_and_no_secret() {
    if !here() {
        return;
    }
    let mut place = Contained::made();
    place.suite.start_up();
    let suite = &place.suite;
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), reply_of("hello"));
    suite.ok(&["ask", "remember the kettle is blue"]);
    assert!(suite.ok(&["ask", "what do you remember"]).contains("the kettle is blue"));

    let names = ["SECRETS_KEY", "CHANNEL_SECRET", "AUTHD_SERVICE_KEY"];
    let mut never: Vec<String> = names.iter().map(|name| suite.dotenv(name)).collect();
    never.extend(names.map(str::to_owned));
    never.push(CANARY.into());
    thread::scope(|scope| {
        let asked = scope.spawn(|| suite.ok(&["ask", "wait 4"]));
        let found = place.running();
        let pid = found.state.as_ref().unwrap().pid.unwrap();
        // As the kernel has it, not as the engine tells it.
        let networks = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
        assert!(networks.contains("lo:") && !networks.contains("eth"), "{networks}");
        let routes = fs::read_to_string(format!("/proc/{pid}/net/route")).unwrap();
        assert_eq!(routes.lines().count(), 1, "a heading and no route: {routes}");
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        let data = suite.data();
        let mut ours: Vec<&str> = mounts
            .lines()
            .filter(|line| line.contains(data.to_str().unwrap()))
            .filter_map(|line| line.split(' ').nth(4))
            .collect();
        ours.sort_unstable();
        assert_eq!(ours, ["/home/agent", "/run/arizuko"], "{mounts}");
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let told = format!(
            "{} {found:?} {mounts}",
            String::from_utf8_lossy(&environment).replace('\0', " ")
        );
        for secret in &never {
            assert!(!told.contains(secret), "`{secret}` reached the container");
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
        assert!(!uid.split_whitespace().any(|id| id == "0"), "not root: {uid}");
        assert_eq!(asked.join().unwrap().trim(), "I waited 4 seconds.");
    });
    place.none_left();
    let status = place.suite.json(&["status"]).to_string();
    assert!(status.contains("docker"), "{status}");
    let log = place.suite.process("up").log_text();
    assert!(log.contains("CONTAINER_BACKEND says so"), "the choice is told with its reason");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_in_a_container_survives_the_death_of_runed_of_routd_and_of_itself() {
    if !here() {
        return;
    }
    let mut place = Contained::made();
    place.suite.start_apart();
    let link = place.suite.json(&["token", "issue", "--kind", "chat", "--folder", "main"]);
    let chat = Chat::open(&format!("{}{}", place.suite.edge(), link["path"].as_str().unwrap()));
    let rounds = ["runed", "routd", "container"];
    for killed in rounds {
        chat.write("wait 3").await;
        let met = place.running();
        match killed {
            "container" => remove(met.id.as_deref().unwrap()),
            daemon => {
                let daemon = if daemon == "runed" { "runed" } else { "routd" };
                place.suite.kill(daemon);
                place.suite.restart(daemon);
            }
        }
        place.none_left();
    }
    let mut done = 0;
    let all = chat.events("0", |event| {
        done += usize::from(event.kind == "done");
        done == rounds.len()
    });
    let all = all.await;
    let said: Vec<&str> = all
        .iter()
        .filter(|event| event.kind == "message")
        .filter_map(|event| event.data["content"].as_str())
        .collect();
    assert_eq!(said, ["wait 3", "I waited 3 seconds."].repeat(rounds.len()), "each answered once");
    place.none_left();
}

#[test]
fn a_runed_that_is_itself_in_a_container_names_what_the_engine_sees() {
    if !here() {
        return;
    }
    let place = Contained::made();
    let bind = |source: &Path, target: &str| Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.into()),
        ..Mount::default()
    };
    let text = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    let body = ContainerCreateBody {
        image: Some(IMAGE.into()),
        entrypoint: text(&["/bin/arizuko"]),
        cmd: text(&["--data-dir", "/data", "up", "--port-base", "0"]),
        env: Some(vec![
            "INSTANCE_NAME=test".into(),
            "CONTAINER_BACKEND=docker".into(),
            format!("CONTAINER_IMAGE={IMAGE}"),
            format!("HOST_DATA_DIR={}", place.suite.data().display()),
        ]),
        host_config: Some(HostConfig {
            // Its addresses are this machine's, so that the command line reaches it.
            network_mode: Some("host".into()),
            mounts: Some(vec![bind(&place.suite.data(), "/data"), bind(Path::new(SOCKET), SOCKET)]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let outer = with_engine(async |docker: Docker| {
        let made = docker.create_container(None::<CreateContainerOptions>, body).await.unwrap();
        docker.start_container(&made.id, None::<StartContainerOptions>).await.unwrap();
        made.id
    });
    let asked = thread::scope(|scope| {
        let asked = scope.spawn(|| {
            eventually("the instance is up", || {
                place.suite.run(&["health", "proxyd"]).status.success().then_some(())
            });
            let asked = place.suite.run(&["ask", "wait 2"]);
            (place.suite.data(), asked)
        });
        asked.join()
    });
    remove(&outer);
    let (_, asked) = asked.unwrap();
    let errors = String::from_utf8_lossy(&asked.stderr);
    assert_eq!(String::from_utf8_lossy(&asked.stdout).trim(), "I waited 2 seconds.", "{errors}");
    assert!(fs::read_dir(place.suite.data().join("homes")).unwrap().count() > 0);
}

#[test]
fn docker_without_an_image_or_without_the_right_to_it_does_not_start() {
    let mut suite = Suite::made();
    suite.set("CONTAINER_BACKEND", "docker").set("LISTEN_ADDR", "127.0.0.1:0");
    let (code, line) = suite.fails(&["run", "runed"]);
    assert_eq!(code, 78, "{line}");
    assert!(line.contains("CONTAINER_IMAGE"), "the line says what to set: {line}");
    // What is set by half is not done by half: agents are not started as processes instead.
    assert!(!suite.data().join("run/r").exists());
}

/// Agents in containers, killed in mid-turn by their first process, beside daemons that are killed.
#[test]
#[ignore = "minutes: tests/run --long"]
fn no_message_is_lost_under_faults_where_agents_are_containers() {
    if !here() {
        return;
    }
    let mut suite = Suite::new();
    suite.set("CONTAINER_IMAGE", IMAGE);
    let asked = ["--messages", "100", "--faults", "10", "--seed", "3", "--backend", "docker"];
    let out = suite.run(&[&["--json", "chaos"], asked.as_slice()].concat());
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    let report: serde_json::Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("no report ({error}): {errors}"));
    assert_eq!(out.status.code(), Some(0), "{report:#} {errors}");
    assert!(report["backend"].as_str().unwrap().starts_with("docker"), "{report:#}");
    let number = |name: &str| report["ledger"][name].as_u64().unwrap();
    let ends = ["answered", "silent", "interrupted", "failed", "ambiguous"];
    assert_eq!(ends.map(number).iter().sum::<u64>(), 100, "{report:#}");
    for wrong in ["lost", "doubled", "out_of_order"] {
        assert_eq!(number(wrong), 0, "{report:#}");
    }
    // An agent was met, and not only looked for.
    let faults = report["faults"].as_object().unwrap();
    assert!(
        faults.keys().any(|name| ["kill:agent", "kill:container"].contains(&name.as_str())),
        "{faults:?}"
    );
}
