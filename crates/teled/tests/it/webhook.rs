//! Updates that Telegram brings.

use crate::stage::{ADA, CHAT, Stage, WEBHOOK_SECRET};
use serde_json::json;

async fn stage() -> Stage {
    let mut stage = Stage::bare().await;
    let url = format!("{}/telegram/webhook", stage.teled_url());
    stage.setting("TELEGRAM_WEBHOOK_URL", url);
    let token = stage.telegram.token();
    stage.source.set_silently([
        ("TELEGRAM_BOT_TOKEN", token.as_str()),
        ("TELEGRAM_WEBHOOK_SECRET", WEBHOOK_SECRET),
    ]);
    stage.start_routd().await;
    stage.start_teled().await;
    stage
}

async fn bring(stage: &Stage, secret: Option<&str>, update: &serde_json::Value) -> u16 {
    let http = kit::http_client().unwrap();
    let mut call = http.post(format!("{}/telegram/webhook", stage.teled_url())).json(update);
    if let Some(secret) = secret {
        call = call.header("X-Telegram-Bot-Api-Secret-Token", secret);
    }
    call.send().await.unwrap().status().as_u16()
}

fn update(id: i64, text: &str) -> serde_json::Value {
    json!({ "update_id": id, "message": { "message_id": id, "date": 1, "text": text,
        "chat": { "id": ADA, "type": "private" },
        "from": { "id": ADA, "is_bot": false, "first_name": "A" } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn telegram_brings_updates_and_nobody_else_does() {
    let mut stage = stage().await;
    stage.telegram.says(ADA, "brought");
    assert_eq!(stage.texts(CHAT, 1).await, ["brought"]);
    for secret in [None, Some("another-secret-of-16"), Some("")] {
        assert_eq!(bring(&stage, secret, &update(70_001, "forged")).await, 401, "{secret:?}");
    }
    for _ in 0..2 {
        assert_eq!(bring(&stage, Some(WEBHOOK_SECRET), &update(70_002, "again")).await, 200);
    }
    assert_eq!(
        bring(&stage, Some(WEBHOOK_SECRET), &json!({ "update_id": 3, "message": 1 })).await,
        200
    );
    assert_eq!(stage.texts(CHAT, 2).await, ["brought", "again"]);
    // Away, and back: Telegram brings what was not taken.
    stage.stop_teled().await;
    stage.telegram.says(ADA, "meanwhile");
    stage.start_teled().await;
    assert_eq!(stage.texts(CHAT, 3).await, ["brought", "again", "meanwhile"]);
    assert_eq!(stage.telegram.calls("getUpdates"), 0);
    assert_eq!(stage.has(CHAT).await.len(), 3, "nothing forged, nothing twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_secrets_of_a_rotation_are_taken_and_telegram_is_told_the_new_one() {
    let stage = stage().await;
    stage.telegram.until("the webhook is set", |it| it.calls("setWebhook") == 1).await;
    let next = "webhook-secret-two";
    stage.source.set([("TELEGRAM_WEBHOOK_SECRET", next)]);
    stage
        .telegram
        .until("Telegram is told", |it| {
            it.last("setWebhook").is_some_and(|call| call["secret_token"] == next)
        })
        .await;
    assert_eq!(stage.telegram.last("setWebhook").unwrap()["drop_pending_updates"], false);
    assert_eq!(bring(&stage, Some(WEBHOOK_SECRET), &update(70_001, "old")).await, 200);
    assert_eq!(bring(&stage, Some(next), &update(70_002, "new")).await, 200);
    assert_eq!(stage.texts(CHAT, 2).await, ["old", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_webhook_there_is_nothing_at_its_path() {
    let stage = Stage::new().await;
    stage.source.set([("TELEGRAM_WEBHOOK_SECRET", WEBHOOK_SECRET)]);
    assert_eq!(bring(&stage, Some(WEBHOOK_SECRET), &update(70_001, "x")).await, 404);
    stage.telegram.says(ADA, "polled");
    assert_eq!(stage.texts(CHAT, 1).await, ["polled"]);
}
