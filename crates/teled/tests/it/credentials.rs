//! The bot's token comes, is revoked and replaced, and nothing is lost by it.

use crate::stage::{ADA, CHAT, Stage};
use kit::testing::Lines;

#[tokio::test(flavor = "multi_thread")]
async fn teled_is_ready_and_idle_without_a_token_and_begins_when_it_appears() {
    let mut stage = Stage::bare().await;
    stage.start_routd().await;
    stage.start_teled().await;
    stage
        .eventually("teled waits", async || {
            let waits = stage.teled().health.waiting_for();
            (waits == ["TELEGRAM_BOT_TOKEN"]).then_some(())
        })
        .await;
    assert!(stage.teled().health.is_ready());
    assert!(stage.teled().health.troubles().is_empty(), "to be idle is no trouble");
    stage.telegram.says(ADA, "is anybody there?");
    assert_eq!(stage.send("x", "k0").await, Err((503, "transient".into())));
    let token = stage.telegram.token();
    stage.source.set([("TELEGRAM_BOT_TOKEN", token.as_str())]);
    assert_eq!(stage.texts(CHAT, 1).await, ["is anybody there?"]);
    stage.registered().await;
    stage.send("yes", "k1").await.unwrap();
    assert!(stage.teled().health.waiting_for().is_empty());
}

// On one thread, so that all that is logged is captured.
#[tokio::test]
async fn a_token_that_is_replaced_while_messages_flow_loses_none() {
    let log = Lines::capture("info,teled=debug,adapter=debug");
    let stage = Stage::new().await;
    stage.open_chat().await;
    let mut tokens = vec![stage.telegram.token()];
    let (mut said, mut sent) = (vec!["hello".to_owned()], Vec::new());
    for round in 0..3 {
        for n in 0..5 {
            said.push(format!("in {round}.{n}"));
            stage.telegram.says(ADA, &said[said.len() - 1]);
        }
        // Telegram knows the old one no more before teled knows the new one.
        let token = stage.telegram.revoke_token();
        tokens.push(token.clone());
        let (text, key) = (format!("out {round}"), format!("k{round}"));
        assert_eq!(stage.send(&text, &key).await, Err((503, "transient".into())));
        said.push(format!("between {round}"));
        stage.telegram.says(ADA, &said[said.len() - 1]);
        stage.source.set([("TELEGRAM_BOT_TOKEN", token.as_str())]);
        stage
            .eventually("it is sent under the new token", async || {
                stage.send(&text, &key).await.ok()
            })
            .await;
        sent.push(text);
    }
    assert_eq!(stage.texts(CHAT, said.len()).await, said, "all of them, in order, once");
    assert_eq!(stage.telegram.texts(ADA), sent, "each of them once");
    for token in tokens {
        let key = token.split_once(':').unwrap().1;
        assert!(!log.text().contains(key), "no token is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_stays_refused_is_shown_and_messages_wait_for_a_good_one() {
    let stage = Stage::new().await;
    stage.open_chat().await;
    stage.telegram.revoke_token();
    stage.troubled("Telegram does not accept TELEGRAM_BOT_TOKEN").await;
    assert_eq!(stage.send("waits", "k").await, Err((503, "transient".into())));
    assert!(stage.telegram.sent().is_empty());
    stage.source.set([("TELEGRAM_BOT_TOKEN", "rubbish")]);
    assert_eq!(stage.send("waits", "k").await, Err((503, "transient".into())));
    let token = stage.telegram.token();
    stage.source.set([("TELEGRAM_BOT_TOKEN", token.as_str())]);
    stage.eventually("it is sent", async || stage.send("waits", "k").await.ok()).await;
    assert_eq!(stage.telegram.texts(ADA), ["waits"]);
}
