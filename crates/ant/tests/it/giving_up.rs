//! The ends of an attempt that leave no result.

use crate::routd::{Mcp, Routd, bounded, from_now};
use ant::{AntError, Options};
use proto::turn::Outcome;
use std::error::Error;
use std::time::Duration;

#[tokio::test]
async fn an_attempt_whose_turn_belongs_to_another_does_nothing() {
    for status in [409, 410] {
        let routd = Routd::start();
        routd.ask(&["say one then two"]);
        routd.book().refusals.insert("/turn", [status].into());
        let error = routd.ant().await.unwrap_err();
        assert!(matches!(error, AntError::Superseded), "{error:?}");
        assert_eq!(error.exit_code(), 3);
        assert_eq!(routd.book().requests, ["/turn"], "it asked once and touched nothing");
        assert_eq!(routd.book().calls, []);
    }
}

#[tokio::test]
async fn an_attempt_that_is_given_up_meanwhile_stops_working() {
    let routd = Routd::start();
    routd.ask(&["wait 3600"]);
    routd.book().given_up = true;
    let error = routd.ant().await.unwrap_err();
    assert!(matches!(error, AntError::Superseded), "{error:?}");
    assert_eq!(routd.book().results.len(), 0);
    assert_eq!(
        routd.book().events,
        ["waited 1 of 3600 seconds"],
        "it learnt it by the first report"
    );
}

#[tokio::test]
async fn a_result_that_comes_too_late_is_no_error_of_the_agent() {
    let routd = Routd::start();
    routd.ask(&["hello"]);
    routd.book().refusals.insert("/turn/result", [409].into());
    assert_eq!(routd.ant().await.unwrap_err().exit_code(), 3);
    assert_eq!(routd.book().results.len(), 0);
}

#[tokio::test]
async fn a_refusal_for_good_is_not_repeated_and_says_what_was_refused() {
    let routd = Routd::start();
    routd.ask(&["hello"]);
    routd.book().refusals.insert("/turn/result", [400].into());
    let error = routd.ant().await.unwrap_err();
    assert_eq!(error.exit_code(), 76);
    assert_eq!(error.to_string(), "could not post the result: routd refused it for good");
    assert!(error.source().unwrap().to_string().contains("400"));
    assert_eq!(routd.book().requests, ["/turn", "/turn/result"]);
}

#[tokio::test]
async fn a_routd_that_never_comes_is_named_when_patience_ends() {
    let routd = Routd::absent(Mcp::Sessions);
    let options = Options { patience: Duration::from_millis(200), ..routd.options() };
    let error = bounded(ant::run(options)).await.unwrap_err();
    assert_eq!(error.exit_code(), 69);
    let text = error.to_string();
    assert!(text.contains("fetch the turn") && text.contains(routd.socket().to_str().unwrap()));
    assert!(!routd.socket().exists(), "it made nothing");
}

#[tokio::test]
async fn a_result_that_nobody_takes_is_posted_until_the_deadline() {
    let routd = Routd::start();
    routd.ask(&["hello"]);
    routd.book().input.as_mut().unwrap().deadline = from_now(Duration::from_secs(1));
    routd.book().refusals.insert("/turn/result", std::iter::repeat_n(503, 1000).collect());
    let error = routd.ant().await.unwrap_err();
    assert!(matches!(error, AntError::Unreachable { step: "post the result", .. }), "{error:?}");
    let posts = routd.book().requests.len();
    assert!((3..20).contains(&posts), "with pauses that grow: {posts}");
}

#[tokio::test]
async fn a_routd_that_goes_away_for_good_is_waited_for_until_the_deadline() {
    let mut routd = Routd::start();
    routd.ask(&["reply one"]);
    routd.book().input.as_mut().unwrap().deadline = from_now(Duration::from_secs(3));
    routd.book().hold = Some("reply");
    let options = routd.options();
    let mut ant = std::pin::pin!(ant::run(options));
    tokio::select! {
        ended = &mut ant => panic!("it ended without an answer: {ended:?}"),
        () = routd.until("the call is done", |book| book.hold.is_none()) => {}
    }
    routd.vanish();
    let error = bounded(ant).await.unwrap_err();
    assert!(matches!(error, AntError::Unreachable { .. }), "{error:?}");
    assert_eq!(routd.book().effects.len(), 1);
}

#[tokio::test]
async fn tools_that_are_refused_for_good_fail_the_turn_with_a_line() {
    let routd = Routd::start();
    routd.book().refusals.insert("/mcp", std::iter::repeat_n(403, 100).collect());
    let result = routd.answer(&["reply one"]).await;
    assert_eq!(result.outcome, Outcome::Failed);
    let line = "I gave up: the tool `reply` could not be reached.";
    assert_eq!(result.text.as_deref(), Some(line));
    assert_eq!(routd.book().requests.iter().filter(|path| **path == "/mcp").count(), 5);
    assert_eq!(routd.book().calls, []);
    // A few refusals, as from one that is starting, are borne.
    routd.book().refusals.insert("/mcp", [403, 502, 404].into());
    assert_eq!(routd.answer(&["say one then two"]).await.text.as_deref(), Some("two"));
    assert_eq!(routd.book().effects.len(), 1);
}

#[tokio::test]
async fn a_socket_whose_path_is_too_long_is_refused_at_once() {
    let deep = "d".repeat(120);
    let error = bounded(ant::run(Options::new(format!("/tmp/{deep}"), "/tmp"))).await.unwrap_err();
    assert_eq!(error.exit_code(), 64);
    assert!(error.to_string().contains("use a shorter --socket-dir"), "{error}");
}
