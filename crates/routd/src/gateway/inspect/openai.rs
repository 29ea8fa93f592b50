//! Chat Completions, Responses and Embeddings.

use super::{Look, Refusal, brief, invalid, kept, standard_speed, word};
use crate::gateway::vendor::Operation;
use serde_json::{Map, Value};

const CHAT_FIELDS: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];
const RESPONSES_FIELDS: &[&str] = &[
    "background",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];
const EMBEDDINGS_FIELDS: &[&str] = &["dimensions", "encoding_format", "input", "model", "user"];
/// Tools that the client carries out.
const CLIENT_TOOLS: &[&str] = &["function", "custom", "local_shell", "apply_patch"];
/// Tools that look at what the vendor keeps, or run in a place that it keeps.
const KEPT_TOOLS: &[&str] = &["file_search", "code_interpreter", "shell"];
/// Items of a conversation that are text and no more: what the model said and did, given back.
const PLAIN_ITEMS: &[&str] = &[
    "function_call",
    "custom_tool_call",
    "reasoning",
    "compaction",
    "local_shell_call",
    "local_shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
];

pub(super) fn request(
    look: &mut Look,
    operation: Operation,
    fields: &Map<String, Value>,
) -> Result<(), Refusal> {
    standard_speed(fields)?;
    for name in ["store", "background"] {
        if fields.get(name).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)))
        {
            return Err(kept(&format!("`{name}`")));
        }
    }
    if operation == Operation::Responses && fields.get("store") == Some(&Value::Null) {
        return Err(invalid("`store` must be false or left out"));
    }
    for name in ["previous_response_id", "conversation", "prompt"] {
        if fields.get(name).is_some_and(|value| !value.is_null()) {
            return Err(kept(&format!("`{name}`")));
        }
    }
    if fields.get("web_search_options").is_some_and(|options| !options.is_null()) {
        look.beyond("`web_search_options`, which has the vendor search the web,");
    }
    look.unknown(
        fields,
        match operation {
            Operation::Chat => CHAT_FIELDS,
            Operation::Responses => RESPONSES_FIELDS,
            _ => EMBEDDINGS_FIELDS,
        },
    );
    if let Some(tools) = fields.get("tools").filter(|tools| !tools.is_null()) {
        let tools = tools.as_array().ok_or_else(|| invalid("`tools` must be a list"))?;
        tools.iter().try_for_each(|tool| self::tool(look, word(tool, "type")))?;
    }
    match operation {
        Operation::Chat => {
            let messages = fields.get("messages").and_then(Value::as_array);
            let messages = messages.ok_or_else(|| invalid("`messages` must be a list"))?;
            messages.iter().try_for_each(|message| message_of_chat(look, message))
        }
        Operation::Responses => content(look, fields.get("input").unwrap_or(&Value::Null)),
        _ => Ok(()),
    }
}

fn tool(look: &mut Look, kind: &str) -> Result<(), Refusal> {
    if CLIENT_TOOLS.contains(&kind) || kind.starts_with("computer") {
        return Ok(());
    }
    if KEPT_TOOLS.contains(&kind) {
        return Err(kept(&format!("the tool `{kind}`")));
    }
    look.beyond(format!("the vendor's own tool `{}`", brief(kind)));
    Ok(())
}

fn message_of_chat(look: &mut Look, message: &Value) -> Result<(), Refusal> {
    // An answer in sound that the vendor kept.
    if message["audio"].is_object() {
        return Err(kept("`audio` by its id"));
    }
    content(look, &message["content"])
}

/// Text, or parts of content, or items of a conversation.
fn content(look: &mut Look, content: &Value) -> Result<(), Refusal> {
    match content {
        Value::Null | Value::String(_) => Ok(()),
        Value::Array(parts) => parts.iter().try_for_each(|part| self::part(look, part)),
        _ => Err(invalid("content must be text or a list")),
    }
}

fn part(look: &mut Look, part: &Value) -> Result<(), Refusal> {
    let kept_file = || kept("a file of the vendor's");
    if part["file_id"].is_string() || part["file"]["file_id"].is_string() {
        return Err(kept_file());
    }
    match word(part, "type") {
        "text" | "input_text" | "output_text" | "refusal" | "input_audio" | "summary_text" => {
            Ok(())
        }
        "image_url" => {
            let url = &part["image_url"];
            address(look, url.as_str().unwrap_or_else(|| word(url, "url")));
            Ok(())
        }
        "input_image" => {
            address(look, word(part, "image_url"));
            Ok(())
        }
        "file" => Ok(()),
        "input_file" => {
            address(look, word(part, "file_url"));
            Ok(())
        }
        // A message of a conversation may leave its type out.
        "message" | "" if part["role"].is_string() => content(look, &part["content"]),
        "function_call_output" | "custom_tool_call_output" => content(look, &part["output"]),
        "computer_call" => Ok(()),
        "computer_call_output" => {
            if part["output"]["file_id"].is_string() {
                return Err(kept_file());
            }
            address(look, word(&part["output"], "image_url"));
            Ok(())
        }
        "item_reference" => Err(kept("`item_reference`")),
        kind if PLAIN_ITEMS.contains(&kind) => Ok(()),
        other => {
            look.beyond(format!("content of the type `{}`", brief(other)));
            Ok(())
        }
    }
}

/// What is in the address itself is not fetched.
fn address(look: &mut Look, url: &str) {
    let is_data = url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    if !url.is_empty() && !is_data {
        look.beyond("a picture or document by its address, which the vendor would fetch,");
    }
}
