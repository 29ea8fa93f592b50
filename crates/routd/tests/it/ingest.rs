//! Messages on their way in: taken once, checked, and from whom they may come.

use crate::{
    agent::Agent,
    stage::{CHANNEL_SECRET, Stage, message},
};
use proto::{
    Daemon, Problem,
    routd::{MessageAck, MessageState, NewMessage, POST_MESSAGE, TRACE, TraceQuery},
    turn::Outcome,
};
use std::sync::Arc;

const CHAT: &str = "web:atlas~one";

async fn post_as(stage: &Stage, bearer: &str, message: &NewMessage) -> Result<MessageAck, Problem> {
    stage.call(&POST_MESSAGE, message, bearer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_taken_once() {
    let stage = Arc::new(Stage::new().await);
    let posts = (0..8).map(|_| {
        let stage = stage.clone();
        tokio::spawn(async move { stage.say(CHAT, "m1", "hello").await })
    });
    let mut fresh = 0;
    let mut seqs = Vec::new();
    for post in posts.collect::<Vec<_>>() {
        let ack = post.await.unwrap();
        fresh += u32::from(!ack.duplicate);
        seqs.push(ack.seq);
    }
    assert_eq!(fresh, 1);
    seqs.dedup();
    assert_eq!(seqs.len(), 1, "every repeat answers alike");
    let other = stage.say(CHAT, "m1", "something else").await;
    assert_eq!((other.duplicate, other.seq), (true, seqs[0]));
    let elsewhere = stage.say("web:atlas~two", "m1", "hello").await;
    assert!(!elsewhere.duplicate, "an id belongs to its chat");
    assert_eq!(stage.count("SELECT count(*) FROM messages"), 2);
    assert_eq!(stage.count("SELECT count(*) FROM messages WHERE content = 'something else'"), 0);
    let run = stage.runed.nth(0).await;
    assert_eq!(Agent::on(&run).input().await.unwrap().messages.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_message_is_refused_and_leaves_nothing() {
    let stage = Stage::new().await;
    let good = || message(CHAT, "m1", "hello");
    let long = "x".repeat(262_145);
    let bad = [
        NewMessage { content: " \n".into(), ..good() },
        NewMessage { content: long.clone(), ..good() },
        NewMessage { sender: String::new(), ..good() },
        NewMessage { sender: "x".repeat(257), ..good() },
        NewMessage { sender: "a\nb".into(), ..good() },
        NewMessage { verb: Some("Not A Verb".into()), ..good() },
        NewMessage { timestamp: Some(proto::Timestamp(-1)), ..good() },
    ];
    for message in &bad {
        let refused = post_as(&stage, CHANNEL_SECRET, message).await.unwrap_err();
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(!refused.detail.is_empty());
    }
    assert_eq!(stage.count("SELECT count(*) FROM messages"), 0);
    let longest = NewMessage { content: long[1..].into(), ..good() };
    assert!(post_as(&stage, CHANNEL_SECRET, &longest).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_in_anothers_name() {
    let stage = Stage::new().await;
    for sender in ["agent", "system", "operator:local", "service:routd", "Operator:x"] {
        let forged = NewMessage { sender: sender.into(), ..message(CHAT, "m1", "hello") };
        for bearer in [CHANNEL_SECRET.to_owned(), stage.authority.service(Daemon::Webd)] {
            let refused = post_as(&stage, &bearer, &forged).await.unwrap_err();
            assert_eq!(refused.status, 403, "{sender}");
        }
    }
    let asked = NewMessage { sender: "anybody".into(), ..message(CHAT, "m2", "hello") };
    post_as(&stage, &stage.operator(), &asked).await.unwrap();
    let sender: String = stage
        .database()
        .query_row("SELECT sender FROM messages WHERE id = 'm2'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sender, "operator:local");
    for bearer in ["", "wrong-secret-of-the-tests", "eyJ.a.b"] {
        let refused = post_as(&stage, bearer, &message(CHAT, "m3", "hello")).await.unwrap_err();
        assert_eq!(refused.status, 401, "{bearer}");
    }
    let strange = stage.authority.service(Daemon::Dashd);
    let refused = post_as(&stage, &strange, &message(CHAT, "m3", "hello")).await.unwrap_err();
    assert_eq!(refused.status, 403);
    assert_eq!(stage.count("SELECT count(*) FROM messages"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_speaks_for_its_own_chats_only() {
    let mut stage = Stage::unstarted();
    stage.source.set_silently([("CHANNEL_SECRET_TELED", "secret-of-the-telegram-adapter")]);
    stage.start().await;
    stage.add_group("atlas").await;
    let telegram = || NewMessage {
        sender: "telegram:user/1".into(),
        ..message("telegram:user/1", "m1", "hello")
    };
    let teled = "secret-of-the-telegram-adapter";
    let cases = [
        (CHANNEL_SECRET, telegram(), Some(401)),
        (teled, message(CHAT, "m2", "hello"), Some(403)),
        (teled, message("slack:T1/dm/D1", "m3", "hello"), Some(403)),
        (CHANNEL_SECRET, message("slack:T1/dm/D1", "m4", "hello"), None),
        (CHANNEL_SECRET, message(CHAT, "m5", "hello"), None),
        (teled, telegram(), None),
        // A person of Telegram is the Telegram adapter's to name.
        (
            CHANNEL_SECRET,
            NewMessage { sender: "telegram:user/1".into(), ..message(CHAT, "m6", "x") },
            Some(403),
        ),
    ];
    for (bearer, message, expected) in cases {
        let answer = post_as(&stage, bearer, &message).await;
        assert_eq!(answer.err().map(|p| p.status), expected, "{} {}", message.chat_jid, message.id);
    }
    let webd = stage.authority.service(Daemon::Webd);
    let refused = post_as(&stage, &webd, &telegram()).await.unwrap_err();
    assert_eq!(refused.status, 403, "a token of webd is webd's");
    assert_eq!(stage.count("SELECT count(*) FROM messages"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_a_whole_life() {
    let stage = Stage::new().await;
    stage.say(CHAT, "m1", "hello").await;
    let run = stage.runed.nth(0).await;
    let agent = Agent::on(&run);
    agent.input().await.unwrap();
    agent.tool("reply", serde_json::json!({ "content": "working" }), None).await;
    agent.result(Outcome::Replied, Some("done")).await.unwrap();
    stage.ended(CHAT, "m1").await;
    let query = TraceQuery { id: "m1".parse().unwrap(), chat_jid: None };
    let trace = stage.call(&TRACE, &query, &stage.operator()).await.unwrap();
    let steps: Vec<&str> = trace.steps.iter().map(|step| step.what.as_str()).collect();
    for expected in [
        "received",
        "routed",
        "turn.queued",
        "turn.started",
        "run.accepted",
        "agent.began",
        "tool.reply",
        "turn.ended",
        "message.said",
        "outbox.sent",
    ] {
        assert!(steps.contains(&expected), "{expected} in {steps:?}");
    }
    assert!(trace.steps.is_sorted_by_key(|step| step.at));
    let none = TraceQuery { id: "m2".parse().unwrap(), chat_jid: None };
    assert_eq!(stage.call(&TRACE, &none, &stage.operator()).await.unwrap_err().status, 404);
    stage.say("web:atlas~two", "m1", "hello").await;
    let several = stage.call(&TRACE, &query, &stage.operator()).await.unwrap_err();
    assert_eq!((several.status, several.code.as_str()), (409, "conflict"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_takes_is_kept_and_counted() {
    let stage = Stage::new().await;
    stage.say("telegram:user/9", "m1", "anybody?").await;
    stage.say("web:nowhere", "m1", "anybody?").await;
    for chat in ["telegram:user/9", "web:nowhere"] {
        let outcome = stage.outcome(chat, "m1", 5).await;
        assert_eq!((outcome.state, outcome.turn_id), (MessageState::Unrouted, None));
    }
    let status =
        stage.call(&proto::routd::STATUS, &proto::Nothing {}, &stage.operator()).await.unwrap();
    assert_eq!((status.unrouted, status.turns_queued), (2, 0));
    let text = stage.context().metrics.text().unwrap();
    assert!(
        text.contains(r#"arizuko_messages_total{platform="web",effect="unrouted"} 1"#),
        "{text}"
    );
    assert!(stage.runed.started().is_empty());
}
