//! A value changes at its source.

use crate::stage::{
    ANY, KEY, MINUTE, ONE, PAIR, SECOND, WITH_EXTRA, accepted, handle, keeping, pass, reach,
    with_key, with_pair,
};
use secrets::{
    Outcome,
    testing::{ScriptedSource, policy},
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_new_value_is_used_at_once_and_the_old_one_accepted_for_the_overlap() {
    let (source, secrets, mut watched) = with_pair().await;
    let began = Instant::now();
    source.set([("USER", "bob"), ("PASSWORD", "pw-2")]);
    reach(&mut watched, 2).await;
    assert!(began.elapsed() < SECOND, "a hint is acted upon at once");
    assert_eq!(*watched.current(), "bob:pw-2");
    assert_eq!(accepted(&watched), ["bob:pw-2", "ada:pw-1"]);
    assert_eq!(secrets.generation(), 2);

    pass(5 * MINUTE - SECOND).await;
    assert_eq!(accepted(&watched), ["bob:pw-2", "ada:pw-1"], "until the overlap ends");
    pass(2 * SECOND).await;
    assert_eq!(accepted(&watched), ["bob:pw-2"]);
    assert_eq!(watched.generation(), 2, "an unchanged read is not a new generation");
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_hint_is_lost_is_found_by_the_poll() {
    let (source, _secrets, mut watched) = with_key().await;
    source.set_silently([("KEY", "k-2")]);
    let began = Instant::now();
    reach(&mut watched, 2).await;
    assert!(began.elapsed() <= 33 * SECOND, "one poll and its jitter, not {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_value_set_back_is_a_new_generation_and_is_accepted_once() {
    let (source, _secrets, mut watched) = with_key().await;
    source.set([("KEY", "k-2")]);
    reach(&mut watched, 2).await;
    source.set([("KEY", "k-1")]);
    reach(&mut watched, 3).await;
    assert_eq!(*watched.current(), "k-1");
    assert_eq!(accepted(&watched), ["k-1", "k-2"]);
}

#[tokio::test(start_paused = true)]
async fn at_most_four_values_are_accepted() {
    let (source, _secrets, mut watched) = with_key().await;
    for generation in 2..=6 {
        source.set([("KEY", &format!("k-{generation}"))]);
        reach(&mut watched, generation).await;
    }
    assert_eq!(accepted(&watched), ["k-6", "k-5", "k-4", "k-3"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_version_id_with_the_same_value_is_not_a_rotation() {
    let (source, secrets, watched) = with_key().await;
    source.set_id("KEY", "v9");
    secrets.refresh().await;
    assert_eq!(secrets.status()[0].version.as_deref(), Some("v9"));
    assert_eq!((watched.generation(), secrets.generation()), (1, 1));
    assert_eq!(accepted(&watched), ["k-1"]);
}

#[tokio::test(start_paused = true)]
async fn what_belongs_together_is_never_seen_in_halves() {
    let (source, _secrets, mut watched) = with_pair().await;
    let mut seen = BTreeSet::new();
    for round in 2..200_u64 {
        source.set([("USER", &format!("u{round}")), ("PASSWORD", &format!("p{round}"))]);
        reach(&mut watched, round).await;
        seen.extend(accepted(&watched));
    }
    for value in &seen {
        let (user, password) = value.split_once(':').unwrap();
        assert!(value == "ada:pw-1" || user[1..] == password[1..], "torn: {value}");
    }
    assert_eq!(seen.len(), 199);
}

/// As above, with readers on other threads while it changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_belongs_together_is_never_seen_in_halves_by_other_threads() {
    let (source, _secrets, mut watched) = with_pair().await;
    let over = Arc::new(AtomicBool::new(false));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (watched, over) = (watched.clone(), over.clone());
        readers.spawn_blocking(move || {
            let (mut last, mut reads) = (0, 0_u64);
            while !over.load(Ordering::Relaxed) {
                let (generation, current) = watched.versioned();
                assert!(generation >= last, "never back in time");
                last = generation;
                for value in watched.accepted().chain([current]) {
                    let (user, password) = value.split_once(':').unwrap();
                    assert!(*value == "ada:pw-1" || user[1..] == password[1..], "torn: {value}");
                    reads += 1;
                }
            }
            reads
        });
    }
    for round in 2..40_u64 {
        source.set([("USER", &format!("u{round}")), ("PASSWORD", &format!("p{round}"))]);
        let reached = tokio::time::timeout(10 * SECOND, watched.reached(round)).await;
        reached.unwrap_or_else(|_| panic!("generation {round} is not reached"));
    }
    over.store(true, Ordering::Relaxed);
    while let Some(reads) = readers.join_next().await {
        assert!(reads.unwrap() > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn changed_wakes_for_each_generation_not_seen_yet() {
    let (source, _secrets, mut watched) = with_key().await;
    let mut other = watched.clone();
    source.set([("KEY", "k-2")]);
    watched.changed().await;
    other.changed().await;
    assert_eq!(*other.current(), "k-2");
    let again = tokio::time::timeout(2 * MINUTE, watched.changed()).await;
    assert!(again.is_err(), "nothing has changed since");
}

#[tokio::test(start_paused = true)]
async fn daemons_of_one_process_share_each_read_and_count_for_themselves() {
    let source = ScriptedSource::default();
    source.set_silently([("USER", "ada"), ("PASSWORD", "pw-1"), ("KEY", "k-1")]);
    let handle = handle(&[&source], policy());
    let (routd, webd) = (handle.for_daemon("routd"), handle.for_daemon("webd"));
    let mut pair = routd.watch(&PAIR).await.unwrap();
    let mut one = webd.watch(&ONE).await.unwrap();
    let mut same = routd.watch(&ONE).await.unwrap();
    let before = source.reads();
    source.set([("USER", "bob"), ("PASSWORD", "pw-2"), ("KEY", "k-2")]);
    reach(&mut pair, 2).await;
    reach(&mut one, 2).await;
    reach(&mut same, 2).await;
    assert_eq!(source.reads(), before + 1, "one read, however many bundles and daemons");
    assert_eq!((routd.generation(), webd.generation()), (2, 2), "one look, one generation");
    source.set([("USER", "eve")]);
    reach(&mut pair, 3).await;
    assert_eq!((routd.generation(), webd.generation()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_nobody_watches_is_read_no_more() {
    let (source, secrets, watched) = with_key().await;
    drop(watched);
    let before = source.reads();
    pass(5 * MINUTE).await;
    assert_eq!(source.reads(), before);
    assert!(secrets.status().is_empty());
    assert_eq!(*secrets.watch(&ONE).await.unwrap().current(), "k-1", "and can be watched again");
}

#[tokio::test(start_paused = true)]
async fn what_is_optional_appears_without_a_restart() {
    let source = ScriptedSource::default();
    let secrets = keeping(&[&source]);
    let mut adapter = secrets.watch_optional(&ONE).await.unwrap();
    let mut any = secrets.watch(&ANY).await.unwrap();
    assert_eq!((adapter.current(), any.current()), (Arc::new(None), Arc::new("-/-".into())));
    assert!(secrets.degraded().is_empty(), "absent is fine: {:?}", secrets.degraded());

    source.set([("KEY", "k-1")]);
    reach(&mut adapter, 2).await;
    reach(&mut any, 2).await;
    assert_eq!(adapter.current().as_deref(), Some("k-1"));
    assert_eq!(adapter.accepted().count(), 1, "absence is not an earlier value");
    assert_eq!(accepted(&any), ["k-1/-"]);
}

#[tokio::test(start_paused = true)]
async fn an_optional_name_of_a_bundle_comes_and_stays_until_it_is_forgotten() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-1")]);
    let secrets = keeping(&[&source]);
    let mut watched = secrets.watch(&WITH_EXTRA).await.unwrap();
    source.set([("EXTRA", "e-1")]);
    reach(&mut watched, 2).await;
    assert_eq!(accepted(&watched), ["k-1/e-1"], "what came in addition replaces nothing");

    source.remove("EXTRA");
    secrets.refresh().await;
    source.set([("KEY", "k-2")]);
    reach(&mut watched, 3).await;
    assert_eq!(*watched.current(), "k-2/e-1", "others move, and it keeps its last value");
    assert!(secrets.degraded()[0].starts_with("EXTRA: "), "{:?}", secrets.degraded());

    secrets.forget(&"EXTRA".parse().unwrap()).await;
    reach(&mut watched, 4).await;
    assert_eq!(*watched.current(), "k-2/-");
    assert!(secrets.degraded().is_empty(), "{:?}", secrets.degraded());

    source.set([("EXTRA", "e-2")]);
    reach(&mut watched, 5).await;
    source.remove("EXTRA");
    secrets.refresh().await;
    assert_eq!(*watched.current(), "k-2/e-2", "what came back is kept again when it vanishes");
}

#[tokio::test(start_paused = true)]
async fn an_optional_bundle_that_vanished_is_absent_once_it_is_forgotten_and_may_move() {
    let (file, dotenv) = (ScriptedSource::new("file"), ScriptedSource::new("dotenv"));
    file.set_silently([("KEY", "k-1")]);
    let secrets = keeping(&[&file, &dotenv]);
    let mut watched = secrets.watch_optional(&ONE).await.unwrap();
    file.remove("KEY");
    secrets.refresh().await;
    assert_eq!(watched.current().as_deref(), Some("k-1"), "it stays");
    secrets.forget(&KEY).await;
    reach(&mut watched, 2).await;
    assert_eq!(*watched.current(), None);
    assert_eq!(watched.accepted().count(), 1, "nothing of it is accepted any more");
    dotenv.set([("KEY", "k-2")]);
    reach(&mut watched, 3).await;
    assert_eq!(watched.current().as_deref(), Some("k-2"), "it is a new one, from anywhere");
}

#[tokio::test(start_paused = true)]
async fn the_audit_trail_tells_what_moved_and_who_asked() {
    let (source, secrets, _watched) = with_key().await;
    let mut events = secrets.events();
    source.set_silently([("KEY", "k-2")]);
    secrets.refresh_for("operator:local").await;
    let event = events.try_recv().unwrap();
    assert_eq!((event.daemon.as_str(), &event.name), ("routd", &KEY));
    assert_eq!((event.from.as_deref(), event.to.as_deref()), (Some("v1"), Some("v2")));
    assert_eq!((event.asked_by.as_str(), event.generation), ("operator:local", 2));
    assert_eq!(event.outcome, Outcome::Published);
    let shown = format!("{event:?} {}", serde_json::to_string(&event).unwrap());
    assert!(!shown.contains("k-1") && !shown.contains("k-2"), "{shown}");
    assert!(events.try_recv().is_err(), "once");
}
