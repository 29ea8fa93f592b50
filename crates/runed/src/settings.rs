//! What an operator may set of runed.

mod pods;

pub(crate) use pods::Pods;

use kit::{AnySetting, RUN_TIMEOUT, Setting, SettingError, Settings, parse};
use std::path::PathBuf;

/// What runs agents.
pub const CONTAINER_BACKEND: Setting<BackendChoice> = Setting {
    name: "CONTAINER_BACKEND",
    default: "auto",
    about: "What runs agents: `docker` in containers of a Docker engine; `kubernetes` in Jobs of a cluster; `process` as child processes in a sandbox; `none` not at all, and messages are stored and observed only; `auto` is `docker` where CONTAINER_IMAGE is set and the engine's socket is there, and else `process`.",
    expects: EXPECTS,
    parse: backend,
};

#[cfg(all(feature = "docker", feature = "kubernetes"))]
const EXPECTS: &str = "auto, docker, kubernetes, process or none";
#[cfg(all(feature = "docker", not(feature = "kubernetes")))]
const EXPECTS: &str = "auto, docker, process or none; kubernetes is not in this build";
#[cfg(all(not(feature = "docker"), feature = "kubernetes"))]
const EXPECTS: &str = "auto, kubernetes, process or none; docker is not in this build";
#[cfg(not(any(feature = "docker", feature = "kubernetes")))]
const EXPECTS: &str = "auto, process or none; docker and kubernetes are not in this build";

/// The image of agent containers.
pub const CONTAINER_IMAGE: Setting<Option<String>> = Setting {
    name: "CONTAINER_IMAGE",
    default: "",
    about: "The image that agents run in, where the backend has images and the run names none. Required with `docker` and `kubernetes`; its entry point is `ant`. Processes have none.",
    expects: "an image reference",
    parse: |text| parse::optional(text, parse::text),
};

/// Runs at once.
pub const MAX_CONCURRENT_RUNS: Setting<u32> = Setting {
    name: "MAX_CONCURRENT_RUNS",
    default: "4",
    about: "How many agents run at once. Others wait in order; a folder never has two.",
    expects: "a number from 1 to 1000",
    parse: |text| parse::number(text).filter(|number| (1..=1000).contains(number)),
};

/// The socket of the container engine.
pub const DOCKER_SOCKET: Setting<PathBuf> = Setting {
    name: "DOCKER_SOCKET",
    default: "/var/run/docker.sock",
    about: "The Unix socket of the Docker engine. Whoever may use it is root on that machine: give it to runed alone.",
    expects: "an absolute path",
    parse: absolute,
};

/// The data directory as the engine sees it.
pub const HOST_DATA_DIR: Setting<Option<PathBuf>> = Setting {
    name: "HOST_DATA_DIR",
    default: "",
    about: "The data directory's path on the machine of the Docker engine, where runed is itself in a container.",
    expects: "an absolute path",
    parse: |text| parse::optional(text, absolute),
};

/// The agents' skills.
pub const HOST_APP_DIR: Setting<Option<PathBuf>> = Setting {
    name: "HOST_APP_DIR",
    default: "",
    about: "A directory that every agent gets to read as /workspace: its skills. On the machine of the Docker engine where agents are containers, else on this one.",
    expects: "an absolute path",
    parse: |text| parse::optional(text, absolute),
};

/// Where the Claude Code CLI is.
pub const CLAUDE_CLI: Setting<Option<PathBuf>> = Setting {
    name: "CLAUDE_CLI",
    default: "",
    about: "The Claude Code CLI for agents that are processes, one program file. Without it `claude` is looked for among the system's programs; a container has its image's own.",
    expects: "an absolute path",
    parse: |text| parse::optional(text, absolute),
};

/// The network of agents that are granted egress.
pub const EGRESS_NETWORK: Setting<Option<String>> = Setting {
    name: "EGRESS_NETWORK",
    default: "",
    about: "The Docker network for agents of folders that are granted egress; with `kubernetes`, the value of the label arizuko.egress of their pods, which a network policy selects. Without it such runs are refused; without the grant an agent has no network.",
    expects: "the name of a network that was made for agents; not host, bridge, default, none or another container's",
    parse: |text| parse::optional(text, network),
};

/// As whom agents run.
pub const AGENT_USER: Setting<Option<AgentUser>> = Setting {
    name: "AGENT_USER",
    default: "",
    about: "The user of agents in containers and pods, who owns their homes, where runed is root; 1000:1000 if it is not set. A runed that is not root runs them as its own user.",
    expects: "uid:gid, neither of them 0",
    parse: |text| parse::optional(text, AgentUser::parse),
};

/// All of them, for the reference.
pub const SETTINGS: &[&dyn AnySetting] = &[
    &CONTAINER_BACKEND,
    &CONTAINER_IMAGE,
    &DOCKER_SOCKET,
    &HOST_DATA_DIR,
    &HOST_APP_DIR,
    &CLAUDE_CLI,
    &EGRESS_NETWORK,
    &AGENT_USER,
    &MAX_CONCURRENT_RUNS,
    &RUN_TIMEOUT,
    &pods::KUBERNETES_API_URL,
    &pods::KUBERNETES_ACCOUNT_DIR,
    &pods::KUBERNETES_NAMESPACE,
    &pods::AGENT_SERVICE_ACCOUNT,
    &pods::AGENT_CLAIM,
    &pods::AGENT_CLAIM_PATH,
    &pods::AGENT_RUNTIME_CLASS,
    &pods::AGENT_NODE_SELECTOR,
    &pods::AGENT_NODE,
    &pods::AGENT_TOLERATIONS,
    &pods::AGENT_PULL_SECRETS,
    &pods::AGENT_REQUESTS,
    &pods::AGENT_LABELS,
];

/// A backend that this build has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    /// What the other settings and the machine say.
    Auto,
    /// Containers of a Docker engine.
    #[cfg(feature = "docker")]
    Docker,
    /// Jobs of a Kubernetes cluster.
    #[cfg(feature = "kubernetes")]
    Kubernetes,
    /// Child processes.
    Process,
    /// Nothing runs.
    None,
}

fn backend(text: &str) -> Option<BackendChoice> {
    match text {
        "auto" => Some(BackendChoice::Auto),
        #[cfg(feature = "docker")]
        "docker" => Some(BackendChoice::Docker),
        #[cfg(feature = "kubernetes")]
        "kubernetes" => Some(BackendChoice::Kubernetes),
        "process" => Some(BackendChoice::Process),
        "none" => Some(BackendChoice::None),
        _ => None,
    }
}

fn absolute(text: &str) -> Option<PathBuf> {
    parse::path(text).filter(|path| path.is_absolute())
}

/// A network that is somebody else's, or none at all, is not one for agents.
fn network(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let special = ["host", "bridge", "default", "none"].contains(&text);
    (!text.is_empty() && !special && text.chars().all(plain)).then(|| text.to_owned())
}

/// A user and a group, as numbers. Neither is root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentUser {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl AgentUser {
    /// From `uid:gid`, or `uid` for both.
    pub fn parse(text: &str) -> Option<Self> {
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        let user = Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? };
        (user.uid != 0 && user.gid != 0).then_some(user)
    }
}

/// What was set, read once.
#[cfg_attr(
    not(all(feature = "docker", feature = "kubernetes")),
    expect(dead_code, reason = "a part of it is for a backend that this build has not")
)]
#[derive(Clone, Debug)]
pub(crate) struct Values {
    pub(crate) backend: BackendChoice,
    pub(crate) image: Option<String>,
    pub(crate) socket: PathBuf,
    pub(crate) host_data_dir: Option<PathBuf>,
    pub(crate) skills: Option<PathBuf>,
    pub(crate) claude: Option<PathBuf>,
    pub(crate) network: Option<String>,
    pub(crate) user: Option<AgentUser>,
    pub(crate) pods: Pods,
    pub(crate) capacity: u32,
    pub(crate) run_timeout_seconds: u32,
}

impl Values {
    pub(crate) fn read(settings: &Settings) -> Result<Self, SettingError> {
        let timeout = settings.get(&RUN_TIMEOUT)?;
        Ok(Self {
            backend: settings.get(&CONTAINER_BACKEND)?,
            image: settings.get(&CONTAINER_IMAGE)?,
            socket: settings.get(&DOCKER_SOCKET)?,
            host_data_dir: settings.get(&HOST_DATA_DIR)?,
            skills: settings.get(&HOST_APP_DIR)?,
            claude: settings.get(&CLAUDE_CLI)?,
            network: settings.get(&EGRESS_NETWORK)?,
            user: settings.get(&AGENT_USER)?,
            pods: Pods::read(settings)?,
            capacity: settings.get(&MAX_CONCURRENT_RUNS)?,
            run_timeout_seconds: u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_is_refused_with_what_would_do() {
        for backend in ["kubernetes ", "podman", "Process", "Docker"] {
            let settings = Settings::default().with("CONTAINER_BACKEND", backend);
            let error = Values::read(&settings).unwrap_err().to_string();
            assert!(error.contains(backend) && error.contains("process or none"), "{error}");
        }
        let values = Values::read(&Settings::default()).unwrap();
        assert_eq!(values.backend, BackendChoice::Auto);
        assert_eq!((values.capacity, values.run_timeout_seconds), (4, 900));
        for (name, bad) in [
            ("MAX_CONCURRENT_RUNS", "0"),
            ("RUN_TIMEOUT", "2d"),
            ("DOCKER_SOCKET", "docker.sock"),
            ("HOST_DATA_DIR", "data"),
            ("EGRESS_NETWORK", "host"),
            ("EGRESS_NETWORK", "bridge"),
            ("EGRESS_NETWORK", "container:x"),
            ("AGENT_USER", "0:0"),
            ("AGENT_USER", "1000:0"),
            ("AGENT_USER", "me"),
        ] {
            assert!(Values::read(&Settings::default().with(name, bad)).is_err(), "{name}={bad}");
        }
    }
}
