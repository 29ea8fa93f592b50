//! SIGKILL in the middle of a turn: every person gets exactly one visible end.

use crate::harness::{Chat, Suite, eventually, is_alive};
use std::{fs, time::Duration};

/// How often each of the three is killed; together more than fifty.
const ROUNDS: usize = 51;

/// The processes of agents: those that were started with a turn's socket.
fn agents(suite: &Suite) -> Vec<u32> {
    let marker = suite.data().display().to_string();
    let is_ours = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("--socket-dir") && line.contains(&marker) && is_alive(*pid)
    };
    let all = fs::read_dir("/proc").unwrap();
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
}

fn turn_runs(suite: &Suite) {
    eventually("an agent runs", || (!agents(suite).is_empty()).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_survives_the_death_of_any_process() {
    let mut suite = Suite::made();
    suite.start_apart();
    let link = suite.json(&["token", "issue", "--kind", "chat", "--folder", "main"]);
    let chat = Chat::open(&format!("{}{}", suite.edge(), link["path"].as_str().unwrap()));
    for round in 0..ROUNDS {
        // Long enough to be met in the middle; a death costs an attempt, never the answer.
        let id = chat.write("wait 1").await;
        turn_runs(&suite);
        match round % 3 {
            0 => {
                suite.kill("routd");
                suite.restart("routd");
            }
            1 => {
                suite.kill("runed");
                suite.restart("runed");
            }
            _ => agents(&suite).into_iter().for_each(|pid| suite.kill_process(pid)),
        }
        assert_eq!(ended(&suite, &id).await, "answered", "round {round}");
    }
    // The whole of the chat from its beginning: a question, its one answer, the next question.
    let mut done = 0;
    let all = chat.events("0", |event| {
        done += usize::from(event.kind == "done");
        done == ROUNDS
    });
    let all = all.await;
    let said: Vec<&str> = all
        .iter()
        .filter(|event| event.kind == "message")
        .filter_map(|event| event.data["content"].as_str())
        .collect();
    let expected: Vec<&str> = ["wait 1", "I waited 1 seconds."].repeat(ROUNDS);
    assert_eq!(said, expected, "each question is answered once, in order");
    let status = suite.json(&["status"]);
    assert_eq!(status["queues"]["turns_running"], 0, "{status}");
    eventually("no agent is left behind", || agents(&suite).is_empty().then_some(()));
}

/// How the message `id` ended.
async fn ended(suite: &Suite, id: &str) -> String {
    let deadline = std::time::Instant::now() + crate::harness::LIMIT;
    loop {
        let out = suite.run(&["--json", "trace", id]);
        if out.status.success() {
            let trace: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
            let steps = trace["steps"].as_array().unwrap();
            let end = steps.iter().find(|step| step["what"] == "turn.ended");
            let end =
                end.and_then(|step| step["detail"].as_str()?.split(':').next().map(str::to_owned));
            if let Some(end) = end {
                return end;
            }
        }
        assert!(std::time::Instant::now() < deadline, "the message {id} has no end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
