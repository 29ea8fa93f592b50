//! A pod's container in the Docker engine.

use super::Recipe;
use crate::Shared;
use crate::kubelet::Exit;
use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum,
    MountType, ResourcesUlimits,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions,
    KillContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker as Client};
use futures::StreamExt;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

const SOCKET: &str = "/var/run/docker.sock";

pub struct Docker {
    client: Client,
    name: String,
}

fn name_of(uid: &str) -> String {
    format!("azpod-{uid}")
}

async fn client() -> Client {
    let client = Client::connect_with_unix(SOCKET, 600, API_DEFAULT_VERSION).unwrap();
    client.negotiate_version().await.unwrap()
}

/// A quantity of memory, in bytes.
fn bytes(text: &Value) -> Option<i64> {
    text.as_str()?.strip_suffix("Mi")?.parse::<i64>().ok().map(|mebi| mebi << 20)
}

/// A quantity of processors, in thousandths.
fn milli(text: &Value) -> Option<i64> {
    text.as_str()?.strip_suffix('m')?.parse().ok()
}

impl Docker {
    pub async fn start(
        shared: &Shared,
        pod: &Value,
        image: &str,
        recipe: &Recipe,
    ) -> Result<Self, String> {
        let client = client().await;
        let name = name_of(pod["metadata"]["uid"].as_str().unwrap_or_default());
        let (spec, container) = (&pod["spec"], &pod["spec"]["containers"][0]);
        let (own, of_pod) = (&container["securityContext"], &spec["securityContext"]);
        let user = (of_pod["runAsUser"].as_u64(), of_pod["runAsGroup"].as_u64());
        let user = user.0.map(|uid| format!("{uid}:{}", user.1.unwrap_or(0)));
        if of_pod["runAsNonRoot"] == true && user.as_deref().is_none_or(|u| u.starts_with("0:")) {
            return Err("container has runAsNonRoot and image will run as root".into());
        }
        let limits = &container["resources"]["limits"];
        let mut security = Vec::new();
        if own["allowPrivilegeEscalation"] == false {
            security.push("no-new-privileges".to_owned());
        }
        if of_pod["seccompProfile"]["type"] != "RuntimeDefault" {
            security.push("seccomp=unconfined".to_owned());
        }
        let drop: Vec<String> = own["capabilities"]["drop"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let memory = bytes(&limits["memory"]);
        let core = ResourcesUlimits { name: Some("core".into()), soft: Some(0), hard: Some(0) };
        let mounts = recipe.mounts.iter().map(|mount| Mount {
            typ: Some(MountType::BIND),
            source: Some(mount.source.display().to_string()),
            target: Some(mount.target.clone()),
            read_only: Some(mount.read_only),
            bind_options: Some(MountBindOptions {
                propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
                ..MountBindOptions::default()
            }),
            ..Mount::default()
        });
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(recipe.args.clone()),
            env: Some(recipe.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            user,
            working_dir: Some(recipe.dir.clone()),
            hostname: pod["metadata"]["name"].as_str().map(str::to_owned),
            host_config: Some(HostConfig {
                network_mode: Some("none".into()),
                mounts: Some(mounts.collect()),
                memory,
                memory_swap: memory,
                cpu_period: Some(100_000),
                cpu_quota: milli(&limits["cpu"]).map(|milli| milli.max(10) * 100),
                pids_limit: Some(shared.options.pod_pids),
                readonly_rootfs: Some(own["readOnlyRootFilesystem"] == true),
                privileged: Some(own["privileged"] == true),
                cap_drop: Some(drop),
                security_opt: Some(security),
                ulimits: Some(vec![core]),
                // A real pod's first process has the runtime's own for a parent; this one reaps.
                init: Some(true),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let made = client.create_container(Some(options), body).await;
        made.map_err(|error| error.to_string())?;
        let started = client.start_container(&name, None::<StartContainerOptions>).await;
        started.map_err(|error| error.to_string())?;
        Ok(Self { client, name })
    }

    /// Returns once it has ended. What the kernel ends in it for its memory ends all of it, as where the kubelet has
    /// the kernel end groups.
    pub async fn ended(&mut self) -> Exit {
        tokio::select! {
            exit = self.exit() => exit,
            () = self.out_of_memory() => {
                self.kill("SIGKILL").await;
                Exit { code: 137, oom: true, ..self.exit().await }
            }
        }
    }

    /// Returns once the kernel has ended something in it for its memory. Asked again and again, because a busy engine
    /// may not say so to whoever listens, and remembers it.
    async fn out_of_memory(&self) {
        let words = |word: &str| vec![word.to_owned()];
        let filters: HashMap<String, Vec<String>> =
            [("container".to_owned(), words(&self.name)), ("event".to_owned(), words("oom"))]
                .into();
        loop {
            let options = EventsOptionsBuilder::new().since("1").filters(&filters).build();
            let mut events = std::pin::pin!(self.client.events(Some(options)));
            let heard = tokio::time::timeout(Duration::from_secs(2), events.next()).await;
            if matches!(heard, Ok(Some(Ok(_)))) {
                return;
            }
            if heard.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    async fn exit(&self) -> Exit {
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let mut waited = std::pin::pin!(self.client.wait_container(&self.name, Some(options)));
        // Another code than 0 is an error there; the state says it.
        let _code = waited.next().await;
        let state = self.client.inspect_container(&self.name, None::<InspectContainerOptions>);
        let state = state.await.unwrap().state.unwrap();
        let code = state.exit_code.unwrap_or_default();
        Exit { code, oom: code != 0 && state.oom_killed == Some(true), ..Exit::default() }
    }

    async fn kill(&self, signal: &str) {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        // It may have ended.
        let _gone = self.client.kill_container(&self.name, Some(options)).await.is_err();
    }

    pub async fn end(&mut self, grace: Duration) -> Exit {
        self.kill("SIGTERM").await;
        match tokio::time::timeout(grace, self.exit()).await {
            Ok(exit) => exit,
            Err(_) => {
                self.kill("SIGKILL").await;
                self.exit().await
            }
        }
    }
}

/// What a pod's container has written.
pub async fn log(pod: &Value) -> Vec<u8> {
    let name = name_of(pod["metadata"]["uid"].as_str().unwrap_or_default());
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
    let client = client().await;
    let mut parts = std::pin::pin!(client.logs(&name, Some(options)));
    let mut log = Vec::new();
    while let Some(Ok(part)) = parts.next().await {
        log.extend_from_slice(part.as_ref());
    }
    log
}

/// Removes what is left of a pod's container.
pub async fn forget(pod: &Value) {
    remove(&client().await, pod["metadata"]["uid"].as_str().unwrap_or_default()).await;
}

async fn remove(client: &Client, uid: &str) {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    // It may be gone.
    let _gone = client.remove_container(&name_of(uid), Some(options)).await.is_err();
}

/// Removes containers, from anywhere.
pub fn clear(uids: &[String]) {
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = client().await;
            for uid in uids {
                remove(&client, uid).await;
            }
        });
    };
    std::thread::scope(|scope| drop(scope.spawn(work).join()));
}
