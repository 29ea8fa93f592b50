//! A call of a tool that waits for a person, over a killed routd, through a chat of a platform and the command line.

use crate::harness::{Suite, eventually, view_request as request};
use serde_json::{Value, json};
use std::fs;

const CHAT: &str = "telegram:group/7";
/// Who may decide, and who may not.
const LEAD: &str = "telegram:user/42";
const MEMBER: &str = "telegram:user/43";
/// What the held call says, which is in no log.
const FIGURES: &str = "the figures are seven and nine";

/// The chat, as the platform's adapter brings its messages.
struct Group<'a> {
    suite: &'a Suite,
    routd: String,
}

impl<'a> Group<'a> {
    fn of(suite: &'a Suite) -> Self {
        let status = suite.json(&["status"]);
        let all = status["daemons"].as_array().unwrap();
        let routd = all.iter().find(|one| one["daemon"] == "routd").unwrap();
        Self { suite, routd: routd["address"].as_str().unwrap().to_owned() }
    }

    fn says(&self, sender: &str, id: &str, text: &str) {
        let message = json!({
            "id": id, "chat_jid": CHAT, "sender": sender, "content": text, "is_group": true,
        });
        let url = format!("{}/v1/messages", self.routd);
        let (status, told) =
            request("POST", &url, &self.suite.dotenv("CHANNEL_SECRET"), Some(message));
        assert_eq!(status, 200, "{told}");
    }
}

fn count(suite: &Suite, what: &str) -> i64 {
    let path = suite.data().join("store/routd.db");
    let flags = db::rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = db::rusqlite::Connection::open_with_flags(path, flags).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

/// The calls in a state.
fn held(suite: &Suite, state: &str) -> Vec<Value> {
    suite.json(&["approval", "list", "--state", state]).as_array().unwrap().clone()
}

fn the_one(suite: &Suite, state: &str) -> String {
    let found = eventually(&format!("one call is {state}"), || held(suite, state).pop());
    found["id"].as_str().unwrap().to_owned()
}

/// Messages that the agent said in the group and that have these words.
fn agent_said(suite: &Suite, words: &str) -> i64 {
    let what = format!(
        "messages WHERE origin = 'agent' AND chat_jid = '{CHAT}' AND content LIKE '%{words}%'"
    );
    count(suite, &what)
}

/// What stands on the board, where the held calls write.
fn board(suite: &Suite, text: &str) -> i64 {
    count(suite, &format!("messages WHERE chat_jid = 'web:acme~board' AND content = '{text}'"))
}

#[test]
fn a_held_call_survives_a_kill_and_is_made_once_when_the_right_person_says_so() {
    let mut suite = Suite::made();
    suite.start_apart();
    suite.ok(&["group", "add", "acme", "--jid", CHAT]);
    suite.ok(&["acl", "grant", "folder:acme", "mcp:send", "acme", "--hold"]);
    suite.ok(&["acl", "grant", &format!("person:{LEAD}"), "approve", "acme"]);
    let verdict = suite.ok(&["acl", "check", "folder:acme", "mcp:send", "acme"]);
    assert!(verdict.starts_with("held"), "{verdict}");
    let group = Group::of(&suite);
    group.says(MEMBER, "m1", &format!("send web:acme~board {FIGURES}"));
    let id = the_one(&suite, "pending");
    eventually("the agent goes on without it", || {
        (agent_said(&suite, "Not made yet") == 1).then_some(())
    });
    let question = format!(
        "messages WHERE origin = 'system' AND outbound = 1 AND chat_jid = '{CHAT}' AND content LIKE '%/approve {id}%{FIGURES}%' \
         OR origin = 'system' AND outbound = 1 AND content LIKE '%{FIGURES}%/approve {id}%'"
    );
    assert_eq!(count(&suite, &question), 1, "the group is asked");

    suite.kill("routd");
    suite.restart("routd");
    let group = Group::of(&suite);
    let shown = suite.ok(&["approval", "show", &id]);
    assert!(shown.contains(FIGURES) && shown.contains("pending"), "{shown}");
    // Another person, the agent itself at another's bidding, and words in a sentence decide nothing.
    group.says(MEMBER, "m2", &format!("/approve {id}"));
    group.says(MEMBER, "m3", &format!("reply /approve {id}"));
    group.says(LEAD, "m4", &format!("shall I /approve {id} or not"));
    eventually("the agent has said it", || {
        let said = format!("messages WHERE origin = 'agent' AND content = '/approve {id}'");
        (count(&suite, &said) == 1 && agent_said(&suite, "shall I") == 1).then_some(())
    });
    assert_eq!(the_one(&suite, "pending"), id);
    assert_eq!(board(&suite, FIGURES), 0);

    group.says(LEAD, "m5", &format!("/approve {id}"));
    group.says(LEAD, "m6", &format!("approve {id}"));
    assert_eq!(the_one(&suite, "done"), id);
    suite.ok(&["approval", "approve", &id]);
    eventually("the agent is told", || {
        (agent_said(&suite, "was approved by person:telegram:user/42 and made") == 1).then_some(())
    });
    assert_eq!(board(&suite, FIGURES), 1);

    // The next one is denied, and the agent is told why.
    group.says(MEMBER, "m7", "send web:acme~board too early");
    let second = the_one(&suite, "pending");
    suite.ok(&["approval", "deny", &second, "--reason", "not on a Friday"]);
    eventually("the agent is told no", || {
        (agent_said(&suite, "was denied by operator:local%not on a Friday") == 1).then_some(())
    });
    let (code, why) = suite.fails(&["approval", "approve", &second]);
    assert!(code != 0 && why.contains("denied"), "{why}");

    suite.kill("routd");
    suite.restart("routd");
    assert_eq!(the_one(&suite, "done"), id);
    assert_eq!((board(&suite, FIGURES), board(&suite, "too early")), (1, 0), "once, and never");
    let audit = suite.ok(&["--json", "audit", "--limit", "1000"]);
    for action in ["approval.hold", "approval.refuse", "approval.approve", "approval.deny"] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
    assert!(!audit.contains(FIGURES) && !audit.contains("too early"), "{audit}");
    let log = fs::read_to_string(suite.scratch("routd.log")).unwrap_or_default();
    assert!(!log.contains(FIGURES) && !log.contains("too early"), "{log}");
}
