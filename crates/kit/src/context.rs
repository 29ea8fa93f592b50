//! What a daemon is given instead of globals.

use crate::{
    Clock, Gate, Health, Metrics, Peers, Settings, StartError, Store, Stores, Tasks, Timeline,
    Traces,
};
use proto::Daemon;
use secrets::Secrets;
use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// The whole of what a daemon may assume. Cheap to clone; holds no secret.
#[derive(Clone, Debug)]
pub struct Context {
    /// Which daemon this is.
    pub daemon: Daemon,
    /// The instance's name.
    pub instance: String,
    /// The instance's data directory.
    pub data_dir: PathBuf,
    /// What the operator set.
    pub settings: Settings,
    /// The time.
    pub clock: Clock,
    /// This daemon's secrets.
    pub secrets: Secrets,
    /// Background work.
    pub tasks: Tasks,
    /// What it keeps on disk.
    pub stores: Stores,
    /// Cancelled when the daemon is to end.
    pub stop: CancellationToken,
    /// Whether it can do its work.
    pub health: Health,
    /// Its figures.
    pub metrics: Metrics,
    /// Who may call it.
    pub gate: Gate,
    /// Whom it calls.
    pub peers: Peers,
    /// Sockets that were bound for it before it started.
    pub bound: Bound,
    /// What its start spends its time on.
    pub timeline: Timeline,
    /// What its work is told of as.
    pub traces: Traces,
}

/// The public sockets of the edge, where somebody bound them beforehand.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// For plain HTTP.
    pub plain: Option<Arc<TcpListener>>,
    /// For TLS.
    pub tls: Option<Arc<TcpListener>>,
}

impl Context {
    /// The directory of sockets and of what a running instance writes about itself.
    pub fn run_dir(&self) -> PathBuf {
        self.data_dir.join("run")
    }

    /// Has `store` watched while the daemon runs, and closed after everything else. When it is lost,
    /// the daemon ends with an error.
    pub fn keep(&self, store: Store) {
        self.timeline.did(store.name);
        self.stores.keep(&self.tasks, store);
    }

    /// The path of this daemon's database.
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("store").join(format!("{}.db", self.daemon))
    }
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// A listener on `address`, or a clone of the one that is bound already. What is bound may have been
/// kept from listening, so that nobody connects before somebody answers: it listens from here on.
///
/// # Errors
/// The address is taken, or not ours.
pub fn listen(
    bound: Option<&Arc<TcpListener>>,
    address: SocketAddr,
) -> Result<tokio::net::TcpListener, StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = match bound {
        Some(bound) => {
            rustix::net::listen(bound, BACKLOG).map_err(|error| failed(error.into()))?;
            bound.try_clone().map_err(failed)?
        }
        None => TcpListener::bind(address).map_err(failed)?,
    };
    listener.set_nonblocking(true).map_err(failed)?;
    tokio::net::TcpListener::from_std(listener).map_err(failed)
}
