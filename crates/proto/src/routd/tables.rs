//! Folders and routes.

use crate::{Endpoint, Folder, Jid, Needs, Nothing, Timestamp, turn::Harness};
use serde::{Deserialize, Serialize};

/// Adds a folder, with a route from a chat if one is given. A repeat answers alike.
pub const ADD_GROUP: Endpoint<NewGroup, Group> =
    Endpoint::post("/v1/groups", Needs::Scope("groups:write"), "Add a folder");

/// The folders.
pub const LIST_GROUPS: Endpoint<Nothing, Groups> =
    Endpoint::get("/v1/groups", Needs::Scope("groups:read"), "The folders");

/// Removes a folder from service; its messages stay. A repeat answers alike.
pub const REMOVE_GROUP: Endpoint<RemoveGroup, Nothing> =
    Endpoint::delete("/v1/groups", Needs::Scope("groups:write"), "Remove a folder from service");

/// Adds a row to the route table.
pub const ADD_ROUTE: Endpoint<NewRoute, RouteRow> =
    Endpoint::post("/v1/routes", Needs::Scope("routes:write"), "Add a route");

/// The route table, in the order in which it is tried.
pub const LIST_ROUTES: Endpoint<Nothing, RouteRows> =
    Endpoint::get("/v1/routes", Needs::Scope("routes:read"), "The route table");

/// Removes a row. A repeat answers alike.
pub const REMOVE_ROUTE: Endpoint<RemoveRoute, Nothing> =
    Endpoint::delete("/v1/routes/{id}", Needs::Scope("routes:write"), "Remove a route");

/// Which rule takes a message of this kind, and why.
pub const EXPLAIN_ROUTE: Endpoint<ExplainRoute, Explanation> = Endpoint::get(
    "/v1/routes/explain",
    Needs::Scope("routes:read"),
    "Which rule takes a message, and why",
);

/// The folder to add.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    /// The folder.
    pub folder: Folder,
    /// A chat whose messages go there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jid: Option<Jid>,
    /// What runs its turns; the instance's default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness: Option<Harness>,
    /// The program and its arguments, for the `command` harness.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The model that the harnesses `claude` and `builtin` call; an empty one gives back the instance's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// A folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Group {
    /// The folder.
    pub folder: Folder,
    /// What runs its turns; `null` for the instance's default.
    pub harness: Option<Harness>,
    /// The program and its arguments, for the `command` harness.
    pub command: Vec<String>,
    /// The model that the harnesses `claude` and `builtin` call; `null` for the instance's.
    #[serde(default)]
    pub model: Option<String>,
    /// When it was added.
    pub created_at: Timestamp,
}

/// The folders.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Groups {
    /// By name.
    pub groups: Vec<Group>,
}

/// The folder to remove.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RemoveGroup {
    /// The folder.
    pub folder: Folder,
}

/// The route to add.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRoute {
    /// Where it stands in the order; 0 when left out. The lowest is tried first.
    #[serde(default)]
    pub seq: i64,
    /// `key=glob` predicates, separated by spaces; all must hold. Empty: every message.
    #[serde(rename = "match", default)]
    pub pattern: String,
    /// `folder`, `folder#observe` or `folder#topic`; `{sender}` makes a folder for each person.
    pub target: String,
}

/// A row of the route table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RouteRow {
    /// Its id, to remove it by.
    pub id: i64,
    /// Where it stands in the order.
    pub seq: i64,
    /// Its predicates.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Where its messages go.
    pub target: String,
}

/// The route table.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RouteRows {
    /// In the order in which they are tried.
    pub routes: Vec<RouteRow>,
}

/// The row to remove.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RemoveRoute {
    /// The row's id.
    pub id: i64,
}

/// A message to try.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ExplainRoute {
    /// The chat.
    pub jid: Jid,
    /// The sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// The kind of message; `message` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
}

/// Which rule takes a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Explanation {
    /// The folder; `null` where nothing takes it.
    pub folder: Option<Folder>,
    /// `turn`, `observe` or `unrouted`.
    pub effect: String,
    /// The topic it is pinned to.
    pub topic: Option<String>,
    /// The row that takes it, where a row does.
    pub route_id: Option<i64>,
    /// Each rule that was tried, in order, and why it took the message or did not.
    pub steps: Vec<String>,
}
