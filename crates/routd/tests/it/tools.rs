//! The tools of a turn, and what each may touch.

use crate::{
    agent::Agent,
    stage::{Stage, eventually},
};
use proto::{
    routd::{AUDIT, AuditQuery, MessageState},
    runed::RunEnd,
    turn::Outcome,
};
use serde_json::json;

const CHAT: &str = "web:atlas~one";

async fn agent_of(stage: &Stage, chat: &str, nth: usize) -> Agent {
    stage.say(chat, &format!("m{nth}"), "hello").await;
    Agent::on(&stage.runed.nth(nth).await)
}

fn rule(stage: &Stage, principal: &str, action: &str, scope: &str, effect: &str) {
    stage
        .database()
        .execute(
            "INSERT INTO acl (principal, action, scope, effect, added_by, added_at)
             VALUES (?1, ?2, ?3, ?4, 'operator:local', 0)",
            (principal, action, scope, effect),
        )
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_heard_before_the_turn_ends_and_not_twice() {
    let stage = Stage::new().await;
    let agent = agent_of(&stage, CHAT, 0).await;
    assert_eq!(
        agent.tools().await,
        [
            "reply",
            "send",
            "edit",
            "delete",
            "react",
            "send_file",
            "fetch_history",
            "inspect_messages",
            "find_messages",
            "list_routes",
            "inspect_routing",
            "get_memory",
            "set_memory",
            "http_request",
            "schedule_task",
            "list_tasks",
            "pause_task",
            "resume_task",
            "cancel_task",
        ]
    );
    let told = agent.tool("reply", json!({ "content": "on it" }), Some("t/1/1")).await;
    assert!(!told.is_error && told.structured["id"].is_string(), "{told:?}");
    assert_eq!(agent.tool("reply", json!({ "content": "on it" }), Some("t/1/1")).await, told);
    let other = agent.tool("reply", json!({ "content": "else" }), Some("t/1/1")).await;
    assert!(other.is_error, "a key is for one call: {other:?}");
    assert_eq!(stage.heard(CHAT).await.0, ["on it"]);
    // The same text as the result is not said again; another one is.
    agent.result(Outcome::Replied, Some(" on it\n")).await.unwrap();
    assert_eq!(stage.ended(CHAT, "m0").await.replies, ["on it"]);
    assert_eq!(stage.ended(CHAT, "m0").await.state, MessageState::Answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_does_not_reach_another() {
    let stage = Stage::new().await;
    for folder in ["atlas/eng", "borea"] {
        stage.add_group(folder).await;
    }
    stage.say("web:borea", "m1", "a secret of borea").await;
    let borea = stage.runed.nth(0).await;
    stage.say(CHAT, "m1", "hello").await;
    let agent = Agent::on(&stage.runed.nth(1).await);
    for chat in ["web:borea", "web:borea~x", "web:atlas/eng", "web:nowhere", "telegram:user/1"] {
        let sent = agent.tool("send", json!({ "chat_jid": chat, "content": "hi" }), None).await;
        assert!(sent.is_error, "{chat}: {sent:?}");
        let seen = agent.tool("inspect_messages", json!({ "chat_jid": chat }), None).await;
        assert!(seen.is_error && !seen.text.contains("secret"), "{chat}: {seen:?}");
    }
    let sent = agent.tool("send", json!({ "chat_jid": "web:atlas", "content": "hi" }), None).await;
    assert!(!sent.is_error, "another chat of its own folder: {sent:?}");
    assert_eq!(stage.heard("web:atlas").await.0, ["hi"]);
    assert_eq!(stage.heard("web:borea").await.0, Vec::<String>::new());

    // A right that is given counts with the next call, and one that is taken too.
    rule(&stage, "folder:atlas", "mcp:send", "atlas/**", "allow");
    let child = json!({ "chat_jid": "web:atlas/eng", "content": "from above" });
    assert!(!agent.tool("send", child.clone(), None).await.is_error);
    rule(&stage, "folder:atlas", "mcp:send", "**", "deny");
    let denied = agent.tool("send", child, None).await;
    assert!(denied.is_error && denied.text.contains("denied"), "{denied:?}");
    assert!(
        !agent.tools().await.contains(&"send".to_owned()),
        "what may not be used is not listed"
    );
    assert!(!agent.tool("reply", json!({ "content": "still here" }), None).await.is_error);
    Agent::on(&borea).result(Outcome::Silent, None).await.unwrap();

    // Each refusal is written down: who, what and why, and nothing that was presented.
    agent.tool("give_me_everything", json!({}), None).await;
    let rows = eventually("the refusals are in the audit", async || {
        let audit = stage.call(&AUDIT, &AuditQuery::default(), &stage.operator()).await.unwrap();
        let rows: Vec<_> =
            audit.rows.into_iter().filter(|row| row.action == "request.refuse").collect();
        let has = |target: &str, why: &str| {
            let why = format!("reason={why} ");
            rows.iter().any(|row| row.target == target && row.detail.starts_with(&why))
        };
        let all = has("mcp:send", "forbidden")
            && has("mcp:send", "not_found")
            && has("mcp:inspect_messages", "forbidden")
            && has("mcp:unknown", "not_found");
        all.then_some(rows)
    });
    let rows = rows.await;
    assert!(
        rows.iter()
            .all(|row| row.actor.starts_with("turn:") && row.detail.contains("folder:atlas"))
    );
    let told = serde_json::to_string(&rows).unwrap();
    assert!(!told.contains("borea") && !told.contains("give_me"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acl_that_cannot_be_read_is_no_permission() {
    let stage = Stage::new().await;
    let agent = agent_of(&stage, CHAT, 0).await;
    assert!(!agent.tool("get_memory", json!({}), None).await.is_error);
    rule(&stage, "not a principal", "mcp:send", "**", "deny");
    let (status, answer) =
        agent.mcp("tools/call", json!({ "name": "reply", "arguments": { "content": "x" } })).await;
    assert_eq!(status, 200);
    assert_eq!(answer["error"]["code"], json!(-32603), "{answer}");
    assert!(!answer.to_string().contains("principal"), "its cause is in the log: {answer}");
    assert!(agent.mcp("tools/list", json!({})).await.1["error"].is_object());
    assert_eq!(stage.heard(CHAT).await.0, Vec::<String>::new());
    assert_eq!(stage.count("SELECT count(*) FROM turns WHERE did_something = 1"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_remembers() {
    let stage = Stage::new().await;
    let agent = agent_of(&stage, CHAT, 0).await;
    assert_eq!(agent.tool("get_memory", json!({}), None).await.text, "");
    let long = "x".repeat(64 * 1024);
    assert!(
        agent.tool("set_memory", json!({ "content": format!("{long}y") }), None).await.is_error
    );
    assert!(!agent.tool("set_memory", json!({ "content": long }), None).await.is_error);
    assert!(!agent.tool("set_memory", json!({ "content": "tea <3" }), None).await.is_error);
    assert_eq!(agent.tool("get_memory", json!({}), None).await.text, "tea <3");
    agent.result(Outcome::Silent, None).await.unwrap();
    stage.runed.end("r1", RunEnd::Completed);
    let next = agent_of(&stage, CHAT, 1).await;
    assert!(next.input().await.unwrap().prompt.contains("tea &lt;3"));
    let audit = AuditQuery::default();
    let page = stage.call(&AUDIT, &audit, &stage.operator()).await.unwrap();
    let sets: Vec<_> = page.rows.iter().filter(|row| row.action == "memory.set").collect();
    assert_eq!(sets.len(), 2);
    assert_eq!(sets[0].actor, "folder:atlas");
    assert!(!format!("{page:?}").contains("tea"), "what is remembered is nobody else's business");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_call_is_told_to_the_agent() {
    let stage = Stage::new().await;
    let agent = agent_of(&stage, CHAT, 0).await;
    for (tool, arguments) in [
        ("reply", json!({})),
        ("reply", json!({ "content": "  " })),
        ("reply", json!({ "content": "x", "contents": "y" })),
        ("send", json!({ "chat_jid": "nowhere", "content": "x" })),
        ("inspect_messages", json!({ "limit": 0 })),
        ("delete_everything", json!({})),
    ] {
        let told = agent.tool(tool, arguments.clone(), None).await;
        assert!(told.is_error && !told.text.is_empty(), "{tool} {arguments}: {told:?}");
    }
    assert_eq!(stage.count("SELECT count(*) FROM turns WHERE did_something = 1"), 0);
    let seen = agent.tool("inspect_messages", json!({ "limit": 5 }), None).await;
    assert_eq!(seen.structured["messages"][0]["content"], json!("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harness_gets_its_session_back_and_earlier_messages_only_without_one() {
    let stage = Stage::new().await;
    let agent = agent_of(&stage, CHAT, 0).await;
    let result = proto::turn::TurnResult {
        attempt: 1,
        outcome: Outcome::Replied,
        text: Some("first answer".into()),
        session: None,
        taken: 0,
    };
    agent.post(&result).await.unwrap();
    stage.runed.end("r1", RunEnd::Completed);
    let agent = agent_of(&stage, CHAT, 1).await;
    let input = agent.input().await.unwrap();
    assert_eq!(input.session, None);
    assert!(input.prompt.contains("<earlier>") && input.prompt.contains("first answer"));
    let session = Some("s-1".to_owned());
    agent.post(&proto::turn::TurnResult { session, ..result }).await.unwrap();
    stage.runed.end("r2", RunEnd::Completed);
    let agent = agent_of(&stage, CHAT, 2).await;
    let input = agent.input().await.unwrap();
    assert_eq!(input.session.as_deref(), Some("s-1"));
    assert!(!input.prompt.contains("<earlier>"), "{}", input.prompt);
    eventually("nothing more to run", || async {
        (stage.runed.started().len() == 3).then_some(())
    })
    .await;
}
