//! Editing, taking back and reacting: in a web chat by the commit, on a platform through its adapter.

use crate::{
    adapter::Adapter,
    agent::Agent,
    stage::{CHANNEL_SECRET, Stage, eventually, message},
};
use proto::routd::{ADD_ROUTE, FeedItem, NewMessage, NewRoute, REGISTER_CHANNEL, RegisterChannel};
use serde_json::json;

const CHAT: &str = "web:atlas~one";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_a_web_chat_is_changed_by_the_commit() {
    let stage = Stage::new().await;
    stage.say(CHAT, "m0", "hello").await;
    let agent = Agent::on(&stage.runed.nth(0).await);
    let id = async |text: &str| {
        let told = agent.tool("reply", json!({ "content": text }), None).await;
        told.structured["id"].as_str().unwrap().to_owned()
    };
    let (first, second) = (id("a teh pot").await, id("a slip").await);
    let edit = json!({ "id": first, "content": "a tea pot" });
    assert!(!agent.tool("edit", edit, None).await.is_error);
    let react = json!({ "id": "m0", "emoji": "👍" });
    assert!(!agent.tool("react", react, None).await.is_error);
    let delete = json!({ "id": second });
    assert!(!agent.tool("delete", delete.clone(), None).await.is_error);
    for (tool, arguments) in [
        ("delete", delete),
        ("edit", json!({ "id": second, "content": "again" })),
        ("edit", json!({ "id": "m0", "content": "I am wrong" })),
        ("delete", json!({ "id": "m0" })),
        ("react", json!({ "id": "m0", "emoji": "a b" })),
        ("react", json!({ "id": "m9", "emoji": "👍" })),
    ] {
        let told = agent.tool(tool, arguments.clone(), None).await;
        assert!(told.is_error, "{tool} {arguments}: {told:?}");
    }
    let events = stage.feed(CHAT).await;
    let told: Vec<String> = events
        .iter()
        .filter_map(|event| match &event.what {
            FeedItem::Message { content, .. } => Some(format!("said {content}")),
            FeedItem::Edited { id, content } if id.as_str() == first => {
                Some(format!("now {content}"))
            }
            FeedItem::Deleted { id } if id.as_str() == second => Some("gone".into()),
            FeedItem::Reacted { id, emoji } => Some(format!("{emoji} to {id}")),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["said hello", "said a tea pot", "now a tea pot", "👍 to m0", "gone"]);
    let find = async |query: &str| {
        let told = agent.tool("find_messages", json!({ "query": query }), None).await;
        told.structured["messages"].as_array().unwrap().len()
    };
    assert_eq!((find("tea").await, find("teh").await, find("slip").await), (1, 0, 0));
    let seen = agent.tool("inspect_messages", json!({}), None).await;
    assert_eq!(seen.structured["messages"].as_array().unwrap().len(), 2);
    assert_eq!(stage.count("SELECT count(*) FROM messages WHERE content LIKE '%slip%'"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_is_asked_for_what_its_adapter_can_in_the_chats_own_order() {
    let stage = Stage::new().await;
    let route = NewRoute { seq: 0, pattern: "platform=telegram".into(), target: "atlas".into() };
    stage.call(&ADD_ROUTE, &route, &stage.operator()).await.unwrap();
    let adapter = Adapter::default();
    let serving = adapter.serve().await;
    let register = async |capabilities: &[&str]| {
        let registration = RegisterChannel {
            name: "telegram".into(),
            url: serving.url.clone(),
            jid_prefixes: vec!["telegram:".into()],
            capabilities: capabilities.iter().map(|word| (*word).to_owned()).collect(),
        };
        stage.call(&REGISTER_CHANNEL, &registration, CHANNEL_SECRET).await.unwrap();
    };
    register(&["edit"]).await;
    let chat = "telegram:user/1";
    let asked = NewMessage { sender: "telegram:user/1".into(), ..message(chat, "17", "hello") };
    stage.post(&asked).await;
    let agent = Agent::on(&stage.runed.nth(0).await);
    let told = agent.tool("reply", json!({ "content": "helo" }), None).await;
    let id = told.structured["id"].as_str().unwrap().to_owned();
    let edit = json!({ "id": id, "content": "hello" });
    assert!(!agent.tool("edit", edit, None).await.is_error);
    let react = json!({ "id": "17", "emoji": "👍" });
    let told = agent.tool("react", react.clone(), None).await;
    assert!(told.is_error && told.text.contains("unsupported"), "{told:?}");
    register(&["edit", "react", "delete"]).await;
    assert!(!agent.tool("react", react, None).await.is_error);
    eventually("what comes before to be sent", || async {
        (stage.count("SELECT count(*) FROM outbox WHERE state = 'sent'") == 3).then_some(())
    })
    .await;
    assert!(!agent.tool("delete", json!({ "id": id }), None).await.is_error);
    eventually("all of it to be sent", || async {
        (stage.count("SELECT count(*) FROM outbox WHERE state = 'sent'") == 4).then_some(())
    })
    .await;
    let text = |value: serde_json::Value| value.to_string();
    assert_eq!(
        adapter.changes(),
        [
            text(json!(["/edit", { "chat_jid": chat, "id": "p1", "content": "hello" }])),
            text(json!(["/react", { "chat_jid": chat, "id": "17", "emoji": "👍" }])),
            text(json!(["/delete", { "chat_jid": chat, "id": "p1" }])),
        ]
    );
    assert_eq!(adapter.sent().len(), 1, "what was said is not said again");
}
