//! The Messages API.

use super::{Look, Refusal, brief, invalid, kept, standard_speed, word};
use serde_json::{Map, Value};

/// Fields that have nothing done anywhere else.
const FIELDS: &[&str] = &[
    "cache_control",
    "context_management",
    "inference_geo",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "output_format",
    "service_tier",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];
/// Tools that the client carries out, by the beginning of their type; and the search among the tools themselves.
const CLIENT_TOOLS: &[&str] =
    &["bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_"];
/// Tools that the vendor carries out, and that keep nothing.
const VENDOR_TOOLS: &[&str] = &["web_search_", "web_fetch_", "code_execution_", "mcp_toolset"];

pub(super) fn request(look: &mut Look, fields: &Map<String, Value>) -> Result<(), Refusal> {
    standard_speed(fields)?;
    if fields.get("container").is_some_and(|container| !container.is_null()) {
        return Err(kept("`container`"));
    }
    if fields.get("mcp_servers").is_some_and(|servers| *servers != Value::Array(Vec::new())) {
        look.beyond("`mcp_servers`, which has the vendor call a remote tool server,");
    }
    let mut known = FIELDS.to_vec();
    known.push("mcp_servers");
    look.unknown(fields, &known);
    for tool in list(fields.get("tools"), "tools")? {
        self::tool(look, tool)?;
    }
    if let Some(system) = fields.get("system") {
        content(look, system)?;
    }
    for message in list(fields.get("messages"), "messages")? {
        content(look, &message["content"])?;
    }
    Ok(())
}

fn list<'a>(value: Option<&'a Value>, name: &str) -> Result<&'a [Value], Refusal> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(invalid(format!("`{name}` must be a list"))),
    }
}

fn tool(look: &mut Look, tool: &Value) -> Result<(), Refusal> {
    let kind = match &tool["type"] {
        Value::Null => "custom",
        Value::String(kind) => kind,
        _ => return Err(invalid("a tool's `type` must be text")),
    };
    let is_of = |list: &[&str]| list.iter().any(|begin| kind.starts_with(begin));
    if kind == "custom" || is_of(CLIENT_TOOLS) {
        return Ok(());
    }
    if is_of(VENDOR_TOOLS) {
        look.beyond(format!("the vendor's own tool `{}`", brief(kind)));
        return Ok(());
    }
    look.beyond(format!("the tool type `{}`, which is not known to stay here,", brief(kind)));
    Ok(())
}

/// Text, or blocks of content.
fn content(look: &mut Look, content: &Value) -> Result<(), Refusal> {
    match content {
        Value::Null | Value::String(_) => Ok(()),
        Value::Array(blocks) => blocks.iter().try_for_each(|block| self::block(look, block)),
        _ => Err(invalid("`content` must be text or a list")),
    }
}

fn block(look: &mut Look, block: &Value) -> Result<(), Refusal> {
    match word(block, "type") {
        "text" | "thinking" | "redacted_thinking" | "tool_use" | "search_result" | "compaction"
        | "tool_reference" | "server_tool_use" => Ok(()),
        // What a vendor's tool answered, given back as it came: the tool itself is decided on above.
        answered if answered.ends_with("_tool_result") => Ok(()),
        "tool_result" => content(look, &block["content"]),
        "image" | "document" => source(look, &block["source"]),
        "container_upload" => Err(kept("a file of the vendor's")),
        other => {
            look.beyond(format!("content of the type `{}`", brief(other)));
            Ok(())
        }
    }
}

fn source(look: &mut Look, source: &Value) -> Result<(), Refusal> {
    match word(source, "type") {
        "base64" | "text" => Ok(()),
        "content" => content(look, &source["content"]),
        "url" => {
            look.beyond("a picture or document by its address, which the vendor would fetch,");
            Ok(())
        }
        "file" => Err(kept("a file of the vendor's")),
        other => {
            look.beyond(format!("a source of the type `{}`", brief(other)));
            Ok(())
        }
    }
}
