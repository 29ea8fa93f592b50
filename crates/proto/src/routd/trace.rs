//! The whole life of a message, and the audit log.

use crate::{Endpoint, Folder, Jid, Needs, Opaque, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The whole life of a message.
pub const TRACE: Endpoint<TraceQuery, Trace> = Endpoint::get(
    "/v1/messages/{id}/trace",
    Needs::Scope("messages:read"),
    "The whole life of a message",
);

/// What was done, newest first.
pub const AUDIT: Endpoint<AuditQuery, AuditPage> =
    Endpoint::get("/v1/audit", Needs::Scope("audit:read"), "What was done, newest first");

/// Which message.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TraceQuery {
    /// The message's id.
    pub id: Opaque,
    /// The chat; needed where the same id may stand in several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_jid: Option<Jid>,
}

/// The whole life of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Trace {
    /// The message's id.
    pub id: Opaque,
    /// The chat.
    pub chat_jid: Jid,
    /// Its place in the order of arrival.
    pub seq: i64,
    /// The folder it went to.
    pub folder: Option<Folder>,
    /// The turn that took it up.
    pub turn_id: Option<Opaque>,
    /// What happened, in order.
    pub steps: Vec<TraceStep>,
}

/// One step of a message's life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TraceStep {
    /// When.
    pub at: Timestamp,
    /// What, such as `routed` or `turn.started`.
    pub what: String,
    /// More about it.
    pub detail: String,
}

/// Which part of the audit log.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditQuery {
    /// Rows before this cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// At most this many; 100 when left out, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditPage {
    /// Newest first.
    pub rows: Vec<AuditRow>,
    /// Where the next page begins; `null` at the end.
    pub next: Option<i64>,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditRow {
    /// Its place in this daemon's log.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who, as a subject such as `operator:local`.
    pub actor: String,
    /// What, such as `route.add`.
    pub action: String,
    /// To what.
    pub target: String,
    /// More about it; never a secret.
    pub detail: String,
    /// SHA-256, in hexadecimal, of this row and the hash of the row before it.
    pub hash: String,
}

impl AuditRow {
    /// Whether it is as it was written, where `before` is the hash of the row before it; empty where there is none.
    pub fn fits(&self, before: &str) -> bool {
        let said = [&*self.actor, &self.action, &self.target, &self.detail];
        self.hash == chained(self.id, self.at, said, before)
    }
}

/// The hash of a row: SHA-256, in hexadecimal, of what it says and of the hash of the row before it. `said` is who, what,
/// to what, and more about it. Each field goes in with its length, so that no two rows have the same bytes.
pub fn chained(id: i64, at: Timestamp, said: [&str; 4], before: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(id.to_be_bytes());
    hash.update(at.0.to_be_bytes());
    for field in said.into_iter().chain([before]) {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field.as_bytes());
    }
    hex::encode(hash.finalize())
}

/// Something that is to be written into the audit log. None of it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// When.
    pub at: Timestamp,
    /// Who, as a subject such as `operator:local`.
    pub actor: String,
    /// What, such as `request.refuse`.
    pub action: String,
    /// To what.
    pub target: String,
    /// More about it.
    pub detail: String,
}
