//! Which folder takes a message.

use crate::{
    agent::Agent,
    stage::{Stage, message},
};
use proto::{
    Problem,
    routd::{
        ADD_GROUP, ADD_ROUTE, EXPLAIN_ROUTE, ExplainRoute, Explanation, LIST_ROUTES, MessageState,
        NewGroup, NewMessage, NewRoute, REMOVE_ROUTE, RemoveRoute, RouteRow,
    },
    runed::RunEnd,
    turn::Outcome,
};

async fn route(stage: &Stage, seq: i64, pattern: &str, target: &str) -> Result<RouteRow, Problem> {
    let route = NewRoute { seq, pattern: pattern.into(), target: target.into() };
    stage.call(&ADD_ROUTE, &route, &stage.operator()).await
}

async fn explain(stage: &Stage, jid: &str, sender: Option<&str>) -> Explanation {
    let query =
        ExplainRoute { jid: jid.parse().unwrap(), sender: sender.map(str::to_owned), verb: None };
    stage.call(&EXPLAIN_ROUTE, &query, &stage.operator()).await.unwrap()
}

fn from(sender: &str, chat: &str, id: &str, content: &str) -> NewMessage {
    NewMessage { sender: sender.into(), ..message(chat, id, content) }
}

/// Answers the run number `nth`, and says in which folder it was.
async fn answer(stage: &Stage, nth: usize, text: &str) -> String {
    let run = stage.runed.nth(nth).await;
    Agent::on(&run).result(Outcome::Replied, Some(text)).await.unwrap();
    stage.runed.end(&run.id, RunEnd::Completed);
    run.request.folder.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_route_is_refused_when_it_is_written() {
    let stage = Stage::new().await;
    for (pattern, target, status) in [
        ("telegram", "atlas", 400),
        ("platfrom=telegram", "atlas", 400),
        ("room=[", "atlas", 400),
        ("", "atlas#", 400),
        ("", "../etc", 400),
        ("", "{sender}", 400),
        ("", "nowhere", 404),
    ] {
        let refused = route(&stage, 0, pattern, target).await.unwrap_err();
        assert_eq!(refused.status, status, "{pattern} {target}: {refused:?}");
    }
    let row = route(&stage, 5, " platform=telegram  verb=mention ", "atlas").await.unwrap();
    assert_eq!(row.pattern, "platform=telegram verb=mention");
    assert_eq!(route(&stage, 5, "platform=telegram verb=mention", "atlas").await.unwrap(), row);
    let list = stage.call(&LIST_ROUTES, &proto::Nothing {}, &stage.operator()).await.unwrap();
    assert_eq!(list.routes, std::slice::from_ref(&row));
    for _ in 0..2 {
        let gone = RemoveRoute { id: row.id };
        stage.call(&REMOVE_ROUTE, &gone, &stage.operator()).await.unwrap();
    }
    let list = stage.call(&LIST_ROUTES, &proto::Nothing {}, &stage.operator()).await.unwrap();
    assert!(list.routes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_s_own_routes_and_those_of_many_are_tried_in_one_order() {
    let stage = Stage::new().await;
    for folder in ["early", "own", "late"] {
        stage.add_group(folder).await;
    }
    let chat = "telegram:group/1";
    let own = route(&stage, 5, &format!("chat_jid={chat}"), "own#observe").await.unwrap();
    let early = route(&stage, 1, "platform=telegram", "early#observe").await.unwrap();
    route(&stage, 9, "chat_jid=telegram:*/1", "late#observe").await.unwrap();
    route(&stage, 0, "chat_jid=telegram:group/2", "late#observe").await.unwrap();
    // What it says, and what it does: a message itself is not tried against other chats' routes.
    let takes = async |nth: usize, folder: &str| {
        assert_eq!(explain(&stage, chat, None).await.folder.unwrap().as_str(), folder);
        let id = format!("m{nth}");
        stage.post(&from("telegram:user/1", chat, &id, "hello")).await;
        let (sql, database) = ("SELECT folder FROM messages WHERE id = ?1", stage.database());
        let stored: String = database.query_row(sql, [id], |row| row.get(0)).unwrap();
        assert_eq!(stored, folder);
    };
    takes(0, "early").await;
    stage.call(&REMOVE_ROUTE, &RemoveRoute { id: early.id }, &stage.operator()).await.unwrap();
    takes(1, "own").await;
    stage.call(&REMOVE_ROUTE, &RemoveRoute { id: own.id }, &stage.operator()).await.unwrap();
    takes(2, "late").await;
    let steps = explain(&stage, chat, None).await.steps.join("\n");
    assert!(steps.contains("group/2` does not hold"), "a mistyped chat is seen: {steps}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_observed_starts_nothing_and_is_shown_to_the_next_turn() {
    let stage = Stage::new().await;
    route(&stage, 0, "chat_jid=slack:*/channel/* verb=mention", "atlas").await.unwrap();
    route(&stage, 1, "chat_jid=slack:*/channel/*", "atlas#observe").await.unwrap();
    let chat = "slack:T1/channel/C1";
    stage.post(&from("slack:U1", chat, "m1", "the build is red")).await;
    assert_eq!(stage.outcome(chat, "m1", 5).await.state, MessageState::Observed);
    assert!(stage.runed.started().is_empty());
    let mention =
        NewMessage { verb: Some("mention".into()), ..from("slack:U2", chat, "m2", "why?") };
    stage.post(&mention).await;
    let run = stage.runed.nth(0).await;
    let prompt = Agent::on(&run).input().await.unwrap().prompt;
    let observed = prompt.split("</observed>").next().unwrap();
    assert!(observed.contains("the build is red"), "{prompt}");
    assert_eq!(prompt.matches("the build is red").count(), 1, "{prompt}");
    answer(&stage, 0, "because").await;
    // The agent has spoken: what follows is for it, and what it has seen is not shown again.
    stage.post(&from("slack:U1", chat, "m3", "thanks")).await;
    let run = stage.runed.nth(1).await;
    let prompt = Agent::on(&run).input().await.unwrap().prompt;
    assert!(!prompt.contains("<observed>"), "{prompt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_is_engaged_where_it_spoke_and_where_it_is_answered() {
    let mut stage = Stage::unstarted().setting("ENGAGEMENT_TTL", "1ms");
    stage.start().await;
    stage.add_group("atlas").await;
    route(&stage, 0, "verb=mention", "atlas#incident").await.unwrap();
    let chat = "slack:T1/channel/C1";
    let mention =
        NewMessage { verb: Some("mention".into()), ..from("slack:U1", chat, "m1", "help") };
    stage.post(&mention).await;
    answer(&stage, 0, "here").await;
    let said: String = stage
        .database()
        .query_row("SELECT id FROM messages WHERE outbound = 1", [], |row| row.get(0))
        .unwrap();
    stage.ended(chat, "m1").await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    stage.post(&from("slack:U1", chat, "m2", "chatter")).await;
    assert_eq!(stage.outcome(chat, "m2", 0).await.state, MessageState::Unrouted);
    let reply = NewMessage {
        reply_to: Some(said.parse().unwrap()),
        ..from("slack:U1", chat, "m3", "and then?")
    };
    stage.post(&reply).await;
    let run = stage.runed.nth(1).await;
    assert_eq!(Agent::on(&run).input().await.unwrap().topic.as_str(), "incident");
    let verb: String = stage
        .database()
        .query_row("SELECT verb FROM messages WHERE id = 'm3'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verb, "mention", "answering the agent is addressing it");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_person_has_a_folder_that_nobody_else_is_led_to() {
    let stage = Stage::new().await;
    route(&stage, 0, "platform=slack", "atlas/{sender}").await.unwrap();
    let chat = "slack:T1/channel/C1";
    stage.post(&from("slack:ann", chat, "m1", "I am Ann")).await;
    let ann = answer(&stage, 0, "hello Ann").await;
    assert!(ann.starts_with("atlas/slack-ann-"), "{ann}");
    stage.ended(chat, "m1").await;
    stage.post(&from("slack:bob", chat, "m2", "I am Bob")).await;
    let bob = answer(&stage, 1, "hello Bob").await;
    assert!(bob.starts_with("atlas/slack-bob-"), "{bob}");
    stage.ended(chat, "m2").await;
    let said: String = stage
        .database()
        .query_row("SELECT id FROM messages WHERE content = 'hello Ann'", [], |row| row.get(0))
        .unwrap();
    let reply = NewMessage {
        reply_to: Some(said.parse().unwrap()),
        ..from("slack:bob", chat, "m3", "what did Ann say?")
    };
    stage.post(&reply).await;
    let run = stage.runed.nth(2).await;
    assert_eq!(run.request.folder.as_str(), bob);
    let agent = Agent::on(&run);
    let input = agent.input().await.unwrap();
    assert!(!input.prompt.contains("I am Ann"), "{}", input.prompt);
    let seen = agent.tool("inspect_messages", serde_json::json!({}), None).await;
    assert!(seen.text.contains("I am Bob") && !seen.text.contains("I am Ann"), "{}", seen.text);
    assert_eq!(explain(&stage, chat, Some("slack:ann")).await.folder.unwrap().as_str(), ann);
    let stranger = explain(&stage, chat, Some("slack:eve")).await;
    assert!(stranger.steps.last().unwrap().contains("will be made"), "{stranger:?}");
    assert_eq!(stage.count("SELECT count(*) FROM groups"), 3, "explaining makes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_is_given_to_a_folder_goes_there_whatever_is_in_its_name() {
    let stage = Stage::new().await;
    stage.add_group("borea").await;
    route(&stage, 0, "", "borea").await.unwrap();
    let chat = "telegram:group/[a]*";
    let group = NewGroup {
        folder: "atlas".parse().unwrap(),
        jid: Some(chat.parse().unwrap()),
        harness: None,
        command: Vec::new(),
        model: None,
    };
    for _ in 0..2 {
        stage.call(&ADD_GROUP, &group, &stage.operator()).await.unwrap();
    }
    assert_eq!(explain(&stage, chat, None).await.folder.unwrap().as_str(), "atlas");
    let other = explain(&stage, "telegram:group/ab", None).await;
    assert_eq!(other.folder.unwrap().as_str(), "borea");
    assert_eq!(other.steps.len(), 6, "{:?}", other.steps);
    assert_eq!(stage.count("SELECT count(*) FROM routes"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_is_pinned_to_a_folder_below_its_own_and_let_go() {
    let stage = Stage::new().await;
    for folder in ["atlas/legal", "borea"] {
        stage.add_group(folder).await;
    }
    route(&stage, 0, "platform=slack", "atlas").await.unwrap();
    let chat = "slack:T1/dm/D1";
    stage.post(&from("slack:U1", chat, "m1", "@legal")).await;
    assert_eq!(stage.outcome(chat, "m1", 0).await.state, MessageState::Observed);
    assert_eq!(
        stage.heard(chat).await.0,
        ["This chat goes to atlas/legal now. Send `@` alone to undo that."]
    );
    stage.post(&from("slack:U1", chat, "m2", "may I?")).await;
    assert_eq!(answer(&stage, 0, "no").await, "atlas/legal");
    stage.ended(chat, "m2").await;
    // Another tenant's folder cannot be named: the message is an ordinary one.
    stage.post(&from("slack:U1", chat, "m3", "@borea")).await;
    assert_eq!(answer(&stage, 1, "?").await, "atlas/legal");
    stage.ended(chat, "m3").await;
    stage.post(&from("slack:U1", chat, "m4", "@")).await;
    stage.post(&from("slack:U1", chat, "m5", "hello")).await;
    assert_eq!(answer(&stage, 2, "hi").await, "atlas");
}
