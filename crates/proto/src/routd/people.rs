//! Letting people in: what only onbod asks for.

use crate::{Endpoint, Folder, Jid, Needs, Opaque};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Gives a new person a folder, the right to administer it, and a route from the chat that is theirs: all of it, or
/// nothing. A repeat under the same admission answers alike. A folder that is there already is given only to the
/// person whom it was made for, and a chat that belongs to a folder already to nobody.
pub const ADMIT_PERSON: Endpoint<AdmitPerson, AdmittedPerson> = Endpoint::post(
    "/v1/people",
    Needs::Scope("people:admit"),
    "Give a new person a folder, rights on it, and a route from a chat",
);

/// Says one line in a chat in the suite's own name. Under the same `Idempotency-Key`, which is required, it is said
/// once. Only where somebody wrote before.
pub const NOTICE: Endpoint<Notice, Noticed> = Endpoint::post(
    "/v1/notices",
    Needs::Scope("notices:write"),
    "Say one line in a chat, in the suite's own name",
);

/// Somebody who is let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AdmitPerson {
    /// The admission: the key under which a repeat answers alike.
    pub admission: Opaque,
    /// Who: `user:ID`, or `operator:NAME`, who needs no right.
    pub subject: String,
    /// The folder.
    pub folder: Folder,
    /// The chat whose messages go there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_jid: Option<Jid>,
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AdmittedPerson {
    /// Their folder.
    pub folder: Folder,
    /// Whether it had been done before.
    pub duplicate: bool,
}

/// A line to say. `Debug` hides it: it may hold a link.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Notice {
    /// The chat.
    pub chat_jid: Jid,
    /// The text, as Markdown. At most 4,096 bytes.
    pub content: String,
    /// What is kept of it in the history; all of it when left out. For a text with a link that is a right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notice({}, ..)", self.chat_jid)
    }
}

/// The line is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Noticed {
    /// The message's id.
    pub id: Opaque,
    /// Whether it had been said before.
    pub duplicate: bool,
}
