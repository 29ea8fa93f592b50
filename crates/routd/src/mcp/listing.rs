//! The tools, as an agent sees them.

use super::arguments::{GetMemory, HttpRequest, Inspect, Reply, Send, SetMemory};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;

/// Every tool there is.
pub(super) fn all() -> Vec<Tool> {
    vec![
        tool::<Reply>(
            "reply",
            "Say something to the person who asked, before the turn ends. The final answer need not be sent with \
             this: it is the turn's result.",
            ToolAnnotations::new().destructive(false).open_world(true),
        ),
        tool::<Send>(
            "send",
            "Say something in another chat of this folder.",
            ToolAnnotations::new().destructive(false).open_world(true),
        ),
        tool::<Inspect>(
            "inspect_messages",
            "Recent messages of a chat of this folder, oldest first.",
            ToolAnnotations::new().read_only(true),
        ),
        tool::<GetMemory>(
            "get_memory",
            "The text that this folder remembers from turn to turn.",
            ToolAnnotations::new().read_only(true),
        ),
        tool::<SetMemory>(
            "set_memory",
            "Replace the text that this folder remembers. Read it first: what is left out is forgotten.",
            ToolAnnotations::new().destructive(true).idempotent(true),
        ),
        tool::<HttpRequest>(
            "http_request",
            "Make an HTTP request under one of the secrets that this folder, or the person who asked, has. You name \
             the secret and never see its value. Redirects are not followed.",
            ToolAnnotations::new().destructive(true).open_world(true),
        ),
    ]
}

fn tool<T: JsonSchema>(
    name: &'static str,
    about: &'static str,
    annotations: ToolAnnotations,
) -> Tool {
    let schema = schemars::schema_for!(T).to_value();
    let schema: JsonObject = schema.as_object().cloned().unwrap_or_default();
    Tool::new(name, about, schema).with_annotations(annotations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_an_object_for_its_arguments_and_refuses_unknown_ones() {
        for tool in all() {
            let schema = &tool.input_schema;
            assert_eq!(
                schema.get("type").and_then(|v| v.as_str()),
                Some("object"),
                "{}",
                tool.name
            );
            let open = schema.get("additionalProperties").and_then(|v| v.as_bool());
            assert_eq!(open, Some(false), "{}", tool.name);
        }
    }

    #[test]
    fn every_tool_can_be_granted_by_default() {
        for tool in all() {
            let action = format!("mcp:{}", tool.name);
            assert!(auth::OWN_FOLDER_ACTIONS.contains(&action.as_str()), "{action}");
        }
    }
}
