//! Agents in containers: whether an engine answers, which processes are theirs, and that none is left.

use crate::{
    failure::{Exit, Failure},
    instance::Environment,
};
use kit::HttpClient;
use rustix::process::Pid;
use serde_json::{Value, json};
use std::{fs, path::Path};

/// The engine's socket, unless `DOCKER_SOCKET` says otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// Where a container's agent finds its turn.
const TURN: &str = "--socket-dir\0/run/arizuko";

/// What the environment says of the engine.
#[derive(Clone, Debug, Default)]
pub struct Told {
    image: Option<String>,
    socket: Option<String>,
}

impl Told {
    /// Reads it.
    pub fn of(environment: &Environment) -> Self {
        let named = |name: &str| environment.get(name).filter(|text| !text.is_empty()).cloned();
        Self { image: named("CONTAINER_IMAGE"), socket: named("DOCKER_SOCKET") }
    }

    /// The image of the agents.
    ///
    /// # Errors
    /// None is named.
    pub fn image(&self) -> Result<&str, Failure> {
        self.image.as_deref().ok_or_else(|| {
            let line =
                "--backend docker needs CONTAINER_IMAGE: an image that has this program as `ant`";
            Failure::new(Exit::Usage, line)
        })
    }
}

/// The Docker engine.
pub struct Engine(HttpClient);

impl Engine {
    /// The engine, if it answers.
    ///
    /// # Errors
    /// It does not: then nothing is verified.
    pub async fn find(told: &Told) -> Result<Self, Failure> {
        let socket = told.socket.as_deref().unwrap_or(SOCKET);
        let away = |why: String| {
            let line = format!("Docker was not verified: no engine at {socket}: {why}");
            Failure::new(Exit::TryAgain, line)
        };
        let http = kit::client_builder().unix_socket(socket).build();
        let http = http.map_err(|error| away(kit::chain(&error)))?;
        let answer = http.get("http://engine/_ping").send().await;
        let answer = answer.and_then(|answer| answer.error_for_status());
        answer.map_err(|error| away(kit::chain(&error)))?;
        Ok(Self(http))
    }

    /// Removes the containers of the instance at `data`, as a runed that was killed leaves them.
    ///
    /// # Errors
    /// The engine does not do it.
    pub async fn sweep(&self, data: &Path) -> Result<(), Failure> {
        let failed = |error| {
            let line = format!("the engine keeps containers: {}", kit::chain(&error));
            Failure::new(Exit::TryAgain, line)
        };
        let label = format!("arizuko.data={}", data.display());
        let filters = json!({ "label": [label] }).to_string();
        let list = self.0.get("http://engine/containers/json");
        let list = list.query(&[("all", "true"), ("filters", filters.as_str())]).send().await;
        let all: Vec<Value> = list.map_err(failed)?.json().await.map_err(failed)?;
        for id in all.iter().filter_map(|one| one["Id"].as_str()) {
            let url = format!("http://engine/containers/{id}?force=true&v=true");
            self.0.delete(url).send().await.map_err(failed)?;
        }
        Ok(())
    }
}

/// The processes of agents in containers of the instance in `dir`, as the machine numbers them: those that were started
/// with a turn's socket, and have a mount of the instance's. With `first`, only the first process of each container.
pub fn processes(dir: &Path, first: bool) -> Vec<Pid> {
    let Some(name) = dir.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let part = format!("/{name}/");
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let is_ours = |id: &i32| {
        let read = |file: &str| fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
        let text = |file: &str| String::from_utf8_lossy(&read(file)).into_owned();
        text("cmdline").contains(TURN)
            && text("mountinfo").contains(&part)
            && (!first || is_first(&text("status")))
    };
    ids.filter(is_ours).filter_map(Pid::from_raw).collect()
}

/// Whether a process is the first of a namespace of its own, as its status says.
fn is_first(status: &str) -> bool {
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let ids: Vec<&str> = ids.unwrap_or_default().split_whitespace().collect();
    ids.len() > 1 && ids.last() == Some(&"1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_of_a_container_has_two_numbers_the_inner_one_being_one() {
        assert!(is_first("Name:\tinit\nNSpid:\t4711\t1\n"));
        for other in ["NSpid:\t4711\t7\n", "NSpid:\t1\n", "NSpid:\t4711\n", ""] {
            assert!(!is_first(other), "{other}");
        }
    }
}
