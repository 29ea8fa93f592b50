//! A chat as tools: said once, answered when there is an answer, and only through the link that is its own.

use crate::{
    fake_routd::{CHAT, HOOK},
    rig::{Webd, client},
};
use proto::routd::{LinkKind, MessageState};
use serde_json::{Value, json};

/// One call of the protocol, as any client makes it; the status and the answer.
async fn call(webd: &Webd, token: &str, method: &str, params: Value) -> (u16, Value) {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let request = client()
        .post(webd.url(&format!("/chat/{token}/mcp")))
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-06-18")
        .json(&body);
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap_or_else(|_| json!({ "text": text })))
}

async fn tool(webd: &Webd, name: &str, arguments: Value) -> Value {
    let params = json!({ "name": name, "arguments": arguments });
    let (status, answer) = call(webd, CHAT, "tools/call", params).await;
    assert_eq!(status, 200, "{answer}");
    answer["result"].clone()
}

#[tokio::test]
async fn a_program_asks_and_is_answered() {
    let webd = Webd::start().await;
    let hello = json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" }
    });
    let (status, answer) = call(&webd, CHAT, "initialize", hello).await;
    assert_eq!((status, &answer["result"]["serverInfo"]["name"]), (200, &json!("arizuko chat")));
    let (_, listed) = call(&webd, CHAT, "tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ask", "send", "outcome", "history"]);
    for tool in tools {
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{tool}");
    }

    let sent = tool(&webd, "send", json!({ "content": "build it", "id": "b1" })).await;
    let id = sent["structuredContent"]["id"].as_str().unwrap().to_owned();
    {
        let mut state = webd.routd.state();
        let message = state.messages[0].clone();
        assert_eq!((message.id.as_str(), &*message.content), (&*id, "build it"));
        assert_eq!(message.chat_jid.as_str(), "web:corp/eng");
        assert!(message.sender.starts_with("web:mcp/"), "{}", message.sender);
        state.outcomes.insert(message.id, (MessageState::Answered, vec!["built".into()]));
    }
    // The same id is the same message: asking again with it only waits for the answer.
    let asked = tool(&webd, "ask", json!({ "content": "build it", "id": "b1" })).await;
    assert_eq!(asked["content"][0]["text"], "built");
    assert_eq!(asked["structuredContent"]["done"], true);
    let outcome = tool(&webd, "outcome", json!({ "id": id, "wait_seconds": 5 })).await;
    assert_eq!(outcome["structuredContent"]["replies"], json!(["built"]));
    webd.routd.agent_says("web:corp/eng", "built");
    let history = tool(&webd, "history", json!({})).await;
    let said: Vec<&Value> = history["structuredContent"]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| &message["content"])
        .collect();
    assert_eq!(said, [&json!("build it"), &json!("built")]);
    assert_eq!(webd.routd.state().messages.len(), 1, "it was said once");
}

#[tokio::test]
async fn a_call_that_waits_in_vain_says_so_and_can_be_taken_up_again() {
    let webd = Webd::start().await;
    let asked = tool(&webd, "ask", json!({ "content": "slow", "wait_seconds": 0 })).await;
    let answer = &asked["structuredContent"];
    assert_eq!((&answer["done"], &answer["state"]), (&json!(false), &json!("queued")));
    let id = answer["id"].clone();
    let known = id.as_str().unwrap().parse().unwrap();
    webd.routd.state().outcomes.insert(known, (MessageState::Silent, Vec::new()));
    let outcome = tool(&webd, "outcome", json!({ "id": id })).await;
    assert_eq!(outcome["structuredContent"]["done"], true);
    assert_eq!(outcome["isError"], json!(false));
}

#[tokio::test]
async fn what_is_wrong_is_told_and_reaches_nobody() {
    let webd = Webd::start().await;
    for (name, arguments, part) in [
        ("ask", json!({ "content": "  " }), "empty"),
        ("ask", json!({ "content": "x", "wait_seconds": 56 }), "at most 55"),
        ("send", json!({ "content": "x", "chat_jid": "web:corp/hr" }), "unknown field"),
        ("send", json!({ "content": "x", "id": "two words" }), "`id`"),
        ("send", json!({ "content": "a".repeat(65_537) }), "65,536"),
        ("outcome", json!({ "id": "m-of-nobody" }), "no such message"),
        ("history", json!({ "limit": 0 }), "1 to 200"),
    ] {
        let answer = tool(&webd, name, arguments).await;
        assert_eq!(answer["isError"], true, "{name}: {answer}");
        let text = answer["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(part), "{name}: {text}");
    }
    let (_, answer) =
        call(&webd, CHAT, "tools/call", json!({ "name": "set_memory", "arguments": {} })).await;
    assert!(answer["error"]["message"].as_str().unwrap().contains("set_memory"), "{answer}");
    assert!(webd.routd.state().presented.is_empty(), "nothing was even tried");
}

#[tokio::test]
async fn the_link_is_the_right() {
    let webd = Webd::start().await;
    for token in [HOOK, "never-issued-0123456789"] {
        let (status, answer) = call(&webd, token, "tools/list", json!({})).await;
        assert_eq!((status, &answer["code"]), (404, &json!("not_found")), "{answer}");
    }
    let page = client()
        .post(webd.url(&format!("/chat/{CHAT}/mcp")))
        .header("sec-fetch-site", "cross-site")
        .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }));
    assert_eq!(page.send().await.unwrap().status(), 403, "a page of another site");
    // A message of another chat is not told, even by its right id.
    let other = "other-token-0123456789abcdef";
    webd.routd.link(other, LinkKind::Chat, "web:corp/sales");
    let sent = tool(&webd, "send", json!({ "content": "ours" })).await;
    let params =
        json!({ "name": "outcome", "arguments": { "id": sent["structuredContent"]["id"] } });
    let (_, theirs) = call(&webd, other, "tools/call", params).await;
    assert_eq!(theirs["result"]["isError"], true, "{theirs}");
    let got = client().get(webd.url(&format!("/chat/{CHAT}/mcp"))).send().await.unwrap();
    assert_eq!(got.status(), 405, "no stream is kept");
    assert_eq!(webd.routd.state().messages.len(), 1);
}
