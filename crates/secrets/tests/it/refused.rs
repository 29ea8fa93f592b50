//! A peer refuses a credential, or shows one that is not known.

use crate::stage::{MINUTE, ONE, SECOND, accepted, handle, pass, reach, with_key};
use secrets::{
    Again, Attempt,
    testing::{ScriptedSource, policy},
};
use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use tokio::time::Instant;

/// Presents to a peer who takes only these, and notes what was shown.
async fn present(
    watched: &secrets::Watched<String>,
    good: &[&str],
) -> (Result<String, String>, Vec<String>) {
    let shown = RefCell::new(Vec::new());
    let answer = watched
        .present(async |key| {
            shown.borrow_mut().push(key.to_string());
            if good.contains(&key.as_str()) {
                Attempt::Done(key.to_string())
            } else {
                Attempt::Refused(format!("401 for {key}"))
            }
        })
        .await;
    (answer, shown.into_inner())
}

#[tokio::test(start_paused = true)]
async fn a_presenter_that_is_behind_looks_again_and_sends_the_new_value() {
    let (source, secrets, watched) = with_key().await;
    source.set_silently([("KEY", "k-2")]);
    let began = Instant::now();
    let (answer, shown) = present(&watched, &["k-2"]).await;
    assert_eq!(answer.unwrap(), "k-2");
    assert_eq!(shown, ["k-1", "k-2"]);
    assert!(began.elapsed() < SECOND);
    assert!(secrets.degraded().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_presenter_that_is_ahead_sends_the_value_before_once() {
    let (source, _secrets, mut watched) = with_key().await;
    source.set([("KEY", "k-2")]);
    reach(&mut watched, 2).await;
    let (answer, shown) = present(&watched, &["k-1"]).await;
    assert_eq!(answer.unwrap(), "k-1");
    assert_eq!(shown, ["k-2", "k-1"]);
    assert_eq!(*watched.current(), "k-2");
}

#[tokio::test(start_paused = true)]
async fn a_presenter_that_is_two_ahead_sends_what_the_peer_has() {
    let (source, secrets, mut watched) = with_key().await;
    source.set([("KEY", "k-2")]);
    reach(&mut watched, 2).await;
    source.set([("KEY", "k-3")]);
    reach(&mut watched, 3).await;
    let (answer, shown) = present(&watched, &["k-1"]).await;
    assert_eq!(answer.unwrap(), "k-1");
    assert_eq!(shown, ["k-3", "k-2", "k-1"], "newest first, each once");
    // One came while it was refused, and the peer has not seen that either.
    source.set_silently([("KEY", "k-4")]);
    let (answer, shown) = present(&watched, &["k-2"]).await;
    assert_eq!(answer.unwrap(), "k-2");
    assert_eq!(shown, ["k-3", "k-4", "k-2"], "what was refused is not shown again");
    assert!(secrets.degraded().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_nobody_takes_is_shown_as_one_to_replace() {
    let (source, secrets, mut watched) = with_key().await;
    let (answer, shown) = present(&watched, &[]).await;
    assert_eq!(answer.unwrap_err(), "401 for k-1");
    assert_eq!(shown, ["k-1"], "there is no other");
    let degraded = secrets.degraded();
    assert!(degraded[0].contains("KEY") && degraded[0].contains("secrets set"), "{degraded:?}");

    source.set([("KEY", "k-2")]);
    reach(&mut watched, 2).await;
    assert!(secrets.degraded().is_empty(), "a new value is a new chance");
    let (_, shown) = present(&watched, &[]).await;
    assert_eq!(shown, ["k-2", "k-1"], "each value once");
    assert_eq!(secrets.degraded().len(), 1);
    present(&watched, &["k-2"]).await.0.unwrap();
    assert!(secrets.degraded().is_empty(), "what is taken is good");
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_another_kind_is_not_repeated() {
    let (source, _secrets, watched) = with_key().await;
    let before = source.reads();
    let attempts = AtomicU32::new(0);
    let answer: Result<(), _> = watched
        .present(|_| async {
            attempts.fetch_add(1, Ordering::SeqCst);
            Attempt::Failed("503")
        })
        .await;
    assert_eq!(answer, Err("503"));
    assert_eq!((attempts.into_inner(), source.reads()), (1, before));
}

#[tokio::test(start_paused = true)]
async fn a_change_during_the_attempt_needs_no_look() {
    let (source, _secrets, watched) = with_key().await;
    source.set([("KEY", "k-2")]);
    pass(SECOND).await;
    let before = source.reads();
    assert_eq!(watched.refused(1).await, Again::Newer);
    assert_eq!(source.reads(), before);
}

fn accepts(presented: &str) -> impl Fn(&String) -> Option<()> + '_ {
    move |key| (key == presented).then_some(())
}

#[tokio::test(start_paused = true)]
async fn a_checker_takes_accepted_values_and_looks_again_before_it_refuses() {
    let (source, secrets, watched) = with_key().await;
    let mut registry = prometheus_client::registry::Registry::default();
    secrets.register_metrics(&mut registry);
    let before = source.reads();
    assert!(watched.check(accepts("k-1")).await.is_some());
    assert_eq!(source.reads(), before, "what is known needs no look");

    source.set_silently([("KEY", "k-2")]);
    assert!(watched.check(accepts("k-2")).await.is_some(), "the peer was first to see the change");
    assert_eq!(accepted(&watched), ["k-2", "k-1"]);
    assert!(watched.check(accepts("k-1")).await.is_some());
    assert!(watched.check(accepts("stranger")).await.is_none());

    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = "arizuko_secret_previous_used_total{name=\"KEY\"} 1";
    assert!(text.lines().any(|l| l == line), "{text}");
}

#[tokio::test(start_paused = true)]
async fn strangers_cannot_make_us_hammer_the_source() {
    let (source, _secrets, watched) = with_key().await;
    let before = source.reads();
    let began = Instant::now();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let watched = watched.clone();
        crowd.spawn(async move { watched.check(accepts("stranger")).await });
    }
    while let Some(answer) = crowd.join_next().await {
        assert!(answer.unwrap().is_none());
    }
    let (reads, took) = (source.reads() - before, began.elapsed());
    assert!(reads <= 2, "{reads} reads for one crowd");
    assert!(took <= 3 * SECOND, "nobody waits longer: {took:?}");

    // A minute of it, one after the other.
    let before = source.reads();
    let began = Instant::now();
    while began.elapsed() < MINUTE {
        assert!(watched.check(accepts("stranger")).await.is_none());
        pass(SECOND / 100).await;
    }
    let reads = source.reads() - before;
    // Two polls are among them.
    assert!(reads <= 9, "{reads} reads in a minute");
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_one_look_a_second_for_a_source_whichever_bundle_asks() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-1")]);
    let handle = handle(&[&source], policy());
    let mut all = Vec::new();
    for daemon in ["routd", "webd", "teled", "slakd"] {
        all.push(handle.for_daemon(daemon).watch(&ONE).await.unwrap());
    }
    let (before, began) = (source.reads(), Instant::now());
    for watched in &all {
        assert_eq!(watched.refused(1).await, Again::Unchanged);
    }
    assert_eq!(source.reads() - before, 4);
    assert!(began.elapsed() >= 3 * SECOND, "{:?} for four looks", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_holds_no_request_for_long() {
    let (source, _secrets, watched) = with_key().await;
    source.hang();
    let began = Instant::now();
    assert!(watched.check(accepts("stranger")).await.is_none());
    assert!(began.elapsed() <= 6 * SECOND, "{:?}", began.elapsed());
}

/// Between a presenter and a checker, no order of seeing a change fails a request.
#[tokio::test(start_paused = true)]
async fn no_order_of_seeing_a_change_fails_a_request() {
    for (presenter_sees, checker_sees) in
        [(false, false), (true, false), (false, true), (true, true)]
    {
        let (at_presenter, at_checker) = (ScriptedSource::default(), ScriptedSource::default());
        for source in [&at_presenter, &at_checker] {
            source.set_silently([("KEY", "k-1")]);
        }
        let presenter = handle(&[&at_presenter], policy()).for_daemon("slakd");
        let checker = handle(&[&at_checker], policy()).for_daemon("routd");
        let presenter = presenter.watch(&ONE).await.unwrap();
        let checker = Arc::new(checker.watch(&ONE).await.unwrap());
        // The new value is in a source that has it; whether its reader was told is another thing.
        for (sees, source) in [(presenter_sees, &at_presenter), (checker_sees, &at_checker)] {
            if sees {
                source.set([("KEY", "k-2")]);
            } else {
                source.set_silently([("KEY", "k-2")]);
            }
        }
        pass(SECOND / 10).await;
        let answer: Result<(), &str> = presenter
            .present(|key| {
                let checker = checker.clone();
                async move {
                    let known = checker.check(|good| (*good == *key).then_some(())).await;
                    known.map_or(Attempt::Refused("401"), Attempt::Done)
                }
            })
            .await;
        assert_eq!(answer, Ok(()), "presenter {presenter_sees}, checker {checker_sees}");
    }
}

/// The futures can be spawned and boxed, as handlers are.
#[tokio::test(start_paused = true)]
async fn its_futures_can_be_sent() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    let (_source, _secrets, watched) = with_key().await;
    let client = String::from("client");
    let answer: Result<usize, ()> =
        sent(watched.present(async |key| Attempt::Done(key.len() + client.len()))).await;
    assert_eq!(answer, Ok(9));
    assert_eq!(sent(watched.check(|key| Some(key.len()))).await, Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_changes_is_not_looked_at_and_not_waited_for() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-1")]);
    source.make_static();
    let watched = handle(&[&source], policy()).for_daemon("routd").watch(&ONE).await.unwrap();
    let (before, began) = (source.reads(), Instant::now());
    for _ in 0..5 {
        assert!(watched.check(accepts("stranger")).await.is_none());
    }
    assert_eq!((source.reads(), began.elapsed()), (before, std::time::Duration::ZERO));
}
