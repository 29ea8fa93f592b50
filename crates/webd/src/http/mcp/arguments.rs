//! The tools of a chat, and what each takes. Fields that are not known are refused: a misspelt one would be silently
//! ignored.

use kit::Failure;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

/// Arguments of `ask`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// The text, as Markdown; at most 65,536 bytes.
    pub(super) content: String,
    /// The topic; none when left out.
    #[serde(default)]
    pub(super) topic: Option<String>,
    /// Your own id of this message: the same id is the same message, and is answered alike.
    #[serde(default)]
    pub(super) id: Option<String>,
    /// How long to wait for the answer, 0 to 55 seconds; 45 when left out.
    #[serde(default)]
    pub(super) wait_seconds: Option<u32>,
}

/// Arguments of `send`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    /// The text, as Markdown; at most 65,536 bytes.
    pub(super) content: String,
    /// The topic; none when left out.
    #[serde(default)]
    pub(super) topic: Option<String>,
    /// Your own id of this message: the same id is the same message.
    #[serde(default)]
    pub(super) id: Option<String>,
}

/// Arguments of `outcome`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Outcome {
    /// The id that `ask` or `send` answered with.
    pub(super) id: String,
    /// How long to wait for the end, 0 to 55 seconds; 0 when left out.
    #[serde(default)]
    pub(super) wait_seconds: Option<u32>,
}

/// Arguments of `history`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    /// Only what came after this cursor; the newest when left out.
    #[serde(default)]
    pub(super) after: Option<i64>,
    /// How many events to look at, 1 to 200; 50 when left out.
    #[serde(default)]
    pub(super) limit: Option<u32>,
    /// The topic; all when left out.
    #[serde(default)]
    pub(super) topic: Option<String>,
}

/// Reads the arguments of a tool.
pub(super) fn read<T: DeserializeOwned>(tool: &str, arguments: JsonObject) -> Result<T, Failure> {
    serde_json::from_value(arguments.into())
        .map_err(|error| Failure::bad_request(format!("`{tool}` does not take this: {error}")))
}

/// Every tool there is.
pub(super) fn tools(assistant: &str) -> Vec<Tool> {
    let speaks = || ToolAnnotations::new().destructive(false).open_world(true);
    let reads = || ToolAnnotations::new().read_only(true);
    vec![
        tool::<Ask>(
            "ask",
            format!(
                "Say something to {assistant} in this chat and wait for the answer. When the wait ends before the \
                 answer, `done` is false: ask for it with `outcome`."
            ),
            speaks(),
        ),
        tool::<Send>(
            "send",
            format!("Say something to {assistant} in this chat, without waiting for the answer."),
            speaks(),
        ),
        tool::<Outcome>("outcome", "What became of a message that was said here.".into(), reads()),
        tool::<History>(
            "history",
            "What was said in this chat, oldest first. `cursor` is what to ask `after` next."
                .into(),
            reads(),
        ),
    ]
}

fn tool<T: JsonSchema>(name: &'static str, about: String, annotations: ToolAnnotations) -> Tool {
    let schema = schemars::schema_for!(T).to_value();
    let schema: JsonObject = schema.as_object().cloned().unwrap_or_default();
    Tool::new(name, about, schema).with_annotations(annotations)
}
