//! Messages that come while a turn runs: taken up by its agent, or the next turn, and never neither.

use crate::{
    agent::Agent,
    stage::{Stage, message},
};
use proto::{
    routd::MessageState,
    runed::RunEnd,
    turn::{Outcome, TurnResult},
};

const CHAT: &str = "web:atlas~one";

fn answered(text: &str, taken: i64) -> TurnResult {
    let text = Some(text.to_owned());
    TurnResult { attempt: 1, outcome: Outcome::Replied, text, session: None, taken }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_a_running_turn_takes_up_is_answered_by_it_and_by_no_other() {
    let stage = Stage::new().await;
    stage.say(CHAT, "m1", "tea").await;
    let run = stage.runed.nth(0).await;
    let agent = Agent::on(&run);
    agent.input().await.unwrap();
    // It waits, and is told as soon as there is something.
    let (steered, _) = tokio::join!(agent.steer(0, 20), stage.say(CHAT, "m2", "and <milk>"));
    let steered = steered.unwrap();
    assert_eq!(steered.messages.len(), 1);
    assert!(steered.prompt.contains("and &lt;milk&gt;"), "{}", steered.prompt);
    assert_eq!(agent.steer(0, 0).await.unwrap(), steered, "shown again until it is taken up");
    let nothing = agent.steer(steered.upto, 0).await.unwrap();
    assert_eq!((nothing.messages.len(), nothing.upto), (0, steered.upto));
    agent.steer(steered.upto, 0).await.unwrap();
    // A third one is taken up with the result itself.
    stage.say(CHAT, "m3", "and sugar").await;
    let third = agent.steer(steered.upto, 20).await.unwrap();
    assert_eq!(third.messages[0].content, "and sugar");
    agent.post(&answered("tea with milk and sugar", third.upto)).await.unwrap();
    stage.runed.end(&run.id, RunEnd::Completed);
    for id in ["m1", "m2", "m3"] {
        let outcome = stage.ended(CHAT, id).await;
        assert_eq!(outcome.state, MessageState::Answered, "{id}");
        assert_eq!(outcome.replies, ["tea with milk and sugar"], "{id}");
    }
    assert_eq!(stage.count("SELECT count(*) FROM turns"), 1);
    assert_eq!(stage.heard(CHAT).await.0, ["tea with milk and sugar"]);
    assert_eq!(stage.runed.started().len(), 1, "no run for what was taken up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_taken_up_in_time_is_the_next_turn() {
    let stage = Stage::new().await;
    stage.say(CHAT, "m1", "tea").await;
    let run = stage.runed.nth(0).await;
    let agent = Agent::on(&run);
    agent.input().await.unwrap();
    stage.say(CHAT, "m2", "and milk").await;
    // It is shown, and the turn ends before the agent did anything with it.
    assert_eq!(agent.steer(0, 20).await.unwrap().messages.len(), 1);
    agent.post(&answered("tea", 0)).await.unwrap();
    assert_eq!(agent.steer(0, 0).await.unwrap_err().status(), Some(410));
    stage.runed.end(&run.id, RunEnd::Completed);
    let next = stage.runed.nth(1).await;
    let agent = Agent::on(&next);
    let input = agent.input().await.unwrap();
    assert_eq!(input.messages.len(), 1);
    assert_eq!(input.messages[0].content, "and milk");
    agent.post(&answered("milk", 0)).await.unwrap();
    assert_eq!(stage.ended(CHAT, "m2").await.replies, ["milk"]);
    assert_eq!(stage.heard(CHAT).await.0, ["tea", "milk"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_dies_keeps_what_it_took_up_and_loses_nothing_else() {
    let stage = Stage::new().await;
    stage.say(CHAT, "m1", "tea").await;
    let run = stage.runed.nth(0).await;
    let old = Agent::on(&run);
    old.input().await.unwrap();
    stage.say(CHAT, "m2", "and milk").await;
    let shown = old.steer(0, 20).await.unwrap();
    old.steer(shown.upto, 0).await.unwrap();
    stage.say(CHAT, "m3", "and sugar").await;
    assert_eq!(old.steer(shown.upto, 20).await.unwrap().messages.len(), 1);
    stage.runed.end(&run.id, RunEnd::Crashed);
    let again = stage.runed.nth(1).await;
    assert_eq!(again.turn_id, run.turn_id);
    let new = Agent::on(&again);
    let input = new.input().await.unwrap();
    let said: Vec<&str> = input.messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(said, ["tea", "and milk"]);
    let late = old.steer(shown.upto, 0).await.unwrap_err();
    assert!(late.status().is_none_or(|status| status == 409), "{late}");
    new.post(&TurnResult { attempt: 2, ..answered("here", 0) }).await.unwrap();
    stage.runed.end(&again.id, RunEnd::Completed);
    let third = stage.runed.nth(2).await;
    assert_eq!(Agent::on(&third).input().await.unwrap().messages[0].content, "and sugar");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_joins_a_turn_and_the_order_of_a_chat_is_kept() {
    let stage = Stage::new().await;
    let says = |id: &str, sender: &str| proto::routd::NewMessage {
        sender: sender.into(),
        ..message("web:atlas~group", id, "hello")
    };
    let first = stage.post(&says("m1", "visitor:1")).await;
    assert!(!first.duplicate);
    let run = stage.runed.nth(0).await;
    let agent = Agent::on(&run);
    agent.input().await.unwrap();
    stage.post(&says("m2", "visitor:2")).await;
    stage.post(&says("m3", "visitor:1")).await;
    // Bob's turn may use Bob's secrets; Ann's second message comes after it.
    let steered = agent.steer(0, 0).await.unwrap();
    assert_eq!(steered.messages.len(), 0, "{steered:?}");
    assert_eq!(agent.steer(i64::MAX, 0).await.unwrap().messages.len(), 0);
    assert_eq!(stage.count("SELECT count(*) FROM turns WHERE state = 'queued'"), 2);
}
