//! The harness without a model.

use crate::routd::{Routd, from_now};
use proto::turn::Outcome::{self, Failed, Replied, Silent};
use serde_json::json;
use std::time::Duration;

async fn said(routd: &Routd, message: &str) -> (Outcome, Option<String>) {
    let result = routd.answer(&[message]).await;
    assert_eq!(result.attempt, 2, "the attempt that was fetched speaks");
    (result.outcome, result.text)
}

fn replied(text: &str) -> (Outcome, Option<String>) {
    (Replied, Some(text.into()))
}

#[tokio::test]
async fn plain_text_is_answered_message_by_message_and_touches_no_tool() {
    let routd = Routd::start();
    assert_eq!(said(&routd, "hello").await, replied("You said: hello"));
    let result = routd.answer(&["first", " second\n", "third"]).await;
    let lines = "You said: first\nYou said: second\nYou said: third";
    assert_eq!(result.text.as_deref(), Some(lines));
    assert_eq!(routd.answer(&[]).await.text.as_deref(), Some("You said: the prompt"));
    assert_eq!(routd.book().calls, [], "no tool was called");
    let results = routd.book().requests.iter().filter(|path| **path == "/turn/result").count();
    assert_eq!(results, 3, "one post a turn");
}

#[tokio::test]
async fn what_it_is_told_to_remember_it_knows_in_a_later_turn_until_it_forgets() {
    let routd = Routd::start();
    let recall = "What do you remember?";
    assert_eq!(said(&routd, recall).await, replied("I remember nothing yet."));
    assert_eq!(
        said(&routd, "remember Tea, no milk").await,
        replied("I will remember: Tea, no milk")
    );
    assert_eq!(routd.answer(&["hi", "REMEMBER two"]).await.text.unwrap(), "I will remember: two");
    assert_eq!(said(&routd, recall).await, replied("I remember:\n- Tea, no milk\n- two"));
    assert_eq!(routd.book().memory, "- Tea, no milk\n- two\n");
    assert_eq!(said(&routd, "forget").await, replied("I have forgotten everything."));
    assert_eq!(said(&routd, recall).await, replied("I remember nothing yet."));
    let changed: Vec<String> = routd.book().effects.iter().map(|(tool, _)| tool.clone()).collect();
    assert_eq!(changed, ["set_memory"; 3]);
}

#[tokio::test]
async fn replies_go_out_during_the_turn_and_are_not_said_again_at_its_end() {
    let routd = Routd::start();
    assert_eq!(said(&routd, "reply Hello There").await, (Replied, None));
    assert_eq!(routd.book().effects, [("reply".into(), json!({"content": "Hello There"}))]);
    assert_eq!(routd.book().calls[0].1.as_deref(), Some("turn-1/2/1"));
    assert!(routd.book().events.contains(&"using reply".into()));
}

#[tokio::test]
async fn one_thing_is_said_during_the_turn_and_the_other_at_its_end() {
    let routd = Routd::start();
    assert_eq!(said(&routd, "say one THEN two").await, replied("two"));
    assert_eq!(routd.book().effects, [("reply".into(), json!({"content": "one"}))]);
}

#[tokio::test]
async fn a_message_to_another_chat_goes_through_the_tool_and_a_refusal_is_told() {
    let routd = Routd::start();
    let message = "send telegram:user/42 good morning";
    routd.book().forbidden = Some("this folder may not write to telegram:user/42");
    let refusal = "I could not use `send`: this folder may not write to telegram:user/42";
    assert_eq!(said(&routd, message).await, replied(refusal));
    assert_eq!(routd.book().effects, [], "a refused call changes nothing");
    assert_eq!(routd.book().calls.len(), 1, "a refusal is not tried again");
    routd.book().forbidden = None;
    assert_eq!(said(&routd, message).await, replied("I sent that to telegram:user/42."));
    let arguments = json!({"chat_jid": "telegram:user/42", "content": "good morning"});
    assert_eq!(routd.book().effects, [("send".into(), arguments)]);
}

#[tokio::test]
async fn the_history_is_summarised() {
    let routd = Routd::start();
    routd.book().history = json!({"messages": [
        {"sender": "u:1", "sender_name": "Ann", "content": "hi"}, {"sender": "u:2", "content": "yo"},
    ]})
    .to_string();
    let summary = "2 messages; the latest:\nAnn: hi\nu:2: yo";
    assert_eq!(said(&routd, "history").await, replied(summary));
}

#[tokio::test]
async fn silence_failure_and_help_are_results_and_a_crash_is_none() {
    let routd = Routd::start();
    assert_eq!(said(&routd, "silent").await, (Silent, None));
    assert_eq!(
        said(&routd, "fail").await,
        (Failed, Some("I failed, as the message asked.".into()))
    );
    assert_eq!(said(&routd, "help").await, replied(ant::offline::HELP));
    routd.ask(&["crash"]);
    assert_eq!(routd.ant().await.unwrap_err().exit_code(), 70);
    assert_eq!(routd.book().results.len(), 0, "the three before were taken, and a crash has none");
}

#[tokio::test]
async fn a_wait_is_told_second_by_second_and_ends_before_the_deadline() {
    let routd = Routd::start();
    assert_eq!(said(&routd, "wait 1").await, replied("I waited 1 seconds."));
    assert_eq!(routd.book().events, ["waited 1 of 1 seconds"]);
    routd.ask(&["wait 3600"]);
    let deadline = from_now(Duration::from_secs(3));
    routd.book().input.as_mut().unwrap().deadline = deadline;
    let result = routd.serve().await;
    assert_eq!(result.outcome, Replied);
    let text = result.text.unwrap();
    assert!(text.ends_with("of 3600 seconds; the turn ends now."), "{text}");
    assert!(from_now(Duration::ZERO) < deadline, "the result came before the deadline");
}
