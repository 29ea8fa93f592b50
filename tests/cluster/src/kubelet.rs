//! A small stand-in for scheduler and kubelet: it places pods, runs their one container, and says how that went.

use crate::controllers::delete_pod;
use crate::store::Key;
use crate::{Shared, lock, runtime, service};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How soon an image that did not come is tried again.
const PULL_AGAIN: Duration = Duration::from_secs(2);

/// An image, as this machine runs it.
#[derive(Clone, Debug)]
pub enum Image {
    /// A program, called by a name, with first arguments: for processes.
    Program {
        /// The program.
        program: PathBuf,
        /// The name that it is called by.
        name: String,
        /// What comes before the pod's own arguments.
        args: Vec<String>,
    },
    /// An image that the Docker engine has.
    Docker(String),
}

/// How a container ended.
#[derive(Clone, Debug, Default)]
pub struct Exit {
    pub code: i64,
    pub oom: bool,
    /// It never ran.
    pub no_start: Option<String>,
}

/// Places and runs pods, for ever.
pub async fn run(shared: Arc<Shared>) {
    let mut news = shared.store.news();
    let mut taken: HashSet<String> = HashSet::new();
    let mut tasks = JoinSet::new();
    loop {
        news.mark_unchanged();
        let (pods, _) = shared.store.list("pods", "");
        for (key, pod) in pods {
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            if taken.contains(&uid) || !pod["metadata"]["deletionTimestamp"].is_null() {
                continue;
            }
            if !fits(&shared, &pod) {
                unplaced(&shared, &key, &pod);
                continue;
            }
            taken.insert(uid);
            if service::is_one(&pod) {
                tasks.spawn(service::of_pod(shared.clone(), key));
            } else {
                tasks.spawn(of_pod(shared.clone(), key));
            }
        }
        while tasks.try_join_next().is_some() {}
        let _quiet = tokio::time::timeout(Duration::from_secs(1), news.changed()).await.is_err();
    }
}

fn fits(shared: &Shared, pod: &Value) -> bool {
    let wanted = pod["spec"]["nodeSelector"].as_object().into_iter().flatten();
    let node = &shared.options.node;
    wanted.into_iter().all(|(name, value)| node.iter().any(|(n, v)| n == name && value == v))
}

fn unplaced(shared: &Shared, key: &Key, pod: &Value) {
    if pod["status"]["conditions"].is_array() {
        return;
    }
    shared.store.change(key, |pod| {
        pod["status"]["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
        }]);
        true
    });
}

/// Gives a pod to the node.
pub fn placed(shared: &Shared, key: &Key) -> Option<Value> {
    shared.store.change(key, |pod| {
        pod["spec"]["nodeName"] = "node-1".into();
        pod["status"]["phase"] = "Pending".into();
        pod["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "True"}]);
        pod["status"]["startTime"] = crate::now().into();
        pod["status"]["hostIP"] = "127.0.0.1".into();
        true
    })
}

/// One pod, from its node to its end.
async fn of_pod(shared: Arc<Shared>, key: Key) {
    let Some(pod) = placed(&shared, &key) else { return };
    let placed_at = Instant::now();
    waiting(&shared, &key, "ContainerCreating", "");
    let name = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
    let Some(image) = image(&shared, &key, &name).await else {
        delete_pod(&shared, &key, Some(0));
        return;
    };
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let mut container = match runtime::begin(&shared, &key, &pod, &image).await {
        Ok(container) => container,
        Err(why) => {
            let exit = Exit { code: 128, no_start: Some(why), ..Exit::default() };
            ended(&shared, &key, &exit, None);
            return removed(&shared, &key, &pod).await;
        }
    };
    shared.started.fetch_add(1, Ordering::SeqCst);
    lock(&shared.running).insert(uid.clone(), pod["metadata"]["labels"].clone());
    let began = crate::now();
    shared.store.change(&key, |pod| {
        pod["status"]["phase"] = "Running".into();
        pod["status"]["containerStatuses"] = json!([{
            "name": "agent", "image": name, "imageID": name, "ready": true, "restartCount": 0,
            "started": true, "state": {"running": {"startedAt": began}},
        }]);
        true
    });
    let limit = pod["spec"]["activeDeadlineSeconds"].as_u64().map(Duration::from_secs);
    let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
    let mut late = false;
    let exit = tokio::select! {
        exit = container.ended() => Some(exit),
        () = asked_to_end(&shared, &key) => None,
        () = tokio::time::sleep(limit.unwrap_or(Duration::MAX).saturating_sub(placed_at.elapsed())),
            if limit.is_some() => {
            late = true;
            None
        }
    };
    let exit = match exit {
        Some(exit) => exit,
        None => container.end(Duration::from_secs(grace)).await,
    };
    lock(&shared.running).remove(&uid);
    lock(&shared.exits).push(exit.code);
    let reason = late.then_some("DeadlineExceeded");
    ended_since(&shared, &key, &exit, reason, &began);
    removed(&shared, &key, &pod).await;
}

/// Waits until a pod's end is asked for, and removes it then, and what is left of it on the node also where somebody
/// else removed it.
async fn removed(shared: &Shared, key: &Key, pod: &Value) {
    asked_to_end(shared, key).await;
    shared.store.remove(key);
    runtime::forget(shared, pod).await;
}

/// Returns once somebody asked for the end of a pod, or it is gone.
pub async fn asked_to_end(shared: &Shared, key: &Key) {
    let mut news = shared.store.news();
    loop {
        news.mark_unchanged();
        match shared.store.get(key) {
            Some(pod) if pod["metadata"]["deletionTimestamp"].is_null() => {}
            _ => return,
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

fn waiting(shared: &Shared, key: &Key, reason: &str, message: &str) {
    shared.store.change(key, |pod| {
        let image = pod["spec"]["containers"][0]["image"].clone();
        pod["status"]["containerStatuses"] = json!([{
            "name": "agent", "image": image, "imageID": "", "ready": false, "restartCount": 0,
            "started": false, "state": {"waiting": {"reason": reason, "message": message}},
        }]);
        true
    });
}

/// The image, once it is there. None when the pod's end was asked for before.
pub async fn image(shared: &Shared, key: &Key, name: &str) -> Option<Image> {
    if let Some(image) = shared.options.images.get(name) {
        return Some(image.clone());
    }
    let upper = name.chars().any(|c| c.is_uppercase() || c.is_whitespace());
    let pulls = async {
        if upper {
            let message = format!(
                "Failed to apply default image tag \"{name}\": couldn't parse image name \"{name}\": invalid reference format"
            );
            waiting(shared, key, "InvalidImageName", &message);
            return std::future::pending::<()>().await;
        }
        loop {
            let message = format!(
                "failed to pull and unpack image \"{name}\": failed to resolve reference: not found"
            );
            waiting(shared, key, "ErrImagePull", &message);
            tokio::time::sleep(PULL_AGAIN).await;
            let message = format!("Back-off pulling image \"{name}\"");
            waiting(shared, key, "ImagePullBackOff", &message);
            tokio::time::sleep(PULL_AGAIN).await;
        }
    };
    tokio::select! {
        () = pulls => None,
        () = asked_to_end(shared, key) => None,
    }
}

fn ended(shared: &Shared, key: &Key, exit: &Exit, reason: Option<&str>) {
    ended_since(shared, key, exit, reason, &crate::now());
}

fn ended_since(shared: &Shared, key: &Key, exit: &Exit, reason: Option<&str>, began: &str) {
    let own = match exit {
        Exit { no_start: Some(_), .. } => "StartError",
        Exit { oom: true, .. } => "OOMKilled",
        Exit { code: 0, .. } => "Completed",
        _ => "Error",
    };
    let failed = exit.code != 0 || reason.is_some();
    shared.store.change(key, |pod| {
        let image = pod["spec"]["containers"][0]["image"].clone();
        pod["status"]["phase"] = if failed { "Failed" } else { "Succeeded" }.into();
        if let Some(reason) = reason {
            pod["status"]["reason"] = reason.into();
            pod["status"]["message"] =
                "Pod was active on the node longer than the specified deadline".into();
        }
        pod["status"]["containerStatuses"] = json!([{
            "name": "agent", "image": image, "imageID": image, "ready": false, "restartCount": 0,
            "started": false, "state": {"terminated": {
                "exitCode": exit.code, "reason": own, "message": exit.no_start,
                "startedAt": began, "finishedAt": crate::now(),
            }},
        }]);
        true
    });
}
