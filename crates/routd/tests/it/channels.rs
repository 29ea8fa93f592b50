//! What goes out to platforms, against a real HTTP adapter.

use crate::{
    adapter::{Adapter, Does},
    agent::Agent,
    stage::{CHANNEL_SECRET, Stage, eventually, message},
};
use kit::testing::Serving;
use proto::{
    Daemon,
    routd::{ADD_ROUTE, NewMessage, NewRoute, REGISTER_CHANNEL, RegisterChannel, STATUS},
    runed::RunEnd,
    turn::Outcome,
};
use std::time::Duration;

async fn stage() -> Stage {
    let mut stage = Stage::unstarted();
    stage.start().await;
    with_route(stage).await
}

async fn with_route(stage: Stage) -> Stage {
    stage.add_group("atlas").await;
    let route = NewRoute { seq: 0, pattern: "platform=telegram".into(), target: "atlas".into() };
    stage.call(&ADD_ROUTE, &route, &stage.operator()).await.unwrap();
    stage
}

fn registration(url: &str, capabilities: &[&str]) -> RegisterChannel {
    RegisterChannel {
        name: "telegram".into(),
        url: url.into(),
        jid_prefixes: vec!["telegram:".into()],
        capabilities: capabilities.iter().map(|word| (*word).to_owned()).collect(),
    }
}

async fn adapter(stage: &Stage, capabilities: &[&str]) -> (Adapter, Serving) {
    let adapter = Adapter::default();
    let serving = adapter.serve().await;
    let registration = registration(&serving.url, capabilities);
    stage.call(&REGISTER_CHANNEL, &registration, CHANNEL_SECRET).await.unwrap();
    (adapter, serving)
}

/// Somebody writes in a Telegram chat, and the agent answers.
async fn exchange(stage: &Stage, nth: usize, chat: &str, answer: &str) {
    let id = format!("m{nth}");
    let asked = NewMessage {
        sender: format!("telegram:{}", chat.rsplit(':').next().unwrap()),
        topic: Some("77".parse().unwrap()),
        ..message(chat, &id, "hello")
    };
    stage.post(&asked).await;
    let run = stage.runed.nth(nth).await;
    Agent::on(&run).result(Outcome::Replied, Some(answer)).await.unwrap();
    stage.runed.end(&run.id, RunEnd::Completed);
    stage.ended(chat, &id).await;
}

async fn state(stage: &Stage, answer: &str, expected: &str) {
    let sql = format!(
        "SELECT count(*) FROM outbox JOIN messages ON messages.seq = message_seq
         WHERE content = '{answer}' AND state = '{expected}'"
    );
    eventually(&format!("{answer} to be {expected}"), || async {
        (stage.count(&sql) == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_sent_with_its_key_its_thread_and_a_token() {
    let stage = stage().await;
    let (adapter, _serving) = adapter(&stage, &[]).await;
    exchange(&stage, 0, "telegram:user/1", "hi").await;
    state(&stage, "hi", "sent").await;
    let sent = adapter.sent();
    let [sent] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((sent.chat_jid.as_str(), sent.content.as_str()), ("telegram:user/1", "hi"));
    assert_eq!(sent.reply_to.as_ref().unwrap().as_str(), "m0");
    assert_eq!(sent.thread_id.as_deref(), Some("77"));
    let id: String =
        stage.database().query_row("SELECT id FROM outbox", [], |row| row.get(0)).unwrap();
    assert_eq!(adapter.calls(), [id]);
    assert!(adapter.bearers()[0].starts_with("Bearer eyJ"));
    // The platform's own id of the answer is known: answering it addresses the agent.
    let found = stage.count("SELECT count(*) FROM sent_ids WHERE platform_id = 'p1'");
    assert_eq!(found, 1);
    let status = stage.call(&STATUS, &proto::Nothing {}, &stage.operator()).await.unwrap();
    assert_eq!((status.outbox_pending, status.outbox_ambiguous), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_shows_that_the_agent_is_at_work_until_the_run_is_gone() {
    let stage = stage().await;
    let (adapter, serving) = adapter(&stage, &["typing"]).await;
    let asked = NewMessage {
        topic: Some("77".parse().unwrap()),
        ..message("telegram:user/1", "m0", "hello")
    };
    stage.post(&asked).await;
    let run = stage.runed.nth(0).await;
    // Again and again: a platform shows it for some seconds.
    eventually("it is shown twice", || async { (adapter.typing().len() >= 2).then_some(()) }).await;
    for typing in adapter.typing() {
        assert_eq!(typing.chat_jid.as_str(), "telegram:user/1");
        assert_eq!(typing.thread_id.as_deref(), Some("77"));
    }
    Agent::on(&run).result(Outcome::Replied, Some("hi")).await.unwrap();
    stage.runed.end(&run.id, RunEnd::Completed);
    stage.ended("telegram:user/1", "m0").await;
    state(&stage, "hi", "sent").await;
    // An adapter that cannot show it is not asked to.
    let before = adapter.typing().len();
    let registration = registration(&serving.url, &[]);
    stage.call(&REGISTER_CHANNEL, &registration, CHANNEL_SECRET).await.unwrap();
    exchange(&stage, 1, "telegram:user/1", "again").await;
    state(&stage, "again", "sent").await;
    assert_eq!(adapter.typing().len(), before, "nobody was at work");
    assert_eq!(adapter.sent().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_of_an_adapter_is_obeyed() {
    let stage = stage().await;
    let (adapter, _serving) = adapter(&stage, &[]).await;
    let refuses = |status, code, retry_after| Does::Refuses { status, code, retry_after };
    adapter.next(refuses(403, "permanent", None));
    exchange(&stage, 0, "telegram:user/1", "blocked").await;
    state(&stage, "blocked", "failed").await;
    adapter.next(refuses(501, "unsupported", None));
    exchange(&stage, 1, "telegram:user/1", "odd").await;
    state(&stage, "odd", "unsupported").await;
    adapter.next(refuses(503, "transient", None));
    adapter.next(refuses(429, "rate_limited", Some(1)));
    exchange(&stage, 2, "telegram:user/1", "later").await;
    state(&stage, "later", "sent").await;
    let calls = adapter.calls();
    assert_eq!(calls.len(), 5, "{calls:?}");
    assert_eq!((&calls[2], &calls[3]), (&calls[4], &calls[4]), "a repeat has the same key");
    assert_eq!(adapter.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_whose_fate_is_unknown_is_shown_and_not_repeated() {
    let mut stage = stage().await;
    let (adapter, serving) = adapter(&stage, &[]).await;
    adapter.next(Does::BreaksOff);
    exchange(&stage, 0, "telegram:user/1", "perhaps").await;
    state(&stage, "perhaps", "ambiguous").await;
    // What comes after it in the chat is not held up.
    exchange(&stage, 1, "telegram:user/1", "next").await;
    state(&stage, "next", "sent").await;
    let status = stage.call(&STATUS, &proto::Nothing {}, &stage.operator()).await.unwrap();
    assert_eq!(status.outbox_ambiguous, 1);
    let troubles = stage.context().health.troubles();
    assert!(troubles.iter().any(|line| line.starts_with("outbox: ")), "{troubles:?}");
    stage.restart().await;
    let again = registration(&serving.url, &[]);
    stage.call(&REGISTER_CHANNEL, &again, CHANNEL_SECRET).await.unwrap();
    exchange(&stage, 2, "telegram:user/1", "last").await;
    state(&stage, "last", "sent").await;
    assert_eq!(adapter.calls().len(), 3, "never silently repeated: {:?}", adapter.calls());
    // An adapter that remembers keys can be asked again, and sends nothing twice.
    let remembers = registration(&serving.url, &["idempotency"]);
    stage.call(&REGISTER_CHANNEL, &remembers, CHANNEL_SECRET).await.unwrap();
    state(&stage, "perhaps", "sent").await;
    assert_eq!(adapter.sent().len(), 3);
    assert_eq!(adapter.calls().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_chat_does_not_hold_up_another_and_each_keeps_its_order() {
    let mut stage = Stage::unstarted().timeless();
    stage.start().await;
    let stage = with_route(stage).await;
    let (adapter, serving) = adapter(&stage, &[]).await;
    adapter.next(Does::Refuses { status: 429, code: "rate_limited", retry_after: Some(60) });
    exchange(&stage, 0, "telegram:user/1", "one").await;
    eventually("the first call", || async { (adapter.calls().len() == 1).then_some(()) }).await;
    exchange(&stage, 1, "telegram:user/1", "two").await;
    exchange(&stage, 2, "telegram:user/2", "other").await;
    state(&stage, "other", "sent").await;
    // That the adapter says it is still there does not shorten the time that it asked for.
    let still = registration(&serving.url, &[]);
    stage.call(&REGISTER_CHANNEL, &still, CHANNEL_SECRET).await.unwrap();
    exchange(&stage, 3, "telegram:user/2", "another").await;
    state(&stage, "another", "sent").await;
    assert_eq!(adapter.calls().len(), 3, "the others wait for their chat's first");
    stage.clock.advance(Duration::from_secs(61));
    exchange(&stage, 4, "telegram:user/2", "last").await;
    state(&stage, "two", "sent").await;
    let sent = adapter.sent().into_iter();
    let order: Vec<String> = sent
        .filter(|sent| sent.chat_jid.as_str() == "telegram:user/1")
        .map(|s| s.content)
        .collect();
    assert_eq!(order, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_holds_no_message_up() {
    let mut stage = Stage::unstarted().timeless();
    stage.start().await;
    let mut stage = with_route(stage).await;
    let (adapter, _serving) = adapter(&stage, &[]).await;
    adapter.next(Does::Refuses { status: 429, code: "rate_limited", retry_after: Some(60) });
    exchange(&stage, 0, "telegram:user/1", "one").await;
    eventually("it to be put off", || async {
        let waits = "SELECT count(*) FROM outbox WHERE state = 'pending' AND not_before > 0";
        (stage.count(waits) == 1).then_some(())
    })
    .await;
    stage.stop().await;
    let ahead =
        "UPDATE outbox SET not_before = not_before + 2 * 3600 * 1000 WHERE state = 'pending'";
    assert_eq!(stage.database().execute(ahead, []).unwrap(), 1);
    stage.start().await;
    state(&stage, "one", "sent").await;
    assert_eq!(adapter.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_an_adapter_goes_when_it_comes_and_survives_a_restart() {
    let mut stage = stage().await;
    let oldest = |stage: &Stage| {
        let text = stage.context().metrics.text().unwrap();
        let name = "arizuko_outbox_oldest_timestamp_seconds ";
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap().parse::<i64>().unwrap()
    };
    exchange(&stage, 0, "telegram:user/1", "hi").await;
    eventually("the trouble to show", || async {
        let troubles = stage.context().health.troubles();
        troubles.iter().any(|line| line.starts_with("adapter telegram: ")).then_some(())
    })
    .await;
    let written =
        || stage.count("SELECT max(created_at) / 1000 FROM outbox WHERE state = 'pending'");
    eventually("the figures to show since when", || async {
        (oldest(&stage) > 0 && oldest(&stage) == written()).then_some(())
    })
    .await;
    stage.restart().await;
    let (first, serving) = adapter(&stage, &[]).await;
    state(&stage, "hi", "sent").await;
    assert_eq!(first.sent().len(), 1);
    // A registration is remembered: a routd that comes back finds the adapter again.
    stage.restart().await;
    assert_eq!(stage.channels().await.channels[0].url, serving.url);
    exchange(&stage, 1, "telegram:user/1", "again").await;
    state(&stage, "again", "sent").await;
    assert_eq!(first.sent().len(), 2);
    eventually("the figures to show that nothing waits", || async {
        (oldest(&stage) == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_what_is_being_sent() {
    let mut stage = stage().await;
    let (adapter, _serving) = adapter(&stage, &[]).await;
    adapter.next(Does::Waits(Duration::from_millis(300)));
    exchange(&stage, 0, "telegram:user/1", "slow").await;
    eventually("the call", || async { (adapter.calls().len() == 1).then_some(()) }).await;
    stage.restart().await;
    state(&stage, "slow", "sent").await;
    assert_eq!(adapter.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routd_that_was_killed_while_it_sent_leaves_a_doubt() {
    let mut stage = stage().await;
    let (adapter, _serving) = adapter(&stage, &[]).await;
    exchange(&stage, 0, "telegram:user/1", "hi").await;
    state(&stage, "hi", "sent").await;
    stage.stop().await;
    // As a kill leaves it.
    stage.database().execute("UPDATE outbox SET state = 'sending', ended_at = NULL", []).unwrap();
    stage.start().await;
    state(&stage, "hi", "ambiguous").await;
    assert_eq!(adapter.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_that_can_be_cleared_up_keeps_its_chat_s_order() {
    let mut stage = Stage::unstarted().timeless();
    stage.start().await;
    let mut stage = with_route(stage).await;
    let (adapter, serving) = adapter(&stage, &["idempotency"]).await;
    let here = registration(&serving.url, &["idempotency"]);
    adapter.next(Does::BreaksOff);
    exchange(&stage, 0, "telegram:user/1", "one").await;
    state(&stage, "one", "ambiguous").await;
    exchange(&stage, 1, "telegram:user/1", "two").await;
    exchange(&stage, 2, "telegram:user/2", "other").await;
    state(&stage, "other", "sent").await;
    assert_eq!(adapter.calls().len(), 2, "the chat's next waits, another chat does not");
    stage.call(&REGISTER_CHANNEL, &here, CHANNEL_SECRET).await.unwrap();
    state(&stage, "two", "sent").await;
    let calls = adapter.calls();
    assert_eq!((calls.len(), &calls[0]), (4, &calls[2]), "the doubtful one is asked about first");

    // The same where routd was killed in between; and a chat does not wait for ever.
    stage.stop().await;
    let unfinished = "UPDATE outbox SET state = 'sending', ended_at = NULL WHERE seq = 2";
    stage.database().execute(unfinished, []).unwrap();
    stage.start().await;
    state(&stage, "two", "ambiguous").await;
    exchange(&stage, 3, "telegram:user/1", "three").await;
    exchange(&stage, 4, "telegram:user/2", "another").await;
    state(&stage, "another", "sent").await;
    state(&stage, "three", "pending").await;
    stage.clock.advance(Duration::from_secs(61));
    exchange(&stage, 5, "telegram:user/2", "last").await;
    state(&stage, "three", "sent").await;
    state(&stage, "two", "ambiguous").await;
    let status = stage.call(&STATUS, &proto::Nothing {}, &stage.operator()).await.unwrap();
    assert_eq!(status.outbox_ambiguous, 1, "what was not asked about stays in doubt");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_register() {
    let stage = stage().await;
    let good = || registration("http://127.0.0.1:1", &[]);
    let webd = stage.authority.service(Daemon::Webd);
    let refused = stage.call(&REGISTER_CHANNEL, &good(), &webd).await.unwrap_err();
    assert_eq!(refused.status, 403, "webd does not speak for Telegram");
    for bad in [
        RegisterChannel { name: "Tele Gram".into(), ..good() },
        RegisterChannel { url: "file:///etc/passwd".into(), ..good() },
        RegisterChannel { jid_prefixes: vec![], ..good() },
        RegisterChannel { jid_prefixes: vec!["telegram".into()], ..good() },
        RegisterChannel { jid_prefixes: vec!["unheardof:".into()], ..good() },
    ] {
        let refused = stage.call(&REGISTER_CHANNEL, &bad, CHANNEL_SECRET).await.unwrap_err();
        assert_eq!(refused.status, 400, "{bad:?}");
    }
    let teled = stage.authority.service(Daemon::Teled);
    stage.call(&REGISTER_CHANNEL, &good(), &teled).await.unwrap();
    assert_eq!(stage.channels().await.channels.len(), 1);
}
