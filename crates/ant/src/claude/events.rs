//! What the CLI says on its standard output with `--output-format stream-json`, a line each. Pure, and tolerant: what
//! is not known means nothing.

use serde_json::{Value, json};

/// What a line means for the turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The session began, or went on.
    Session(String),
    /// The message with this id is in the conversation.
    Heard(String),
    /// The model uses tools: a status each.
    Using(Vec<String>),
    /// A call of the model failed and is made again: which try, in how many seconds, and the HTTP status.
    Retry { attempt: u64, seconds: u64, status: Option<u16> },
    /// It has answered all that it had heard.
    Answer { text: String, is_error: bool, status: Option<u16> },
    /// Nothing that matters.
    Nothing,
}

/// Reads a line.
pub(crate) fn read(line: &[u8]) -> Seen {
    let Ok(event) = serde_json::from_slice::<Value>(line) else { return Seen::Nothing };
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let status = |value: &Value| value.as_u64().and_then(|status| u16::try_from(status).ok());
    let kind = (event["type"].as_str().unwrap_or_default(), event["subtype"].as_str());
    match kind {
        ("system", Some("init")) => word(&event["session_id"]).map_or(Seen::Nothing, Seen::Session),
        ("system", Some("api_retry")) => Seen::Retry {
            attempt: event["attempt"].as_u64().unwrap_or(1),
            seconds: event["retry_delay_ms"].as_u64().unwrap_or(0).div_ceil(1_000),
            status: status(&event["error_status"]),
        },
        ("user", _) if event["isReplay"] == json!(true) => {
            word(&event["uuid"]).map_or(Seen::Nothing, Seen::Heard)
        }
        ("assistant", _) => {
            let blocks = event["message"]["content"].as_array();
            let used: Vec<String> = blocks.into_iter().flatten().filter_map(using).collect();
            if used.is_empty() { Seen::Nothing } else { Seen::Using(used) }
        }
        ("result", _) => Seen::Answer {
            text: word(&event["result"]).unwrap_or_default(),
            is_error: event["is_error"] == json!(true),
            status: status(&event["api_error_status"]),
        },
        _ => Seen::Nothing,
    }
}

/// What a block of the model's answer does, as a status.
fn using(block: &Value) -> Option<String> {
    if block["type"] != "tool_use" {
        return None;
    }
    let name = block["name"].as_str().unwrap_or_default();
    let input = |field: &str| block["input"][field].as_str().unwrap_or_default();
    let file = || input("file_path").rsplit('/').next().unwrap_or_default().to_owned();
    Some(match name {
        "Bash" if input("description").is_empty() => "running a command".to_owned(),
        "Bash" => format!("running a command: {}", input("description")),
        "Read" => format!("reading {}", file()),
        "Edit" | "Write" => format!("writing {}", file()),
        "Glob" | "Grep" => "searching files".to_owned(),
        name => format!("using {}", name.strip_prefix("mcp__arizuko__").unwrap_or(name)),
    })
}

/// What to write for the CLI to hear `text`, under an id by which it says that it did.
pub(crate) fn message(text: &str, id: &str) -> Vec<u8> {
    let message = json!({
        "type": "user",
        "message": { "role": "user", "content": [{ "type": "text", "text": text }] },
        "parent_tool_use_id": null,
        "session_id": "",
        "uuid": id,
    });
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// The id of an attempt's message with this ordinal: a UUID, which is what the CLI takes. No other attempt may have
/// it: in a session that goes on, the CLI leaves out a message whose id it has seen.
pub(crate) fn id(attempt: u64, ordinal: u32) -> String {
    let (high, middle, low) = (attempt >> 32, attempt >> 16 & 0xffff, attempt & 0xfff);
    format!("{high:08x}-{middle:04x}-4{low:03x}-8000-{ordinal:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_and_others_mean_nothing() {
        let of = |value: Value| read(value.to_string().as_bytes());
        assert_eq!(
            of(json!({ "type": "system", "subtype": "init", "session_id": "s" })),
            Seen::Session("s".into())
        );
        assert_eq!(
            of(json!({ "type": "user", "uuid": id(0, 2), "isReplay": true, "message": {} })),
            Seen::Heard("00000000-0000-4000-8000-000000000002".into())
        );
        assert_eq!(of(json!({ "type": "user", "uuid": "x", "message": {} })), Seen::Nothing);
        let used = json!([
            { "type": "text", "text": "hm" },
            { "type": "tool_use", "name": "mcp__arizuko__reply", "input": {} },
            { "type": "tool_use", "name": "Read", "input": { "file_path": "/home/agent/a.txt" } },
        ]);
        assert_eq!(
            of(json!({ "type": "assistant", "message": { "content": used } })),
            Seen::Using(vec!["using reply".into(), "reading a.txt".into()])
        );
        assert_eq!(
            of(
                json!({ "type": "system", "subtype": "api_retry", "attempt": 3, "retry_delay_ms": 2125, "error_status": 401 })
            ),
            Seen::Retry { attempt: 3, seconds: 3, status: Some(401) }
        );
        assert_eq!(
            of(json!({ "type": "result", "is_error": false, "result": "hi" })),
            Seen::Answer { text: "hi".into(), is_error: false, status: None }
        );
        for line in ["", "garbage", "[]", "{\"type\":7}", "{\"type\":\"result_of_something\"}"] {
            assert_eq!(read(line.as_bytes()), Seen::Nothing, "{line}");
        }
    }

    #[test]
    fn a_message_is_one_line_whatever_it_says() {
        let line = message("two\nlines", &id(7, 1));
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(line.ends_with(b"}\n"));
    }
}
