//! The directories of a data directory that have to do with runs, and what of them a run may be given.

use crate::backend::{NotStarted, Refusal};
use crate::homes::{self, HomeError, Homes, Owner};
use crate::run::{RunId, RunSpec};
use crate::run_dir::RunDir;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Homes, runs, and the directories of turns' sockets.
#[derive(Debug)]
pub(crate) struct Place {
    data_dir: PathBuf,
    homes: Homes,
    runs: PathBuf,
}

impl Place {
    /// Makes the directories.
    pub fn make(data_dir: &Path) -> io::Result<Self> {
        // Mounts and rules want the paths as they are; a link on the way would name another place.
        let data_dir = fs::canonicalize(data_dir)?;
        let runs = data_dir.join("run/r");
        homes::make_private(&data_dir.join("run"))?;
        homes::make_private(&runs)?;
        let homes = Homes::open(&data_dir.join("homes"))?;
        Ok(Self { data_dir, homes, runs })
    }

    /// The data directory, without links.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The directory that holds the runs' directories.
    pub fn runs(&self) -> &Path {
        &self.runs
    }

    /// The directory of a run.
    pub fn dir(&self, id: &RunId) -> RunDir {
        RunDir::at(self.runs.join(id.as_str()))
    }

    /// The runs that have a directory.
    pub fn ids(&self) -> io::Result<Vec<RunId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.runs)? {
            let name = entry?.file_name();
            ids.extend(name.to_str().and_then(|name| name.parse::<RunId>().ok()));
        }
        Ok(ids)
    }

    /// The home of a run, which is its owner's.
    pub fn home(&self, run: &RunSpec, owner: Owner) -> Result<PathBuf, NotStarted> {
        self.homes.make(&run.home, owner).map_err(|error| match error {
            HomeError::NotOurs { .. } => NotStarted::Refused(Refusal(error.to_string())),
            HomeError::Io { .. } => NotStarted::failed("cannot prepare the home", error),
        })
    }

    /// Whether the turn's directory could be one, by its name. It need not be there yet; [`Self::turn_dir`] looks again.
    pub fn could_be_turn_dir(&self, run: &RunSpec) -> Result<(), Refusal> {
        if run.listener.is_some() {
            let text = "the turn is at a listener for agents in a cluster, and this backend's agents have sockets; unset TURN_URL of routd, or set CONTAINER_BACKEND to kubernetes";
            return Err(Refusal(text.into()));
        }
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        let path = &run.turn_dir;
        match path.is_absolute() && path.components().all(plain) {
            true => Ok(()),
            false => Err(self.foreign(path)),
        }
    }

    /// The turn's directory as it is, without links: below `run`, and with nothing in it but the socket.
    pub fn turn_dir(&self, run: &RunSpec) -> Result<PathBuf, NotStarted> {
        let shown = run.turn_dir.display();
        let real = fs::canonicalize(&run.turn_dir)
            .map_err(|error| NotStarted::failed(format!("no turn directory {shown}"), error))?;
        if !self.may_be_turn_dir(&real) {
            return Err(self.foreign(&run.turn_dir).into());
        }
        let entries = fs::read_dir(&real)
            .map_err(|error| NotStarted::failed(format!("cannot read {shown}"), error))?;
        if entries.flatten().any(|entry| entry.file_name() != proto::turn::SOCKET) {
            let text = format!("{shown} holds more than the turn's socket; an agent would see it");
            return Err(Refusal(text).into());
        }
        Ok(real)
    }

    fn may_be_turn_dir(&self, path: &Path) -> bool {
        let run = self.data_dir.join("run");
        path != run && path.starts_with(&run) && !path.starts_with(&self.runs)
    }

    fn foreign(&self, path: &Path) -> Refusal {
        Refusal(format!(
            "{} is no turn's directory: those are below {}",
            path.display(),
            self.data_dir.join("run").display()
        ))
    }
}
