//! A Messages API that answers as a test says, over server-sent events.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What is answered to a request.
pub type Script = Box<dyn FnMut(&Value) -> Response + Send>;

/// These answers, one after the other.
pub fn in_turn(answers: Vec<Response>) -> Option<Script> {
    let mut answers = answers.into_iter();
    Some(Box::new(move |_| answers.next().expect("no more calls of the model")))
}

/// A text, and the end.
pub fn says(text: &str) -> Response {
    answer(&[block(json!({ "type": "text", "text": "" }), "text", text)], "end_turn")
}

/// Calls of tools: id, name, input.
pub fn uses(calls: &[(&str, &str, Value)]) -> Response {
    let blocks: Vec<_> = calls
        .iter()
        .map(|(id, name, input)| {
            let start = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
            block(start, "partial_json", &input.to_string())
        })
        .collect();
    answer(&blocks, "tool_use")
}

/// An error, as the API writes it.
pub fn error(status: u16, message: &str, headers: &[(&'static str, &'static str)]) -> Response {
    let body = json!({ "type": "error", "error": { "type": "some_error", "message": message } });
    let status = StatusCode::from_u16(status).unwrap();
    let mut response = (status, body.to_string()).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

/// These bytes as a stream of events.
pub fn raw(body: &str) -> Response {
    let headers = [("content-type", "text/event-stream")];
    (headers, Body::from(body.to_owned())).into_response()
}

/// Events of a block, its content in two pieces.
fn block(start: Value, field: &str, content: &str) -> Vec<Value> {
    let kind = if field == "text" { "text_delta" } else { "input_json_delta" };
    let middle = (0..=content.len() / 2).rev().find(|at| content.is_char_boundary(*at)).unwrap();
    let (one, two) = content.split_at(middle);
    let delta = |piece: &str| json!({ "type": "content_block_delta", "delta": { "type": kind, field: piece } });
    let start = json!({ "type": "content_block_start", "content_block": start });
    vec![start, delta(one), delta(two), json!({ "type": "content_block_stop" })]
}

fn answer(blocks: &[Vec<Value>], stop: &str) -> Response {
    let usage = json!({ "input_tokens": 10, "output_tokens": 1 });
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test",
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage,
    });
    let mut events = vec![json!({ "type": "message_start", "message": message })];
    for (index, block) in blocks.iter().enumerate() {
        events.extend(block.iter().cloned().map(|mut event| {
            event["index"] = json!(index);
            event
        }));
    }
    let delta = json!({ "stop_reason": stop, "stop_sequence": null });
    let usage = json!({ "output_tokens": 5 });
    events.push(json!({ "type": "message_delta", "delta": delta, "usage": usage }));
    events.push(json!({ "type": "message_stop" }));
    let text: String = events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect();
    raw(&text)
}
