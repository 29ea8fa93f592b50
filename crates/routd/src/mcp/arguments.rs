//! What tools take. Fields that are not known are refused: a misspelt one would be silently ignored.

use crate::{fault::Fault, say::CONTENT_MAX};
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// The arguments of a tool. The type takes `deny_unknown_fields`.
pub(super) trait Arguments: DeserializeOwned + JsonSchema + Send + 'static {
    /// Refuses what its type cannot: lengths, ranges, what goes together.
    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Reads the arguments of the tool of this name.
    fn take(tool: &str, arguments: JsonObject) -> Result<Self, Fault> {
        let taken: Self = serde_json::from_value(arguments.into())
            .map_err(|error| Fault::Invalid(format!("`{tool}` does not take this: {error}")))?;
        taken.check()?;
        Ok(taken)
    }
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
    use super::{
        super::{
            reading::Inspect,
            talk::{Reply, Send},
        },
        *,
    };
    use proptest::prelude::*;
    use proto::Jid;
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
            let sent = Send::take("send", arguments);
            let said = content.as_str().is_some_and(|text| !text.trim().is_empty());
            let good = said && limit.as_str().is_some_and(|jid| jid.parse::<Jid>().is_ok());
            prop_assert_eq!(sent.is_ok(), good);
            prop_assert!(sent.is_ok() || matches!(sent, Err(Fault::Invalid(_))));

            let looked = Inspect::take("inspect_messages", object(json!({ "limit": limit })));
            let good = limit.is_null() || limit.as_u64().is_some_and(|n| (1..=100).contains(&n));
            prop_assert_eq!(looked.is_ok(), good);

            let mut odd = object(json!({ "content": "x" }));
            odd.insert(other.clone(), content);
            prop_assert!(other == "content" || Reply::take("reply", odd).is_err(), "unknown: {}", other);
        }
    }
}
