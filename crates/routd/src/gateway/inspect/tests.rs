use super::*;
use serde_json::json;

fn asked(vendor: Vendor, operation: Operation, body: &Value) -> Result<Asked, Refusal> {
    inspect(vendor, operation, body.to_string().into())
}

fn messages(more: &Value) -> Value {
    let mut body = json!({ "model": "claude-x", "max_tokens": 10, "messages": [{ "role": "user", "content": "hi" }] });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn with(more: &Value) -> Result<Asked, Refusal> {
    asked(Vendor::Anthropic, Operation::Messages, &messages(more))
}

fn block(block: &Value) -> Result<Asked, Refusal> {
    with(&json!({ "messages": [{ "role": "user", "content": [block] }] }))
}

#[test]
fn what_an_agent_does_by_itself_passes_as_it_came() {
    let body = r#" { "model": "claude-x", "max_tokens" : 7, "stream":true, "messages":[{"role":"user","content":"hi"}],
        "tools":[{"name":"a","input_schema":{}},{"type":"custom","name":"b"},{"type":"bash_20250124","name":"bash"}]}"#;
    let asked = inspect(Vendor::Anthropic, Operation::Messages, body.into()).unwrap();
    assert_eq!((&asked.body[..], asked.beyond, asked.hides_usage), (body.as_bytes(), None, false));
    assert_eq!((asked.model.as_str(), asked.at_most.output), ("claude-x", 7));
    for harmless in [
        json!({ "type": "text", "text": "x" }),
        json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA" } }),
        json!({ "type": "document", "source": { "type": "content", "content": "x" } }),
        // What a model wrote as a tool's input is nobody's address.
        json!({ "type": "tool_use", "id": "t", "name": "n", "input": { "source": { "type": "url", "url": "http://x" } } }),
        json!({ "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "text", "text": "x" }] }),
        json!({ "type": "thinking", "thinking": "x", "signature": "s" }),
    ] {
        assert_eq!(block(&harmless).unwrap().beyond, None, "{harmless}");
    }
}

#[test]
fn what_the_vendor_would_reach_needs_a_right() {
    let url = json!({ "type": "url", "url": "https://evil.test/?q=secret" });
    for beyond in [
        with(&json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] })),
        with(
            &json!({ "tools": [{ "name": "a" }, { "type": "web_fetch_20250910", "name": "web_fetch" }] }),
        ),
        with(&json!({ "tools": [{ "type": "code_execution_20250825", "name": "c" }] })),
        with(&json!({ "tools": [{ "type": "something_new_20270101", "name": "c" }] })),
        with(
            &json!({ "mcp_servers": [{ "type": "url", "url": "https://evil.test", "name": "e" }] }),
        ),
        block(&json!({ "type": "image", "source": url })),
        block(&json!({ "type": "document", "source": url })),
        block(&json!({ "type": "tool_result", "content": [{ "type": "image", "source": url }] })),
        block(
            &json!({ "type": "document", "source": { "type": "content", "content": [{ "type": "image", "source": url }] } }),
        ),
        with(&json!({ "system": [{ "type": "image", "source": url }] })),
        block(&json!({ "type": "something_new" })),
    ] {
        let asked = beyond.unwrap();
        assert!(asked.beyond.is_some(), "{asked:?}");
    }
    for kept in [
        with(&json!({ "container": "container_1" })),
        block(&json!({ "type": "document", "source": { "type": "file", "file_id": "f" } })),
        block(&json!({ "type": "container_upload", "file_id": "f" })),
        with(&json!({ "service_tier": "priority" })),
        with(&json!({ "model": "" })),
        with(&json!({ "model": "x\n" })),
        with(&json!({ "model": "../x" })),
        with(&json!({ "messages": [{ "content": { "type": "image" } }] })),
        with(&json!({ "tools": { "type": "web_search_20250305" } })),
    ] {
        assert!(kept.is_err(), "{kept:?}");
    }
}

#[test]
fn a_field_that_is_not_known_is_left_out_without_a_right_and_passed_on_with_it() {
    let sent = |body: &Bytes| serde_json::from_slice::<Value>(body).unwrap();
    let known = messages(&json!({}));
    for value in [json!(1), json!(null), json!({ "type": "url", "url": "https://evil.test" })] {
        let body = messages(&json!({ "some_new_field": value, "other": [] }));
        let mut asked = asked(Vendor::Anthropic, Operation::Messages, &body).unwrap();
        assert_eq!((&asked.beyond, sent(&asked.body)), (&None, body), "as it came");
        assert_eq!(asked.trim(), ["other", "some_new_field"]);
        assert_eq!(sent(&asked.body), known, "nothing else is changed");
        assert!(asked.trim().is_empty());
    }
    assert_eq!(with(&json!({})).unwrap().trimmed, None);
    // What is done with the body of a client that sends nothing unknown is done here too.
    let mut streamed = chat(&json!({ "stream": true, "new": true })).unwrap();
    assert_eq!((streamed.trim(), streamed.hides_usage), (vec!["new".to_owned()], true));
    assert_eq!(sent(&streamed.body)["stream_options"]["include_usage"], true);
    let mut kept = response(&json!({ "new": 1 })).unwrap();
    kept.trim();
    assert_eq!(sent(&kept.body), json!({ "store": false, "model": "gpt-x", "input": "hi" }));
    // Beside a tool that needs the right, nothing is gained by it.
    let tool = json!({ "tools": [{ "type": "web_search_20250305", "name": "w" }], "new": 1 });
    assert!(with(&tool).unwrap().beyond.is_some());
}

/// What the Claude Code CLI 2.1.330 sends, apart from its long texts.
fn of_the_cli() -> Value {
    json!({
        "model": "claude-sonnet-5-5",
        "messages": [
            { "role": "user", "content": [
                { "type": "text", "text": "<system-reminder>x</system-reminder>" },
                { "type": "text", "text": "hello" },
            ] },
            { "role": "system", "content": [
                { "type": "text", "text": "x", "cache_control": { "type": "ephemeral" } },
            ] },
        ],
        "system": [{ "type": "text", "text": "x", "cache_control": { "type": "ephemeral" } }],
        "tools": [
            { "name": "Bash", "description": "x", "input_schema": { "type": "object" } },
            { "name": "Later", "description": "x", "input_schema": {}, "defer_loading": true },
        ],
        "metadata": { "user_id": "{\"device_id\":\"x\",\"account_uuid\":\"\",\"session_id\":\"x\"}" },
        "max_tokens": 128_000,
        "thinking": { "type": "adaptive", "display": "updates" },
        "context_management": { "edits": [{ "type": "clear_thinking_20251015", "keep": "all" }] },
        "output_config": { "effort": "medium" },
        "stream": true,
    })
}

#[test]
fn what_the_cli_sends_passes_as_it_came_and_a_later_one_is_served_too() {
    let asked = |body: &Value| asked(Vendor::Anthropic, Operation::Messages, body).unwrap();
    let now = of_the_cli();
    let passed = asked(&now);
    assert_eq!((&passed.beyond, &passed.trimmed), (&None, &None));
    assert_eq!(passed.body, now.to_string());
    let mut later = now.clone();
    later["fallbacks"] = json!([{ "model": "claude-haiku-5-5" }]);
    later["diagnostics"] = json!({ "previous_message_id": "msg_1" });
    let mut passed = asked(&later);
    assert_eq!(passed.beyond, None);
    assert_eq!(passed.trim(), ["diagnostics", "fallbacks"]);
    assert_eq!(serde_json::from_slice::<Value>(&passed.body).unwrap(), now);
}

fn chat(more: &Value) -> Result<Asked, Refusal> {
    asked(Vendor::OpenAi, Operation::Chat, &messages(more))
}

fn response(more: &Value) -> Result<Asked, Refusal> {
    let mut body = json!({ "model": "gpt-x", "input": "hi" });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    asked(Vendor::OpenAi, Operation::Responses, &body)
}

#[test]
fn openais_own_tools_and_addresses_need_a_right_and_what_it_keeps_is_refused() {
    let item = |item: Value| response(&json!({ "input": [item] }));
    let image = |url: &str| {
        chat(
            &json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": url } }] }] }),
        )
    };
    for stays in [
        chat(&json!({ "tools": [{ "type": "function", "function": { "name": "f" } }], "n": 3 })),
        image("data:image/png;base64,AA"),
        response(&json!({ "tools": [{ "type": "function", "name": "f" }], "store": false })),
        item(json!({ "role": "user", "content": [{ "type": "input_text", "text": "x" }] })),
        item(json!({ "type": "function_call_output", "call_id": "c", "output": "https://x" })),
    ] {
        assert_eq!(stays.unwrap().beyond, None);
    }
    for beyond in [
        chat(&json!({ "web_search_options": {} })),
        image("https://evil.test/x.png"),
        image("HTTP://evil.test/x.png"),
        response(&json!({ "tools": [{ "type": "web_search" }] })),
        response(&json!({ "tools": [{ "type": "web_search_preview" }] })),
        response(&json!({ "tools": [{ "type": "mcp", "server_url": "https://evil.test" }] })),
        response(&json!({ "tools": [{ "type": "image_generation" }] })),
        item(
            json!({ "role": "user", "content": [{ "type": "input_image", "image_url": "https://evil.test" }] }),
        ),
        item(
            json!({ "role": "user", "content": [{ "type": "input_file", "file_url": "https://evil.test" }] }),
        ),
        item(
            json!({ "type": "function_call_output", "output": [{ "type": "input_image", "image_url": "https://e" }] }),
        ),
        item(json!({ "type": "mcp_approval_response", "approve": true })),
    ] {
        assert!(beyond.unwrap().beyond.is_some());
    }
    for kept in [
        chat(&json!({ "store": true })),
        response(&json!({ "store": true })),
        response(&json!({ "store": null })),
        response(&json!({ "background": true })),
        response(&json!({ "previous_response_id": "resp_1" })),
        response(&json!({ "conversation": "conv_1" })),
        response(&json!({ "prompt": { "id": "pmpt_1" } })),
        response(&json!({ "tools": [{ "type": "file_search", "vector_store_ids": ["v"] }] })),
        response(
            &json!({ "tools": [{ "type": "code_interpreter", "container": { "type": "auto" } }] }),
        ),
        item(json!({ "role": "user", "content": [{ "type": "input_image", "file_id": "f" }] })),
        item(json!({ "type": "item_reference", "id": "i" })),
        chat(
            &json!({ "messages": [{ "role": "user", "content": [{ "type": "file", "file": { "file_id": "f" } }] }] }),
        ),
    ] {
        assert!(kept.is_err(), "{kept:?}");
    }
}

#[test]
fn a_response_is_not_kept_and_a_stream_says_what_it_used() {
    let sent = |asked: &Asked| serde_json::from_slice::<Value>(&asked.body).unwrap();
    let asked = response(&json!({})).unwrap();
    assert_eq!(sent(&asked), json!({ "store": false, "model": "gpt-x", "input": "hi" }));
    for (options, hidden) in [
        (None, true),
        (Some(json!(null)), true),
        (Some(json!({})), true),
        (Some(json!({ "include_usage": false })), true),
        (Some(json!({ "include_usage": true })), false),
    ] {
        let mut more = json!({ "stream": true });
        if let Some(options) = &options {
            more["stream_options"] = options.clone();
        }
        let asked = chat(&more).unwrap();
        assert_eq!(sent(&asked)["stream_options"]["include_usage"], true, "{options:?}");
        assert_eq!((asked.hides_usage, &sent(&asked)["model"]), (hidden, &json!("claude-x")));
    }
    let whole = chat(&json!({ "stream": false })).unwrap();
    assert!(!whole.hides_usage && sent(&whole).get("stream_options").is_none());
    assert_eq!(chat(&json!({ "n": 4 })).unwrap().at_most.output, 40);
}

#[test]
fn what_is_set_aside_is_what_a_request_may_come_to_at_most() {
    let bytes = |more: &Value| messages(more).to_string().len() as u64;
    let plain = json!({});
    let asked = with(&plain).unwrap();
    let told = |asked: &Asked| {
        let Tokens { input, output, cache_read, cache_write, cache_write_long } = asked.at_most;
        (input, output, cache_read, cache_write, cache_write_long)
    };
    let read = bytes(&plain) + INPUT_ADDED;
    assert_eq!(told(&asked), (read, 10, 0, 0, 0), "a token for each byte, and what is added");
    assert_eq!(asked.guess.input, bytes(&plain).div_ceil(3), "what is guessed is less");

    let short = json!({ "system": [{ "type": "text", "text": "x", "cache_control": { "type": "ephemeral" } }] });
    let read = bytes(&short) + INPUT_ADDED;
    assert_eq!(told(&with(&short).unwrap()), (0, 10, 0, read, 0), "kept for minutes");
    let long = json!({ "cache_control": { "type": "ephemeral", "ttl": "1h" } });
    let read = bytes(&long) + INPUT_ADDED;
    assert_eq!(told(&with(&long).unwrap()), (0, 10, 0, read, read), "kept for an hour");

    let picture = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA" } });
    let pictures = json!({ "messages": [{ "role": "user", "content": [picture, picture] }] });
    let asked = with(&pictures).unwrap();
    assert_eq!(asked.at_most.input, bytes(&pictures) + INPUT_ADDED + 2 * PICTURE);
    let document = |source: Value| block(&json!({ "type": "document", "source": source })).unwrap();
    let pages =
        document(json!({ "type": "base64", "media_type": "application/pdf", "data": "AA" }));
    assert_eq!(pages.at_most.input, INPUT_MAX, "a page of a few bytes");
    let text = document(json!({ "type": "text", "media_type": "text/plain", "data": "AA" }));
    assert!(text.at_most.input < 2 * INPUT_ADDED, "text is its bytes");
    let huge = "x".repeat(2 * 1024 * 1024);
    let huge = with(&json!({ "system": huge })).unwrap();
    assert_eq!(huge.at_most.input, INPUT_MAX, "no model takes more");

    let limits = |more: Value| chat(&more).unwrap().at_most.output;
    assert_eq!(limits(json!({ "max_tokens": 5, "max_completion_tokens": 70 })), 70, "the larger");
    assert_eq!(limits(json!({ "max_tokens": null })), OUTPUT_MAX, "what says nothing");
    assert_eq!(limits(json!({ "max_tokens": u64::MAX, "n": 2 })), u64::MAX, "no overflow");
}
