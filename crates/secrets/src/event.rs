//! What happened to a secret, for the audit trail.

use crate::Name;
use serde::Serialize;
use std::time::SystemTime;

/// One thing that happened to one secret of one daemon. Holds no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When.
    #[serde(serialize_with = "crate::status::rfc3339")]
    pub at: SystemTime,
    /// In which daemon.
    pub daemon: String,
    /// Which secret.
    pub name: Name,
    /// The kind of source.
    pub source: Option<String>,
    /// The version before.
    pub from: Option<String>,
    /// The version after.
    pub to: Option<String>,
    /// The generation of the bundle after it.
    pub generation: u64,
    /// Who or what asked for the look that led to it, such as `poll`, `hint`, `refused`, or a
    /// person's id.
    pub asked_by: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "result", content = "reason")]
pub enum Outcome {
    /// The daemon took its first value.
    Loaded,
    /// Another value is current now.
    Published,
    /// What the source has now cannot be used; the last good value stays.
    Rejected(String),
    /// The source has it no more; the last good value stays.
    Vanished,
    /// Earlier values are no longer accepted.
    Forgotten,
}
