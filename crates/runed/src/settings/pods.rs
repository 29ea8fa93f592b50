//! What an operator may set of agents that are Jobs of a Kubernetes cluster.

use kit::{Setting, SettingError, Settings, parse};
use serde_json::Value;
use std::path::PathBuf;

/// Where the cluster's API is.
pub const KUBERNETES_API_URL: Setting<String> = Setting {
    name: "KUBERNETES_API_URL",
    default: "https://kubernetes.default.svc",
    about: "The address of the cluster's API, with `CONTAINER_BACKEND=kubernetes`.",
    expects: "an https address",
    parse: |text| parse::url(text).filter(|url| url.starts_with("https://")),
};

/// runed's own account in the cluster.
pub const KUBERNETES_ACCOUNT_DIR: Setting<PathBuf> = Setting {
    name: "KUBERNETES_ACCOUNT_DIR",
    default: "/var/run/secrets/kubernetes.io/serviceaccount",
    about: "The directory with runed's own account in the cluster: the files `token`, `ca.crt` and, where KUBERNETES_NAMESPACE is not set, `namespace`. Each is read again as it changes. Mount it into runed alone.",
    expects: "an absolute path",
    parse: super::absolute,
};

/// The namespace of agents.
pub const KUBERNETES_NAMESPACE: Setting<Option<String>> = Setting {
    name: "KUBERNETES_NAMESPACE",
    default: "",
    about: "The namespace of agents' Jobs; runed's own if it is not set. The claim of AGENT_CLAIM is there.",
    expects: NAME,
    parse: |text| parse::optional(text, name),
};

/// The account of agents.
pub const AGENT_SERVICE_ACCOUNT: Setting<String> = Setting {
    name: "AGENT_SERVICE_ACCOUNT",
    default: "arizuko-agent",
    about: "The service account of agents' pods. It needs no right at all: its token says to routd which pod an agent is.",
    expects: NAME,
    parse: name,
};

/// The claim with the homes.
pub const AGENT_CLAIM: Setting<String> = Setting {
    name: "AGENT_CLAIM",
    default: "arizuko-data",
    about: "The PersistentVolumeClaim that holds the data directory. An agent's pod is given the one home in it, and nothing else of it.",
    expects: NAME,
    parse: name,
};

/// Where in the claim the data directory is.
pub const AGENT_CLAIM_PATH: Setting<String> = Setting {
    name: "AGENT_CLAIM_PATH",
    default: "",
    about: "Where in AGENT_CLAIM the data directory is: what comes after the path at which runed has the claim mounted. Empty where that is the data directory.",
    expects: "a relative path without `..`",
    parse: claim_path,
};

/// The class of the pods' runtime.
pub const AGENT_RUNTIME_CLASS: Setting<Option<String>> = Setting {
    name: "AGENT_RUNTIME_CLASS",
    default: "",
    about: "The RuntimeClass of agents' pods, such as gvisor. One that the cluster does not have is an error at start.",
    expects: NAME,
    parse: |text| parse::optional(text, name),
};

/// Which nodes will do.
pub const AGENT_NODE_SELECTOR: Setting<Vec<(String, String)>> = Setting {
    name: "AGENT_NODE_SELECTOR",
    default: "",
    about: "Labels of the nodes that agents may be on.",
    expects: PAIRS,
    parse: pairs,
};

/// The one node that will do.
pub const AGENT_NODE: Setting<Option<String>> = Setting {
    name: "AGENT_NODE",
    default: "",
    about: "The one node that agents may be on: runed's own, where AGENT_CLAIM can be mounted on one node only (ReadWriteOnce).",
    expects: NAME,
    parse: |text| parse::optional(text, name),
};

/// What agents tolerate.
pub const AGENT_TOLERATIONS: Setting<Vec<Value>> = Setting {
    name: "AGENT_TOLERATIONS",
    default: "[]",
    about: "Tolerations of agents' pods, as the cluster's API has them.",
    expects: "JSON such as [{\"key\": \"agents\", \"operator\": \"Exists\", \"effect\": \"NoSchedule\"}]",
    parse: tolerations,
};

/// What opens the image's registry.
pub const AGENT_PULL_SECRETS: Setting<Vec<String>> = Setting {
    name: "AGENT_PULL_SECRETS",
    default: "",
    about: "Names of the Secrets by which the kubelet gets the image of agents from its registry. Neither runed nor an agent reads them.",
    expects: "names with commas between them",
    parse: |text| text.split(',').filter(|part| !part.is_empty()).map(name).collect(),
};

/// What a node must have free.
pub const AGENT_REQUESTS: Setting<(u32, u32)> = Setting {
    name: "AGENT_REQUESTS",
    default: "cpu=50m,memory=64Mi",
    about: "What a node must have free for an agent; what it may use at most is the run's own limit.",
    expects: "cpu=NUMBERm,memory=NUMBERMi",
    parse: requests,
};

/// Further labels.
pub const AGENT_LABELS: Setting<Vec<(String, String)>> = Setting {
    name: "AGENT_LABELS",
    default: "",
    about: "Further labels of agents' Jobs and pods. Those that arizuko sets itself stay as they are.",
    expects: PAIRS,
    parse: pairs,
};

const NAME: &str = "a name as the cluster has them: a-z, 0-9, `-` and `.`";
const PAIRS: &str = "NAME=VALUE, more with commas between them";
/// The most of a name, in bytes.
const NAME_MAX: usize = 253;
/// The most of a label's value, in bytes.
const VALUE_MAX: usize = 63;

/// What was set of pods.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "kubernetes"), expect(dead_code, reason = "this build has no pods"))]
pub(crate) struct Pods {
    pub(crate) api_url: String,
    pub(crate) account_dir: PathBuf,
    pub(crate) namespace: Option<String>,
    pub(crate) service_account: String,
    pub(crate) claim: String,
    pub(crate) claim_path: String,
    pub(crate) runtime_class: Option<String>,
    pub(crate) node_selector: Vec<(String, String)>,
    pub(crate) node: Option<String>,
    pub(crate) tolerations: Vec<Value>,
    pub(crate) pull_secrets: Vec<String>,
    pub(crate) requests: (u32, u32),
    pub(crate) labels: Vec<(String, String)>,
}

impl Pods {
    pub(crate) fn read(settings: &Settings) -> Result<Self, SettingError> {
        Ok(Self {
            api_url: settings.get(&KUBERNETES_API_URL)?,
            account_dir: settings.get(&KUBERNETES_ACCOUNT_DIR)?,
            namespace: settings.get(&KUBERNETES_NAMESPACE)?,
            service_account: settings.get(&AGENT_SERVICE_ACCOUNT)?,
            claim: settings.get(&AGENT_CLAIM)?,
            claim_path: settings.get(&AGENT_CLAIM_PATH)?,
            runtime_class: settings.get(&AGENT_RUNTIME_CLASS)?,
            node_selector: settings.get(&AGENT_NODE_SELECTOR)?,
            node: settings.get(&AGENT_NODE)?,
            tolerations: settings.get(&AGENT_TOLERATIONS)?,
            pull_secrets: settings.get(&AGENT_PULL_SECRETS)?,
            requests: settings.get(&AGENT_REQUESTS)?,
            labels: settings.get(&AGENT_LABELS)?,
        })
    }
}

fn name(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let ends = |c: char| c.is_ascii_alphanumeric();
    let fits = (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(plain);
    (fits && text.starts_with(ends) && text.ends_with(ends)).then(|| text.to_owned())
}

fn claim_path(text: &str) -> Option<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(fine);
    (text.is_empty() || text.split('/').all(plain)).then(|| text.to_owned())
}

/// Labels: a name, with a prefix or without, and a value that may be empty.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let pair = |part: &str| {
        let (name, value) = part.trim().split_once('=')?;
        let known = !name.is_empty() && name.chars().all(|c| plain(c) || c == '/');
        let fits = value.len() <= VALUE_MAX && value.chars().all(plain);
        (known && fits).then(|| (name.to_owned(), value.to_owned()))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

fn tolerations(text: &str) -> Option<Vec<Value>> {
    let list: Vec<Value> = serde_json::from_str(text).ok()?;
    let known = ["key", "operator", "value", "effect", "tolerationSeconds"];
    let fits = |one: &Value| {
        one.as_object().is_some_and(|map| map.keys().all(|name| known.contains(&name.as_str())))
    };
    list.iter().all(fits).then_some(list)
}

fn requests(text: &str) -> Option<(u32, u32)> {
    let (cpu, memory) = text.split_once(',')?;
    let cpu = cpu.trim().strip_prefix("cpu=")?.strip_suffix('m')?.parse().ok()?;
    let memory = memory.trim().strip_prefix("memory=")?.strip_suffix("Mi")?.parse().ok()?;
    (cpu > 0 && memory > 0).then_some((cpu, memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cluster_would_refuse_is_refused_at_start() {
        for (setting, bad) in [
            ("KUBERNETES_API_URL", "http://kubernetes.default.svc"),
            ("KUBERNETES_NAMESPACE", "Agents"),
            ("AGENT_CLAIM", "a/b"),
            ("AGENT_CLAIM_PATH", "../other"),
            ("AGENT_CLAIM_PATH", "/demo"),
            ("AGENT_NODE_SELECTOR", "disk"),
            ("AGENT_LABELS", "team=a b"),
            ("AGENT_TOLERATIONS", "[{\"keys\": \"agents\"}]"),
            ("AGENT_TOLERATIONS", "{}"),
            ("AGENT_REQUESTS", "cpu=1,memory=1Gi"),
            ("AGENT_PULL_SECRETS", "One"),
        ] {
            let error = Pods::read(&Settings::default().with(setting, bad)).unwrap_err();
            assert!(error.to_string().contains(setting), "{setting}={bad}: {error}");
        }
    }

    #[test]
    fn what_is_set_is_read() {
        let settings = Settings::default()
            .with("AGENT_NODE_SELECTOR", "disk=ssd,example.org/pool=agents")
            .with("AGENT_PULL_SECRETS", "one,two")
            .with("AGENT_TOLERATIONS", "[{\"key\": \"agents\", \"operator\": \"Exists\"}]")
            .with("AGENT_REQUESTS", "cpu=100m,memory=256Mi");
        let pods = Pods::read(&settings).unwrap();
        let selected = [("disk", "ssd"), ("example.org/pool", "agents")];
        assert_eq!(pods.node_selector, selected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(pods.pull_secrets, ["one", "two"]);
        assert_eq!((pods.tolerations.len(), pods.requests), (1, (100, 256)));
        assert_eq!(pods.service_account, "arizuko-agent");
    }
}
