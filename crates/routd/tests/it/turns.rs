//! The life of a turn.

use crate::{
    agent::Agent,
    stage::{Stage, eventually, message},
};
use proto::{
    routd::{FeedItem, MessageState, REMOVE_GROUP, RemoveGroup, STATUS, TurnEnd},
    runed::RunEnd,
    turn::{Outcome, TurnResult},
};

const CHAT: &str = "web:atlas~one";

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_answered_and_the_answer_is_in_the_feed() {
    let stage = Stage::new().await;
    let ack = stage.say(CHAT, "m1", "hello <b>").await;
    assert!(!ack.duplicate);
    let run = stage.runed.nth(0).await;
    let agent = Agent::on(&run);
    let input = agent.input().await.unwrap();
    assert_eq!((input.turn_id.as_str(), input.attempt), (run.turn_id.as_str(), 1));
    assert_eq!(input.messages.len(), 1);
    assert_eq!(input.messages[0].content, "hello <b>");
    assert!(input.prompt.contains("hello &lt;b&gt;"), "{}", input.prompt);
    let begun = stage.feed(CHAT).await.last().unwrap().seq;
    agent.status("reading\nthe log").await.unwrap();
    let page = stage.feed_after(CHAT, begun, 10).await;
    let [event] = page.events.as_slice() else { panic!("{page:?}") };
    assert!(matches!(&event.what, FeedItem::Status { text, .. } if text == "reading the log"));
    let accepted = agent.result(Outcome::Replied, Some("hello yourself")).await.unwrap();
    assert!(!accepted.duplicate);
    stage.runed.end(&run.id, RunEnd::Completed);

    let outcome = stage.ended(CHAT, "m1").await;
    assert_eq!(outcome.state, MessageState::Answered);
    assert_eq!(outcome.replies, ["hello yourself"]);
    let (said, ends) = stage.heard(CHAT).await;
    assert_eq!((said, ends), (vec!["hello yourself".into()], vec![TurnEnd::Answered]));
    let events = stage.feed(CHAT).await;
    let statuses = events.iter().filter(|event| matches!(event.what, FeedItem::Status { .. }));
    assert_eq!(statuses.count(), 0, "a status is over with its turn");
    assert!(events.is_sorted_by_key(|event| event.seq));
    // Nothing is to be sent: being committed is being delivered.
    let status = stage.call(&STATUS, &proto::Nothing {}, &stage.operator()).await.unwrap();
    assert_eq!((status.outbox_pending, status.turns_queued, status.turns_running), (0, 0, 0));
    eventually("the socket to be gone", || async { (!run.directory.exists()).then_some(()) }).await;
    assert_eq!(stage.runed.started().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_posted_twice_is_accepted_once() {
    let stage = Stage::new().await;
    stage.say(CHAT, "m1", "hello").await;
    let run = stage.runed.nth(0).await;
    let agent = Agent::on(&run);
    assert!(!agent.result(Outcome::Replied, Some("one")).await.unwrap().duplicate);
    assert!(agent.result(Outcome::Replied, Some("two")).await.unwrap().duplicate);
    let late = agent.input().await.unwrap_err();
    assert_eq!(late.status(), Some(410), "{late}");
    assert_eq!(agent.status("late").await.unwrap_err().status(), Some(410));
    assert_eq!(agent.mcp("tools/list", serde_json::json!({})).await.0, 410);
    let (said, ends) = stage.heard(CHAT).await;
    assert_eq!((said, ends), (vec!["one".into()], vec![TurnEnd::Answered]));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_failure_are_ends_that_are_seen() {
    let stage = Stage::new().await;
    for (index, (outcome, text, state, said)) in [
        (Outcome::Silent, None, MessageState::Silent, None),
        (Outcome::Failed, Some("no room"), MessageState::Failed, Some("The agent failed: no room")),
        (
            Outcome::Replied,
            None,
            MessageState::Failed,
            Some("The agent ended without an answer. Please try again."),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("m{index}");
        stage.say(CHAT, &id, "hello").await;
        let run = stage.runed.nth(index).await;
        Agent::on(&run).result(outcome, text).await.unwrap();
        stage.runed.end(&run.id, RunEnd::Completed);
        let ended = stage.ended(CHAT, &id).await;
        assert_eq!(ended.state, state);
        assert_eq!(ended.replies.first().map(String::as_str), said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_before_it_did_anything_is_tried_again() {
    let stage = Stage::new().await;
    stage.say(CHAT, "m1", "hello").await;
    let first = stage.runed.nth(0).await;
    let old = Agent::on(&first);
    old.input().await.unwrap();
    stage.runed.end(&first.id, RunEnd::Crashed);
    let second = stage.runed.nth(1).await;
    assert_eq!((second.attempt, second.turn_id == first.turn_id), (2, true));
    assert_ne!(second.directory, first.directory, "a socket is one attempt's");
    let late = old.result(Outcome::Replied, Some("from the grave")).await.unwrap_err();
    assert!(late.status().is_none_or(|status| status == 409), "{late}");
    let new = Agent::on(&second);
    assert!(new.input().await.unwrap().prompt.contains("attempt: 2"));
    let stale = TurnResult {
        attempt: 1,
        outcome: Outcome::Replied,
        text: Some("of the first attempt".into()),
        session: None,
        taken: 0,
    };
    assert_eq!(new.post(&stale).await.unwrap_err().status(), Some(409));
    new.result(Outcome::Replied, Some("here")).await.unwrap();
    let (said, ends) = stage.heard(CHAT).await;
    assert_eq!((said, ends), (vec!["here".into()], vec![TurnEnd::Answered]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_did_something_is_not_tried_again() {
    let stage = Stage::new().await;
    stage.say(CHAT, "m1", "remember tea").await;
    let run = stage.runed.nth(0).await;
    let agent = Agent::on(&run);
    let told = agent.tool("set_memory", serde_json::json!({ "content": "tea" }), None).await;
    assert!(!told.is_error, "{told:?}");
    stage.runed.end(&run.id, RunEnd::OutOfMemory);
    let outcome = stage.ended(CHAT, "m1").await;
    assert_eq!(outcome.state, MessageState::Interrupted);
    assert_eq!(outcome.replies.len(), 1, "one line, and one only: {:?}", outcome.replies);
    // The next message of the chat gets the next run, and no second attempt lies between.
    stage.say(CHAT, "m2", "and?").await;
    let next = stage.runed.nth(1).await;
    assert_ne!(next.turn_id, run.turn_id);
    assert!(Agent::on(&next).input().await.unwrap().prompt.contains("<memory>\ntea\n</memory>"));
    assert_eq!(stage.heard(CHAT).await.1, [TurnEnd::Interrupted]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_run_fails_at_once_and_says_so_without_its_insides() {
    let stage = Stage::new().await;
    stage.say(CHAT, "m1", "hello").await;
    let run = stage.runed.nth(0).await;
    stage.runed.end(&run.id, RunEnd::Refused);
    let outcome = stage.ended(CHAT, "m1").await;
    assert_eq!(outcome.state, MessageState::Failed);
    assert!(!outcome.replies[0].contains("registry.internal"), "{:?}", outcome.replies);

    stage.runed.refuse(Some("no such image registry.internal/x"));
    stage.say(CHAT, "m2", "hello").await;
    let outcome = stage.ended(CHAT, "m2").await;
    assert_eq!(outcome.state, MessageState::Failed);
    assert!(!outcome.replies[0].contains("registry.internal"), "{:?}", outcome.replies);
    assert_eq!(stage.runed.started().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runed_that_is_away_costs_no_attempt() {
    let stage = Stage::new().await;
    stage.runed.down(true);
    stage.say(CHAT, "m1", "hello").await;
    let waiting = eventually("a line that says that it waits", || async {
        let feed = stage.feed(CHAT).await;
        feed.into_iter().find(|event| matches!(event.what, FeedItem::Status { .. }))
    });
    waiting.await;
    let troubles = stage.context().health.troubles();
    assert!(troubles.iter().any(|line| line.starts_with("runed: ")), "{troubles:?}");
    assert!(stage.context().health.is_ready(), "trouble is not unreadiness");
    stage.runed.down(false);
    let run = stage.runed.nth(0).await;
    assert_eq!(run.attempt, 1);
    let agent = Agent::on(&run);
    agent.input().await.unwrap();
    stage.runed.down(true);
    agent.result(Outcome::Replied, Some("back")).await.unwrap();
    assert_eq!(stage.ended(CHAT, "m1").await.replies, ["back"]);
    assert_eq!(stage.runed.started().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runed_that_does_not_listen_yet_is_waited_for() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut stage = Stage::unstarted();
    stage.runed_at(&format!("http://{address}"));
    stage.start().await;
    stage.add_group("atlas").await;
    stage.say(CHAT, "m1", "hello").await;
    eventually("the trouble to show", || async {
        let troubles = stage.context().health.troubles();
        troubles.iter().any(|line| line.starts_with("runed: ")).then_some(())
    })
    .await;
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let router = stage.runed.router();
    let served = tokio::spawn(async move { axum::serve(listener, router).await });
    let run = stage.runed.nth(0).await;
    assert_eq!(run.attempt, 1);
    Agent::on(&run).result(Outcome::Replied, Some("here")).await.unwrap();
    assert_eq!(stage.ended(CHAT, "m1").await.state, MessageState::Answered);
    served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_never_heard_of_again_runs_out_of_time() {
    let mut stage = Stage::unstarted().setting("RUN_TIMEOUT", "1s");
    stage.start().await;
    stage.add_group("atlas").await;
    stage.say(CHAT, "m1", "hello").await;
    let run = stage.runed.nth(0).await;
    assert_eq!(run.request.limits.wall_clock_seconds, 1);
    stage.runed.end(&run.id, RunEnd::TimedOut);
    let outcome = stage.ended(CHAT, "m1").await;
    assert_eq!(outcome.state, MessageState::Failed);
    assert_eq!(outcome.replies, ["This was not done: the agent ran out of time."]);
    assert_eq!(stage.runed.started().len(), 1, "time that ran out is not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_wait_are_answered_together_and_in_order() {
    let stage = Stage::new().await;
    stage.say(CHAT, "m1", "one").await;
    let first = stage.runed.nth(0).await;
    let mut other = message(CHAT, "m4", "four");
    other.sender = "visitor:2".into();
    stage.say(CHAT, "m2", "two").await;
    stage.say(CHAT, "m3", "three").await;
    stage.post(&other).await;
    stage.say(CHAT, "m5", "five").await;
    // A folder has one turn at a time.
    assert_eq!(stage.runed.started().len(), 1);
    let mut run = first;
    for (index, expected) in
        [vec!["one"], vec!["two", "three"], vec!["four"], vec!["five"]].into_iter().enumerate()
    {
        if index > 0 {
            run = stage.runed.nth(index).await;
        }
        let agent = Agent::on(&run);
        let input = agent.input().await.unwrap();
        let contents: Vec<&str> = input.messages.iter().map(|m| m.content.as_str()).collect();
        assert_eq!(contents, expected);
        agent.result(Outcome::Replied, Some(&format!("answer {index}"))).await.unwrap();
        stage.runed.end(&run.id, RunEnd::Completed);
    }
    assert_eq!(stage.ended(CHAT, "m3").await.replies, ["answer 1"]);
    assert_eq!(stage.ended(CHAT, "m5").await.replies, ["answer 3"]);
    assert_eq!(stage.runed.started().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_folders_do_not_wait_for_each_other() {
    let stage = Stage::new().await;
    stage.add_group("borea").await;
    stage.say(CHAT, "m1", "one").await;
    let atlas = stage.runed.nth(0).await;
    stage.say("web:borea", "m1", "one").await;
    let borea = stage.runed.nth(1).await;
    assert_eq!(borea.request.folder.as_str(), "borea");
    assert_ne!(atlas.request.home, borea.request.home);
    Agent::on(&borea).result(Outcome::Replied, Some("first")).await.unwrap();
    assert_eq!(stage.ended("web:borea", "m1").await.state, MessageState::Answered);
    assert_eq!(stage.outcome(CHAT, "m1", 0).await.state, MessageState::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_removed_stops_its_turns_and_says_so() {
    let stage = Stage::new().await;
    stage.say(CHAT, "m1", "one").await;
    let run = stage.runed.nth(0).await;
    let mut other = message(CHAT, "m2", "two");
    other.sender = "visitor:2".into();
    stage.post(&other).await;
    eventually("the run to be followed", || async {
        (stage.count("SELECT count(*) FROM turns WHERE run_id IS NOT NULL") == 1).then_some(())
    })
    .await;
    let gone = RemoveGroup { folder: "atlas".parse().unwrap() };
    for _ in 0..2 {
        stage.call(&REMOVE_GROUP, &gone, &stage.operator()).await.unwrap();
    }
    for id in ["m1", "m2"] {
        assert_eq!(stage.ended(CHAT, id).await.state, MessageState::Cancelled);
    }
    assert_eq!(stage.heard(CHAT).await.0.len(), 2, "each says that it was stopped");
    eventually("the run to be ended", || async {
        stage.runed.deleted().contains(&run.id).then_some(())
    })
    .await;
    stage.say(CHAT, "m3", "anybody?").await;
    assert_eq!(stage.outcome(CHAT, "m3", 0).await.state, MessageState::Unrouted);
    assert_eq!(stage.runed.started().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_runs_in_a_circle_is_stopped_from_changing_more() {
    let stage = Stage::new().await;
    stage.say(CHAT, "m1", "hello").await;
    let run = stage.runed.nth(0).await;
    let agent = Agent::on(&run);
    let again = || agent.tool("set_memory", serde_json::json!({ "content": "round" }), None);
    for _ in 0..500 {
        assert!(!again().await.is_error);
    }
    let told = again().await;
    assert!(told.is_error && told.text.contains("500"), "{told:?}");
    // It can still end its turn.
    agent.result(Outcome::Replied, Some("done")).await.unwrap();
    assert_eq!(stage.ended(CHAT, "m1").await.state, MessageState::Answered);
    let text = stage.context().metrics.text().unwrap();
    assert!(text.contains(r#"arizuko_turns_total{outcome="answered"} 1"#), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_feed_stays_small_enough_to_be_read() {
    let stage = Stage::new().await;
    stage.runed.down(true);
    let long = "x".repeat(262_144);
    for n in 0..40 {
        stage.say(CHAT, &format!("m{n}"), &long).await;
    }
    let (mut seen, mut cursor, mut pages) = (0, 0, 0);
    loop {
        let page = stage.feed_after(CHAT, cursor, 0).await;
        if page.events.is_empty() {
            break;
        }
        let bytes = serde_json::to_vec(&page).unwrap().len();
        assert!(bytes < 8 << 20, "{bytes}");
        let messages =
            |event: &&proto::routd::FeedEvent| matches!(event.what, FeedItem::Message { .. });
        seen += page.events.iter().filter(messages).count();
        cursor = page.cursor;
        pages += 1;
    }
    assert!(seen == 40 && pages > 1, "{seen} messages on {pages} pages");
}
