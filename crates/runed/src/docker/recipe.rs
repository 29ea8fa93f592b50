//! The container of a run, as the engine is asked for it. Pure: what an agent can see and do is decided here.

use crate::run::{RunId, RunSpec};
use crate::users::Ids;
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use proto::runed::Egress;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Where an agent finds its home.
pub(super) const HOME: &str = "/home/agent";
/// Where it finds the directory with its turn's socket.
pub(super) const SOCKET_DIR: &str = "/run/arizuko";
/// Where it finds its skills.
pub(super) const SKILLS: &str = "/workspace";
/// The label with the instance's name.
pub(super) const INSTANCE: &str = "arizuko.instance";
/// The label with the instance's data directory: two instances may have one name.
pub(super) const DATA: &str = "arizuko.data";
/// The label with the run's id.
pub(super) const RUN: &str = "arizuko.run";
/// The label with the folder.
const FOLDER: &str = "arizuko.folder";
/// Open files of one process.
const FILES: i64 = 4096;
/// Bytes of one file.
const FILE_SIZE: i64 = 4 << 30;
/// The temporary directory, which counts as memory of the run. Programs may be run from it.
const TMP: &str = "rw,exec,nosuid,nodev,size=256m,mode=1777";
/// Bytes of `/dev/shm`.
const SHM: i64 = 64 << 20;
/// The engine keeps two files of a container's output, each of this size.
const LOG_FILE: &str = "8m";
/// When memory is short, the kernel takes an agent before a daemon.
const OOM_SCORE: i64 = 500;

/// What all containers of an instance have in common.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    /// Its name.
    pub name: String,
    /// Its data directory, as the engine sees it.
    pub data: String,
    /// The network of agents that are granted one.
    pub network: Option<String>,
    /// The directory of the skills, as the engine sees it.
    pub skills: Option<String>,
}

/// The two places that are this run's own, as the engine sees them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub home: String,
    pub turn_dir: String,
}

impl Instance {
    /// The name of a run's container. The same run has the same name, so that a second request makes no second one.
    pub fn container(&self, id: &RunId) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = self.name.chars().map(plain).collect();
        let data = hex::encode(Sha256::digest(self.data.as_bytes()));
        format!("arizuko-{name}-{}-{id}", data.get(..8).unwrap_or_default())
    }

    /// The filter that finds the containers of this instance and no other.
    pub fn filter(&self) -> HashMap<String, Vec<String>> {
        let label = |name: &str, value: &str| format!("{name}={value}");
        [("label".into(), vec![label(INSTANCE, &self.name), label(DATA, &self.data)])].into()
    }

    /// The container of a run. `None` where the run is to have a network and there is none for agents.
    pub fn recipe(
        &self,
        run: &RunSpec,
        image: &str,
        user: Ids,
        places: &Places,
    ) -> Option<ContainerCreateBody> {
        let network = match run.egress {
            Egress::None => "none".to_owned(),
            Egress::Granted => self.network.clone()?,
        };
        let folder = run.folder.as_ref().map(ToString::to_string).unwrap_or_default();
        let labels = [
            (INSTANCE, self.name.clone()),
            (DATA, self.data.clone()),
            (RUN, run.id.to_string()),
            (FOLDER, folder),
        ];
        let text = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        Some(ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: text(&["--socket-dir", SOCKET_DIR, "--home", HOME, "--bridge"]),
            env: Some(vec![format!("HOME={HOME}"), "LANG=C.UTF-8".into()]),
            hostname: Some("agent".into()),
            user: Some(format!("{}:{}", user.uid, user.gid)),
            working_dir: Some(HOME.into()),
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into()),
            // What an image brings along for services is not for a run.
            healthcheck: Some(HealthConfig { test: text(&["NONE"]), ..HealthConfig::default() }),
            host_config: Some(HostConfig {
                network_mode: Some(network),
                mounts: Some(self.mounts(places)),
                ..confined(run)
            }),
            ..ContainerCreateBody::default()
        })
    }

    fn mounts(&self, places: &Places) -> Vec<Mount> {
        let mut mounts =
            vec![bind(&places.home, HOME, false), bind(&places.turn_dir, SOCKET_DIR, true)];
        mounts.extend(self.skills.as_deref().map(|skills| bind(skills, SKILLS, true)));
        mounts
    }
}

fn bind(source: &str, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

/// Limits, and everything that is taken away.
fn confined(run: &RunSpec) -> HostConfig {
    let limits = &run.limits;
    let memory = i64::from(limits.memory_mib) << 20;
    let ulimit = |name: &str, most: i64| ResourcesUlimits {
        name: Some(name.into()),
        soft: Some(most),
        hard: Some(most),
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    HostConfig {
        memory: Some(memory),
        // Memory and swap together: no swap.
        memory_swap: Some(memory),
        cpu_period: Some(100_000),
        // Not `nano_cpus`, which an engine with fewer processors than asked for refuses.
        cpu_quota: Some(i64::from(limits.cpu_milli).max(10) * 100),
        pids_limit: Some(i64::from(limits.pids)),
        ulimits: Some(vec![ulimit("core", 0), ulimit("nofile", FILES), ulimit("fsize", FILE_SIZE)]),
        oom_score_adj: Some(OOM_SCORE),
        shm_size: Some(SHM),
        // Reaps, passes signals on, and is the first process, to which an agent cannot be deaf.
        init: Some(true),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(vec!["no-new-privileges".into()]),
        readonly_rootfs: Some(true),
        tmpfs: Some([pair("/tmp", TMP)].into()),
        ipc_mode: Some("private".into()),
        auto_remove: Some(false),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".into()),
            config: Some([pair("max-size", LOG_FILE), pair("max-file", "2")].into()),
        }),
        ..HostConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::runed::Limits;
    use proto::turn::Harness;

    fn instance() -> Instance {
        let (name, data) = ("demo".into(), "/srv/demo".into());
        Instance { name, data, network: None, skills: None }
    }

    fn run(egress: Egress) -> RunSpec {
        RunSpec {
            id: "r1".parse().unwrap(),
            folder: Some("corp/eng".parse().unwrap()),
            home: "corp".parse().unwrap(),
            image: None,
            limits: Limits { memory_mib: 100, cpu_milli: 1500, pids: 40, ..Limits::default() },
            egress,
            turn_dir: "/srv/demo/run/t/1".into(),
            listener: None,
            harness: Harness::Offline,
        }
    }

    fn made(instance: &Instance, egress: Egress) -> Option<ContainerCreateBody> {
        let places = Places { home: "/h".into(), turn_dir: "/t".into() };
        instance.recipe(&run(egress), "agent:1", Ids { uid: 5, gid: 6 }, &places)
    }

    #[test]
    fn a_run_has_a_home_a_socket_no_network_and_nothing_else() {
        let body = made(&instance(), Egress::None).unwrap();
        let host = body.host_config.unwrap();
        let mounts: Vec<_> = host
            .mounts
            .unwrap()
            .into_iter()
            .map(|mount| (mount.source.unwrap(), mount.target.unwrap(), mount.read_only.unwrap()))
            .collect();
        let expected = [("/h", HOME, false), ("/t", SOCKET_DIR, true)];
        assert_eq!(mounts, expected.map(|(from, to, ro)| (from.to_owned(), to.to_owned(), ro)));
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(body.user.as_deref(), Some("5:6"));
        assert_eq!(body.env.unwrap(), ["HOME=/home/agent", "LANG=C.UTF-8"]);
        assert_eq!((host.memory, host.memory_swap), (Some(100 << 20), Some(100 << 20)));
        assert_eq!((host.cpu_quota, host.pids_limit), (Some(150_000), Some(40)));
        assert_eq!(host.readonly_rootfs, Some(true));
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!((host.binds, host.pid_mode, host.cap_add), (None, None, None));
        let labels = body.labels.unwrap();
        assert_eq!(labels["arizuko.folder"], "corp/eng");
        assert_eq!((labels[INSTANCE].as_str(), labels[RUN].as_str()), ("demo", "r1"));
    }

    #[test]
    fn a_network_is_a_grant_and_only_the_one_that_was_set_apart() {
        assert_eq!(made(&instance(), Egress::Granted), None);
        let with = Instance { network: Some("agents".into()), ..instance() };
        let network = |egress| made(&with, egress).unwrap().host_config.unwrap().network_mode;
        assert_eq!(network(Egress::Granted).as_deref(), Some("agents"));
        assert_eq!(network(Egress::None).as_deref(), Some("none"), "to have it is not to give it");
    }

    #[test]
    fn a_container_is_named_after_its_run_and_its_instance() {
        let id: RunId = "r1".parse().unwrap();
        let name = instance().container(&id);
        assert_eq!(name, instance().container(&id));
        let twin = Instance { data: "/srv/other".into(), ..instance() };
        assert_ne!(name, twin.container(&id), "two instances of one name");
        let odd = Instance { name: "a b/c".into(), ..instance() };
        assert!(odd.container(&id).starts_with("arizuko-a-b-c-"), "{}", odd.container(&id));
    }
}
