//! Who may do what to which folder.

use crate::{Endpoint, Folder, Needs, Nothing, Timestamp};
use serde::{Deserialize, Serialize};

/// Adds a row. A caller who is no operator administers the row's folders and holds what the row gives. A repeat answers
/// alike.
pub const ADD_RULE: Endpoint<AclRule, AclRow> =
    Endpoint::post("/v1/acl", Needs::Scope("acl:write"), "Give, hold or deny a right");

/// Takes a row away. A repeat answers alike.
pub const REMOVE_RULE: Endpoint<AclRule, Nothing> =
    Endpoint::delete("/v1/acl", Needs::Scope("acl:write"), "Take a row of the ACL away");

/// The rows, and who belongs to what.
pub const LIST_ACL: Endpoint<Nothing, AclTable> =
    Endpoint::get("/v1/acl", Needs::Scope("acl:read"), "Who may do what");

/// Whether somebody may do something, and which row decides.
pub const CHECK_ACL: Endpoint<CheckAcl, AclAnswer> =
    Endpoint::get("/v1/acl/check", Needs::Scope("acl:read"), "Whether somebody may, and why");

/// Has one principal belong to another, with all its rights and denials. For operators. A repeat answers alike.
pub const ADD_MEMBER: Endpoint<AclMember, Nothing> =
    Endpoint::post("/v1/acl/members", Needs::Scope("acl:write"), "Put somebody into a role");

/// Ends that. For operators. A repeat answers alike.
pub const REMOVE_MEMBER: Endpoint<AclMember, Nothing> =
    Endpoint::delete("/v1/acl/members", Needs::Scope("acl:write"), "Take somebody out of a role");

/// What a row says.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AclEffect {
    /// Yes, unless another row denies or holds.
    #[default]
    Allow,
    /// What is allowed waits until a person approves it. It gives nothing by itself.
    Hold,
    /// No, whatever other rows say.
    Deny,
}

impl AclEffect {
    /// Its name on the command line and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Hold => "hold",
            Self::Deny => "deny",
        }
    }
}

/// A row to add or to take away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AclRule {
    /// `folder:NAME` (its agent), `user:ID`, `person:ADDRESS` (who writes from there), `role:NAME`, `service:DAEMON` or
    /// `operator:NAME`.
    pub principal: String,
    /// One such as `mcp:delegate`, `admin`, `approve` or `egress`; `mcp:*` for all tools, `*` for everything.
    pub action: String,
    /// The folders: `team/name`, or with `*` for a part of a segment and `**` for anything.
    pub scope: String,
    /// Whether it allows, holds or denies; allow when left out.
    #[serde(default)]
    pub effect: AclEffect,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AclRow {
    /// Who.
    pub principal: String,
    /// What.
    pub action: String,
    /// To which folders.
    pub scope: String,
    /// Whether it allows, holds or denies.
    pub effect: AclEffect,
    /// Who added it.
    pub added_by: String,
    /// When.
    pub added_at: Timestamp,
}

/// One principal belongs to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AclMember {
    /// Who belongs.
    pub child: String,
    /// To what, usually `role:NAME`.
    pub parent: String,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AclTable {
    /// The rows.
    pub rules: Vec<AclRow>,
    /// Who belongs to what.
    pub members: Vec<AclMember>,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CheckAcl {
    /// Who.
    pub principal: String,
    /// What: one action.
    pub action: String,
    /// To which folder.
    pub folder: Folder,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AclAnswer {
    /// Yes or no.
    pub allowed: bool,
    /// Whether it is no only until a person approves the very call.
    #[serde(default)]
    pub held: bool,
    /// Why: the row that decides, or that there is none.
    pub because: String,
}
