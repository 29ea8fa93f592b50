//! The Job of a run, as the cluster is asked for it. Pure: what an agent can see and do is decided here.
//!
//! Nothing secret is in it. The pod gets a token of its own from the kubelet, for the turn's listener alone.

use super::JobSettings;
use crate::backend::Refusal;
use crate::run::{RunId, RunSpec};
use crate::users::Ids;
use k8s_openapi::api::batch::v1::Job;
use proto::runed::{Egress, TURN_AUDIENCE};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Where an agent finds its home.
const HOME: &str = "/home/agent";
/// Where it finds the directory with its token.
const TOKEN_DIR: &str = "/var/run/arizuko";
/// The token's file there.
const TOKEN: &str = "token";
/// How long a token is valid, in seconds; the kubelet brings a new one in time. The least that the cluster gives.
const TOKEN_SECONDS: u32 = 600;
/// The label with the instance's name.
pub(super) const INSTANCE: &str = "arizuko.instance";
/// The label with the claim and the path in it: two instances may have one name.
pub(super) const DATA: &str = "arizuko.data";
/// The label with the run's id.
pub(super) const RUN: &str = "arizuko.run";
/// The label with the folder, and the annotation with its exact name.
const FOLDER: &str = "arizuko.folder";
/// The label of a run that is granted egress, for the cluster's network policies.
const EGRESS: &str = "arizuko.egress";
/// The one container.
pub(super) const CONTAINER: &str = "agent";
/// How long the cluster keeps a Job that has ended and that runed did not remove, in seconds.
const KEPT: u32 = 3600;
/// How much later the Job's own time is over than its pod's, in seconds: the pod's end says how it ended.
const JOB_LATER: u64 = 60;
/// The most of a label's value, in bytes.
const LABEL_MAX: usize = 63;

/// What all Jobs of an instance have in common.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    /// Its name.
    pub name: String,
    /// What the operator set.
    pub settings: JobSettings,
    /// How much longer than its time a run may take until the cluster ends it: for finding a node and an image.
    pub slack: Duration,
    /// How long an agent has between the polite signal and the other one.
    pub grace: Duration,
}

impl Instance {
    /// What tells this instance's data from others'.
    fn data(&self) -> String {
        let JobSettings { claim, claim_path, .. } = &self.settings;
        let digest = Sha256::digest(format!("{}\n{claim}\n{claim_path}", self.name));
        hex::encode(digest).chars().take(8).collect()
    }

    /// The name of a run's Job. The same run has the same name, so that a second request makes no second one.
    pub fn job_name(&self, id: &RunId) -> String {
        format!("arizuko-{}-{id}", self.data())
    }

    /// The selector that finds what belongs to this instance and to no other.
    pub fn selector(&self) -> String {
        format!("{INSTANCE}={},{DATA}={}", label(&self.name), self.data())
    }

    /// The Job of a run.
    ///
    /// # Errors
    /// The run cannot be one.
    pub fn job(&self, run: &RunSpec, image: &str, user: Ids) -> Result<Job, Refusal> {
        let Some(listener) = &run.listener else {
            return Err(Refusal(
                "a pod does not reach a turn's socket on this machine; set TURN_URL of routd to the address at which pods find its listener of turns"
                    .into(),
            ));
        };
        let args = json!([
            "--turn-url",
            listener.url,
            "--certificate",
            listener.certificate_sha256,
            "--token-file",
            format!("{TOKEN_DIR}/{TOKEN}"),
            "--home",
            HOME,
            "--bridge",
        ]);
        let (labels, annotations) = (self.labels(run)?, self.annotations(run));
        let seconds = u64::from(run.limits.wall_clock_seconds) + self.slack.as_secs();
        let mut pod = self.pod(user);
        pod.insert("activeDeadlineSeconds".into(), seconds.into());
        pod.insert("containers".into(), json!([self.container(run, image, args)]));
        let job = json!({
            "metadata": {"name": self.job_name(&run.id), "labels": labels, "annotations": annotations},
            "spec": {
                "backoffLimit": 0,
                "completions": 1,
                "parallelism": 1,
                "activeDeadlineSeconds": seconds + JOB_LATER,
                "ttlSecondsAfterFinished": KEPT,
                "template": {
                    "metadata": {"labels": labels, "annotations": annotations},
                    "spec": pod,
                },
            },
        });
        serde_json::from_value(job).map_err(|error| {
            Refusal(format!(
                "the settings of agents' pods make no Job (AGENT_TOLERATIONS?): {error}"
            ))
        })
    }

    fn labels(&self, run: &RunSpec) -> Result<Map<String, Value>, Refusal> {
        let folder = run.folder.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut labels: Map<String, Value> = self
            .settings
            .labels
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        let own = [
            ("app.kubernetes.io/name", "arizuko-agent".to_owned()),
            ("app.kubernetes.io/managed-by", "arizuko".to_owned()),
            (INSTANCE, label(&self.name)),
            (DATA, self.data()),
            (RUN, run.id.to_string()),
            (FOLDER, label(&folder)),
        ];
        labels.extend(own.map(|(name, value)| (name.to_owned(), value.into())));
        if run.egress == Egress::Granted {
            let network = self.settings.egress.as_deref().ok_or_else(no_network)?;
            labels.insert(EGRESS.into(), network.into());
        }
        Ok(labels)
    }

    fn annotations(&self, run: &RunSpec) -> Value {
        run.folder.as_ref().map_or(json!({}), |folder| json!({FOLDER: folder.to_string()}))
    }

    fn pod(&self, user: Ids) -> Map<String, Value> {
        let settings = &self.settings;
        let grace = self.grace.as_millis().div_ceil(1000).max(1);
        let mut pod = Map::new();
        let mut set = |name: &str, value: Value| drop(pod.insert(name.into(), value));
        set("restartPolicy", "Never".into());
        set("serviceAccountName", settings.service_account.clone().into());
        set("automountServiceAccountToken", false.into());
        set("enableServiceLinks", false.into());
        set("terminationGracePeriodSeconds", u64::try_from(grace).unwrap_or(1).into());
        set(
            "securityContext",
            json!({
                "runAsNonRoot": true, "runAsUser": user.uid, "runAsGroup": user.gid,
                "seccompProfile": {"type": "RuntimeDefault"},
            }),
        );
        set(
            "volumes",
            json!([
                {"name": "home", "persistentVolumeClaim": {"claimName": settings.claim}},
                {"name": "token", "projected": {"defaultMode": 0o440, "sources": [{"serviceAccountToken": {
                    "audience": TURN_AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": TOKEN,
                }}]}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
            ]),
        );
        if let Some(class) = &settings.runtime_class {
            set("runtimeClassName", class.clone().into());
        }
        if !settings.node_selector.is_empty() {
            let selector: Map<String, Value> = settings
                .node_selector
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().into()))
                .collect();
            set("nodeSelector", selector.into());
        }
        if let Some(node) = &settings.node {
            set(
                "affinity",
                json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchFields": [
                        {"key": "metadata.name", "operator": "In", "values": [node]},
                    ]}],
                }}}),
            );
        }
        if !settings.tolerations.is_empty() {
            set("tolerations", settings.tolerations.clone().into());
        }
        if !settings.pull_secrets.is_empty() {
            let secrets = settings.pull_secrets.iter().map(|name| json!({"name": name}));
            set("imagePullSecrets", secrets.collect());
        }
        pod
    }

    fn container(&self, run: &RunSpec, image: &str, args: Value) -> Value {
        let limits = &run.limits;
        let (cpu, memory) = self.settings.requests;
        let sub_path = self.sub_path(run);
        json!({
            "name": CONTAINER,
            "image": image,
            "args": args,
            "workingDir": HOME,
            "env": [{"name": "HOME", "value": HOME}, {"name": "LANG", "value": "C.UTF-8"}],
            "resources": {
                "limits": {
                    "cpu": format!("{}m", limits.cpu_milli),
                    "memory": format!("{}Mi", limits.memory_mib),
                },
                "requests": {
                    "cpu": format!("{}m", cpu.min(limits.cpu_milli)),
                    "memory": format!("{}Mi", memory.min(limits.memory_mib)),
                },
            },
            "securityContext": {
                "privileged": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "terminationMessagePolicy": "File",
            "volumeMounts": [
                {"name": "home", "mountPath": HOME, "subPath": sub_path},
                {"name": "token", "mountPath": TOKEN_DIR, "readOnly": true},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        })
    }

    /// Where in the claim a run's home is.
    fn sub_path(&self, run: &RunSpec) -> String {
        let home = run.home.as_str();
        match self.settings.claim_path.trim_matches('/') {
            "" => format!("homes/{home}"),
            path => format!("{path}/homes/{home}"),
        }
    }
}

/// Why a run that is granted egress gets none.
pub(super) fn no_network() -> Refusal {
    Refusal(
        "the run is granted egress, and no network policy is set apart for such pods: make one that selects the label arizuko.egress and set EGRESS_NETWORK to its value, or take the grant back"
            .into(),
    )
}

/// The text as a label's value: at most 63 characters of a kind, with one of another kind at neither end.
fn label(text: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() || "_-.".contains(c) => c,
        '/' => '.',
        _ => '-',
    };
    let text: String = text.chars().map(plain).take(LABEL_MAX).collect();
    text.trim_matches(['_', '-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::TurnListener;
    use proto::runed::Limits;
    use proto::turn::Harness;

    fn instance() -> Instance {
        let settings = JobSettings {
            service_account: "agent".into(),
            claim: "data".into(),
            claim_path: "demo".into(),
            requests: (50, 64),
            ..JobSettings::default()
        };
        let (slack, grace) = (Duration::from_secs(120), Duration::from_millis(2500));
        Instance { name: "demo".into(), settings, slack, grace }
    }

    fn run(egress: Egress) -> RunSpec {
        RunSpec {
            id: "r1".parse().unwrap(),
            folder: Some("corp/eng".parse().unwrap()),
            home: "corp".parse().unwrap(),
            image: None,
            limits: Limits { memory_mib: 32, cpu_milli: 1500, ..Limits::default() },
            egress,
            turn_dir: "".into(),
            listener: Some(TurnListener {
                url: "https://r:8089".into(),
                certificate_sha256: "ab".into(),
            }),
            harness: Harness::Offline,
        }
    }

    fn made(instance: &Instance, run: &RunSpec) -> Result<Value, Refusal> {
        let job = instance.job(run, "agent:1", Ids { uid: 5, gid: 6 })?;
        Ok(serde_json::to_value(job).unwrap())
    }

    #[test]
    fn a_run_has_a_home_a_token_and_a_limit_on_everything() {
        let job = made(&instance(), &run(Egress::None)).unwrap();
        let pod = &job["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(container["volumeMounts"][0]["subPath"], "demo/homes/corp");
        assert_eq!(pod["securityContext"]["runAsUser"], 5);
        assert_eq!(pod["terminationGracePeriodSeconds"], 3, "never less than the agent's own time");
        assert_eq!(pod["activeDeadlineSeconds"], 900 + 120);
        let resources = &container["resources"];
        assert_eq!(
            (&resources["limits"]["memory"], &resources["limits"]["cpu"]),
            (&"32Mi".into(), &"1500m".into())
        );
        assert_eq!(resources["requests"]["memory"], "32Mi", "never more than its limit");
        let env: Vec<_> =
            container["env"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
        assert_eq!(env, ["HOME", "LANG"]);
        assert_eq!(job["metadata"]["labels"]["arizuko.egress"], Value::Null);
    }

    #[test]
    fn a_network_is_a_grant_and_only_the_one_that_was_set_apart() {
        assert!(made(&instance(), &run(Egress::Granted)).unwrap_err().0.contains("EGRESS_NETWORK"));
        let mut with = instance();
        with.settings.egress = Some("agents".into());
        let label = |egress| {
            made(&with, &run(egress)).unwrap()["spec"]["template"]["metadata"]["labels"]["arizuko.egress"].clone()
        };
        assert_eq!(label(Egress::Granted), "agents");
        assert_eq!(label(Egress::None), Value::Null, "to have it is not to give it");
    }

    #[test]
    fn a_job_is_named_after_its_run_and_its_instance() {
        let id: RunId = "r1".parse().unwrap();
        let name = instance().job_name(&id);
        assert_eq!(name, instance().job_name(&id));
        assert!(name.len() <= 63 && name.ends_with("-r1"), "{name}");
        let mut twin = instance();
        twin.settings.claim_path = "other".into();
        assert_ne!(name, twin.job_name(&id), "two instances of one name");
        assert_ne!(instance().selector(), twin.selector());
    }

    #[test]
    fn a_name_becomes_a_label_that_the_cluster_takes() {
        for (text, expected) in [("corp/eng", "corp.eng"), ("-a b-", "a-b"), ("", ""), ("/", "")] {
            assert_eq!(label(text), expected, "{text:?}");
        }
        assert_eq!(label(&"x".repeat(100)).len(), 63);
    }
}
