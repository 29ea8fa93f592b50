//! What each tool takes. Fields that are not known are refused: a misspelt one would be silently ignored.

use proto::Jid;
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeMap;

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

/// Arguments of `http_request`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpRequest {
    /// The name of the secret to use, such as `GITHUB_TOKEN`. Its value is put into the request for you.
    pub(super) secret: String,
    /// The URL; it must lie where that secret may go.
    pub(super) url: String,
    /// GET, HEAD, POST, PUT, PATCH or DELETE; GET when left out.
    #[serde(default)]
    pub(super) method: Option<String>,
    /// More headers.
    #[serde(default)]
    pub(super) headers: Option<BTreeMap<String, String>>,
    /// The body, as text.
    #[serde(default)]
    pub(super) body: Option<String>,
    /// The body, as JSON.
    #[serde(default)]
    pub(super) json: Option<serde_json::Value>,
    /// How long the answer may take, 1 to 60 seconds; 30 when left out.
    #[serde(default)]
    pub(super) timeout_seconds: Option<u64>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Any JSON, a few levels deep, with the names of arguments among its keys.
    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            Just(json!("web:team/name")),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let key =
                prop_oneof![Just("content".to_owned()), Just("chat_jid".to_owned()), "[a-z_]{0,8}"];
            let list = proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
            let object = proptest::collection::btree_map(key, inner, 0..4);
            prop_oneof![list, object.prop_map(|map| Value::Object(map.into_iter().collect()))]
        })
    }

    proptest! {
        #[test]
        fn whatever_an_agent_passes_is_taken_whole_or_refused_as_the_agents_mistake(
            content in anything(), limit in anything(), other in "[a-z]{1,12}"
        ) {
            let object = |value: Value| value.as_object().cloned().unwrap_or_default();
            let arguments = object(json!({ "content": content, "chat_jid": limit }));
            let sent = read::<Send>("send", arguments);
            let good = content.is_string() && limit.as_str().is_some_and(|jid| jid.parse::<Jid>().is_ok());
            prop_assert_eq!(sent.is_ok(), good);
            prop_assert!(sent.is_ok() || matches!(sent, Err(Fault::Invalid(_))));

            let looked = read::<Inspect>("inspect_messages", object(json!({ "limit": limit })));
            let good = limit.is_null() || limit.as_u64().is_some_and(|n| u32::try_from(n).is_ok());
            prop_assert_eq!(looked.is_ok(), good);

            let mut odd = object(json!({ "content": "x" }));
            odd.insert(other.clone(), content);
            prop_assert!(other == "content" || read::<Reply>("reply", odd).is_err(), "unknown: {}", other);
        }
    }
}
