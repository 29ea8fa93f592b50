//! Pods that last: every container of theirs is started, and started again when it ends, and what is projected into
//! their volumes follows the Secrets as the kubelet has it do.
//!
//! The kubelet looks at a pod's volumes every 60 to 90 seconds, which a test may have go faster, and 0.2 to 0.6 seconds
//! after the pod itself was changed.

use crate::kubelet::{Image, asked_to_end, image, placed};
use crate::runtime::{self, Recipe};
use crate::store::Key;
use crate::{Shared, lock, volumes};
use rand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often a pod's volumes are looked at, at least and at most.
const SYNC: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(90));
/// How soon after the pod itself was changed.
const AT_ONCE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(600));
/// How soon what is missing for a volume is looked for again, and a container is started again.
const AGAIN: Duration = Duration::from_millis(300);

fn between((least, most): (Duration, Duration)) -> Duration {
    rand::rng().random_range(least..=most)
}

/// Whether it is a pod of this kind: one whose containers are always started again.
pub fn is_one(pod: &Value) -> bool {
    !matches!(pod["spec"]["restartPolicy"].as_str(), Some("Never" | "OnFailure"))
}

/// One pod, from its node to its end.
pub async fn of_pod(shared: Arc<Shared>, key: Key) {
    let Some(pod) = placed(&shared, &key) else { return };
    let mut tasks = JoinSet::new();
    let (stop, stopping) = watch::channel(false);
    tokio::select! {
        () = begin(&shared, &key, &pod, &mut tasks, &stopping) => {}
        () = asked_to_end(&shared, &key) => {}
    }
    tokio::select! {
        () = follow(&shared, &key) => {}
        () = asked_to_end(&shared, &key) => {}
    }
    // Those who are to hear it are in `tasks`, or there are none.
    stop.send_replace(true);
    while tasks.join_next().await.is_some() {}
    shared.store.remove(&key);
}

/// Fills the volumes, runs what comes first, and starts the containers.
async fn begin(
    shared: &Arc<Shared>,
    key: &Key,
    pod: &Value,
    tasks: &mut JoinSet<()>,
    stopping: &watch::Receiver<bool>,
) {
    let volumes = loop {
        match volumes::lay_out(shared, key, pod) {
            Ok(volumes) => break volumes,
            // As the kubelet does, which says so in an event.
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    };
    for container in pod["spec"]["initContainers"].as_array().into_iter().flatten() {
        loop {
            let Some((recipe, image)) = made(shared, key, pod, container, &volumes).await else {
                return;
            };
            let Ok(mut running) = runtime::start(shared, pod, &image, &recipe).await else {
                continue;
            };
            if running.ended().await.code == 0 {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    shared.store.change(key, |pod| {
        pod["status"]["phase"] = "Running".into();
        pod["status"]["podIP"] = shared.options.address.clone().into();
        true
    });
    for container in containers {
        let Some((recipe, image)) = made(shared, key, pod, &container, &volumes).await else {
            return;
        };
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let name = container["name"].as_str().unwrap_or_default().to_owned();
        lock(&shared.containers).insert((uid, name.clone()), (recipe.clone(), image.clone()));
        let (shared, key, pod, stopping) =
            (shared.clone(), key.clone(), pod.clone(), stopping.clone());
        tasks.spawn(
            async move { keep(&shared, &key, &pod, &name, &image, &recipe, stopping).await },
        );
    }
}

async fn made(
    shared: &Shared,
    key: &Key,
    pod: &Value,
    container: &Value,
    volumes: &BTreeMap<String, PathBuf>,
) -> Option<(Recipe, Image)> {
    let image = image(shared, key, container["image"].as_str().unwrap_or_default()).await?;
    loop {
        match runtime::recipe(shared, key, pod, container, volumes) {
            Ok(recipe) => return Some((recipe, image)),
            // A Secret or a ConfigMap that its environment needs is not there: CreateContainerConfigError.
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Runs a container until the pod's end, and starts it again when it ends before.
async fn keep(
    shared: &Shared,
    key: &Key,
    pod: &Value,
    name: &str,
    image: &Image,
    recipe: &Recipe,
    mut stopping: watch::Receiver<bool>,
) {
    let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
    let mut restarts = 0;
    loop {
        if let Ok(mut container) = runtime::start(shared, pod, image, recipe).await {
            shared.started.fetch_add(1, Ordering::SeqCst);
            let state = json!({"running": {"startedAt": crate::now()}});
            say(shared, key, name, restarts, &state, false);
            let ready = async {
                probed(shared, pod, name).await;
                say(shared, key, name, restarts, &state, true);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = ready => {}
                exit = container.ended() => {
                    let state = json!({"terminated": {"exitCode": exit.code, "reason": "Error"}});
                    say(shared, key, name, restarts, &state, false);
                }
                () = stopped(&mut stopping) => {
                    container.end(Duration::from_secs(grace)).await;
                    return;
                }
            }
        }
        restarts += 1;
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = stopped(&mut stopping) => return,
        }
    }
}

/// Returns once the pod is to end.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // That nobody could say so any more is as good.
    let _gone = stopping.wait_for(|stop| *stop).await.is_err();
}

/// Returns once a container passes its readiness probe, if it has one.
async fn probed(shared: &Shared, pod: &Value, name: &str) {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let Some(container) = containers.into_iter().find(|of| of["name"] == name) else { return };
    let probe = &container["readinessProbe"]["httpGet"];
    let ports = container["ports"].as_array().into_iter().flatten();
    let named = ports.into_iter().find(|port| port["name"] == probe["port"]);
    let port = named.map_or(&probe["port"], |port| &port["containerPort"]);
    let Some(port) = port.as_u64() else { return };
    let address = format!("{}:{port}", shared.options.address);
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n",
        probe["path"].as_str().unwrap_or("/")
    );
    loop {
        if answers_well(&address, &request).await.is_ok_and(|well| well) {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn answers_well(address: &str, request: &str) -> std::io::Result<bool> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    Ok(head.starts_with(b"HTTP/1.1 2"))
}

fn say(shared: &Shared, key: &Key, name: &str, restarts: u32, state: &Value, ready: bool) {
    shared.store.change(key, |pod| {
        let all = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
        let mut statuses =
            pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        statuses.retain(|of| of["name"] != name);
        statuses.push(json!({
            "name": name, "image": "", "imageID": "", "restartCount": restarts, "state": state,
            "ready": ready, "started": state["running"].is_object(),
        }));
        let ready = statuses.len() == all && statuses.iter().all(|of| of["ready"] == true);
        let ready = if ready { "True" } else { "False" };
        pod["status"]["containerStatuses"] = statuses.into();
        pod["status"]["conditions"] = json!([
            {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready},
        ]);
        true
    });
}

/// Keeps the volumes up to date, for ever.
async fn follow(shared: &Shared, key: &Key) {
    let mut news = shared.store.news();
    let mut seen = annotations(shared, key);
    loop {
        let wait = between(SYNC) / shared.options.speed.max(1);
        let next = tokio::time::Instant::now() + wait;
        loop {
            news.mark_unchanged();
            let now = annotations(shared, key);
            if now != seen {
                seen = now;
                tokio::time::sleep(between(AT_ONCE)).await;
                break;
            }
            if tokio::time::timeout_at(next, news.changed()).await.is_err() {
                break;
            }
        }
        if let Some(pod) = shared.store.get(key) {
            // What is missing now leaves the volume as it is, as the kubelet does.
            let _as_it_is = volumes::refresh(shared, key, &pod).is_err();
        }
    }
}

fn annotations(shared: &Shared, key: &Key) -> Value {
    shared.store.get(key).map_or(Value::Null, |pod| pod["metadata"]["annotations"].clone())
}
