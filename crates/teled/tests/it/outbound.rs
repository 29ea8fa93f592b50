//! What agents say reaches Telegram as it takes it.

use crate::stage::{ADA, CHAT, Stage, refusal, text};
use platforms::telegram::Lie;
use proto::routd::{REACT, React, Send, TYPING, Typing};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_long_text_is_several_messages_which_are_changed_and_taken_back_together() {
    let stage = Stage::new().await;
    let asked = stage.telegram.says(ADA, "tell me all");
    stage.texts(CHAT, 1).await;
    let long =
        format!("# All\n\n{}\n```rust\n{}\n```", "word ".repeat(1_200), "let a = 1;\n".repeat(300));
    let message = Send { reply_to: Some(asked.to_string().parse().unwrap()), ..text(&long) };
    let ids = stage.send_as(&message, "k1").await.unwrap();
    let sent = stage.telegram.sent();
    assert_eq!(sent.iter().map(|one| one.id.to_string()).collect::<Vec<_>>(), ids);
    assert!(ids.len() >= 3, "{ids:?}");
    assert!(sent.iter().all(|one| one.text.encode_utf16().count() <= 4_096));
    assert_eq!(sent[0].reply_to, Some(asked));
    assert!(sent[1..].iter().all(|one| one.reply_to.is_none()));
    assert_eq!(sent[0].entities[0]["type"], "bold");
    let code = sent.iter().filter(|one| one.entities.iter().any(|entity| entity["type"] == "pre"));
    assert!(code.count() >= 1);
    assert!(sent.iter().all(|one| !one.text.contains("```")), "no piece has a fence in it");

    stage.edit(&ids[0], "short", "k2").await.unwrap();
    assert_eq!(stage.telegram.texts(ADA), ["short"], "what the old text had more is gone");
    stage.edit(&ids[0], "short", "k3").await.unwrap();
    let refused = stage.edit(&ids[0], &"word ".repeat(9_000), "k4").await;
    assert_eq!(refused, Err((501, "unsupported".into())));
    stage.delete(&ids[0], "k5").await.unwrap();
    assert!(stage.telegram.texts(ADA).is_empty());
    stage.delete("999", "k6").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn markup_that_telegram_does_not_read_goes_as_text_and_once() {
    let stage = Stage::new().await;
    stage.open_chat().await;
    let unread = Lie::Refuses(400, "Bad Request: can't parse entities: no", json!(null));
    stage.telegram.next("sendMessage", unread);
    stage.send("**a** & b", "k").await.unwrap();
    let sent = stage.telegram.sent();
    assert_eq!((sent.len(), sent[0].text.as_str()), (1, "a & b"));
    assert!(sent[0].entities.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_told_as_what_it_is() {
    let stage = Stage::new().await;
    stage.open_chat().await;
    let limited =
        Lie::Refuses(429, "Too Many Requests: retry after 5", json!({ "retry_after": 5 }));
    stage.telegram.next("sendMessage", limited);
    let error = stage.ask(&proto::routd::SEND, &text("a"), "k1").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(5)));
    assert_eq!(refusal(error), (429, "rate_limited".into()));
    let calls = stage.telegram.calls("sendMessage");
    let held = stage.send("b", "k2").await;
    assert!(held.is_err_and(|(status, _)| status == 429), "the pause is for the whole chat");
    assert_eq!(stage.telegram.calls("sendMessage"), calls, "and Telegram was not asked");
    // The same keys again, as routd does it, once the time is over.
    stage.eventually("the pause is over", async || stage.send("a", "k1").await.ok()).await;
    stage.send("b", "k2").await.unwrap();
    assert_eq!(stage.telegram.texts(ADA), ["a", "b"]);

    let nobody = Send { chat_jid: "telegram:user/5".parse().unwrap(), ..text("x") };
    assert_eq!(stage.send_as(&nobody, "k3").await, Err((400, "permanent".into())));
    stage.telegram.is_blocked_by(ADA);
    assert_eq!(stage.send("x", "k4").await, Err((400, "permanent".into())));
    assert_eq!(stage.send("x", "k4").await, Err((400, "permanent".into())));
    let foreign = Send { chat_jid: "slack:T/C".parse().unwrap(), ..text("x") };
    assert_eq!(stage.send_as(&foreign, "k5").await, Err((400, "permanent".into())));
    assert_eq!(stage.telegram.texts(ADA), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reactions_typing_and_topics_are_shown_where_they_belong() {
    let stage = Stage::new().await;
    let asked = stage.telegram.says(ADA, "hello");
    stage.texts(CHAT, 1).await;
    let react = |emoji: &str| React {
        chat_jid: CHAT.parse().unwrap(),
        id: asked.to_string().parse().unwrap(),
        emoji: emoji.into(),
    };
    stage.ask(&REACT, &react("👍"), "k1").await.unwrap();
    assert_eq!(stage.telegram.reaction(ADA, asked).as_deref(), Some("👍"));
    let odd = stage.ask(&REACT, &react("🧯"), "k2").await.unwrap_err();
    assert!(
        odd.problem().unwrap().detail.contains("use one of"),
        "the agent is told what would do"
    );
    assert_eq!(refusal(odd), (501, "unsupported".into()));
    let typing = Typing { chat_jid: CHAT.parse().unwrap(), thread_id: Some("3".into()) };
    stage.ask(&TYPING, &typing, "k3").await.unwrap();
    let shown = stage.telegram.last("sendChatAction").unwrap();
    assert_eq!((&shown["action"], &shown["message_thread_id"]), (&json!("typing"), &json!(3)));
    let message = Send { thread_id: Some("3".into()), ..text("in the topic") };
    stage.send_as(&message, "k4").await.unwrap();
    assert_eq!(stage.telegram.sent()[0].thread, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_became_a_supergroup_is_followed() {
    let stage = Stage::new().await;
    let group = json!({ "id": -7, "type": "group", "title": "Team" });
    stage.telegram.writes_in(&group, ADA, json!({ "text": "hello" }));
    stage.texts("telegram:group/-7", 1).await;
    stage.telegram.group_becomes(-7, -1007);
    let message = Send { chat_jid: "telegram:group/-7".parse().unwrap(), ..text("still there") };
    stage.send_as(&message, "k1").await.unwrap();
    assert_eq!(stage.telegram.texts(-1007), ["still there"]);
    let calls = stage.telegram.calls("sendMessage");
    stage.send_as(&message, "k2").await.unwrap();
    assert_eq!(stage.telegram.calls("sendMessage"), calls + 1, "the new id is remembered");
}
