//! Capability links: a URL that carries its own right to one chat or one webhook.

use crate::{Endpoint, Folder, Jid, Needs, Nothing, Opaque, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Makes a link. Its token is in the answer and nowhere else.
pub const ISSUE_LINK: Endpoint<IssueLink, IssuedLink> =
    Endpoint::post("/v1/tokens", Needs::Scope("tokens:write"), "Make a capability link");

/// The links, without their tokens.
pub const LIST_LINKS: Endpoint<Nothing, Links> =
    Endpoint::get("/v1/tokens", Needs::Scope("tokens:read"), "The capability links");

/// Ends a link. A repeat answers alike.
pub const REVOKE_LINK: Endpoint<RevokeLink, Nothing> =
    Endpoint::delete("/v1/tokens/{id}", Needs::Scope("tokens:write"), "End a capability link");

/// What a link's token opens. Asked by webd for each request.
pub const RESOLVE_LINK: Endpoint<ResolveLink, Link> =
    Endpoint::post("/v1/tokens/resolve", Needs::Scope("links:resolve"), "What a token opens");

/// What a link opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// A chat, read and written by a person.
    Chat,
    /// A webhook, written by a program.
    Hook,
}

impl LinkKind {
    /// Its name on the command line and in the path.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Hook => "hook",
        }
    }
}

impl std::str::FromStr for LinkKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "chat" => Ok(Self::Chat),
            "hook" => Ok(Self::Hook),
            other => Err(format!("there is no kind `{other}`; use chat or hook")),
        }
    }
}

/// The link to make.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueLink {
    /// What it opens.
    pub kind: LinkKind,
    /// The folder its messages go to.
    pub folder: Folder,
    /// The name of the program behind a webhook, such as `ci`; the default is `hook`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A new link. `Debug` hides its token.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct IssuedLink {
    /// The link.
    pub link: Link,
    /// The token; shown once, stored only as a keyed hash.
    pub token: String,
    /// The path on the edge, such as `/chat/…/`.
    pub path: String,
}

impl fmt::Debug for IssuedLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuedLink({:?}, ..)", self.link)
    }
}

/// A link, without its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Link {
    /// Its id, to revoke it by.
    pub id: Opaque,
    /// What it opens.
    pub kind: LinkKind,
    /// The folder its messages go to.
    pub folder: Folder,
    /// The chat it opens.
    pub chat_jid: Jid,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The links.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Links {
    /// Oldest first.
    pub links: Vec<Link>,
}

/// Which link to end.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RevokeLink {
    /// The link's id.
    pub id: Opaque,
}

/// A token that somebody showed. `Debug` hides it.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ResolveLink {
    /// The token.
    pub token: String,
    /// What it was shown for.
    pub kind: LinkKind,
}

impl fmt::Debug for ResolveLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResolveLink({:?}, ..)", self.kind)
    }
}
