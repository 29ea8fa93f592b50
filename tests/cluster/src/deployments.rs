//! The controller of Deployments with one replica and the strategy `Recreate`: a pod of the newest template, and the old
//! one gone before.

use crate::Shared;
use crate::controllers::delete_pod;
use crate::store::Key;
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The label that says of which template a pod is.
const HASH: &str = "pod-template-hash";

/// Brings about what should be, once.
pub fn reconcile(shared: &Shared) {
    for (key, deployment) in shared.store.list("deployments", "").0 {
        let (template, hash) =
            (&deployment["spec"]["template"], hash(&deployment["spec"]["template"]));
        let pods = shared.store.list("pods", &key.namespace).0;
        let prefix = format!("{}-", key.name);
        let own: Vec<&(Key, Value)> = pods
            .iter()
            .filter(|(of, pod)| {
                of.name.starts_with(&prefix) && pod["metadata"]["labels"][HASH].is_string()
            })
            .collect();
        let is_new = |pod: &Value| pod["metadata"]["labels"][HASH] == *hash;
        for (old, _) in own
            .iter()
            .filter(|(_, pod)| !is_new(pod) && pod["metadata"]["deletionTimestamp"].is_null())
        {
            delete_pod(shared, old, None);
        }
        if own.is_empty() {
            let mut pod = template.clone();
            pod["apiVersion"] = "v1".into();
            pod["kind"] = "Pod".into();
            pod["metadata"]["name"] = format!("{}-{hash}-{}", key.name, crate::letters(5)).into();
            pod["metadata"]["labels"][HASH] = hash.clone().into();
            pod["status"] = json!({"phase": "Pending"});
            shared.store.create("pods", &key.namespace, pod);
        }
        let ready = own.iter().filter(|(_, pod)| is_new(pod) && is_ready(pod)).count();
        let updated = own.iter().filter(|(_, pod)| is_new(pod)).count();
        let available = if ready > 0 { "True" } else { "False" };
        let status = json!({
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": own.len(), "updatedReplicas": updated, "readyReplicas": ready,
            "availableReplicas": ready, "unavailableReplicas": 1 - ready.min(1),
            "conditions": [
                {"type": "Available", "status": available, "reason": "MinimumReplicasAvailable"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            ],
        });
        shared.store.change(&key, |deployment| {
            let changed = deployment["status"] != status;
            deployment["status"] = status;
            changed
        });
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|of| of["type"] == "Ready" && of["status"] == "True")
}

fn hash(template: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    template.to_string().hash(&mut hasher);
    format!("{:010x}", hasher.finish() & 0xff_ffff_ffff)
}
