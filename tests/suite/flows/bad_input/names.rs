//! Folders, topics, chats, instances and rules that cannot be.

use super::wire::{addresses, problem, request, send};
use crate::harness::Suite;
use std::fs;

const LONG: &str = "a";

/// What is no folder, whoever says it.
fn no_folders() -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        "../x",
        "a/../b",
        "..",
        ".",
        "/etc",
        "a//b",
        "a/",
        "/a",
        "share",
        "a/share",
        "a b",
        "Corp",
        "caf\u{e9}",
        "a\\b",
        "a\nb",
        "*",
        "a*",
        "-a",
        ".hidden",
        "a/./b",
        "~",
        "a:b",
    ]
    .map(str::to_owned)
    .into();
    all.push(LONG.repeat(300));
    all.push([LONG; 9].join("/"));
    all
}

#[test]
fn a_name_that_cannot_be_a_folder_is_refused_wherever_it_is_given() {
    let suite = Suite::up();
    let before = suite.json(&["group", "list"]);
    let homes = || fs::read_dir(suite.data().join("homes")).unwrap().count();
    let had = homes();
    for bad in no_folders() {
        // `=`, so that what begins with a dash is a value too.
        let (code, line) = suite.fails(&["group", "add", "--", &bad]);
        assert_eq!(code, 64, "{bad:?}: {line}");
        assert_eq!(line.trim_end().lines().count(), 1, "one line for {bad:?}: {line}");
        assert!(line.len() < 600, "a long name is not told whole: {line}");
    }
    for bad in ["../x", "share", "a//b", "/etc", ""] {
        let folder = format!("--folder={bad}");
        let target = format!("--target={bad}");
        for command in [
            vec!["token", "issue", "--kind", "chat", &folder],
            vec!["ask", &folder, "hello"],
            vec!["route", "add", "--match", "platform=telegram", &target],
        ] {
            let (code, line) = suite.fails(&command);
            assert!([64, 65].contains(&code), "{command:?} ended with {code}: {line}");
            assert_eq!(line.trim_end().lines().count(), 1, "one line for {command:?}: {line}");
        }
    }
    assert_eq!(suite.json(&["group", "list"]), before, "a folder was made");
    assert_eq!(homes(), had, "a home was made");
    assert!(suite.json(&["route", "list"])["routes"].as_array().unwrap().is_empty());
    assert!(suite.json(&["token", "list"])["links"].as_array().is_none_or(Vec::is_empty));
}

#[test]
fn a_rule_that_does_not_parse_is_refused_when_it_is_added() {
    let suite = Suite::up();
    for bad in ["platform", "=telegram", "colour=red", "platform=a platform=b", "room=["] {
        let matching = format!("--match={bad}");
        let (code, line) = suite.fails(&["route", "add", &matching, "--target", "main"]);
        assert_eq!(code, 65, "{bad:?}: {line}");
        assert_eq!(line.trim_end().lines().count(), 1, "one line for {bad:?}: {line}");
    }
    let deep = format!("--match=room={}", "*?".repeat(5_000));
    let (code, line) = suite.fails(&["route", "add", &deep, "--target", "main"]);
    assert!(code == 65 && line.len() < 600, "{code}: {line}");
    assert!(suite.json(&["route", "list"])["routes"].as_array().unwrap().is_empty());
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), "You said: hello", "routing was disturbed");
}

#[test]
fn a_message_whose_chat_topic_or_id_cannot_be_is_refused() {
    let suite = Suite::up();
    let secret = suite.dotenv("CHANNEL_SECRET");
    let (_, routd) = addresses(&suite).into_iter().find(|(name, _)| name == "routd").unwrap();
    let good = serde_json::json!({
        "id": "m1", "chat_jid": "telegram:1", "sender": "telegram:2", "content": "hello",
    });
    let post = |body: &serde_json::Value| {
        let lines = format!("authorization: Bearer {secret}\r\ncontent-type: application/json\r\n");
        send(&routd, &request("POST /v1/messages", &lines, body.to_string().as_bytes()))
    };
    let long = LONG.repeat(300);
    for (field, values) in [
        (
            "chat_jid",
            vec![
                "",
                "telegram",
                "telegram:",
                ":1",
                "Telegram:1",
                "tele gram:1",
                "telegram:a b",
                "web:../x",
                "web:share",
                "web:a//b",
                "hook:main",
                "telegram:\u{0}",
                &long,
            ],
        ),
        ("topic", vec![" padded", "a#b", "a\nb", "\u{0}", &long]),
        ("id", vec!["", "a b", "a\nb", &long]),
    ] {
        for value in values {
            let mut body = good.clone();
            body[field] = value.into();
            let answer = post(&body);
            assert_eq!(answer.status, 400, "{field}={value:?}: {}", answer.text);
            assert_eq!(problem(&answer)["code"], "bad_request", "{}", answer.text);
            assert!(answer.text.len() < 1500, "a long value is not told whole: {}", answer.text);
        }
    }
    let status = suite.json(&["status"]);
    assert_eq!(status["queues"]["unrouted"].as_u64().unwrap_or_default(), 0, "{status}");
    // A field that routd does not know comes from a newer adapter.
    let mut newer = good;
    newer["sticker"] = "cat".into();
    assert_eq!(post(&newer).status, 200);
}

#[test]
fn a_name_that_cannot_be_an_instance_is_refused_and_nothing_is_made() {
    let suite = Suite::new();
    let long = LONG.repeat(300);
    for bad in ["../x", "a/b", "/etc", "-x", "a b", "caf\u{e9}", ".", long.as_str()] {
        let (code, line) = suite.fails(&["create", "--", bad]);
        assert!(code == 78, "{bad:?} ended with {code}: {line}");
        assert_eq!(line.trim_end().lines().count(), 1, "one line for {bad:?}: {line}");
        let (code, line) = suite.fails(&[&format!("--instance={bad}"), "status"]);
        assert!(code == 78, "{bad:?} ended with {code}: {line}");
    }
    assert!(!suite.data().exists(), "a directory was made");
}
