//! Messages that come at their time, through the command line, while processes are killed.

use crate::harness::{Chat, Suite, eventually};
use serde_json::Value;
use std::collections::BTreeSet;

fn runs(suite: &Suite, id: &str) -> Vec<Value> {
    let log = suite.run(&["--json", "task", "log", id]);
    // While routd is away there is no log to be had.
    let log: Option<Value> = serde_json::from_slice(&log.stdout).ok();
    log.and_then(|log| log["runs"].as_array().cloned()).unwrap_or_default()
}

#[test]
fn a_firing_comes_once_though_whoever_fires_and_whoever_keeps_is_killed() {
    let mut suite = Suite::made();
    // What is put in is enough; nobody answers.
    suite.set("SCHEDULES_SHORTEST", "1s").set("CONTAINER_BACKEND", "none").start_apart();
    let made = suite.json(&["task", "add", "every 1s", "it is time", "--missed", "all"]);
    let id = made["id"].as_str().unwrap().to_owned();
    let mut seen = 0;
    for killed in ["timed", "routd", "timed", "routd"] {
        eventually("it fires on", || (runs(&suite, &id).len() > seen).then_some(()));
        seen = runs(&suite, &id).len();
        suite.kill(killed);
        suite.restart(killed);
    }
    eventually("it fires after the last kill", || (runs(&suite, &id).len() > seen).then_some(()));
    suite.ok(&["task", "pause", &id]);

    let runs = runs(&suite, &id);
    let times: BTreeSet<&str> = runs.iter().map(|run| run["due_at"].as_str().unwrap()).collect();
    assert_eq!(times.len(), runs.len(), "a time that fired twice");
    for run in &runs {
        assert_eq!(run["outcome"], "fired", "{run}");
        suite.ok(&["trace", run["message_id"].as_str().unwrap()]);
    }
    let listed = suite.json(&["task", "list"]);
    assert_eq!(listed["schedules"][0]["state"], "paused", "{listed}");
    suite.ok(&["task", "rm", &id]);
    assert!(suite.json(&["task", "list"])["schedules"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_set_by_asking_the_agent_fires_and_its_answer_arrives() {
    let mut suite = Suite::made();
    suite.set("SCHEDULES_SHORTEST", "1s").start_up();
    let link = suite.json(&["token", "issue", "--kind", "chat", "--folder", "main"]);
    let chat = Chat::open(link["url"].as_str().unwrap());
    chat.write("schedule every 2s: time for tea").await;
    let text = |event: &crate::harness::Event| {
        event.data["content"].as_str().unwrap_or_default().to_owned()
    };
    let answer = "You said: time for tea";
    let mut heard = 0;
    let events = chat
        .events("0", |event| {
            heard += usize::from(text(event) == answer);
            heard == 2
        })
        .await;
    let set = events.iter().map(&text).find(|said| said.starts_with("Scheduled as ")).unwrap();
    let id = set.split([' ', ';']).nth(2).unwrap().to_owned();
    assert!(runs(&suite, &id).len() >= 2, "{set}");
    // Who wrote it is told for what it is, and not for a person.
    let fired = events.iter().find(|event| text(event) == "time for tea").unwrap();
    assert_eq!(fired.data["from_agent"], false);
    assert!(fired.data["sender"].as_str().unwrap().starts_with("schedule:"), "{fired:?}");

    let last = events.last().unwrap().id.clone();
    chat.write(&format!("cancel {id}")).await;
    let ended = format!("{} is removed.", id.replacen('s', "S", 1));
    let events = chat.events(&last, |event| text(event) == ended).await;
    let last = events.last().unwrap().id.clone();
    chat.write("tasks").await;
    let events = chat.events(&last, |event| text(event) == "Nothing is scheduled.").await;
    assert!(
        events.iter().all(|event| text(event) != "time for tea"),
        "it came once more: {events:?}"
    );
}
