//! The engine, as runed uses it: each call negotiates the interface's version anew, because an engine is replaced while
//! runed runs, and each has a bound. Nothing of the environment is read.

use super::state::{self, Seen};
use super::trouble::Trouble;
use crate::output::Output;
use bollard::models::{ContainerCreateBody, EventMessage, SystemInfo};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions,
    KillContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::{Stream, StreamExt};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the engine may take to answer. Starting a container takes it a second on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to hand over a log.
const LOG: Duration = Duration::from_secs(60);

/// A Docker engine on this machine.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    socket: PathBuf,
}

/// One container of this instance.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub labels: HashMap<String, String>,
    pub name: String,
}

type Answer<T> = Result<T, Trouble>;

impl Engine {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn sorted<T>(&self, answer: Result<T, bollard::errors::Error>) -> Answer<T> {
        answer.map_err(|error| Trouble::of(&self.socket.display().to_string(), error))
    }

    async fn docker(&self) -> Answer<Docker> {
        let socket = self.socket.display().to_string();
        let docker = Docker::connect_with_unix(&socket, PATIENCE.as_secs(), API_DEFAULT_VERSION);
        self.sorted(self.sorted(docker)?.negotiate_version().await)
    }

    /// What it says of itself.
    pub async fn info(&self) -> Answer<SystemInfo> {
        self.sorted(self.docker().await?.info().await)
    }

    /// Makes a container. One of that name that is there already is as good; false then. Returns what the engine warns
    /// of, which is what it will not do.
    pub async fn make(&self, name: &str, body: ContainerCreateBody) -> Answer<Vec<String>> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let made = self.docker().await?.create_container(Some(options), body).await;
        match self.sorted(made) {
            Ok(made) => Ok(made.warnings),
            Err(trouble) if trouble.is_conflict() => Ok(Vec::new()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Starts a container.
    pub async fn start(&self, name: &str) -> Answer<()> {
        let started =
            self.docker().await?.start_container(name, None::<StartContainerOptions>).await;
        self.sorted(started)
    }

    /// What it says of a container. None when there is none.
    pub async fn look(&self, name: &str) -> Answer<Option<Seen>> {
        let found =
            self.docker().await?.inspect_container(name, None::<InspectContainerOptions>).await;
        match self.sorted(found) {
            Ok(found) => Ok(Some(state::seen(found.state.unwrap_or_default()))),
            Err(trouble) if trouble.is_missing() => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Signals the first process of a container. One that has ended meanwhile needs none.
    pub async fn signal(&self, name: &str, signal: &str) -> Answer<()> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let told = self.docker().await?.kill_container(name, Some(options)).await;
        self.unless_gone(told)
    }

    /// Lets a suspended container go on.
    pub async fn unpause(&self, name: &str) -> Answer<()> {
        let told = self.docker().await?.unpause_container(name).await;
        self.unless_gone(told)
    }

    /// Removes a container, whatever it does, with the volumes that its image made.
    pub async fn remove(&self, name: &str) -> Answer<()> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removed = self.docker().await?.remove_container(name, Some(options)).await;
        self.unless_gone(removed)
    }

    fn unless_gone(&self, answer: Result<(), bollard::errors::Error>) -> Answer<()> {
        match self.sorted(answer) {
            Err(trouble) if trouble.is_missing() || trouble.is_conflict() => Ok(()),
            answer => answer,
        }
    }

    /// Returns once the container does not run, or `patience` is over, or the engine says nothing more.
    pub async fn until_ended(&self, name: &str, patience: Duration) -> Answer<()> {
        let docker = self.docker().await?;
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let mut ended = std::pin::pin!(docker.wait_container(name, Some(options)));
        // How it ended is looked at; this says only when to look.
        let _late = tokio::time::timeout(patience, ended.next()).await.is_err();
        Ok(())
    }

    /// What happens to a container, from a moment on, in seconds since 1970: also what has happened since then.
    pub async fn events(
        &self,
        name: &str,
        since: i64,
    ) -> Answer<impl Stream<Item = EventMessage> + use<>> {
        let docker = self.docker().await?;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let filters: HashMap<String, Vec<String>> = [
            ("container".to_owned(), vec![name.to_owned()]),
            ("event".to_owned(), words(&["die", "oom", "destroy"])),
        ]
        .into();
        let options =
            EventsOptionsBuilder::new().since(&since.to_string()).filters(&filters).build();
        // One that breaks off ends; whoever waits looks again.
        let events = docker.events(Some(options));
        Ok(events
            .take_while(|event| std::future::ready(event.is_ok()))
            .filter_map(async |event| event.ok()))
    }

    /// The containers that the filter finds, whatever they do.
    pub async fn list(&self, filter: &HashMap<String, Vec<String>>) -> Answer<Vec<Listed>> {
        let options = ListContainersOptionsBuilder::new().all(true).filters(filter).build();
        let found = self.sorted(self.docker().await?.list_containers(Some(options)).await)?;
        let listed = found.into_iter().filter_map(|container| {
            let name = container.names?.into_iter().next()?;
            let labels = container.labels.unwrap_or_default();
            Some(Listed { labels, name: name.trim_start_matches('/').to_owned() })
        });
        Ok(listed.collect())
    }

    /// Copies what a container has written so far into `log`.
    pub async fn copy_log(&self, name: &str, log: &mut Output) -> Answer<()> {
        let docker = self.docker().await?;
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).build();
        let mut lines = std::pin::pin!(docker.logs(name, Some(options)));
        let copied = async {
            while let Some(part) = lines.next().await {
                // A full disk must not hide how a run ended: what cannot be kept counts as dropped.
                let _lost = log.append(self.sorted(part)?.as_ref()).is_err();
            }
            Ok(())
        };
        match tokio::time::timeout(LOG, copied).await {
            Ok(copied) => copied,
            Err(_) => Err(Trouble::Said { status: 504, message: "its log takes too long".into() }),
        }
    }
}
