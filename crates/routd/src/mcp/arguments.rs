//! What each tool takes. Fields that are not known are refused: a misspelt one would be silently ignored.

use proto::Jid;
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{fault::Fault, say::CONTENT_MAX};

/// Bytes of a folder's memory.
pub(super) const MEMORY_MAX: usize = 64 * 1024;
/// Messages that one look shows.
pub(super) const INSPECT_MAX: u32 = 100;

/// Arguments of `reply`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reply {
    /// The text, as Markdown.
    pub(super) content: String,
}

/// Arguments of `send`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    /// The chat, such as `web:team/name`.
    pub(super) chat_jid: Jid,
    /// The text, as Markdown.
    pub(super) content: String,
}

/// Arguments of `inspect_messages`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Inspect {
    /// The chat; this turn's own when left out.
    #[serde(default)]
    pub(super) chat_jid: Option<Jid>,
    /// How many, 1 to 100; 20 when left out.
    #[serde(default)]
    pub(super) limit: Option<u32>,
    /// Only messages before this `seq`.
    #[serde(default)]
    pub(super) before: Option<i64>,
}

/// Arguments of `get_memory`: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GetMemory {}

/// Arguments of `set_memory`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetMemory {
    /// The whole text that replaces the memory; at most 64 KiB.
    pub(super) content: String,
}

/// Reads the arguments of a tool.
pub(super) fn read<T: DeserializeOwned>(tool: &str, arguments: JsonObject) -> Result<T, Fault> {
    serde_json::from_value(arguments.into())
        .map_err(|error| Fault::Invalid(format!("`{tool}` does not take this: {error}")))
}

/// Refuses a message that is empty or too long.
pub(super) fn check_content(content: &str) -> Result<(), Fault> {
    if content.trim().is_empty() {
        return Err(Fault::Invalid("`content` is empty".into()));
    }
    if content.len() > CONTENT_MAX {
        let text = format!("`content` has at most {CONTENT_MAX} bytes; send it in parts");
        return Err(Fault::Invalid(text));
    }
    Ok(())
}
