//! What runs a pod's container: a process of this machine, or a container of its Docker engine.
//!
//! A process gets its volumes as paths of this machine, in its arguments and its environment, and is held by nothing.
//! A container gets what the pod's specification says: user, root, capabilities, limits, volumes. It has no network,
//! as where a network policy lets agents reach nothing.

mod docker;
mod environment;

use crate::kubelet::{Exit, Image};
use crate::store::Key;
use crate::{Shared, lock, volumes};
use docker::Docker;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
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
    /// In place of the image's entry point.
    pub command: Vec<String>,
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

/// Lays out a pod's volumes, and starts its one container.
pub async fn begin(
    shared: &Shared,
    key: &Key,
    pod: &Value,
    image: &Image,
) -> Result<Container, String> {
    let failed = |error: std::io::Error| format!("volumes: {error}");
    let volumes = volumes::lay_out(shared, key, pod).map_err(failed)?;
    let container = &pod["spec"]["containers"][0];
    let recipe = recipe(shared, key, pod, container, &volumes).map_err(failed)?;
    start(shared, pod, image, &recipe).await
}

/// Starts a container.
pub async fn start(
    shared: &Shared,
    pod: &Value,
    image: &Image,
    recipe: &Recipe,
) -> Result<Container, String> {
    match image {
        Image::Program { program, name, args } => {
            process(program, name, args, recipe).map_err(|error| error.to_string())
        }
        Image::Docker(image) => {
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
            lock(&shared.on_node).insert(uid.to_owned());
            let made = Docker::start(shared, pod, image, recipe).await;
            made.map(Container::Docker)
        }
    }
}

/// What a container is made of. A Secret or a ConfigMap that its environment needs and that is not there is an error.
pub fn recipe(
    shared: &Shared,
    key: &Key,
    pod: &Value,
    container: &Value,
    volumes: &BTreeMap<String, PathBuf>,
) -> std::io::Result<Recipe> {
    let place = volumes::place(shared, pod);
    fs::create_dir_all(&place)?;
    let mut mounts = Vec::new();
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let name = mount["name"].as_str().unwrap_or_default();
        let Some(source) = volumes.get(name) else {
            return Err(std::io::Error::other(format!("no volume {name}")));
        };
        let mut source = source.clone();
        source.extend(mount["subPath"].as_str());
        mounts.push(Mounted {
            target: mount["mountPath"].as_str().unwrap_or_default().to_owned(),
            source,
            read_only: mount["readOnly"] == true,
        });
    }
    let env = environment::of(shared, key, pod, container)?;
    let expanded = |list: &Value| -> Vec<String> {
        let words = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        words.map(|word| environment::expanded(word, &env)).collect()
    };
    let (command, args) = (expanded(&container["command"]), expanded(&container["args"]));
    Ok(Recipe {
        command,
        args,
        env,
        dir: container["workingDir"].as_str().unwrap_or("/").to_owned(),
        mounts,
        log: place.join(log_name(container["name"].as_str().unwrap_or_default())),
    })
}

/// A command in a container that is a process: the image's program under any of its names, or another of this machine.
pub fn command(image: &Image, recipe: &Recipe, words: &[String]) -> Result<Command, String> {
    let Image::Program { program, .. } = image else { return Err("no commands here".into()) };
    let first = words.first().ok_or("no command")?;
    let name = first.rsplit('/').next().unwrap_or_default();
    let ours = program.file_name().is_some_and(|own| own == name);
    let mut command = Command::new(if ours { program.as_os_str() } else { first.as_ref() });
    if !ours
        && std::process::Command::new("which")
            .arg(first)
            .output()
            .is_ok_and(|out| !out.status.success())
    {
        return Err(format!("exec: \"{first}\": executable file not found in $PATH"));
    }
    command.args(words.iter().skip(1)).current_dir(recipe.here(&recipe.dir));
    recipe.surround(&mut command);
    Ok(command)
}

impl Recipe {
    /// Gives a process the container's environment and no other.
    fn surround(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(self.env.iter().map(|(name, value)| (name, self.here(value))));
    }

    /// A path of the container, as this machine has it, also as a URL.
    fn here(&self, text: &str) -> String {
        if let Some(path) = text.strip_prefix("file://") {
            return format!("file://{}", self.here(path));
        }
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
    match recipe.command.first() {
        // Such as a daemon's own name, of a program that has many.
        Some(own) => command.arg0(own).args(&recipe.command[1..]),
        None => command.arg0(name).args(args),
    };
    recipe.surround(&mut command);
    command
        .args(recipe.args.iter().map(|arg| recipe.here(arg)))
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

/// The file of what a container wrote; that of the agent, and of whichever there is only one, has the short name.
fn log_name(container: &str) -> String {
    match container {
        "" | "agent" => "log".to_owned(),
        name => format!("{name}.log"),
    }
}

/// What a pod's container has written.
pub async fn log(shared: &Shared, pod: &Value, container: &str) -> Vec<u8> {
    match shared.options.runtime {
        Runtime::Process => {
            let name = log_name(container);
            fs::read(volumes::place(shared, pod).join(name)).unwrap_or_default()
        }
        Runtime::Docker => docker::log(pod).await,
    }
}

/// Removes what is left of a pod that is gone.
pub async fn forget(shared: &Shared, pod: &Value) {
    if shared.options.runtime == Runtime::Docker {
        docker::forget(pod).await;
        lock(&shared.on_node).remove(pod["metadata"]["uid"].as_str().unwrap_or_default());
    }
}

/// Ends everything that is left.
pub fn clear(shared: &Shared) {
    if shared.options.runtime == Runtime::Docker {
        let left: Vec<String> = lock(&shared.on_node).iter().cloned().collect();
        docker::clear(&left);
    }
}
