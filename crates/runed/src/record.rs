//! What runed writes of a container's run into the run's directory, so that another runed knows it: that it was to be
//! started, why it is being ended, and how it ended.

use crate::run::{Ended, How};
use crate::run_dir::RunDir;
use proto::runed::Limits;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;

const ORDER: &str = "container.json";
const CLAIM: &str = "claim.json";
const REASON: &str = "reason.json";

/// The files of one run.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    dir: RunDir,
}

/// What is remembered of the order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The container's name.
    pub container: String,
    /// Its bounds.
    pub limits: Limits,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// Who asked the engine to start the run. Nobody else ever does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// A name that one backend object has. Empty: the run was ended before it began.
    pub by: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

impl Record {
    pub fn new(dir: RunDir) -> Self {
        Self { dir }
    }

    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// Makes the directory and writes the order. A repeat writes it anew.
    pub fn order(&self, order: &Order) -> io::Result<()> {
        crate::homes::make_private(self.dir.path())?;
        self.dir.write(ORDER, order)
    }

    pub fn ordered(&self) -> io::Result<Option<Order>> {
        self.dir.read(ORDER)
    }

    /// Claims the start. False when somebody has.
    pub fn claim(&self, claim: &Claim) -> io::Result<bool> {
        // A run without a directory was never prepared, and so never started.
        if self.dir.path().exists() { self.dir.claim(CLAIM, claim) } else { Ok(true) }
    }

    pub fn claimed(&self) -> io::Result<Option<Claim>> {
        self.dir.read(CLAIM)
    }

    /// Takes a claim back: the engine said that it has not started the run.
    pub fn unclaim(&self) -> io::Result<()> {
        match fs::remove_file(self.dir.file(CLAIM)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Says why the run is being ended, before it is. The first reason stands.
    pub fn give_reason(&self, how: &How) -> io::Result<()> {
        if self.dir.path().exists() { self.dir.claim(REASON, how).map(drop) } else { Ok(()) }
    }

    pub fn reason(&self) -> io::Result<Option<How>> {
        self.dir.read(REASON)
    }

    pub fn end(&self) -> io::Result<Option<Ended>> {
        self.dir.end()
    }

    pub fn write_end(&self, ended: &Ended) -> io::Result<()> {
        if self.dir.path().exists() { self.dir.write_end(ended) } else { Ok(()) }
    }

    /// When the run began, or was to; 0 for one that never did.
    pub fn began_ms(&self) -> i64 {
        self.claimed().ok().flatten().map_or(0, |claim| claim.at_ms)
    }
}
