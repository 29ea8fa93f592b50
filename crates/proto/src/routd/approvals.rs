//! Calls of tools that are held until a person decides on them.

use crate::{Endpoint, Folder, Jid, Needs, Opaque, Timestamp, Topic};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, str::FromStr};

/// The calls that were held, newest first, a page at a time. A caller sees those of folders that they reach or may
/// decide for.
pub const LIST_APPROVALS: Endpoint<ListApprovals, Approvals> = Endpoint::get(
    "/v1/approvals",
    Needs::Scope("approvals:read"),
    "Calls of tools that wait, or waited, for a person's approval, newest first",
);

/// One of them, whole.
pub const GET_APPROVAL: Endpoint<OneApproval, Approval> = Endpoint::get(
    "/v1/approvals/{id}",
    Needs::Scope("approvals:read"),
    "One call that waits, or waited, for a person's approval, whole",
);

/// Approves a call: it is made once, with the arguments that it was held with. A repeat answers alike; one that was
/// decided otherwise meanwhile is a conflict.
pub const APPROVE: Endpoint<Decide, Approval> = Endpoint::post(
    "/v1/approvals/{id}/approve",
    Needs::Scope("approvals:write"),
    "Approve a call: it is made once, with exactly its arguments",
);

/// Denies a call: it is never made, and the agent is told why. A repeat answers alike; one that was decided otherwise
/// meanwhile is a conflict.
pub const DENY: Endpoint<Decide, Approval> = Endpoint::post(
    "/v1/approvals/{id}/deny",
    Needs::Scope("approvals:write"),
    "Deny a call: it is never made, and the agent is told",
);

/// Bytes of the reason of a decision.
pub const REASON_MAX: usize = 1024;

/// How a held call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalState {
    /// It waits for a person.
    Pending,
    /// It was approved, and is to be made.
    Approved,
    /// It is being made.
    Running,
    /// It was made.
    Done,
    /// It was approved, and refused or failed when it was to be made.
    Failed,
    /// It was denied.
    Denied,
    /// Nobody decided in time.
    Expired,
    /// It was being made when routd ended: whether it was made is not known, and it is not made again.
    Interrupted,
}

impl ApprovalState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Approved,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Denied,
        Self::Expired,
        Self::Interrupted,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The text is no state of a held call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no state; write pending, approved, running, done, failed, denied, expired or interrupted"
)]
pub struct UnknownApprovalState(String);

impl FromStr for ApprovalState {
    type Err = UnknownApprovalState;
    fn from_str(text: &str) -> Result<Self, UnknownApprovalState> {
        let found = Self::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| UnknownApprovalState(text.into()))
    }
}

impl fmt::Display for ApprovalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A held call. `Debug` hides its arguments and its answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Approval {
    /// Its id.
    pub id: Opaque,
    /// How it stands.
    pub state: ApprovalState,
    /// Whose agent makes it.
    pub folder: Folder,
    /// The chat of the turn that made it, where it may be decided on and where its outcome goes.
    pub chat_jid: Jid,
    /// The topic of that chat.
    pub topic: Topic,
    /// The turn that made it.
    pub turn_id: Opaque,
    /// Whom that turn answers.
    pub asked_for: String,
    /// The tool.
    pub tool: String,
    /// Its arguments: a JSON object, its keys in order. In a list, at most 2,000 bytes of it.
    pub arguments: String,
    /// Whether `arguments` is not the whole.
    pub is_cut: bool,
    /// SHA-256 of the tool's name, a zero byte and the arguments, in hexadecimal.
    pub digest: String,
    /// When it was held.
    pub held_at: Timestamp,
    /// Until when it may be decided on.
    pub expires_at: Timestamp,
    /// When it was decided on.
    pub decided_at: Option<Timestamp>,
    /// By whom.
    pub decided_by: Option<String>,
    /// Why, in their words.
    pub reason: Option<String>,
    /// When its outcome was there.
    pub settled_at: Option<Timestamp>,
    /// What the tool answered, or why it did not; `null` in a list.
    pub answer: Option<String>,
}

impl fmt::Debug for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, state, folder, tool, .. } = self;
        write!(f, "Approval({id} {state} {folder} {tool}, ..)")
    }
}

/// Which held calls.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListApprovals {
    /// Those of this folder alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<Folder>,
    /// Those that stand so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ApprovalState>,
    /// Those that were held before the end of the page before: its `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// At most this many; 100 when left out, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page of held calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Approvals {
    /// Newest first.
    pub approvals: Vec<Approval>,
    /// What to ask before next; `null` on the last page.
    pub next: Option<i64>,
}

/// One held call.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OneApproval {
    /// Its id.
    pub id: Opaque,
}

/// A decision.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// The call's id.
    pub id: Opaque,
    /// Why, for the agent to read. At most 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// JSON as a person reads it, on several lines. Characters that are not seen, or that change the order in which others
/// are seen, stand as their escapes: what is read is what is done.
pub fn readable(arguments: &str) -> String {
    let value: Option<Value> = serde_json::from_str(arguments).ok();
    let pretty = value.and_then(|value| serde_json::to_string_pretty(&value).ok());
    let pretty = pretty.as_deref().unwrap_or(arguments);
    let mut out = String::with_capacity(pretty.len());
    for c in pretty.chars() {
        if c == '\n' || !is_unseen(c) {
            out.push(c);
            continue;
        }
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}

fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_is_done() {
        let arguments = "{\"body\":\"pay \u{202e}01\u{200b} \\n\u{e0041}\",\"n\":1}";
        let shown = readable(arguments);
        assert!(shown.contains("pay \\u202e01\\u200b \\n\\udb40\\udc41"), "{shown}");
        let back: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(back, serde_json::from_str::<Value>(arguments).unwrap());
        assert_eq!(readable("not JSON \u{7f}"), "not JSON \\u007f");
    }
}
