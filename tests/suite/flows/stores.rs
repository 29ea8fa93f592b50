//! The main job with each server as the only place of secrets, and rotations that are made there with its vendor's
//! own tool. Where a server's program is not there, that is said, and nothing of it is verified.

use crate::harness::{Store, Suite, reply_of};
use serde_json::{Value, json};
use std::time::Instant;

const ALL: [&str; 7] = ["authd", "routd", "runed", "timed", "onbod", "webd", "proxyd"];

#[test]
fn every_daemon_takes_up_what_is_changed_in_openbao_and_none_restarts() {
    taken_up("vault");
}

#[test]
fn every_daemon_takes_up_what_is_changed_in_secrets_manager_and_none_restarts() {
    taken_up("aws");
}

#[test]
fn every_daemon_takes_up_what_is_changed_in_secret_manager_and_none_restarts() {
    taken_up("gcp");
}

fn taken_up(kind: &str) {
    let mut suite = Suite::new();
    let Some(store) = Store::start(kind) else { return };
    store.instance(&mut suite, "4s");
    assert_eq!(store.read().len(), 3, "init fills the entry");
    suite.start_apart();
    let pids = suite.pids();
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), reply_of("hello"));
    let version = |secrets: &std::collections::BTreeMap<String, Value>| {
        let all = secrets["routd"]["secrets"].as_array().unwrap();
        let channel = all.iter().find(|secret| secret["name"] == "CHANNEL_SECRET").unwrap();
        channel["version"].as_str().unwrap().to_owned()
    };

    let before = suite.secrets();
    let began = Instant::now();
    store.set(&[("AUTHD_SERVICE_KEY", &"n".repeat(40)), ("CHANNEL_SECRET", &"c".repeat(40))]);
    suite.newer(&ALL, &before);
    eprintln!(
        "{kind}: every daemon had it {:?} after the write, asking every 4 s",
        began.elapsed()
    );
    assert_eq!(suite.ok(&["ask", "hello again"]).trim(), reply_of("hello again"));
    let after = suite.secrets();
    assert_ne!(version(&before), version(&after), "the source's own version is another");
    for (daemon, of) in &after {
        for secret in of["secrets"].as_array().unwrap().iter().filter(|s| !s["source"].is_null()) {
            let (source, error) = (&secret["source"], &secret["error"]);
            assert_eq!((source, error), (&json!(store.kind()), &Value::Null), "{daemon}");
            assert_eq!(secret["version"], version(&after), "{daemon}: {secret}");
        }
    }

    // One that arizuko makes itself, written there with the value before it.
    suite.ok(&["secrets", "rotate", "CHANNEL_SECRET"]);
    assert_eq!(store.read()["CHANNEL_SECRET_PREVIOUS"], "c".repeat(40));
    assert_ne!(store.read()["CHANNEL_SECRET"], "c".repeat(40));
    assert_eq!(suite.ok(&["ask", "and again"]).trim(), reply_of("and again"));

    assert_eq!(suite.pids(), pids, "a daemon was started again");
    for daemon in ALL {
        let log = suite.process(daemon).log_text();
        let given = [json!("n".repeat(40)), json!("c".repeat(40))];
        let there: Vec<Value> = store.read().values().cloned().collect();
        let proofs: Vec<Value> = store.credentials().iter().map(|proof| json!(proof)).collect();
        for secret in given.iter().chain(&there).chain(&proofs) {
            assert!(!log.contains(secret.as_str().unwrap()), "{daemon} logs a secret");
        }
    }
    assert!(!suite.data().join(".env").exists(), "a secret was written elsewhere");
}

#[test]
fn a_refresh_brings_what_is_new_in_openbao_and_an_outage_takes_nothing() {
    refreshed("vault");
}

#[test]
fn a_refresh_brings_what_is_new_in_secrets_manager_and_an_outage_takes_nothing() {
    refreshed("aws");
}

#[test]
fn a_refresh_brings_what_is_new_in_secret_manager_and_an_outage_takes_nothing() {
    refreshed("gcp");
}

/// One process, which asks once an hour.
fn refreshed(kind: &str) {
    let mut suite = Suite::new();
    let Some(store) = Store::start(kind) else { return };
    store.instance(&mut suite, "1h");
    suite.start_up();
    let before = suite.secrets();
    // Six daemons are one client: what one look costs does not grow with them.
    let asked = store.calls().len();
    store.set(&[("AUTHD_SERVICE_KEY", &"n".repeat(40)), ("CHANNEL_SECRET", &"c".repeat(40))]);
    let began = Instant::now();
    suite.ok(&["secrets", "refresh"]);
    suite.newer(&ALL, &before);
    eprintln!("{kind}: every daemon had it {:?} after the refresh began", began.elapsed());
    let calls = store.calls().split_off(asked);
    // What the one looks at and what the command itself does, each twice where a daemon came late to a look.
    assert!((1..=16).contains(&calls.len()), "more than two clients: {calls:#?}");
    assert_eq!(suite.ok(&["ask", "hello"]).trim(), reply_of("hello"));

    store.fall_silent();
    suite.run(&["secrets", "refresh"]);
    let status = suite.secrets()["routd"].to_string();
    assert!(status.contains("the connection broke"), "{status}");
    assert_eq!(suite.ok(&["ask", "without it"]).trim(), reply_of("without it"));
    let still = suite.secrets();
    for daemon in ALL {
        assert!(still[daemon]["generation"].as_u64() >= before[daemon]["generation"].as_u64());
    }
}
