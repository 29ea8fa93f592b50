//! runed: agent runs. It starts them, watches them and ends them, and is the only one who does.
//!
//! # The design
//!
//! 1. A run is a row. `POST /v1/runs` writes it and answers; what happens next is read from there, with a long poll.
//!    No HTTP call decides anything.
//! 2. The queue is pure ([`queue`]): first come, first served, one run of a folder at a time, a cap on all. A breaker
//!    for each folder ([`breaker`]) stops starts that keep failing.
//! 3. Each run that is taken up has a task that starts it, follows it and writes down its end; every step is in the
//!    database before the next is taken.
//! 4. A [`backend::Backend`] does the running. Its own record of a run, not runed's memory, says whether that run was
//!    started: the process backend's is the run's directory.
//!
//! # What always holds
//!
//! - A run is started at most once, whoever is killed when: the id follows from the attempt, and the backend refuses to
//!   start an id twice. An end that is written is never changed.
//! - After a restart every run is taken up where it was: one that runs is followed, one that has ended is recorded, one
//!   that was about to start is started, one of which nothing is known has ended as lost.
//! - `ended` means gone: no process of the run is left.
//! - Runs outlive runed, and are bounded without it: a run's time is kept by its own launcher.
//! - No secret reaches an agent: not by its environment, its arguments, a file or a descriptor.

mod app;
pub mod backend;
pub mod breaker;
mod choice;
mod dispatch_loop;
#[cfg(feature = "docker")]
pub mod docker;
mod drive;
mod figures;
mod homes;
mod http;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod output;
mod place;
pub mod process;
pub mod queue;
#[cfg(any(feature = "docker", feature = "kubernetes"))]
mod record;
pub mod run;
mod run_dir;
mod sandbox;
mod settings;
mod shim;
mod start_error;
mod store;
mod sweep_loop;
mod trouble_loop;
#[cfg(any(feature = "docker", feature = "kubernetes"))]
mod users;

pub use sandbox::sandbox_main;
pub use settings::{
    AGENT_USER, AgentUser, BackendChoice, CONTAINER_BACKEND, CONTAINER_IMAGE, DOCKER_SOCKET,
    EGRESS_NETWORK, HOST_APP_DIR, HOST_DATA_DIR, MAX_CONCURRENT_RUNS, SETTINGS,
};
pub use shim::shim_main;
pub use store::SCHEMA;

use app::App;
use axum::Router;
use backend::Backend;
use kit::{Api, Context, StartError};
use process::{AgentCommand, GRACE, Without};
use secrets::AnyBundle;
use settings::Values;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;

/// The secrets that runed declares: none. It holds nothing that an agent could want.
pub const BUNDLES: &[&dyn AnyBundle] = &[];

/// The programs behind the process backend.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The program that answers `shim …` and `sandbox …` by calling [`shim_main`] and [`sandbox_main`] before it does
    /// anything else: an absolute path.
    pub launcher: PathBuf,
    /// The agent.
    pub agent: AgentCommand,
    /// How long an agent has between the polite signal and the other one.
    pub grace: Duration,
    /// Layers of the sandbox to leave out, as on a machine that lacks them.
    pub without: Without,
}

impl Programs {
    /// This very program for everything: it is the launcher, and called `ant` it is the agent.
    ///
    /// # Errors
    /// `/proc` does not say which program this is.
    pub fn own() -> std::io::Result<Self> {
        let program = std::fs::read_link("/proc/self/exe")?;
        Ok(Self {
            launcher: program.clone(),
            agent: AgentCommand { program, name: "ant".into(), args: Vec::new(), bridges: true },
            grace: GRACE,
            without: Without::default(),
        })
    }
}

/// Opens the database, tries out the backend, goes on with the runs in progress, and answers with what is served.
///
/// # Errors
/// A setting does not do, or the database or a directory cannot be had. A machine on which no agent can be started is
/// no error: runs are refused, and the daemon is degraded.
pub async fn start(context: Context) -> Result<Router, StartError> {
    let programs = Programs::own().map_err(|error| {
        StartError::Other("cannot find this program's own file".into(), Some(error.into()))
    })?;
    start_with(context, programs).await
}

/// [`start`], with other programs behind the process backend.
///
/// # Errors
/// As [`start`].
pub async fn start_with(context: Context, programs: Programs) -> Result<Router, StartError> {
    let values = Values::read(&context.settings)?;
    let database = context.database();
    if let Some(directory) = database.parent() {
        start_error::own_directory(directory)?;
    }
    // Before the backend: the database's lock keeps a second runed from the runs of the first.
    let store = Store::open(&database)
        .await
        .map_err(|error| StartError::sorted(error.exit_code(), &error))?;
    context.keep(store.kept());
    store.begin_epoch(context.clock.now()).await.map_err(|error| {
        StartError::Other("runed cannot write its database".into(), Some(error.into()))
    })?;
    let keeper = store.keeper();
    context.gate.keep_refusals(move |acts| keeper.clone().keep(acts));
    let backend = choice::backend(&context, &values, programs).await?;
    describe(&*backend);
    let app = Arc::new(App::new(&context, values, store, backend));
    let (looped, stop) = (app.clone(), context.stop.clone());
    context.tasks.spawn("runed.dispatch", async move {
        tokio::select! {
            () = dispatch_loop::run(looped) => {}
            () = stop.cancelled() => {}
        }
    });
    let (watched, stop) = (app.clone(), context.stop.clone());
    context.tasks.spawn("runed.backend", async move {
        tokio::select! {
            () = trouble_loop::run(watched) => {}
            () = stop.cancelled() => {}
        }
    });
    let mut api = Api::new(&context);
    http::mount(&mut api, &app);
    Ok(api.into_router())
}

/// Says what the backend isolates, once, where an operator looks.
fn describe(backend: &dyn Backend) {
    let described = backend.describe();
    tracing::info!(
        backend = backend.name(),
        enforced = described.enforced.join("; "),
        missing = described.missing.join("; "),
        harnesses = described.harnesses.join(" "),
        "the backend"
    );
}
