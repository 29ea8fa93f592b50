//! What a sandbox holds on this machine, found by trying it, and what follows for the harnesses.

use super::shims::{self, Shims};
use super::{AgentCommand, GRACE, Order, ProcessConfig, RunDir, Started, Without};
use crate::backend::{BackendError, Description, Refusal};
use crate::run::{How, RunId};
use crate::sandbox::probe::Reached;
use crate::shim::Answer;
use crate::{homes, output};
use proto::runed::Limits;
use proto::turn::Harness;
use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// What a sandbox holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Containment {
    /// A sandbox can be entered.
    Tried {
        /// What a program in it could reach all the same.
        reached: Reached,
        /// What it is made of.
        made_of: Started,
    },
    /// No program can be started in one at all: nothing runs.
    Impossible(String),
}

impl Containment {
    /// Whether the data directory is hidden from what runs in the sandbox: its files, its sockets, and the daemons'
    /// listeners.
    pub fn hides_the_data(&self) -> bool {
        matches!(self, Self::Tried { reached, .. } if *reached == Reached::default())
    }

    /// Whether this harness may run here. `offline` and `builtin` are this program alone; any other runs what somebody
    /// else wrote, and needs a sandbox that holds.
    pub fn admits(&self, harness: Harness) -> Result<(), Refusal> {
        match (self, harness) {
            (Self::Impossible(why), _) => {
                Err(Refusal(format!("no agent can be started on this machine: {why}")))
            }
            (Self::Tried { .. }, harness) if !harness.runs_programs() => Ok(()),
            (Self::Tried { reached, .. }, harness) if !self.hides_the_data() => {
                Err(Refusal(format!(
                    "the harness `{}` runs only where the sandbox hides the data directory, and on this machine {}; use `offline`, or a kernel with user namespaces and Landlock",
                    harness.name(),
                    leaks(reached).join(" and ")
                )))
            }
            (Self::Tried { .. }, _) => Ok(()),
        }
    }

    /// The same for people.
    pub fn describe(&self) -> Description {
        match self {
            Self::Impossible(why) => Description {
                missing: vec![format!("no agent can be started on this machine: {why}")],
                ..Description::default()
            },
            Self::Tried { reached, made_of } => {
                let mut missing = made_of.missing.clone();
                missing.extend(leaks(reached).into_iter().map(|leak| format!("a trial: {leak}")));
                missing.push("agents run as the daemon's own user and share its kernel: for one trusted tenant".into());
                missing.push("memory and processes of a run as a whole are looked at twice a second, not bounded by the kernel".into());
                missing.push("the disk space of a home is not bounded".into());
                let harnesses = Harness::ALL.into_iter();
                Description {
                    enforced: made_of.enforced.clone(),
                    missing,
                    harnesses: harnesses
                        .filter(|harness| self.admits(*harness).is_ok())
                        .map(Harness::name)
                        .collect(),
                    ..Description::default()
                }
            }
        }
    }
}

fn leaks(reached: &Reached) -> Vec<&'static str> {
    [
        (reached.files, "a program in it could read the data directory"),
        (reached.writes, "a program in it could change the data directory"),
        (reached.sockets, "a program in it could speak to other sockets"),
        (reached.network, "a program in it could reach this machine's listeners"),
    ]
    .into_iter()
    .filter_map(|(reached, leak)| reached.then_some(leak))
    .collect()
}

/// Runs the probe in a sandbox. Where the machine lets nobody finish entering the namespaces, as some security modules
/// do, it is tried again without them; what was left out for that is returned.
pub(super) async fn try_out(
    config: &ProcessConfig,
    runs: &Path,
    shims: &Shims,
) -> (Containment, Without) {
    let first = try_once(config, runs, shims, config.without).await;
    let error = match first {
        Ok(containment) => return (containment, config.without),
        Err(error) => error,
    };
    let without = Without { namespaces: true, ..config.without };
    if config.without.namespaces {
        return (Containment::Impossible(error.chain()), without);
    }
    tracing::warn!(error = error.chain(), "no sandbox with namespaces; trying without");
    match try_once(config, runs, shims, without).await {
        Ok(containment) => (containment, without),
        Err(again) => (Containment::Impossible(again.chain()), config.without),
    }
}

async fn try_once(
    config: &ProcessConfig,
    runs: &Path,
    shims: &Shims,
    without: Without,
) -> Result<Containment, BackendError> {
    let id = probe_id();
    let dir = RunDir::at(runs.join(id.as_str()));
    let outcome = trial(config, &id, &dir, shims, without).await;
    if let Err(error) = dir.remove() {
        tracing::warn!(path = %dir.path().display(), %error, "a trial's directory is left behind");
    }
    outcome
}

/// Not the id of any attempt: those begin with `r`.
fn probe_id() -> RunId {
    // Short: a socket is bound in its directory, and routd's are no longer.
    let text = format!("p{}", std::process::id());
    text.parse().unwrap_or_else(|_| RunId::of_attempt("probe", 0))
}

async fn trial(
    config: &ProcessConfig,
    id: &RunId,
    dir: &RunDir,
    shims: &Shims,
    without: Without,
) -> Result<Containment, BackendError> {
    let failed = |what: &str, error: io::Error| BackendError::new(what, error);
    // What it tries to reach lies where the databases and the sockets do: below the data directory, outside its home.
    dir.remove().map_err(|error| failed("cannot clear an earlier trial", error))?;
    let bait = prepare(config, id, dir, without)
        .map_err(|error| failed("cannot prepare a trial of the sandbox", error))?;
    let answer = shims.start(&config.launcher, id, dir).await;
    let made_of = match answer
        .map_err(|error| BackendError::new("the trial did not start", error))?
    {
        Answer::Started(started) => started,
        Answer::Failed { what, .. } => return Err(BackendError { what, source: None }),
        Answer::Taken => {
            return Err(BackendError { what: "the trial was started twice".into(), source: None });
        }
    };
    let watched = async {
        if let Some(begun) = dir.begun()? {
            shims::until_gone(&begun).await?;
        }
        shims.forget(id).await;
        let log = output::read(dir.path(), Limits::default().output_bytes)?;
        dir.end().map(|end| (end, log))
    };
    let (end, log) = watched.await.map_err(|error| failed("cannot watch the trial", error))?;
    drop(bait);
    if end.as_ref().map(|end| &end.how) != Some(&How::Exited { code: 0 }) {
        let text = String::from_utf8_lossy(&log.bytes).trim().to_owned();
        let what = format!("the trial of the sandbox ended with {end:?} and said `{text}`");
        return Err(BackendError { what, source: None });
    }
    let reached: Reached = serde_json::from_slice(&log.bytes)
        .map_err(|error| failed("the trial's word is not understood", error.into()))?;
    let writes = was_changed(dir).map_err(|error| failed("cannot look at the bait", error))?;
    Ok(Containment::Tried { reached: Reached { writes, ..reached }, made_of })
}

/// What the probe is to try. Held until it has.
struct Bait {
    _socket: UnixListener,
    _listener: TcpListener,
}

fn prepare(config: &ProcessConfig, id: &RunId, dir: &RunDir, without: Without) -> io::Result<Bait> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (home, turn_dir) = (dir.file("home"), dir.file("turn"));
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or(io::Error::from(io::ErrorKind::InvalidFilename))
    };
    let order = Order {
        run: id.to_string(),
        agent: AgentCommand {
            program: config.launcher.clone(),
            name: "arizuko".into(),
            args: [
                "sandbox".into(),
                "probe".into(),
                text(dir.path())?,
                listener.local_addr()?.to_string(),
            ]
            .into(),
            bridges: false,
        },
        home: home.clone(),
        turn_dir: turn_dir.clone(),
        limits: Limits { wall_clock_seconds: 20, ..Limits::default() },
        grace_ms: u64::try_from(GRACE.as_millis()).unwrap_or_default(),
        without,
        shown: config.shown.clone(),
    };
    dir.prepare(&order)?;
    for place in [&dir.file("hidden"), &home, &turn_dir] {
        homes::make_private(place)?;
    }
    let canary = dir.file(CANARY);
    fs::write(&canary, "nobody should read this")?;
    fs::set_permissions(&canary, Permissions::from_mode(CANARY_MODE))?;
    Ok(Bait { _socket: UnixListener::bind(dir.file("s"))?, _listener: listener })
}

/// The file that the probe tries to read and to change.
const CANARY: &str = "hidden/canary";
/// Its mode, which the probe tries to change.
const CANARY_MODE: u32 = 0o600;

/// Whether the probe wrote where it should not.
fn was_changed(dir: &RunDir) -> io::Result<bool> {
    let mode = fs::metadata(dir.file(CANARY))?.permissions().mode() & 0o777;
    Ok(dir.file("written").exists() || mode != CANARY_MODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(reached: Reached) -> Containment {
        Containment::Tried { reached, made_of: Started::default() }
    }

    #[test]
    fn a_program_runs_only_where_nothing_could_be_reached() {
        assert!(tried(Reached::default()).admits(Harness::Command).is_ok());
        for reached in [
            Reached { files: true, ..Reached::default() },
            Reached { writes: true, ..Reached::default() },
            Reached { sockets: true, ..Reached::default() },
            Reached { network: true, ..Reached::default() },
        ] {
            let containment = tried(reached);
            let refusal = containment.admits(Harness::Command).unwrap_err().to_string();
            assert!(
                refusal.contains("`command`") && refusal.contains("use `offline`"),
                "{refusal}"
            );
            assert!(containment.admits(Harness::Offline).is_ok(), "it runs nobody else's code");
            assert_eq!(containment.describe().harnesses, ["offline", "builtin"], "{reached:?}");
        }
    }

    #[test]
    fn where_nothing_can_be_started_nothing_is_admitted() {
        let containment = Containment::Impossible("no shim".into());
        for harness in [Harness::Offline, Harness::Command] {
            assert!(containment.admits(harness).unwrap_err().to_string().contains("no shim"));
        }
        assert!(containment.describe().harnesses.is_empty());
    }
}
