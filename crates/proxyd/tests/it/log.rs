//! The access log: one line a request, and nothing in it that opens a door.

use crate::rig::{COOKIE, Edge, client, until};
use kit::testing::Lines;
use reqwest::Method;
use serde_json::Value;

const FILTER: &str = "proxyd=trace,proxyd.access=trace,kit=trace";

fn access(lines: &Lines) -> Vec<Value> {
    let text = lines.text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let access = lines.filter(|line| line["target"] == "proxyd.access");
    access.map(|line| line["fields"].clone()).collect()
}

const TOKEN: &str = "Zx81Ab-cdefghij_klmnopqrstuvwxyz0123456789A";

#[tokio::test]
async fn a_request_leaves_one_line_without_its_token_cookie_or_query() {
    let lines = Lines::capture(FILTER);
    let mut edge = Edge::start().await;
    let ask = async |method: Method, path: String| {
        let request = client()
            .request(method, edge.at(&path))
            .header("cookie", format!("arizuko_session={COOKIE}"))
            .header("x-arizuko-edge", "forged-proof")
            .send();
        request.await.unwrap().bytes().await.unwrap()
    };
    ask(Method::GET, format!("/chat/{TOKEN}/?topic=secret-plans")).await;
    ask(Method::POST, format!("/hook/{TOKEN}?token={TOKEN}")).await;
    ask(Method::GET, format!("/chats/{TOKEN}/")).await;
    ask(Method::GET, format!("/auth/login/{TOKEN}")).await;
    ask(Method::GET, format!("/chat/{TOKEN}%2f")).await;
    until(async || access(&lines).len() == 5).await;
    edge.webd.take();
    until(async || edge.get(&format!("/hook/{TOKEN}")).await.status() == 503).await;

    let access = access(&lines);
    let shown: Vec<(&str, &str, u64)> = access
        .iter()
        .take(5)
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap();
            (text("method"), text("path"), line["status"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("GET", "/chat/***/", 200),
            ("POST", "/hook/***", 200),
            ("GET", "/chats/***/", 404),
            ("GET", "/auth/login/***", 200),
            ("GET", "(refused)", 400),
        ]
    );
    assert_eq!(access[0]["client"], "127.0.0.1");
    assert_eq!(access[0]["end"], "whole");
    assert_eq!(access[0]["bytes"], 10, "the length of the body");
    assert!(access[0]["duration_ms"].is_u64() && access[0]["request_id"].is_string());
    let log = lines.text();
    for secret in [TOKEN, COOKIE, "secret-plans", "forged-proof", "eyJ"] {
        assert!(!log.contains(secret), "{secret} in the log: {log}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_has_a_line_too() {
    let lines = Lines::capture(FILTER);
    let edge = Edge::start().await;
    let request = tokio::spawn(client().get(edge.at("/chat/token/hang")).send());
    until(async || edge.daemons.count() == 1).await;
    request.abort();
    until(async || access(&lines).len() == 1).await;
    let line = &access(&lines)[0];
    assert_eq!((line["status"].as_u64(), line["end"].as_str()), (Some(499), Some("left")));
}
