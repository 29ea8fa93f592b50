//! What people write, and what else happens, reaches routd: once, and in order.

use crate::stage::{ADA, CHAT, Stage};
use platforms::telegram::Lie;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_writes_reaches_routd_and_routd_knows_where_to_answer() {
    let stage = Stage::new().await;
    stage.registered().await;
    let first = stage.telegram.says(ADA, "hello");
    let bold = json!([{ "type": "bold", "offset": 0, "length": 3 }]);
    stage.telegram.writes(ADA, json!({ "text": "all of it", "entities": bold }));
    assert_eq!(stage.texts(CHAT, 2).await, ["hello", "**all** of it"]);
    assert_eq!(stage.has(CHAT).await[0].0, first.to_string());
    stage.telegram.until("the updates are confirmed", |it| it.pending() == 0).await;
    assert!(stage.telegram.sent().is_empty(), "nobody was answered, and nothing was said");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_routd_is_away_and_nothing_comes_twice() {
    let mut stage = Stage::new().await;
    stage.stop_routd().await;
    for n in 0..20 {
        stage.telegram.says(ADA + n % 3, &format!("n{n}"));
    }
    // On disk, so confirmed, though routd has nothing.
    stage.telegram.until("the updates are confirmed", |it| it.pending() == 0).await;
    stage.restart_teled().await;
    stage.start_routd().await;
    let numbers = |of: i64| (0..20).filter(move |n| n % 3 == of).map(|n| format!("n{n}"));
    for of in 0..3 {
        let chat = format!("telegram:user/{}", ADA + of);
        let expected: Vec<String> = numbers(of).collect();
        assert_eq!(stage.texts(&chat, expected.len()).await, expected);
    }
    // Telegram tells everything again, backwards, and then something new.
    stage.telegram.tells_again();
    stage.telegram.until("the updates are confirmed again", |it| it.pending() == 0).await;
    stage.telegram.says(ADA, "last");
    let expected: Vec<String> = numbers(0).chain(["last".into()]).collect();
    assert_eq!(stage.texts(CHAT, expected.len()).await, expected, "nothing came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_nobody_understands_holds_nothing_up() {
    let stage = Stage::new().await;
    stage.telegram.happens(json!({ "message": { "message_id": "not a number" } }));
    stage.telegram.happens(json!({ "something_new": { "x": 1 } }));
    stage.telegram.says(ADA, "after it");
    assert_eq!(stage.texts(CHAT, 1).await, ["after it"]);
    stage.troubled("events of the last days were set aside").await;
    stage.telegram.until("the updates are confirmed", |it| it.pending() == 0).await;
    assert_eq!(stage.has(CHAT).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_in_groups_is_told_with_its_kind() {
    let stage = Stage::new().await;
    let group = json!({ "id": -1007, "type": "supergroup", "title": "Team", "is_forum": true });
    let topic = json!({ "text": "in a topic", "message_thread_id": 3, "is_topic_message": true });
    stage.telegram.writes_in(&group, ADA, topic);
    let edited = json!({ "message_id": 1, "date": 1, "edit_date": 2, "chat": group, "text": "changed",
        "from": { "id": ADA, "is_bot": false, "first_name": "A" } });
    stage.telegram.happens(json!({ "edited_message": edited }));
    let pressed = json!({ "id": "7", "chat_instance": "c", "data": "yes", "message": edited,
        "from": { "id": ADA, "is_bot": false, "first_name": "A" } });
    stage.telegram.happens(json!({ "callback_query": pressed }));
    let texts = stage.texts("telegram:group/-1007", 3).await;
    assert_eq!(texts, ["in a topic", "changed", "yes"]);
    let ids: Vec<String> =
        stage.has("telegram:group/-1007").await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids[1..], ["1:e2".to_owned(), "cb:7".to_owned()]);
    stage.telegram.until("the button is answered", |it| it.calls("answerCallbackQuery") == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_poller_is_called_by_its_name_and_updates_come_when_it_is_gone() {
    let stage = Stage::new().await;
    let taken =
        || Lie::Refuses(409, "Conflict: terminated by other getUpdates request", json!(null));
    stage.telegram.next("getUpdates", taken());
    stage.telegram.next("getUpdates", taken());
    stage.telegram.says(ADA, "a");
    stage.troubled("another gets this bot's updates").await;
    assert_eq!(stage.texts(CHAT, 1).await, ["a"]);
    stage
        .eventually("teled is well again", async || {
            let said = stage.teled().health.troubles();
            (!said.iter().any(|line| line.starts_with("telegram:"))).then_some(())
        })
        .await;
}
