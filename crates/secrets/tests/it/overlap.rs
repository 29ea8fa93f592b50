//! How long an earlier value is accepted, and what counts as one.

use crate::stage::{
    KEY, MINUTE, ONE, PAIR, SECOND, accepted, keeping, pass, reach, with_key, with_pair,
};
use secrets::testing::{ScriptedSource, wall_begin};

#[tokio::test(start_paused = true)]
async fn a_restart_in_the_middle_of_a_rotation_changes_nothing() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-2"), ("KEY_PREVIOUS", "k-1")]);
    let secrets = keeping(&[&source]);
    let watched = secrets.watch(&ONE).await.unwrap();
    assert_eq!(
        accepted(&watched),
        ["k-2", "k-1"],
        "the source's previous value counts from the start"
    );
    assert_eq!(watched.generation(), 1);
    assert!(secrets.degraded().is_empty());

    pass(5 * MINUTE + SECOND).await;
    assert_eq!(accepted(&watched), ["k-2"], "for one overlap");
    let left = secrets.degraded();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].starts_with("KEY_PREVIOUS in the scripted script"), "{left:?}");

    source.remove("KEY_PREVIOUS");
    secrets.refresh().await;
    assert!(secrets.degraded().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sources_own_previous_version_counts_too_and_needs_no_removal() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-2")]);
    source.set_previous("KEY", "k-1");
    let secrets = keeping(&[&source]);
    let watched = secrets.watch(&ONE).await.unwrap();
    assert_eq!(accepted(&watched), ["k-2", "k-1"]);
    pass(6 * MINUTE).await;
    assert_eq!(accepted(&watched), ["k-2"]);
    assert!(secrets.degraded().is_empty(), "{:?}", secrets.degraded());
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_writes_the_previous_value_first_accepts_each_value_once() {
    let (source, _secrets, mut watched) = with_key().await;
    source.set([("KEY_PREVIOUS", "k-1")]);
    pass(SECOND).await;
    assert_eq!(accepted(&watched), ["k-1"]);
    source.set([("KEY", "k-2")]);
    reach(&mut watched, 2).await;
    assert_eq!(accepted(&watched), ["k-2", "k-1"]);
    pass(6 * MINUTE).await;
    assert_eq!(accepted(&watched), ["k-2"], "a value that is seen again gets no more time");
}

#[tokio::test(start_paused = true)]
async fn the_previous_values_of_a_pair_are_accepted_together() {
    let source = ScriptedSource::default();
    source.set_silently([
        ("USER", "bob"),
        ("PASSWORD", "pw-2"),
        ("USER_PREVIOUS", "ada"),
        ("PASSWORD_PREVIOUS", "pw-1"),
    ]);
    let watched = keeping(&[&source]).watch(&PAIR).await.unwrap();
    assert_eq!(accepted(&watched), ["bob:pw-2", "ada:pw-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_previous_value_that_does_not_parse_is_left_out_and_the_current_one_stays() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-2"), ("KEY_PREVIOUS", "bad-1")]);
    let watched = keeping(&[&source]).watch(&ONE).await.unwrap();
    assert_eq!(accepted(&watched), ["k-2"]);
}

#[tokio::test(start_paused = true)]
async fn the_overlap_runs_from_the_later_of_the_sources_change_and_our_publication() {
    // The source changed it long ago, and we only see it now: a whole overlap from now.
    let (source, secrets, mut watched) = with_key().await;
    source.set_silently([("KEY", "k-2")]);
    source.set_changed_at("KEY", wall_begin() - 60 * MINUTE);
    secrets.refresh().await;
    reach(&mut watched, 2).await;
    pass(5 * MINUTE - SECOND).await;
    assert_eq!(accepted(&watched), ["k-2", "k-1"]);
    pass(2 * SECOND).await;
    assert_eq!(accepted(&watched), ["k-2"]);

    // The source's clock is two minutes ahead: from its time, and never more than one overlap on.
    source.set_silently([("KEY", "k-3")]);
    let now = wall_begin() + watched_time(&secrets);
    source.set_changed_at("KEY", now + 2 * MINUTE);
    secrets.refresh().await;
    pass(7 * MINUTE - SECOND).await;
    assert_eq!(accepted(&watched), ["k-3", "k-2"]);
    pass(2 * SECOND).await;
    assert_eq!(accepted(&watched), ["k-3"]);

    source.set_silently([("KEY", "k-4")]);
    source.set_changed_at("KEY", now + 10_000 * MINUTE);
    secrets.refresh().await;
    pass(10 * MINUTE + SECOND).await;
    assert_eq!(accepted(&watched), ["k-4"]);
}

/// How far the wall clock is, from what the status shows of an undated value.
fn watched_time(secrets: &secrets::Secrets) -> std::time::Duration {
    let age = secrets.status()[0].age_seconds.unwrap();
    // The value on show was dated one hour before the wall clock began.
    std::time::Duration::from_secs(age) - 60 * MINUTE
}

#[tokio::test(start_paused = true)]
async fn forget_ends_the_overlap_at_once_and_for_good() {
    let (source, secrets, mut watched) = with_key().await;
    source.set([("KEY", "k-2"), ("KEY_PREVIOUS", "k-1")]);
    reach(&mut watched, 2).await;
    assert_eq!(accepted(&watched), ["k-2", "k-1"]);
    assert!(secrets.status()[0].previous_accepted_until.is_some());

    let mut events = secrets.events();
    secrets.forget_for(&KEY, "operator:local").await;
    assert_eq!(accepted(&watched), ["k-2"]);
    assert_eq!(secrets.status()[0].previous_accepted_until, None);
    let event = events.try_recv().unwrap();
    assert_eq!(event.outcome, secrets::Outcome::Forgotten);
    assert_eq!(event.asked_by, "operator:local");

    // It still stands in the source as the previous value.
    for _ in 0..3 {
        secrets.refresh().await;
    }
    pass(MINUTE).await;
    assert_eq!(accepted(&watched), ["k-2"], "what was forgotten does not come back");
    assert_eq!(watched.generation(), 2, "the current value is the same");

    source.set([("KEY", "k-1")]);
    reach(&mut watched, 3).await;
    assert_eq!(*watched.current(), "k-1", "unless the source makes it current again");
}

#[tokio::test(start_paused = true)]
async fn forgetting_one_name_keeps_the_overlap_of_another() {
    let (source, secrets, mut watched) = with_pair().await;
    source.set([("USER", "bob"), ("PASSWORD", "pw-2")]);
    reach(&mut watched, 2).await;
    secrets.forget(&"PASSWORD".parse().unwrap()).await;
    assert_eq!(accepted(&watched), ["bob:pw-2", "ada:pw-2"]);
    secrets.forget(&"USER".parse().unwrap()).await;
    assert_eq!(accepted(&watched), ["bob:pw-2"]);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_value_is_wiped_once_it_is_accepted_no_more() {
    let (source, _secrets, mut watched) = with_key().await;
    let old = std::sync::Arc::downgrade(&watched.current());
    source.set([("KEY", "k-2")]);
    reach(&mut watched, 2).await;
    assert!(old.upgrade().is_some());
    pass(6 * MINUTE).await;
    assert!(old.upgrade().is_none(), "nobody holds it any more");
}

#[tokio::test(start_paused = true)]
async fn whoever_keeps_something_for_each_accepted_value_is_told_when_they_change() {
    let (source, secrets, mut watched) = with_key().await;
    let quiet = tokio::time::timeout(10 * MINUTE, watched.accepted_changed()).await;
    assert!(quiet.is_err(), "nothing has changed yet");

    source.set([("KEY", "k-2")]);
    watched.accepted_changed().await;
    assert_eq!(accepted(&watched), ["k-2", "k-1"]);
    let began = tokio::time::Instant::now();
    while accepted(&watched).len() > 1 {
        watched.accepted_changed().await;
    }
    assert!(began.elapsed() <= 5 * MINUTE + SECOND, "{:?}", began.elapsed());

    // A previous value that is supplied later makes no generation.
    source.set([("KEY_PREVIOUS", "k-0")]);
    while accepted(&watched).len() == 1 {
        watched.accepted_changed().await;
    }
    assert_eq!((accepted(&watched), watched.generation()), (vec!["k-2".into(), "k-0".into()], 2));
    secrets.forget(&KEY).await;
    while accepted(&watched).len() > 1 {
        watched.accepted_changed().await;
    }

    // An end that passes while nobody waits is not missed.
    source.set([("KEY", "k-3")]);
    watched.accepted_changed().await;
    pass(20 * MINUTE).await;
    let told = tokio::time::timeout(SECOND, watched.accepted_changed()).await;
    assert!(told.is_ok());
}

#[tokio::test(start_paused = true)]
async fn forgetting_does_not_wait_for_a_source() {
    let (source, secrets, mut watched) = with_key().await;
    source.set([("KEY", "k-2")]);
    reach(&mut watched, 2).await;
    source.hang();
    source.hint();
    pass(SECOND).await;
    let began = tokio::time::Instant::now();
    secrets.forget(&KEY).await;
    assert_eq!(accepted(&watched), ["k-2"]);
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
}
