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

/// Gives a webhook's link a new signing secret; the one before it stays good for one overlap.
pub const ROTATE_LINK: Endpoint<RotateLink, SigningSecret> = Endpoint::post(
    "/v1/tokens/{id}/rotate",
    Needs::Scope("tokens:write"),
    "Give a webhook's link a new signing secret",
);

/// Whether a delivery was signed with the link's secret. Asked by webd, which never holds that secret.
pub const VERIFY_DELIVERY: Endpoint<VerifyDelivery, Verified> = Endpoint::post(
    "/v1/tokens/{id}/verify",
    Needs::Scope("links:resolve"),
    "Whether a delivery was signed with the link's secret",
);

/// How the deliveries of a webhook are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// As GitHub does: `X-Hub-Signature-256`, HMAC-SHA-256 over the body.
    Github,
    /// As <https://www.standardwebhooks.com> says: `webhook-signature` with scheme `v1`, HMAC-SHA-256 over id, time
    /// and body.
    Standard,
}

impl Signature {
    /// Its name on the command line and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Standard => "standard",
        }
    }
}

impl std::str::FromStr for Signature {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "github" => Ok(Self::Github),
            "standard" => Ok(Self::Standard),
            other => Err(format!("there is no signature `{other}`; use github or standard")),
        }
    }
}

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

/// The link to make. `Debug` hides its secret.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueLink {
    /// What it opens.
    pub kind: LinkKind,
    /// The folder its messages go to.
    pub folder: Folder,
    /// The name of the program behind a webhook, such as `ci`; the default is `hook`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How the deliveries of a webhook are signed; not at all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// What they are signed with, where the sender chose it; a random one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<String>,
}

impl IssueLink {
    /// A link whose deliveries, if it is a webhook's, are not signed.
    pub const fn unsigned(kind: LinkKind, folder: Folder, source: Option<String>) -> Self {
        Self { kind, folder, source, signature: None, signing_secret: None }
    }
}

impl fmt::Debug for IssueLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssueLink({} for {}, ..)", self.kind.name(), self.folder)
    }
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
    /// What the sender of a webhook signs with; shown once, stored only sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<String>,
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
    /// How its deliveries are signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
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

/// The link whose signing secret is to be replaced. `Debug` hides the new one.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateLink {
    /// The link's id.
    pub id: Opaque,
    /// The new secret, where the sender chose it; a random one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<String>,
}

impl fmt::Debug for RotateLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RotateLink({}, ..)", self.id)
    }
}

/// A new signing secret. `Debug` hides it.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SigningSecret {
    /// The secret; shown once, stored only sealed.
    pub signing_secret: String,
    /// Until when the one before it is good as well.
    pub previous_until: Timestamp,
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningSecret(.., previous until {})", self.previous_until)
    }
}

/// What a delivery shows for itself.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct VerifyDelivery {
    /// The link's id.
    pub id: Opaque,
    /// What was signed, in base64.
    pub payload: String,
    /// The signatures shown, each HMAC-SHA-256 in base64: one that fits is enough.
    pub signatures: Vec<String>,
}

/// Whether a delivery is the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Verified {
    /// Whether a signature fits.
    pub verified: bool,
    /// Whether it was made with the secret before the current one.
    pub by_previous: bool,
}
