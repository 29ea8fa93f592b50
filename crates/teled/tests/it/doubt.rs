//! What may or may not be out is told as that, and never sent again by itself.

use crate::stage::{ADA, Stage};
use platforms::telegram::Lie;
use std::time::Duration;

fn ambiguous<T: std::fmt::Debug>(answer: Result<T, (u16, String)>) {
    assert_eq!(answer.unwrap_err(), (504, "ambiguous".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_a_doubt_whether_the_message_is_out_or_not() {
    let mut stage = Stage::new().await;
    stage.open_chat().await;
    stage.telegram.next("sendMessage", Lie::TakesAndBreaksOff);
    ambiguous(stage.send("taken", "k1").await);
    stage.telegram.next("sendMessage", Lie::DropsAndBreaksOff);
    ambiguous(stage.send("dropped", "k2").await);
    stage.telegram.next("sendMessage", Lie::Garbage(502));
    ambiguous(stage.send("behind a gateway", "k3").await);
    for restart in [false, true] {
        if restart {
            stage.restart_teled().await;
        }
        ambiguous(stage.send("taken", "k1").await);
        ambiguous(stage.send("dropped", "k2").await);
    }
    assert_eq!(stage.telegram.texts(ADA), ["taken"]);
    assert_eq!(stage.telegram.calls("sendMessage"), 3, "nothing was asked of Telegram again");
    stage.send("and on", "k4").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_answered_alike_after_a_restart_and_is_not_taken_for_another() {
    let mut stage = Stage::new().await;
    stage.open_chat().await;
    let ids = stage.send("once", "k1").await.unwrap();
    assert_eq!(stage.send("once", "k1").await.unwrap(), ids);
    stage.restart_teled().await;
    assert_eq!(stage.send("once", "k1").await.unwrap(), ids);
    assert_eq!(stage.send("another", "k1").await, Err((409, "conflict".into())));
    assert_eq!(stage.telegram.texts(ADA), ["once"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_of_several_messages_goes_on_where_it_stopped() {
    let mut stage = Stage::new().await;
    stage.open_chat().await;
    let long = (0..3).map(|n| format!("{n}").repeat(4_000)).collect::<Vec<_>>().join("\n\n");
    stage.send("first", "k0").await.unwrap();
    let slow = Lie::Refuses(429, "Too Many Requests", serde_json::json!({ "retry_after": 1 }));
    // The second of the three.
    stage.telegram.next("sendMessage", Lie::Waits(Duration::ZERO));
    stage.telegram.next("sendMessage", slow);
    assert_eq!(stage.send(&long, "k1").await, Err((429, "rate_limited".into())));
    assert_eq!(stage.telegram.texts(ADA).len(), 2);
    stage.restart_teled().await;
    let sent = stage.eventually("the rest is sent", async || stage.send(&long, "k1").await.ok());
    assert_eq!(sent.await.len(), 3);
    let firsts: Vec<char> =
        stage.telegram.texts(ADA).iter().filter_map(|text| text.chars().next()).collect();
    assert_eq!(firsts, ['f', '0', '1', '2'], "none twice, none left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_hangs_holds_no_other_up() {
    let stage = Stage::new().await;
    stage.open_chat().await;
    stage.telegram.says(7, "me too");
    stage.texts("telegram:user/7", 1).await;
    stage.telegram.next("sendMessage", Lie::Waits(Duration::from_secs(600)));
    let hung = stage.send("hangs", "k1");
    let other = async {
        stage.telegram.until("the first is under way", |it| it.calls("sendMessage") == 1).await;
        let to = "telegram:user/7".parse().unwrap();
        let message = proto::routd::Send { chat_jid: to, ..crate::stage::text("goes") };
        stage.send_as(&message, "k2").await.unwrap();
    };
    tokio::select! {
        answered = hung => ambiguous(answered),
        () = other => {}
    }
    assert_eq!(stage.telegram.texts(7), ["goes"]);
    assert!(stage.telegram.texts(ADA).is_empty());
}
