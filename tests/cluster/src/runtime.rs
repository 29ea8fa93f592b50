//! What runs a pod's container: a process of this machine, or a container of its Docker engine.
//!
//! A process gets its volumes as paths of this machine, in its arguments and its environment, and is held by nothing.
//! A container gets what the pod's specification says: user, root, capabilities, limits, volumes. It has no network,
//! as where a network policy lets agents reach nothing.

mod docker;

use crate::kubelet::{Exit, Image};
use crate::{Shared, lock};
use docker::Docker;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

/// What runs containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Processes of this machine.
    Process,
    /// Containers of the Docker engine at its usual socket.
    Docker,
}

/// A volume, mounted.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// Where the container sees it.
    pub target: String,
    /// Where it is.
    pub source: PathBuf,
    pub read_only: bool,
}

/// What a container is made of, apart from its image.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub dir: String,
    pub mounts: Vec<Mounted>,
    pub log: PathBuf,
}

/// A container that runs.
pub enum Container {
    Process(Child),
    Docker(Docker),
}

fn dir(shared: &Shared, pod: &Value) -> PathBuf {
    shared.place.join("pods").join(pod["metadata"]["uid"].as_str().unwrap_or_default())
}

/// Lays out a pod's volumes, and starts its container.
pub async fn begin(
    shared: &Shared,
    pod: &Value,
    image: &Image,
    token: impl Fn(&str) -> String,
) -> Result<Container, String> {
    let recipe = recipe(shared, pod, token).map_err(|error| format!("volumes: {error}"))?;
    match image {
        Image::Program { program, name, args } => {
            process(program, name, args, &recipe).map_err(|error| error.to_string())
        }
        Image::Docker(image) => {
            let made = Docker::start(shared, pod, image, &recipe).await;
            made.map(Container::Docker)
        }
    }
}

fn recipe(shared: &Shared, pod: &Value, token: impl Fn(&str) -> String) -> std::io::Result<Recipe> {
    let place = dir(shared, pod);
    fs::create_dir_all(&place)?;
    let container = &pod["spec"]["containers"][0];
    let mut mounts = Vec::new();
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let name = mount["name"].as_str().unwrap_or_default();
        let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let Some(volume) = volumes.find(|volume| volume["name"] == name) else {
            return Err(std::io::Error::other(format!("no volume {name}")));
        };
        let scratch = volume["persistentVolumeClaim"].is_null();
        let mut source = if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str()
        {
            let claim = shared.options.claims.get(claim);
            claim.cloned().ok_or_else(|| std::io::Error::other("no such claim"))?
        } else {
            place.join(name)
        };
        if scratch {
            fs::create_dir_all(&source)?;
            fs::set_permissions(&source, fs::Permissions::from_mode(0o1777))?;
        }
        for one in volume["projected"]["sources"].as_array().into_iter().flatten() {
            let one = &one["serviceAccountToken"];
            let file = source.join(one["path"].as_str().unwrap_or("token"));
            fs::write(&file, token(one["audience"].as_str().unwrap_or_default()))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o444))?;
        }
        source.extend(mount["subPath"].as_str());
        mounts.push(Mounted {
            target: mount["mountPath"].as_str().unwrap_or_default().to_owned(),
            source,
            read_only: mount["readOnly"] == true,
        });
    }
    let strings = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut env: Vec<(String, String)> = container["env"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            (
                one["name"].as_str().unwrap_or_default().to_owned(),
                one["value"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    // The kubelet adds these to every container, whatever the pod says of service links.
    let (host, port) = (shared.address.ip(), shared.address.port());
    for (name, value) in [
        ("KUBERNETES_SERVICE_HOST", host.to_string()),
        ("KUBERNETES_SERVICE_PORT", port.to_string()),
        ("KUBERNETES_SERVICE_PORT_HTTPS", port.to_string()),
        ("KUBERNETES_PORT", format!("tcp://{host}:{port}")),
        ("KUBERNETES_PORT_443_TCP", format!("tcp://{host}:{port}")),
        ("KUBERNETES_PORT_443_TCP_PROTO", "tcp".into()),
        ("KUBERNETES_PORT_443_TCP_PORT", port.to_string()),
        ("KUBERNETES_PORT_443_TCP_ADDR", host.to_string()),
    ] {
        env.push((name.into(), value));
    }
    Ok(Recipe {
        args: strings(&container["args"]),
        env,
        dir: container["workingDir"].as_str().unwrap_or("/").to_owned(),
        mounts,
        log: place.join("log"),
    })
}

impl Recipe {
    /// A path of the container, as this machine has it.
    fn here(&self, text: &str) -> String {
        let mount = self.mounts.iter().find(|mount| {
            text.strip_prefix(&mount.target)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        mount.map_or_else(
            || text.to_owned(),
            |mount| text.replacen(&mount.target, &mount.source.display().to_string(), 1),
        )
    }
}

fn process(
    program: &PathBuf,
    name: &str,
    args: &[String],
    recipe: &Recipe,
) -> std::io::Result<Container> {
    let log = fs::OpenOptions::new().create(true).append(true).open(&recipe.log)?;
    let mut command = Command::new(program);
    command
        .arg0(name)
        .args(args)
        .args(recipe.args.iter().map(|arg| recipe.here(arg)))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(recipe.env.iter().map(|(name, value)| (name, recipe.here(value))))
        .current_dir(recipe.here(&recipe.dir))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().map(Container::Process)
}

fn exit_of(status: ExitStatus) -> Exit {
    let code = status.code().or(status.signal().map(|signal| signal + 128)).unwrap_or(255);
    Exit { code: code.into(), ..Exit::default() }
}

fn signal_all(child: &Child, group: Option<u32>, signal: Signal) {
    let id = child.id().or(group).and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    // All of them may be gone.
    let _gone = id.map(|id| kill_process_group(id, signal));
}

impl Container {
    /// Returns once its first process has ended, and ends what it left behind.
    pub async fn ended(&mut self) -> Exit {
        match self {
            Self::Process(child) => {
                let group = child.id();
                let status = child.wait().await.unwrap();
                signal_all(child, group, Signal::KILL);
                exit_of(status)
            }
            Self::Docker(docker) => docker.ended().await,
        }
    }

    /// Asks it to end, and ends it after a while.
    pub async fn end(&mut self, grace: Duration) -> Exit {
        match self {
            Self::Process(child) => {
                let group = child.id();
                signal_all(child, group, Signal::TERM);
                let status = match tokio::time::timeout(grace, child.wait()).await {
                    Ok(status) => status.unwrap(),
                    Err(_) => {
                        signal_all(child, group, Signal::KILL);
                        child.wait().await.unwrap()
                    }
                };
                signal_all(child, group, Signal::KILL);
                exit_of(status)
            }
            Self::Docker(docker) => docker.end(grace).await,
        }
    }
}

/// What a pod's container has written.
pub async fn log(shared: &Shared, pod: &Value) -> Vec<u8> {
    match shared.options.runtime {
        Runtime::Process => fs::read(dir(shared, pod).join("log")).unwrap_or_default(),
        Runtime::Docker => docker::log(pod).await,
    }
}

/// Removes what is left of a pod that is gone.
pub async fn forget(shared: &Shared, pod: &Value) {
    if shared.options.runtime == Runtime::Docker {
        docker::forget(pod).await;
    }
}

/// Ends everything that is left.
pub fn clear(shared: &Shared) {
    if shared.options.runtime == Runtime::Docker {
        let uids = shared.store.list("pods", "").0;
        let uids = uids.iter().filter_map(|(_, pod)| pod["metadata"]["uid"].as_str());
        let mut left: Vec<String> = uids.map(str::to_owned).collect();
        left.extend(lock(&shared.running).keys().cloned());
        docker::clear(&left);
    }
}
