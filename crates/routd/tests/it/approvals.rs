//! Calls that a row holds: asked for, decided on by who may, and made once with what was held.

use crate::{
    agent::{Agent, Told},
    rights::grant,
    stage::{CHANNEL_SECRET, Stage, eventually, message},
};
use axum::{Router, extract::State, routing::any};
use proto::{
    Code, Daemon,
    routd::{
        APPROVE, AUDIT, Approval, ApprovalState, AuditQuery, DENY, Decide, GET_APPROVAL,
        LIST_APPROVALS, ListApprovals, OneApproval, POST_MESSAGE, REMOVE_RULE, SET_TENANT_SECRET,
        STATUS, SetTenantSecret,
    },
    runed::RunEnd,
    turn::Outcome,
};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tokio::sync::Notify;

const CHAT: &str = "web:atlas~one";
const LEAD: &str = "user:lead";

/// A turn of the folder, in the chat.
async fn turn(stage: &Stage, nth: usize) -> Agent {
    stage.say(CHAT, &format!("m{nth}"), "hello").await;
    Agent::on(&stage.runed.nth(nth).await)
}

/// Ends a turn, and its run.
async fn end(stage: &Stage, agent: &Agent, run: &str) {
    agent.input().await.unwrap();
    agent.result(Outcome::Silent, None).await.unwrap();
    stage.runed.end(run, RunEnd::Completed);
}

/// What a call that is held is called.
fn held(told: &Told) -> String {
    assert!(!told.is_error, "{told:?}");
    told.structured["held"].as_str().unwrap_or_else(|| panic!("{told:?}")).to_owned()
}

async fn get(stage: &Stage, id: &str) -> Approval {
    let one = OneApproval { id: id.parse().unwrap() };
    stage.call(&GET_APPROVAL, &one, &stage.operator()).await.unwrap()
}

async fn settled(stage: &Stage, id: &str, state: ApprovalState) -> Approval {
    eventually(&format!("{id} is {state}"), || async {
        let found = get(stage, id).await;
        (found.state == state && found.settled_at.is_some()).then_some(found)
    })
    .await
}

fn decide(id: &str) -> Decide {
    Decide { id: id.parse().unwrap(), reason: None }
}

/// Somebody writes in the chat.
async fn write(stage: &Stage, sender: &str, id: &str, text: &str) {
    let mut message = message(CHAT, id, text);
    message.sender = sender.into();
    stage.call(&POST_MESSAGE, &message, CHANNEL_SECRET).await.unwrap();
}

fn person(stage: &Stage, subject: &str) -> String {
    let scopes = ["approvals:read", "approvals:write"];
    stage.authority.token(subject, &[Daemon::Routd], auth::Kind::User, &scopes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_call_waits_over_restarts_and_is_made_once_as_it_was_held() {
    let mut stage = Stage::new().await;
    grant(&stage, "folder:atlas mcp:send atlas hold").await;
    grant(&stage, &format!("{LEAD} approve atlas allow")).await;
    let agent = turn(&stage, 0).await;
    assert!(agent.tools().await.contains(&"send".to_owned()), "what is held is listed");
    let send = |text: &str| json!({ "chat_jid": "web:atlas~two", "content": text });
    let told = agent.tool("send", send("the sum is 7"), Some("k1")).await;
    let id = held(&told);
    // Made again, with its key or without: one question.
    assert_eq!(agent.tool("send", send("the sum is 7"), Some("k1")).await, told);
    assert_eq!(held(&agent.tool("send", send("the sum is 7"), None).await), id);
    // Other arguments are another call.
    let other = held(&agent.tool("send", send("the sum is 8"), None).await);
    assert_ne!(other, id);
    let questions = stage.heard(CHAT).await.0;
    assert_eq!(questions.len(), 2, "{questions:?}");
    assert!(questions[0].contains("the sum is 7") && questions[0].contains(&id), "{questions:?}");
    let key = format!("approval:{id}");
    let refused = agent.tool("reply", json!({ "content": "x" }), Some(&key)).await;
    assert!(refused.is_error, "the key is the approval's own");
    end(&stage, &agent, "r1").await;
    stage.restart().await;
    let status = stage.call(&STATUS, &proto::Nothing {}, &stage.operator()).await.unwrap();
    assert_eq!(status.approvals_pending, 2);
    assert!(stage.heard("web:atlas~two").await.0.is_empty(), "nothing was made");

    // Nobody but who may: not a stranger, not another person, not what merely has the words.
    let tries = [
        ("visitor:1", format!("/approve {id}")),
        ("user:other", format!("/approve {id}")),
        (LEAD, format!("please /approve {id}")),
        (LEAD, format!("> /approve {id}")),
        (LEAD, format!("/approve {id} and more")),
    ];
    for (nth, (sender, text)) in tries.iter().enumerate() {
        write(&stage, sender, &format!("w{nth}"), text).await;
        assert_eq!(get(&stage, &id).await.state, ApprovalState::Pending, "{sender}: {text}");
    }
    let line = format!("You may not decide on {id}.");
    assert_eq!(stage.heard(CHAT).await.0.iter().filter(|said| **said == line).count(), 2);
    let elsewhere = {
        let mut message = message("web:atlas~three", "e1", &format!("/approve {id}"));
        message.sender = LEAD.into();
        message
    };
    stage.call(&POST_MESSAGE, &elsewhere, CHANNEL_SECRET).await.unwrap();
    assert_eq!(get(&stage, &id).await.state, ApprovalState::Pending, "another chat's id");

    // Who may, twice.
    write(&stage, LEAD, "yes", &format!("/approve {id}")).await;
    write(&stage, LEAD, "yes-again", &format!("approve {id}")).await;
    let done = settled(&stage, &id, ApprovalState::Done).await;
    assert_eq!(done.decided_by.as_deref(), Some(LEAD));
    assert_eq!(stage.heard("web:atlas~two").await.0, ["the sum is 7"]);
    // The agent is told in a turn of the same chat, with an origin that nobody can write.
    let outcome = format!(
        "SELECT count(*) FROM messages WHERE id = '{id}.outcome' AND origin = 'system'
        AND chat_jid = '{CHAT}' AND disposition = 'turn' AND content LIKE '%made%'"
    );
    assert_eq!(stage.count(&outcome), 1);
    assert_eq!(get(&stage, &other).await.state, ApprovalState::Pending, "each for itself");
    let late = stage.call(&DENY, &decide(&id), &stage.operator()).await.unwrap_err();
    assert_eq!(late.code, Code::Conflict.as_str(), "{late:?}");
    stage.restart().await;
    settled(&stage, &id, ApprovalState::Done).await;
    assert_eq!(stage.heard("web:atlas~two").await.0, ["the sum is 7"], "once");

    let audit = stage.call(&AUDIT, &AuditQuery::default(), &stage.operator()).await.unwrap();
    let rows = |action: &str| audit.rows.iter().filter(|row| row.action == action).count();
    let counted =
        ["hold", "approve", "settle", "refuse"].map(|what| rows(&format!("approval.{what}")));
    assert_eq!(counted, [2, 1, 1, 2]);
    let text = serde_json::to_string(&audit).unwrap();
    assert!(!text.contains("the sum is"), "arguments are in no audit row");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_told_to_the_agent_and_nothing_is_made() {
    let stage = Stage::new().await;
    grant(&stage, "folder:atlas mcp:set_memory atlas hold").await;
    let agent = turn(&stage, 0).await;
    let id = held(&agent.tool("set_memory", json!({ "content": "new" }), None).await);
    end(&stage, &agent, "r1").await;
    let reason = Some("not on a Friday".to_owned());
    let no = Decide { reason, ..decide(&id) };
    let denied = stage.call(&DENY, &no, &stage.operator()).await.unwrap();
    assert_eq!(
        (denied.state, denied.reason.as_deref()),
        (ApprovalState::Denied, Some("not on a Friday"))
    );
    assert_eq!(stage.call(&DENY, &no, &stage.operator()).await.unwrap(), denied, "a repeat");
    let after = stage.call(&APPROVE, &decide(&id), &stage.operator()).await.unwrap_err();
    assert_eq!(after.status, 409, "{after:?}");
    let next = Agent::on(&stage.runed.nth(1).await);
    let prompt = next.input().await.unwrap().prompt;
    assert!(
        prompt.contains("was denied by operator:local") && prompt.contains("not on a Friday"),
        "{prompt}"
    );
    assert!(prompt.contains("origin=\"system\""), "{prompt}");
    assert_eq!(next.tool("get_memory", json!({}), None).await.text, "");
    assert_eq!(stage.count("SELECT count(*) FROM memories"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_needs_is_asked_again_when_it_is_made() {
    let stage = Stage::new().await;
    stage.add_group("borea").await;
    grant(&stage, "folder:atlas mcp:delegate borea allow").await;
    grant(&stage, "folder:atlas mcp:delegate ** hold").await;
    let agent = turn(&stage, 0).await;
    let task = |text: &str| json!({ "folder": "borea", "task": text });
    let [first, second] = [
        held(&agent.tool("delegate", task("one"), None).await),
        held(&agent.tool("delegate", task("two"), None).await),
    ];
    let own = agent.tool("delegate", json!({ "folder": "atlas", "task": "x" }), None).await;
    assert!(own.is_error, "a hold gives nothing: {own:?}");
    end(&stage, &agent, "r1").await;
    let allow = crate::rights::row("folder:atlas mcp:delegate borea allow");
    stage.call(&REMOVE_RULE, &allow, &stage.operator()).await.unwrap();
    stage.call(&APPROVE, &decide(&first), &stage.operator()).await.unwrap();
    let failed = settled(&stage, &first, ApprovalState::Failed).await;
    assert!(failed.answer.unwrap().contains("denied: no row allows it"));
    assert_eq!(stage.count("SELECT count(*) FROM delegations"), 0);
    // Given again, the other one is made.
    grant(&stage, "folder:atlas mcp:delegate borea allow").await;
    stage.call(&APPROVE, &decide(&second), &stage.operator()).await.unwrap();
    settled(&stage, &second, ApprovalState::Done).await;
    assert_eq!(stage.count("SELECT count(*) FROM delegations"), 1);
    // One whose arguments somebody changed past routd is made by no approval.
    let third =
        held(&Agent::on(&stage.runed.nth(1).await).tool("delegate", task("three"), None).await);
    stage
        .database()
        .execute(
            "UPDATE approvals SET arguments = replace(arguments, 'three', 'evil') WHERE id = ?1",
            [&third],
        )
        .unwrap();
    stage.call(&APPROVE, &decide(&third), &stage.operator()).await.unwrap();
    settled(&stage, &third, ApprovalState::Failed).await;
    assert_eq!(stage.count("SELECT count(*) FROM delegations"), 1);
    assert_eq!(stage.count("SELECT count(*) FROM messages WHERE content LIKE '%evil%'"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sees_and_who_decides() {
    let stage = Stage::new().await;
    for folder in ["atlas/eng", "borea"] {
        stage.add_group(folder).await;
    }
    grant(&stage, "folder:atlas mcp:* ** hold").await;
    grant(&stage, "user:lead admin atlas/** allow").await;
    grant(&stage, "user:lead admin atlas allow").await;
    grant(&stage, "user:chief approve ** allow").await;
    grant(&stage, "user:junior admin atlas allow").await;
    grant(&stage, "user:junior approve ** deny").await;
    let agent = turn(&stage, 0).await;
    let id = held(&agent.tool("get_memory", json!({}), None).await);
    let all = ListApprovals::default();
    let sees = async |subject: &str| {
        let page = stage.call(&LIST_APPROVALS, &all, &person(&stage, subject)).await.unwrap();
        page.approvals.len()
    };
    let approves = async |bearer: &str| stage.call(&APPROVE, &decide(&id), bearer).await;
    assert_eq!(
        [sees("user:lead").await, sees("user:chief").await, sees("user:junior").await],
        [1, 1, 1]
    );
    assert_eq!(sees("user:nobody").await, 0);
    let refused = approves(&person(&stage, "user:nobody")).await.unwrap_err();
    assert_eq!(refused.status, 404, "nobody learns what there is: {refused:?}");
    assert_eq!(approves(&person(&stage, "user:junior")).await.unwrap_err().status, 403);
    for daemon in [Daemon::Webd, Daemon::Onbod, Daemon::Timed, Daemon::Dashd] {
        let refused = approves(&stage.authority.service(daemon)).await.unwrap_err();
        assert_eq!(refused.status, 403, "{daemon} is no person");
    }
    assert_eq!(approves(CHANNEL_SECRET).await.unwrap_err().status, 401, "nor is an adapter");
    assert_eq!(get(&stage, &id).await.state, ApprovalState::Pending);
    assert_eq!(
        approves(&person(&stage, "user:chief")).await.unwrap().decided_by.as_deref(),
        Some("user:chief")
    );
    settled(&stage, &id, ApprovalState::Done).await;
    let other = ListApprovals { folder: Some("borea".parse().unwrap()), ..all.clone() };
    let page = stage.call(&LIST_APPROVALS, &other, &stage.operator()).await.unwrap();
    assert!(page.approvals.is_empty() && page.next.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decided_on_lapses_and_what_is_too_long_is_not_approved_unseen() {
    let stage = Stage::unstarted().timeless().setting("APPROVAL_LIFETIME", "10m");
    let mut stage = stage;
    stage.start().await;
    stage.add_group("atlas").await;
    grant(&stage, "folder:atlas mcp:set_memory ** hold").await;
    grant(&stage, "person:visitor:1 approve atlas allow").await;
    let agent = turn(&stage, 0).await;
    let long = held(&agent.tool("set_memory", json!({ "content": "x".repeat(5_000) }), None).await);
    let short = held(&agent.tool("set_memory", json!({ "content": "y" }), None).await);
    let huge = agent.tool("set_memory", json!({ "content": "z".repeat(64 * 1024) }), None).await;
    assert!(huge.is_error, "it could not be shown to anybody: {huge:?}");
    end(&stage, &agent, "r1").await;
    write(&stage, "visitor:1", "w1", &format!("/approve {long}")).await;
    assert_eq!(get(&stage, &long).await.state, ApprovalState::Pending);
    assert!(stage.heard(CHAT).await.0.last().unwrap().contains("too long"));
    stage.clock.advance(std::time::Duration::from_secs(601));
    let late = stage.call(&APPROVE, &decide(&short), &stage.operator()).await.unwrap_err();
    assert_eq!(late.status, 409, "{late:?}");
    stage.restart().await;
    for id in [&long, &short] {
        settled(&stage, id, ApprovalState::Expired).await;
    }
    assert!(stage.heard(CHAT).await.0.last().unwrap().contains("lapsed"));
    assert_eq!(stage.runed.started().len(), 1, "no agent is woken to ask again");
    assert_eq!(stage.count("SELECT count(*) FROM memories"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_call_is_known_for_ninety_days_and_that_it_ended_for_good() {
    let mut stage = Stage::unstarted().timeless().setting("APPROVAL_LIFETIME", "30d");
    stage.start().await;
    stage.add_group("atlas").await;
    grant(&stage, "folder:atlas mcp:set_memory ** hold").await;
    let days = |count: u32| std::time::Duration::from_secs(24 * 60 * 60) * count;
    let mut ids = Vec::new();
    for (nth, later) in [(0, 31), (1, 31), (2, 0)] {
        let agent = turn(&stage, nth).await;
        let call = json!({ "content": format!("tea {nth}") });
        ids.push(held(&agent.tool("set_memory", call, None).await));
        end(&stage, &agent, &format!("r{}", nth + 1)).await;
        stage.clock.advance(days(later));
        stage.restart().await;
        if later > 0 {
            settled(&stage, &ids[nth], ApprovalState::Expired).await;
        } else {
            // Of the first 79 days of the 90 it is known.
            get(&stage, &ids[0]).await;
        }
        stage.clock.advance(days(24));
        stage.restart().await;
    }
    stage.clock.advance(days(5));
    stage.restart().await;
    let one = |nth: usize| OneApproval { id: ids[nth].parse().unwrap() };
    eventually("the first is removed", || async {
        let found = stage.call(&GET_APPROVAL, &one(0), &stage.operator()).await;
        found.is_err_and(|error| error.status == 404).then_some(())
    })
    .await;
    assert_eq!(get(&stage, &ids[1]).await.state, ApprovalState::Expired, "it is not as old");
    assert_eq!(get(&stage, &ids[2]).await.state, ApprovalState::Pending, "it is not over");
    let settled = format!(
        "SELECT count(*) FROM audit WHERE action = 'approval.settle' AND target = '{}'",
        ids[0]
    );
    assert_eq!(stage.count(&settled), 1);
}

/// A service outside that counts, and answers when it is let go.
#[derive(Clone, Default)]
struct Outside {
    asked: Arc<AtomicU32>,
    go: Arc<Notify>,
    waits: bool,
}

async fn answer(State(outside): State<Outside>) -> &'static str {
    outside.asked.fetch_add(1, Ordering::SeqCst);
    if outside.waits {
        outside.go.notified().await;
    }
    "charged"
}

async fn outside(stage: &Stage, waits: bool) -> (Value, Outside) {
    let outside = Outside { waits, ..Outside::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().fallback(any(answer)).with_state(outside.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let owner = "person:visitor:1".parse().unwrap();
    let secret = SetTenantSecret {
        owner,
        name: "PAY".into(),
        value: "pay-token-1".into(),
        url: Some(url.clone()),
        header: None,
    };
    stage.call(&SET_TENANT_SECRET, &secret, &stage.operator()).await.unwrap();
    (
        json!({ "secret": "PAY", "url": format!("{url}charge"), "method": "POST", "json": { "eur": 7 } }),
        outside,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_goes_outside_is_made_once_with_the_secret_of_who_asked() {
    let mut stage = Stage::new().await;
    grant(&stage, "folder:atlas mcp:http_request ** hold").await;
    let (call, outside) = outside(&stage, false).await;
    let agent = turn(&stage, 0).await;
    let id = held(&agent.tool("http_request", call, None).await);
    end(&stage, &agent, "r1").await;
    assert_eq!(outside.asked.load(Ordering::SeqCst), 0);
    for _ in 0..3 {
        stage.call(&APPROVE, &decide(&id), &stage.operator()).await.unwrap();
    }
    let done = settled(&stage, &id, ApprovalState::Done).await;
    assert!(done.answer.unwrap().contains("charged"));
    stage.restart().await;
    settled(&stage, &id, ApprovalState::Done).await;
    assert_eq!(outside.asked.load(Ordering::SeqCst), 1);
    let uses =
        "SELECT count(*) FROM audit WHERE action = 'tenant-secret.use' AND actor = 'folder:atlas'";
    assert_eq!(stage.count(uses), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_was_under_way_when_routd_ended_it_is_said_that_nobody_knows() {
    let mut stage = Stage::new().await;
    grant(&stage, "folder:atlas mcp:http_request ** hold").await;
    grant(&stage, "folder:atlas mcp:set_memory ** hold").await;
    let (call, outside) = outside(&stage, true).await;
    let agent = turn(&stage, 0).await;
    let request = held(&agent.tool("http_request", call, None).await);
    let memory = held(&agent.tool("set_memory", json!({ "content": "tea" }), None).await);
    end(&stage, &agent, "r1").await;
    stage.call(&APPROVE, &decide(&request), &stage.operator()).await.unwrap();
    eventually("the service is asked", || async {
        (outside.asked.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
    // Killed there: the rows are what a routd that is gone leaves, in a directory of the next one.
    let next = tempfile::tempdir().unwrap();
    std::fs::create_dir(next.path().join("store")).unwrap();
    let left = next.path().join("store/routd.db");
    stage.database().execute("VACUUM INTO ?1", [left.to_str().unwrap()]).unwrap();
    outside.go.notify_one();
    settled(&stage, &request, ApprovalState::Done).await;
    stage.stop().await;
    let _before = std::mem::replace(&mut stage.dir, next);
    let claimed =
        "UPDATE approvals SET state = 'running', decided_at = 1, decided_by = 'operator:local'
        WHERE tool = 'set_memory'";
    stage.database().execute(claimed, []).unwrap();
    stage.start().await;
    settled(&stage, &request, ApprovalState::Interrupted).await;
    // What is a row and nothing else is made after all.
    settled(&stage, &memory, ApprovalState::Done).await;
    assert_eq!(stage.count("SELECT count(*) FROM memories WHERE content = 'tea'"), 1);
    assert_eq!(outside.asked.load(Ordering::SeqCst), 1, "and nothing goes out again");
    let again = stage.call(&APPROVE, &decide(&request), &stage.operator()).await.unwrap();
    assert_eq!(again.state, ApprovalState::Interrupted);
    let told = format!(
        "SELECT count(*) FROM messages WHERE id = '{request}.outcome' AND content LIKE '%not known%'"
    );
    assert_eq!(stage.count(&told), 1);
}
