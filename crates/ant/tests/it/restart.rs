//! routd goes away at the worst instants, and comes back.

use crate::routd::{LIMIT, Mcp, Routd, bounded};
use proto::turn::Outcome;
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// Runs the agent, and kills routd when `hold` is done but not answered; then it comes back.
async fn killed_at(routd: &mut Routd, message: &str, hold: &'static str) {
    routd.ask(&[message]);
    routd.book().hold = Some(hold);
    let options = routd.options();
    let mut ant = std::pin::pin!(ant::run(options));
    tokio::select! {
        ended = &mut ant => panic!("it ended without an answer: {ended:?}"),
        () = routd.until("the request is done", |book| book.hold.is_none()) => {}
    }
    routd.vanish();
    // It finds nobody there for a while, and then the same routd.
    let absent = tokio::time::timeout(Duration::from_millis(150), &mut ant).await;
    assert!(absent.is_err(), "it waits for routd: {absent:?}");
    routd.come_back();
    bounded(ant).await.unwrap();
}

#[tokio::test]
async fn a_tool_call_that_was_done_but_not_answered_is_not_done_again() {
    for mcp in [Mcp::Sessions, Mcp::Stateless] {
        let mut routd = Routd::start_with(mcp);
        killed_at(&mut routd, "say one then two", "reply").await;
        let book = routd.book();
        let key = Some("turn-1/2/1".to_owned());
        assert!(book.calls.len() >= 2, "it was asked again: {:?}", book.calls);
        assert!(book.calls.iter().all(|call| *call == ("reply".into(), key.clone())));
        assert_eq!(book.effects.len(), 1, "{mcp:?}: nothing happens twice: {:?}", book.effects);
        assert_eq!(book.results.len(), 1, "{mcp:?}");
        assert_eq!(book.results[0].text.as_deref(), Some("two"));
    }
}

#[tokio::test]
async fn a_session_that_died_between_two_calls_is_replaced() {
    for mcp in [Mcp::Sessions, Mcp::Stateless] {
        let mut routd = Routd::start_with(mcp);
        routd.book().memory = "- old\n".into();
        killed_at(&mut routd, "remember new", "get_memory").await;
        assert_eq!(routd.book().memory, "- old\n- new\n", "{mcp:?}");
        assert_eq!(routd.book().effects.len(), 1);
        assert_eq!(routd.book().results.len(), 1);
    }
}

#[tokio::test]
async fn a_result_that_was_recorded_but_not_acknowledged_is_posted_again_and_counts_once() {
    let mut routd = Routd::start();
    killed_at(&mut routd, "hello", "/turn/result").await;
    let book = routd.book();
    let posts = book.requests.iter().filter(|path| **path == "/turn/result").count();
    assert!(posts >= 2, "an answer that was lost is asked for again");
    assert_eq!(book.results.len(), 1);
    assert_eq!(book.results[0].outcome, Outcome::Replied);
}

#[tokio::test]
async fn a_routd_that_is_not_there_yet_resets_or_fails_is_waited_for() {
    let mut routd = Routd::absent(Mcp::Sessions);
    routd.ask(&["hello"]);
    routd.book().refusals.insert("/turn", [503, 500, 429].into());
    routd.book().refusals.insert("/turn/result", [503, 502].into());
    // Somebody who hangs up on the first call, and then nobody.
    let listener = UnixListener::bind(routd.socket()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    let options = routd.options();
    let mut ant = std::pin::pin!(ant::run(options));
    tokio::select! {
        ended = &mut ant => panic!("it did not wait: {ended:?}"),
        accepted = listener.accept() => drop(accepted.unwrap()),
    }
    drop(listener);
    std::fs::remove_file(routd.socket()).unwrap();
    let absent = tokio::time::timeout(Duration::from_millis(150), &mut ant).await;
    assert!(absent.is_err(), "it waits for routd: {absent:?}");
    routd.come_back();
    bounded(ant).await.unwrap();
    let book = routd.book();
    assert_eq!(book.results.len(), 1);
    assert_eq!(book.requests.iter().filter(|path| **path == "/turn").count(), 4);
    assert_eq!(book.requests.iter().filter(|path| **path == "/turn/result").count(), 3);
}

#[tokio::test]
async fn reports_that_fail_cost_the_work_nothing() {
    let routd = Routd::start();
    let failures = std::iter::repeat_n(500, 100).collect();
    routd.book().refusals.insert("/turn/events", failures);
    let began = tokio::time::Instant::now();
    let result = routd.answer(&["say one then two"]).await;
    assert_eq!(result.text.as_deref(), Some("two"));
    assert!(began.elapsed() < LIMIT / 2);
    assert_eq!(routd.book().events, [""; 0], "none was taken");
    assert_eq!(routd.book().effects.len(), 1);
}
