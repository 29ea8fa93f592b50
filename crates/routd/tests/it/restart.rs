//! routd is stopped and started again on the same data, at each step of a turn: exactly one end is seen.

use crate::{
    agent::Agent,
    stage::{Stage, eventually},
};
use proto::{
    routd::{MessageState, TurnEnd},
    runed::RunEnd,
    turn::Outcome,
};
use serde_json::json;

const CHAT: &str = "web:atlas~one";

async fn answered_once(stage: &Stage, expected: &str) {
    assert_eq!(stage.ended(CHAT, "m1").await.state, MessageState::Answered);
    let (said, ends) = stage.heard(CHAT).await;
    assert_eq!((said, ends), (vec![expected.to_owned()], vec![TurnEnd::Answered]));
    assert_eq!(stage.count("SELECT count(*) FROM turns"), 1);
    assert_eq!(stage.count("SELECT count(*) FROM outbox"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_run_is_asked_for() {
    let mut stage = Stage::new().await;
    stage.runed.down(true);
    stage.say(CHAT, "m1", "hello").await;
    stage.restart().await;
    assert!(stage.say(CHAT, "m1", "hello").await.duplicate);
    stage.runed.down(false);
    let run = stage.runed.nth(0).await;
    assert_eq!(run.attempt, 1);
    Agent::on(&run).result(Outcome::Replied, Some("hi")).await.unwrap();
    answered_once(&stage, "hi").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_run_is_being_asked_for() {
    let mut stage = Stage::new().await;
    stage.runed.mute(true);
    stage.say(CHAT, "m1", "hello").await;
    let run = stage.runed.nth(0).await;
    let before = stage.runed.asked(&run.turn_id, 1);
    // The call that starts the run was taken and never answered.
    stage.stop().await;
    stage.runed.mute(false);
    stage.start().await;
    eventually("the run to be asked for again", || async {
        (stage.runed.asked(&run.turn_id, 1) > before).then_some(())
    })
    .await;
    let agent = Agent::on(&run);
    assert_eq!(agent.input().await.unwrap().attempt, 1);
    agent.result(Outcome::Replied, Some("hi")).await.unwrap();
    answered_once(&stage, "hi").await;
    assert_eq!(stage.runed.started().len(), 1, "one run, however often it is asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_agent_works() {
    let mut stage = Stage::new().await;
    stage.say(CHAT, "m1", "hello").await;
    let run = stage.runed.nth(0).await;
    Agent::on(&run).input().await.unwrap();
    stage.restart().await;
    // The socket was bound before routd answered anything: the agent finds its turn at once.
    let agent = Agent::on(&run);
    assert_eq!(agent.input().await.unwrap().turn_id.as_str(), run.turn_id);
    agent.result(Outcome::Replied, Some("hi")).await.unwrap();
    answered_once(&stage, "hi").await;
    assert_eq!(stage.runed.started().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_result_whose_answer_was_lost() {
    let mut stage = Stage::new().await;
    stage.say(CHAT, "m1", "hello").await;
    let run = stage.runed.nth(0).await;
    Agent::on(&run).result(Outcome::Replied, Some("hi")).await.unwrap();
    stage.restart().await;
    let again = Agent::on(&run).result(Outcome::Replied, Some("hi")).await.unwrap();
    assert!(again.duplicate);
    answered_once(&stage, "hi").await;
    stage.runed.end(&run.id, RunEnd::Completed);
    eventually("the socket to be gone", || async { (!run.directory.exists()).then_some(()) }).await;
    assert_eq!(stage.runed.started().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_agent_dies() {
    let mut stage = Stage::new().await;
    stage.say(CHAT, "m1", "hello").await;
    let first = stage.runed.nth(0).await;
    stage.stop().await;
    stage.runed.end(&first.id, RunEnd::Crashed);
    stage.start().await;
    let second = stage.runed.nth(1).await;
    assert_eq!(second.attempt, 2);
    Agent::on(&second).result(Outcome::Replied, Some("hi")).await.unwrap();
    answered_once(&stage, "hi").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_clock_is_set_back() {
    let mut stage = Stage::unstarted().timeless();
    stage.start().await;
    stage.add_group("atlas").await;
    stage.say(CHAT, "m1", "hello").await;
    let first = stage.runed.nth(0).await;
    stage.runed.end(&first.id, RunEnd::Crashed);
    eventually("the turn to wait for its second attempt", || async {
        let waits = "SELECT count(*) FROM turns WHERE state = 'queued' AND attempt = 1";
        (stage.count(waits) == 1).then_some(())
    })
    .await;
    stage.stop().await;
    let ahead = "UPDATE turns SET not_before = not_before + 2 * 3600 * 1000";
    assert_eq!(stage.database().execute(ahead, []).unwrap(), 1);
    stage.start().await;
    let second = stage.runed.nth(1).await;
    assert_eq!(second.attempt, 2, "it waits seconds, and not until the clock has caught up");
    Agent::on(&second).result(Outcome::Replied, Some("hi")).await.unwrap();
    answered_once(&stage, "hi").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_agent_dies_having_done_something() {
    let mut stage = Stage::new().await;
    stage.say(CHAT, "m1", "hello").await;
    let run = stage.runed.nth(0).await;
    Agent::on(&run).tool("reply", json!({ "content": "working" }), None).await;
    stage.stop().await;
    stage.runed.end(&run.id, RunEnd::Crashed);
    stage.start().await;
    assert_eq!(stage.ended(CHAT, "m1").await.state, MessageState::Interrupted);
    let (said, ends) = stage.heard(CHAT).await;
    assert_eq!((said.len(), ends), (2, vec![TurnEnd::Interrupted]));
    assert_eq!(stage.runed.started().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_runed_that_forgot_the_run() {
    let mut stage = Stage::new().await;
    stage.say(CHAT, "m1", "hello").await;
    let first = stage.runed.nth(0).await;
    eventually("the run to be followed", || async {
        (stage.count("SELECT count(*) FROM turns WHERE state = 'running'") == 1).then_some(())
    })
    .await;
    stage.stop().await;
    stage.runed.forget();
    stage.start().await;
    let second = stage.runed.nth(0).await;
    assert_eq!((second.attempt, second.turn_id == first.turn_id), (2, true));
    Agent::on(&second).result(Outcome::Replied, Some("hi")).await.unwrap();
    answered_once(&stage, "hi").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_call_whose_answer_was_lost_is_done_once() {
    let mut stage = Stage::new().await;
    stage.say(CHAT, "m1", "hello").await;
    let run = stage.runed.nth(0).await;
    let say = || json!({ "content": "working" });
    let first = Agent::on(&run).tool("reply", say(), None).await;
    let keyed = Agent::on(&run).tool("reply", json!({ "content": "k" }), Some("a/1")).await;
    stage.restart().await;
    let agent = Agent::on(&run);
    // Made again without a key: answered from the record, once; then it is a new call.
    assert_eq!(agent.tool("reply", say(), None).await, first);
    assert_eq!(agent.tool("reply", json!({ "content": "k" }), Some("a/1")).await, keyed);
    assert_eq!(stage.heard(CHAT).await.0, ["working", "k"]);
    assert_ne!(agent.tool("reply", say(), None).await, first);
    assert_eq!(stage.heard(CHAT).await.0, ["working", "k", "working"]);
}
