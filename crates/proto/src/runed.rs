//! What runed serves: agent runs.

use crate::{Endpoint, Folder, Needs, Nothing, Opaque, Route, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Starts a run. Idempotent on `(turn_id, attempt)`; answers at once with the run as it stands.
pub const START_RUN: Endpoint<StartRun, Run> =
    Endpoint::post("/v1/runs", Needs::Scope("runs:write"), "Start an agent run");

/// One run; waits up to `wait_seconds` for it to leave `unless_state`.
pub const GET_RUN: Endpoint<GetRun, Run> =
    Endpoint::get("/v1/runs/{id}", Needs::Scope("runs:read"), "The state of a run");

/// Runs, newest first.
pub const LIST_RUNS: Endpoint<ListRuns, Runs> =
    Endpoint::get("/v1/runs", Needs::Scope("runs:read"), "Runs, newest first");

/// Ends a run until it is gone. A repeat answers alike.
pub const END_RUN: Endpoint<EndRun, Run> =
    Endpoint::delete("/v1/runs/{id}", Needs::Scope("runs:write"), "End a run until it is gone");

/// What a run wrote on its standard output and error, the newest part of it.
pub const RUN_LOG: Endpoint<EndRun, RunLog> =
    Endpoint::get("/v1/runs/{id}/log", Needs::Scope("runs:read"), "The log of a run");

/// Whose run a pod is, by the token that the cluster gave it. Where the backend has no pods, nobody's.
pub const IDENTIFY: Endpoint<Identify, Identified> = Endpoint::post(
    "/v1/runs/identify",
    Needs::Scope("runs:read"),
    "Whose run a pod is, by its service account's token",
);

/// Queue depths and the backend's state.
pub const STATUS: Endpoint<Nothing, RunedStatus> =
    Endpoint::get("/v1/status", Needs::Scope("status:read"), "Runs in progress and the backend");

/// What was done, newest first.
pub const AUDIT: Endpoint<crate::routd::AuditQuery, crate::routd::AuditPage> =
    Endpoint::get("/v1/audit", Needs::Scope("audit:read"), "What was done, newest first");

/// Every route of this daemon, without those that every daemon has.
pub const ROUTES: &[Route] = &[
    START_RUN.route,
    GET_RUN.route,
    LIST_RUNS.route,
    END_RUN.route,
    RUN_LOG.route,
    IDENTIFY.route,
    STATUS.route,
    AUDIT.route,
];

/// A run to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StartRun {
    /// The turn it serves.
    pub turn_id: Opaque,
    /// Which attempt at the turn, from 1.
    pub attempt: u32,
    /// The tenant. One run of a folder at a time.
    pub folder: Folder,
    /// The folder's home: one flat directory name below `homes/`.
    pub home: Opaque,
    /// The image, where the backend has images; the configured one when left out.
    #[serde(default)]
    pub image: Option<String>,
    /// Bounds of this run.
    pub limits: Limits,
    /// Whether the run may reach a network.
    #[serde(default)]
    pub egress: Egress,
    /// Where the run finds its turn.
    pub endpoint: TurnEndpoint,
    /// The harness the turn will ask for, so that a backend can refuse one it cannot contain.
    pub harness: crate::turn::Harness,
}

/// Where a run reaches its turn. Nothing in it is secret: which run it is follows from the socket, or from the identity
/// that a cluster gives the run's pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TurnEndpoint {
    /// A directory that holds the Unix socket `s` of this turn and nothing else.
    UnixSocket {
        /// The directory's absolute path on the host of runed.
        directory: String,
    },
    /// routd's listener for the turns of agents in a cluster.
    Listener {
        /// Its address, `https://HOST:PORT`.
        url: String,
        /// The SHA-256 of its certificate (DER), in hexadecimal.
        certificate_sha256: String,
    },
}

/// The token that a pod showed. `Debug` hides it.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Identify {
    /// A service account's token, bound to a pod, for the audience [`TURN_AUDIENCE`].
    pub token: String,
}

impl std::fmt::Debug for Identify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identify(..)")
    }
}

/// Whom the tokens of agents' pods are for.
pub const TURN_AUDIENCE: &str = "arizuko";

/// Whose run a pod is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Identified {
    /// `null`: the token is nobody's that is known here.
    pub pod: Option<PodOfRun>,
}

/// A pod, and the attempt that it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PodOfRun {
    /// The turn.
    pub turn_id: Opaque,
    /// Which attempt at it.
    pub attempt: u32,
    /// The pod's own id in its cluster: no two pods ever have the same.
    pub pod_uid: String,
}

/// Bounds of a run. Every run has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Limits {
    /// Seconds from start to the end, whatever it is doing.
    pub wall_clock_seconds: u32,
    /// Mebibytes of memory.
    pub memory_mib: u32,
    /// Processors, in thousandths.
    pub cpu_milli: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Bytes of output kept; what comes after the first half of them is kept from the end.
    pub output_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall_clock_seconds: 900,
            memory_mib: 2048,
            cpu_milli: 2000,
            pids: 512,
            output_bytes: 1 << 20,
        }
    }
}

/// Network access of a run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Egress {
    /// No network at all.
    #[default]
    None,
    /// The network that the operator set apart for agents.
    Granted,
}

/// Which run, and how long to wait for news of it.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GetRun {
    /// The run.
    pub id: Opaque,
    /// How long to wait, at most 30 seconds; 0 answers at once.
    #[serde(default)]
    pub wait_seconds: u32,
    /// The state that is no news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless_state: Option<RunState>,
}

/// Which runs to list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ListRuns {
    /// Only runs in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RunState>,
    /// Runs before this cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// At most this many; 100 when left out, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of runs.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Runs {
    /// Newest first.
    pub runs: Vec<Run>,
    /// Where the next page begins; `null` at the end.
    pub next: Option<i64>,
}

/// Which run to end, or whose log to show.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EndRun {
    /// The run.
    pub id: Opaque,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Run {
    /// The run's id.
    pub id: Opaque,
    /// The turn it serves.
    pub turn_id: Opaque,
    /// Which attempt at the turn.
    pub attempt: u32,
    /// The tenant.
    pub folder: Folder,
    /// Where it stands.
    pub state: RunState,
    /// How it ended, once it has.
    pub end: Option<RunEnd>,
    /// What went wrong, for an operator.
    pub detail: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When the agent's process or container started.
    pub started_at: Option<Timestamp>,
    /// When it was gone.
    pub ended_at: Option<Timestamp>,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Asked for; it waits for a place or for the backend.
    Pending,
    /// The agent runs.
    Running,
    /// Told to end; not yet gone.
    Ending,
    /// Gone. Nothing of it runs any more.
    Ended,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// The agent exited with 0.
    Completed,
    /// The agent exited with another code or by a signal.
    Crashed,
    /// It ran out of its wall-clock time.
    TimedOut,
    /// It ran out of memory.
    OutOfMemory,
    /// Somebody asked for its end.
    Cancelled,
    /// It could not start, and trying again may help.
    StartFailed,
    /// It can never start as it is: no such image, a harness this backend may not run.
    Refused,
}

/// The newest part of what a run wrote.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunLog {
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Bytes that were written but not kept.
    pub dropped_bytes: u64,
}

/// The state of runed.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunedStatus {
    /// The backend in use: `process`, `docker`, `kubernetes` or `none`.
    pub backend: String,
    /// Runs that wait.
    pub pending: u64,
    /// Runs in progress.
    pub running: u64,
    /// How many may run at once.
    pub capacity: u32,
    /// What the backend enforces around an agent on this machine, one short phrase each.
    #[serde(default)]
    pub enforced: Vec<String>,
    /// What it does not, and what follows from that.
    #[serde(default)]
    pub missing: Vec<String>,
    /// The harnesses that may run here.
    #[serde(default)]
    pub harnesses: Vec<String>,
    /// What the backend runs agents with, and its versions, as far as it says: `engine`, `runc`.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
}
