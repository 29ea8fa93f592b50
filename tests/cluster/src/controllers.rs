//! The controllers: a pod for each Job, the Job's status, its time to live, and what goes when its owner goes.

use crate::store::Key;
use crate::{Shared, deployments};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How much later than its pod's end a Job is said to be complete. Real ones take about as long.
const COMPLETION: Duration = Duration::from_millis(1500);

/// What the Job controller remembers of a Job.
#[derive(Debug)]
struct Memory {
    made_pods: bool,
    began: Instant,
    pod_ended: Option<Instant>,
    finished: Option<Instant>,
}

/// Brings about what should be, for ever.
pub async fn run(shared: std::sync::Arc<Shared>) {
    let mut news = shared.store.news();
    let mut memory: HashMap<String, Memory> = HashMap::new();
    loop {
        news.mark_unchanged();
        reconcile(&shared, &mut memory);
        deployments::reconcile(&shared);
        let _quiet = tokio::time::timeout(TICK, news.changed()).await.is_err();
    }
}

fn reconcile(shared: &Shared, memory: &mut HashMap<String, Memory>) {
    let (jobs, _) = shared.store.list("jobs", "");
    let (pods, _) = shared.store.list("pods", "");
    for (key, job) in &jobs {
        let uid = job["metadata"]["uid"].as_str().unwrap_or_default();
        let own: Vec<&(Key, Value)> =
            pods.iter().filter(|(_, pod)| owner(pod) == Some(uid)).collect();
        let known = memory.entry(uid.to_owned()).or_insert_with(|| Memory {
            made_pods: false,
            began: Instant::now(),
            pod_ended: None,
            finished: None,
        });
        if !job["metadata"]["deletionTimestamp"].is_null() {
            remove_pods(shared, &own);
            if own.is_empty() {
                shared.store.remove(key);
            }
            continue;
        }
        advance(shared, key, job, &own, known);
    }
    let alive = |uid: &str| jobs.iter().any(|(_, job)| job["metadata"]["uid"] == uid);
    // What is left of Jobs that are gone.
    for (key, pod) in &pods {
        if let Some(uid) = owner(pod)
            && !alive(uid)
            && shared.store.get(&job_of(key, pod)).is_none_or(|job| job["metadata"]["uid"] != uid)
        {
            delete_pod(shared, key, None);
        }
    }
    memory.retain(|uid, _| alive(uid));
}

fn job_of(key: &Key, pod: &Value) -> Key {
    let name = pod["metadata"]["ownerReferences"][0]["name"].as_str().unwrap_or_default();
    Key::of("jobs", &key.namespace, name)
}

fn owner(pod: &Value) -> Option<&str> {
    pod["metadata"]["ownerReferences"][0]["uid"].as_str()
}

fn advance(shared: &Shared, key: &Key, job: &Value, own: &[&(Key, Value)], known: &mut Memory) {
    if let Some(finished) = known.finished {
        let ttl = job["spec"]["ttlSecondsAfterFinished"].as_u64().map(Duration::from_secs);
        if ttl.is_some_and(|ttl| finished.elapsed() >= ttl) {
            shared.store.remove(key);
        }
        return;
    }
    if !known.made_pods {
        known.made_pods = true;
        for _ in 0..=shared.twins.swap(0, Ordering::SeqCst) {
            make_pod(shared, key, job);
        }
        shared.store.change(key, |job| {
            job["status"] = json!({"active": 1, "startTime": crate::now(), "ready": 0});
            true
        });
        return;
    }
    let deadline = job["spec"]["activeDeadlineSeconds"].as_u64().map(Duration::from_secs);
    if deadline.is_some_and(|deadline| known.began.elapsed() >= deadline) {
        remove_pods(shared, own);
        finish(
            shared,
            key,
            known,
            "Failed",
            "DeadlineExceeded",
            "Job was active longer than specified deadline",
        );
        return;
    }
    let phase = |(_, pod): &&&(Key, Value)| pod["status"]["phase"].as_str().map(str::to_owned);
    let phases: Vec<String> = own.iter().filter_map(|pod| phase(&pod)).collect();
    let succeeded = phases.iter().any(|phase| phase == "Succeeded");
    let over = succeeded || own.is_empty() || phases.iter().all(|phase| phase == "Failed");
    if !over {
        return;
    }
    let ended = *known.pod_ended.get_or_insert_with(Instant::now);
    if ended.elapsed() < COMPLETION {
        return;
    }
    match succeeded {
        true => finish(
            shared,
            key,
            known,
            "Complete",
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        ),
        false => {
            let message = "Job has reached the specified backoff limit";
            finish(shared, key, known, "Failed", "BackoffLimitExceeded", message);
        }
    }
}

fn finish(shared: &Shared, key: &Key, known: &mut Memory, kind: &str, reason: &str, message: &str) {
    known.finished = Some(Instant::now());
    shared.store.change(key, |job| {
        job["status"] = json!({
            "startTime": job["status"]["startTime"],
            "conditions": [{
                "type": kind, "status": "True", "reason": reason, "message": message,
                "lastProbeTime": crate::now(), "lastTransitionTime": crate::now(),
            }],
        });
        true
    });
}

fn make_pod(shared: &Shared, key: &Key, job: &Value) {
    let (name, uid) = (&job["metadata"]["name"], &job["metadata"]["uid"]);
    let mut pod = job["spec"]["template"].clone();
    let labels = &mut pod["metadata"]["labels"];
    for prefix in ["", "batch.kubernetes.io/"] {
        labels[format!("{prefix}job-name")] = name.clone();
        labels[format!("{prefix}controller-uid")] = uid.clone();
    }
    let name = format!("{}-{}", name.as_str().unwrap_or_default(), crate::letters(5));
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = name.into();
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "batch/v1", "kind": "Job", "name": key.name, "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    }]);
    pod["status"] = json!({"phase": "Pending", "qosClass": "Burstable"});
    shared.store.create("pods", &key.namespace, pod);
}

fn remove_pods(shared: &Shared, own: &[&(Key, Value)]) {
    for (key, _) in own {
        delete_pod(shared, key, None);
    }
}

/// Asks for the end of a pod; the kubelet removes it when it has ended. One that no node has goes at once.
pub fn delete_pod(shared: &Shared, key: &Key, grace: Option<u64>) -> Option<Value> {
    let pod = shared.store.get(key)?;
    if pod["spec"]["nodeName"].is_null() || grace == Some(0) {
        return shared.store.remove(key);
    }
    shared.store.change(key, |pod| {
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            return false;
        }
        let own = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
        pod["metadata"]["deletionTimestamp"] = crate::now().into();
        pod["metadata"]["deletionGracePeriodSeconds"] = grace.unwrap_or(own).into();
        true
    })
}
