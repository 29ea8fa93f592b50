//! What every daemon serves.

use crate::{Daemon, Endpoint, Needs, Nothing, Timestamp};
use serde::{Deserialize, Serialize};

/// Whether the process is alive.
pub const HEALTH: Endpoint<Nothing, Health> =
    Endpoint::get("/health", Needs::Nobody, "Whether the process is alive");

/// Whether the daemon can do its work. 503 only until it first can.
pub const READY: Endpoint<Nothing, Ready> =
    Endpoint::get("/ready", Needs::Nobody, "Whether the daemon can do its work");

/// Every secret this daemon uses, without values.
pub const SECRETS: Endpoint<Nothing, DaemonSecrets> = Endpoint::get(
    "/v1/secrets",
    Needs::Scope("secrets:read"),
    "Where each secret comes from, how old it is and what is wrong with it; never a value",
);

/// Asks every source of this daemon again, now.
pub const REFRESH_SECRETS: Endpoint<Nothing, DaemonSecrets> = Endpoint::post(
    "/v1/secrets/refresh",
    Needs::Scope("secrets:write"),
    "Read every source again now, and answer with the state after that",
);

/// Ends the overlap of one secret: only its current value is accepted from now on.
pub const FORGET_SECRET: Endpoint<ForgetSecret, DaemonSecrets> = Endpoint::post(
    "/v1/secrets/forget",
    Needs::Scope("secrets:write"),
    "Stop accepting the earlier values of a secret",
);

/// The answer of `GET /health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Health {
    /// Always `ok`: a process that is not does not answer.
    pub status: String,
    /// Which daemon answers.
    pub daemon: Daemon,
    /// Its version.
    pub version: String,
    /// The operating system's id of its process.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
}

/// The answer of `GET /ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Ready {
    /// Whether the daemon can do, or could once do, its work.
    pub ready: bool,
    /// What keeps it from its work: before it first could do it, or while it is idle for want of something.
    #[serde(default)]
    pub waiting_for: Vec<String>,
    /// What is wrong while it works.
    #[serde(default)]
    pub degraded: Vec<String>,
}

/// Which secret to stop accepting earlier values of.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgetSecret {
    /// The secret's name, such as `CHANNEL_SECRET`.
    pub name: String,
}

/// How a daemon that seals secrets of its own has renewed the key of its database, or keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DatabaseKey {
    /// The database, such as `routd.db`.
    pub database: String,
    /// The ids of the `SECRETS_KEY`s under which its key is wrapped: those that open it. An id tells
    /// nothing about its key.
    pub opened_by: Vec<String>,
}

/// The secrets of one daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DaemonSecrets {
    /// Which daemon.
    pub daemon: Daemon,
    /// Counts the changes this daemon has taken up since it started, from 1.
    pub generation: u64,
    /// Its secrets, by name.
    pub secrets: Vec<SecretState>,
}

/// What is known of one secret. Never its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SecretState {
    /// The secret's name.
    pub name: String,
    /// The kind of source it comes from, such as `dotenv`; `null` where no source has it.
    pub source: Option<String>,
    /// The source's own name for this version; `static` where it can never change.
    pub version: Option<String>,
    /// 32 bits, in hexadecimal, keyed by a key that only the suite has: equal values have equal
    /// fingerprints on every daemon. `null` until the daemon has the key.
    pub fingerprint: Option<String>,
    /// Seconds since this daemon took up this value.
    pub age_seconds: Option<u64>,
    /// When its source says that this value came to be, such as the time of its file; `null` where it does not say.
    #[serde(default)]
    pub changed_at: Option<Timestamp>,
    /// When this daemon took up this value.
    #[serde(default)]
    pub taken_at: Option<Timestamp>,
    /// Until when the value before it is accepted; `null` where none is.
    pub previous_accepted_until: Option<Timestamp>,
    /// When the source last answered for it.
    pub last_checked: Option<Timestamp>,
    /// What is wrong with it; `null` where nothing is.
    pub error: Option<String>,
}
