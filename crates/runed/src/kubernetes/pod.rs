//! What a pod's and a Job's status say of a run. Pure.

use super::job::RUN;
use crate::run::{Ended, How, RunId};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

/// How long an image that cannot be pulled is waited for, in milliseconds: a registry may miss a beat.
const PULL_MS: i64 = 5_000;

/// A pod of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodFacts {
    /// The pod's name.
    pub name: String,
    /// Its own id.
    pub uid: String,
    /// The run that it says it is.
    pub run: RunId,
    /// The Job that made it.
    pub job: Option<String>,
    /// Where it stands.
    pub state: PodState,
    /// Since when it has the hindrance that it has.
    pub hindered_since_ms: i64,
}

/// Where a pod stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PodState {
    /// Its agent has not started.
    Waiting(Option<Hindrance>),
    /// Its agent runs.
    Running {
        /// Since when.
        since_ms: Option<i64>,
    },
    /// Its agent has ended.
    Ended(Exit),
}

/// What keeps an agent from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// It stays as it is.
    Lasting(String),
    /// The image does not come.
    Pull(String),
    /// No node takes it now.
    Place(String),
}

/// How an agent ended, as the cluster has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Exit {
    /// The code; none where the cluster ended the pod and nobody saw how.
    pub code: Option<i32>,
    /// The container's or the pod's reason.
    pub reason: String,
    /// What the cluster says of it.
    pub message: Option<String>,
    /// When it started.
    pub started_at_ms: Option<i64>,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
}

/// A run's Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobFacts {
    /// The run that it says it is.
    pub run: RunId,
    /// Its own id.
    pub uid: String,
    /// When it was made, by the cluster's clock.
    pub made_at_ms: i64,
    /// It is being removed.
    pub leaving: bool,
    /// Why it failed, if it did.
    pub failed: Option<Exit>,
}

/// Reads a pod. None for one that is no run's.
pub(super) fn pod(pod: &Pod, now_ms: i64) -> Option<PodFacts> {
    let (name, uid, run) = identity(&pod.metadata)?;
    let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.kind == "Job");
    let state = pod.status.as_ref().map_or(PodState::Waiting(None), state);
    let job = owner.map(|owner| owner.name.clone());
    Some(PodFacts { name, uid, run, job, state, hindered_since_ms: now_ms })
}

/// Reads a Job. None for one that is no run's.
pub(super) fn job(job: &Job) -> Option<(String, JobFacts)> {
    let (name, uid, run) = identity(&job.metadata)?;
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut failed =
        conditions.filter(|c| c.type_ == "Failed" && c.status == "True").map(|c| Exit {
            reason: c.reason.clone().unwrap_or_default(),
            message: c.message.clone(),
            ended_at_ms: c.last_transition_time.as_ref().map(time_ms),
            ..Exit::default()
        });
    let facts = JobFacts {
        run,
        uid,
        made_at_ms: job.metadata.creation_timestamp.as_ref().map_or(0, time_ms),
        leaving: job.metadata.deletion_timestamp.is_some(),
        failed: failed.next_back(),
    };
    Some((name, facts))
}

fn identity(metadata: &ObjectMeta) -> Option<(String, String, RunId)> {
    let run = metadata.labels.as_ref()?.get(RUN)?.parse().ok()?;
    Some((metadata.name.clone()?, metadata.uid.clone()?, run))
}

fn time_ms(time: &Time) -> i64 {
    time.0.as_millisecond()
}

fn state(status: &PodStatus) -> PodState {
    let container = status.container_statuses.iter().flatten().next();
    let of_container = container.and_then(|container| container.state.as_ref());
    let deadline = status.reason.as_deref() == Some("DeadlineExceeded");
    if let Some(ended) = of_container.and_then(|state| state.terminated.as_ref()) {
        let reason = ended.reason.clone().unwrap_or_default();
        return PodState::Ended(Exit {
            code: Some(ended.exit_code),
            // The pod's word says why it was ended, the container's only that it was.
            reason: if deadline { "DeadlineExceeded".into() } else { reason },
            message: ended.message.clone().or_else(|| status.message.clone()),
            started_at_ms: ended.started_at.as_ref().map(time_ms).filter(|at| *at > 0),
            ended_at_ms: ended.finished_at.as_ref().map(time_ms).filter(|at| *at > 0),
        });
    }
    if let Some(phase @ ("Failed" | "Succeeded")) = status.phase.as_deref() {
        return PodState::Ended(Exit {
            code: (phase == "Succeeded").then_some(0),
            reason: status.reason.clone().unwrap_or_default(),
            message: status.message.clone(),
            ..Exit::default()
        });
    }
    match of_container.and_then(|state| state.running.as_ref()) {
        Some(running) => PodState::Running { since_ms: running.started_at.as_ref().map(time_ms) },
        None => PodState::Waiting(hindrance(status, container)),
    }
}

/// What keeps a pod from starting, if anything does.
fn hindrance(status: &PodStatus, container: Option<&ContainerStatus>) -> Option<Hindrance> {
    let waiting = container.and_then(|container| container.state.as_ref()?.waiting.as_ref());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let message = waiting.message.as_deref().unwrap_or_default();
        let said = format!("{reason}: {message}");
        let image = container.map_or("", |container| container.image.as_str());
        match reason {
            "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => {
                return Some(Hindrance::Lasting(no_image(image, &said)));
            }
            "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" => {
                return Some(Hindrance::Pull(no_image(image, &said)));
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                return Some(Hindrance::Lasting(format!(
                    "the cluster cannot make the agent's container: {said}"
                )));
            }
            _ => {}
        }
    }
    let conditions = status.conditions.iter().flatten();
    let unplaced = conditions
        .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .find(|condition| condition.reason.as_deref() == Some("Unschedulable"))?;
    let message = unplaced.message.as_deref().unwrap_or_default();
    Some(Hindrance::Place(format!("no node takes the agent's pod: {message}")))
}

fn no_image(image: &str, said: &str) -> String {
    format!(
        "the cluster cannot get the image {image}; see that it is there and that AGENT_PULL_SECRETS opens its registry, or set CONTAINER_IMAGE: {said}"
    )
}

/// Why a pod that waits will not be waited for any longer, if so. `started_ms` is when the run was to start.
pub(super) fn given_up(
    pod: Option<&PodFacts>,
    started_ms: i64,
    patience_ms: i64,
    now_ms: i64,
) -> Option<(How, String)> {
    let late = now_ms.saturating_sub(started_ms) >= patience_ms;
    let passing = How::NotStarted { permanent: false };
    let Some(pod) = pod else {
        let text = "the cluster made no pod for the run's Job in time; `kubectl describe job` says why (a quota, an admission policy?)";
        return late.then(|| (passing, text.into()));
    };
    match &pod.state {
        PodState::Waiting(Some(Hindrance::Lasting(text))) => {
            Some((How::NotStarted { permanent: true }, text.clone()))
        }
        PodState::Waiting(Some(Hindrance::Pull(text)))
            if now_ms.saturating_sub(pod.hindered_since_ms) >= PULL_MS =>
        {
            Some((How::NotStarted { permanent: true }, text.clone()))
        }
        PodState::Waiting(Some(Hindrance::Place(text))) if late => Some((passing, text.clone())),
        _ => None,
    }
}

/// How soon a pod that waits is to be looked at again, in milliseconds, where nothing is heard of it.
pub(super) fn look_again(
    pod: Option<&PodFacts>,
    started_ms: i64,
    patience_ms: i64,
    now_ms: i64,
) -> i64 {
    let until = match pod.map(|pod| (&pod.state, pod.hindered_since_ms)) {
        Some((PodState::Waiting(Some(Hindrance::Pull(_))), since)) => since + PULL_MS,
        _ => started_ms.saturating_add(patience_ms),
    };
    until.saturating_sub(now_ms).clamp(50, 60_000)
}

/// How the run ended. `brought_about` is why runed ended it, if it did.
pub(super) fn ended(exit: Exit, brought_about: Option<How>) -> Ended {
    let how = brought_about.unwrap_or_else(|| of_exit(&exit));
    let said = [Some(exit.reason), exit.message].into_iter().flatten().filter(|s| !s.is_empty());
    let said = said.collect::<Vec<_>>().join(": ");
    // What every exit has says nothing.
    let tells = !matches!(how, How::Exited { .. } | How::Signalled { .. }) && !said.is_empty();
    let detail = tells.then(|| match how {
        How::Lost => format!("the agent's pod is gone: {said}"),
        _ => said,
    });
    Ended { how, detail, started_at_ms: exit.started_at_ms, ended_at_ms: exit.ended_at_ms }
}

fn of_exit(exit: &Exit) -> How {
    match (exit.reason.as_str(), exit.code) {
        ("DeadlineExceeded", _) => How::TimedOut,
        // Something in it was ended for its memory, and the agent managed without.
        (_, Some(0)) => How::Exited { code: 0 },
        ("OOMKilled", _) => How::OutOfMemory,
        ("StartError" | "ContainerCannotRun", _) => How::NotStarted { permanent: true },
        // The first process of the container passes a signal on as shells do.
        (_, Some(code @ 129..=192)) => How::Signalled { signal: code - 128 },
        (_, Some(code)) => How::Exited { code },
        (_, None) => How::Lost,
    }
}

#[cfg(test)]
mod tests;
