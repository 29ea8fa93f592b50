//! A whole suite on Telegram: a person writes to the bot, an agent answers, the token is replaced, daemons are killed.

use crate::harness::{Suite, reply_of};
use platforms::telegram::Telegram;

const ADA: i64 = 42;

/// A suite whose agents have what is written to the bot.
async fn talking(telegram: &Telegram, suite: &mut Suite) {
    suite.set("TELEGRAM_API_URL", telegram.url());
    suite.start_up();
    let status = suite.json(&["status"]);
    let daemons = status["daemons"].as_array().unwrap();
    let teled = daemons.iter().find(|one| one["daemon"] == "teled").unwrap();
    assert_eq!(teled["ready"], true, "{teled}");
    assert_eq!(teled["waiting_for"][0], "waiting for TELEGRAM_BOT_TOKEN");
    suite.ok(&["route", "add", "--match", "platform=telegram", "--target", "main"]);
    suite.edit_dotenv(&[("TELEGRAM_BOT_TOKEN", &telegram.token())]);
}

/// What the bot said, once there is so much of it.
async fn said(telegram: &Telegram, count: usize) -> Vec<String> {
    telegram.until(&format!("{count} replies"), |it| it.texts(ADA).len() >= count).await;
    telegram.texts(ADA)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_on_telegram_talks_with_an_agent_while_the_token_is_replaced() {
    let (telegram, mut suite) = (Telegram::serve().await, Suite::made());
    talking(&telegram, &mut suite).await;
    telegram.says(ADA, "hello");
    assert_eq!(said(&telegram, 1).await, [reply_of("hello")]);
    let answered = telegram.sent()[0].reply_to;
    assert_eq!(answered, Some(1), "it answers the message that was written");
    let old = telegram.token();
    let new = telegram.revoke_token();
    telegram.says(ADA, "still there?");
    suite.edit_dotenv(&[("TELEGRAM_BOT_TOKEN", &new)]);
    let both = [reply_of("hello"), reply_of("still there?")];
    assert_eq!(said(&telegram, 2).await, both);
    assert_eq!(telegram.texts(ADA), both, "nothing was said twice");
    let shown = suite.ok(&["secrets", "status"]);
    for token in [old, new] {
        assert!(!shown.contains(token.split_once(':').unwrap().1), "no token is shown");
    }
}
