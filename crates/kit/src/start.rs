//! Why a daemon does not start, or ends by itself, and with which exit code (sysexits.h).

use crate::SettingError;
use secrets::WatchError;
use std::{error::Error, io, net::SocketAddr, path::PathBuf};

/// The cause of a failure, where only its text matters.
pub type Cause = Box<dyn Error + Send + Sync>;

/// A daemon that does not start, or cannot go on. Each message says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting does not parse.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A secret is missing or does not do.
    #[error(transparent)]
    Secret(#[from] WatchError),
    /// The configuration does not hang together.
    #[error("{what}; {hint}")]
    Config {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Data on disk is not what it must be.
    #[error("{what}; {hint}")]
    Data {
        /// What is wrong, with the path.
        what: String,
        /// What to do.
        hint: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// Something could not be made.
    #[error("cannot create {path}; make its parent writable for this user, or choose another --data-dir", path = path.display())]
    CannotCreate {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Something may not be read or written.
    #[error("this user may not use {path}; {hint}", path = path.display())]
    Permission {
        /// Where.
        path: PathBuf,
        /// What to do.
        hint: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// Something else holds what is needed; trying again later may help.
    #[error("{what}; {hint}")]
    Busy {
        /// What is held, and by whom if that is known.
        what: String,
        /// What to do.
        hint: String,
    },
    /// The address is taken, or not ours.
    #[error(
        "cannot listen on {address}; another process has it, or it is not an address of this machine: choose another with the daemon's LISTEN_ADDR"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// What the daemon cannot work without was lost while it ran. Starting again may help.
    #[error("{why}; the daemon ends, so that it is started again: check the disk if it repeats")]
    StoreLost {
        /// Which store, and what is wrong with it.
        why: String,
    },
    /// What a library says so well that nothing is to be added, with the exit code it goes with.
    #[error("{line}")]
    Sorted {
        /// What, where and what to do.
        line: String,
        /// The exit code.
        code: u8,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String, #[source] Option<Cause>),
}

impl StartError {
    /// An error whose text says what to do, with its causes, under that exit code.
    pub fn sorted(code: u8, error: &dyn Error) -> Self {
        Self::Sorted { line: crate::chain(error), code }
    }

    /// The exit code of sysexits.h that goes with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Setting(_) | Self::Secret(_) | Self::Config { .. } => 78,
            Self::Data { .. } => 65,
            Self::CannotCreate { .. } => 73,
            Self::Permission { .. } => 77,
            Self::Busy { .. } | Self::Listen { .. } | Self::StoreLost { .. } => 75,
            Self::Sorted { code, .. } => *code,
            Self::Other(..) => 70,
        }
    }
}
