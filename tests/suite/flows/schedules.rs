//! Messages that come at their time, through the command line, while processes are killed.

use crate::harness::{Suite, eventually};
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
