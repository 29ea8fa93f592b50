//! Where a bundle comes from.

use crate::stage::{
    ANY, MINUTE, ONE, PAIR, SECOND, WITH_EXTRA, accepted, handle, keeping, pass, reach,
};
use secrets::{
    Keeper, LOOK_SPACING, Probe, SecretSource, WatchError, probe,
    testing::{ScriptedSource, policy},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

fn two() -> (ScriptedSource, ScriptedSource) {
    (ScriptedSource::new("file"), ScriptedSource::new("dotenv"))
}

#[tokio::test(start_paused = true)]
async fn a_bundle_comes_whole_from_the_first_source_that_has_it() {
    let (file, dotenv) = two();
    file.set_silently([("USER", "half")]);
    dotenv.set_silently([("USER", "ada"), ("PASSWORD", "pw-1"), ("KEY", "k-2")]);
    let secrets = keeping(&[&file, &dotenv]);
    assert_eq!(*secrets.watch(&PAIR).await.unwrap().current(), "ada:pw-1");

    file.set_silently([("KEY", "k-1")]);
    let secrets = keeping(&[&file, &dotenv]);
    let before = dotenv.reads();
    let mut one = secrets.watch(&ONE).await.unwrap();
    assert_eq!(*one.current(), "k-1");
    pass(5 * MINUTE).await;
    assert_eq!(dotenv.reads(), before, "the second is not asked for what the first has");
    file.set([("KEY", "k-3")]);
    reach(&mut one, 2).await;
    assert_eq!(*one.current(), "k-3", "its source is the first from now on");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_starts_waits_for_no_pause_between_looks_and_whoever_asks_later_does() {
    let (file, dotenv) = two();
    file.set_silently([("KEY", "k-1")]);
    dotenv.set_silently([("USER", "ada"), ("PASSWORD", "pw-1")]);
    let secrets = keeping(&[&file, &dotenv]);
    // The keeper's own first look, for nobody, is over.
    pass(Duration::from_millis(1)).await;
    let began = Instant::now();
    let one = secrets.watch(&ONE).await.unwrap();
    let pair = secrets.watch(&PAIR).await.unwrap();
    let extra = secrets.watch(&WITH_EXTRA).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO, "no pause was waited for");
    assert_eq!((one.current().as_str(), pair.current().as_str()), ("k-1", "ada:pw-1"));

    for value in ["k-2", "k-3", "k-4"] {
        file.set([("KEY", value)]);
        pass(LOOK_SPACING / 10).await;
    }
    pass(SECOND / 2).await;
    assert_eq!(*one.current(), "k-4");
    assert_eq!(*extra.current(), "k-4/-");
    let calls = file.calls();
    let looks: Vec<_> = calls.iter().map(|call| call.began).collect();
    let later = looks.iter().filter(|at| **at > began).count();
    assert!(later > 0, "{looks:?}");
    for pair in looks.windows(2).filter(|pair| pair[1] > began) {
        assert!(pair[1] - pair[0] >= LOOK_SPACING, "looks that nobody starts with are apart");
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_name_never_changes_its_source() {
    let (file, dotenv) = two();
    dotenv.set_silently([("KEY", "k-1")]);
    let secrets = keeping(&[&file, &dotenv]);
    let mut watched = secrets.watch(&ONE).await.unwrap();
    file.set([("KEY", "other")]);
    pass(2 * MINUTE).await;
    assert_eq!(accepted(&watched), ["k-1"], "not when an earlier source has it later");

    dotenv.remove("KEY");
    pass(2 * MINUTE).await;
    assert_eq!(accepted(&watched), ["k-1"], "nor when its own has it no more");
    assert!(secrets.degraded()[0].contains("has it no more"), "{:?}", secrets.degraded());
    dotenv.set([("KEY", "k-2")]);
    reach(&mut watched, 2).await;
    assert_eq!(*watched.current(), "k-2");
    assert!(secrets.degraded().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_required_secret_that_is_nowhere_is_an_error_that_says_all() {
    let (file, dotenv) = two();
    dotenv.set_silently([("USER", "ada")]);
    let error = keeping(&[&file, &dotenv]).watch(&PAIR).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "routd needs USER (who), PASSWORD (the proof) and no source has it all. Asked: \
         the file script (file): it has no USER, PASSWORD; \
         the dotenv script (dotenv): it has USER, but no PASSWORD. \
         Put it into one of them, or name another source in SECRETS_SOURCES, and start again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_read_is_waited_for_and_never_passed_over() {
    for break_it in [ScriptedSource::fail, ScriptedSource::deny, ScriptedSource::hang] {
        let (file, dotenv) = two();
        file.set_silently([("KEY", "k-file")]);
        dotenv.set_silently([("KEY", "k-dotenv")]);
        break_it(&file);
        let secrets = keeping(&[&file, &dotenv]);
        let early = timeout(5 * MINUTE, secrets.watch(&ONE)).await;
        assert!(early.is_err(), "the second source is not taken instead");
        assert_eq!(dotenv.reads(), 0);

        let waits = tokio::spawn({
            let secrets = secrets.clone();
            async move { secrets.watch(&ONE).await }
        });
        pass(MINUTE).await;
        let waiting = secrets.waiting();
        assert_eq!(waiting.len(), 1, "{waiting:?}");
        assert!(waiting[0].starts_with("KEY: the file script (file): "), "{waiting:?}");
        assert!(secrets.status()[0].error.is_some());
        file.repair();
        let watched = timeout(2 * MINUTE, waits).await.unwrap().unwrap().unwrap();
        assert_eq!(*watched.current(), "k-file");
        assert!(secrets.waiting().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_delays_no_other() {
    let (vault, file) = (ScriptedSource::new("vault"), ScriptedSource::new("file"));
    vault.set_silently([("USER", "ada"), ("PASSWORD", "pw-1")]);
    file.set_silently([("KEY", "k-1")]);
    let secrets = keeping(&[&vault, &file]);
    let pair = secrets.watch(&PAIR).await.unwrap();
    let mut one = secrets.watch(&ONE).await.unwrap();
    vault.hang();
    vault.hint();
    pass(SECOND).await;
    file.set([("KEY", "k-2")]);
    timeout(SECOND, one.reached(2)).await.expect("the file is read while the other hangs");
    assert_eq!(accepted(&pair), ["ada:pw-1"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_at_the_start_is_an_error_and_does_not_pass_on() {
    let (file, dotenv) = two();
    dotenv.set_silently([("KEY", "k-2")]);
    file.set_silently([("KEY", "bad")]);
    let unusable = |reason: &str| WatchError::Unusable {
        names: "KEY".into(),
        place: "the file script (file)".into(),
        reason: reason.into(),
    };
    let secrets = keeping(&[&file, &dotenv]);
    let error = secrets.watch(&ONE).await.unwrap_err();
    assert_eq!(error, unusable("the key is not of the right shape"));
    file.reject("KEY", "it is a directory");
    assert_eq!(secrets.watch(&ONE).await.unwrap_err(), unusable("it is a directory"));
    file.set_silently([("KEY", "")]);
    assert_eq!(secrets.watch(&ONE).await.unwrap_err(), unusable("it is empty"));
    file.set_silently([("KEY", "panic")]);
    let error = secrets.watch(&ONE).await.unwrap_err();
    assert_eq!(error, unusable("its parser failed; this is a defect"));

    file.refuse();
    let error = secrets.watch(&ONE).await.unwrap_err().to_string();
    assert!(error.contains("KEY") && error.contains("chmod 600"), "{error}");
    assert_eq!(dotenv.reads(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_optional_name_with_an_empty_value_counts_as_absent_and_shows() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-1"), ("EXTRA", "")]);
    let secrets = keeping(&[&source]);
    let mut watched = secrets.watch(&WITH_EXTRA).await.unwrap();
    assert_eq!(*watched.current(), "k-1/-");
    assert_eq!(
        secrets.degraded(),
        ["EXTRA: the scripted script (scripted): it is empty, taken for absent"]
    );
    source.set([("EXTRA", "e-1")]);
    reach(&mut watched, 2).await;
    assert!(secrets.degraded().is_empty());

    // One that is there and unusable is not: it might have been the stricter one.
    source.reject("EXTRA", "it is a directory");
    assert!(secrets.watch(&WITH_EXTRA).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_optional_is_never_waited_for_and_never_an_error() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "bad")]);
    let secrets = keeping(&[&source]);
    let mut watched = secrets.watch_optional(&ONE).await.unwrap();
    assert_eq!(*watched.current(), None);
    assert!(secrets.degraded()[0].contains("not of the right shape"), "{:?}", secrets.degraded());
    source.set([("KEY", "k-1")]);
    reach(&mut watched, 2).await;
    assert_eq!(watched.current().as_deref(), Some("k-1"));
    assert!(secrets.degraded().is_empty());

    let silent = ScriptedSource::default();
    silent.fail();
    let secrets = keeping(&[&silent]);
    let mut watched = secrets.watch_optional(&ONE).await.unwrap();
    assert_eq!(*watched.current(), None);
    assert!(secrets.degraded()[0].contains("it is down"), "{:?}", secrets.degraded());
    silent.set_silently([("KEY", "k-1")]);
    silent.repair();
    reach(&mut watched, 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_needs_nothing_waits_for_a_source_that_may_have_it() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-1")]);
    source.fail();
    let secrets = keeping(&[&source]);
    {
        let mut waits = std::pin::pin!(secrets.watch(&ANY));
        assert!(timeout(MINUTE, &mut waits).await.is_err(), "it may well be there");
        assert_eq!(secrets.waiting().len(), 2, "{:?}", secrets.waiting());
    }
    source.repair();
    assert_eq!(*secrets.watch(&ANY).await.unwrap().current(), "k-1/-");
}

#[tokio::test(start_paused = true)]
async fn a_static_source_is_not_polled() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-1")]);
    source.make_static();
    let secrets = keeping(&[&source]);
    let _watched = secrets.watch(&ONE).await.unwrap();
    let before = source.reads();
    pass(60 * MINUTE).await;
    assert_eq!(source.reads(), before);
    assert!(secrets.status()[0].is_static);
}

#[tokio::test(start_paused = true)]
async fn without_a_keeper_or_a_source_watching_ends_with_an_error() {
    let error = keeping(&[]).watch(&ONE).await.unwrap_err().to_string();
    assert!(error.contains("no source is configured"), "{error}");

    let source = ScriptedSource::default();
    let (keeper, kept) = Keeper::new(vec![Arc::new(source.clone())], policy());
    drop(keeper);
    let never = kept.for_daemon("routd").watch(&ONE).await;
    assert_eq!(never.unwrap_err(), WatchError::Stopped);

    let stop = CancellationToken::new();
    let (keeper, kept) = Keeper::new(vec![Arc::new(source.clone())], policy());
    let running = tokio::spawn(keeper.run(stop.clone()));
    source.fail();
    let secrets = kept.for_daemon("routd");
    assert!(timeout(SECOND, secrets.watch(&ONE)).await.is_err());
    stop.cancel();
    timeout(SECOND, running).await.expect("it stops when it is told to").unwrap();
    assert_eq!(secrets.watch(&ONE).await.unwrap_err(), WatchError::Stopped);
}

#[tokio::test(start_paused = true)]
async fn the_same_daemon_is_the_same_view() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-1")]);
    let handle = handle(&[&source], policy());
    let _watched = handle.for_daemon("routd").watch(&ONE).await.unwrap();
    assert_eq!(handle.for_daemon("routd").status().len(), 1);
    assert!(handle.for_daemon("webd").status().is_empty());
    pass(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn half_of_something_optional_is_absent_and_shown() {
    let source = ScriptedSource::default();
    source.set_silently([("USER", "ada")]);
    let secrets = keeping(&[&source]);
    let mut watched = secrets.watch_optional(&PAIR).await.unwrap();
    assert_eq!(*watched.current(), None);
    let expected = "PASSWORD: the scripted script (scripted): it has USER, but no PASSWORD";
    assert_eq!(secrets.degraded(), [expected]);
    source.set([("PASSWORD", "pw-1")]);
    reach(&mut watched, 2).await;
    assert!(secrets.degraded().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_probe_finds_what_the_keeper_would() {
    let (file, dotenv) = two();
    let chain: [Arc<dyn SecretSource>; 2] = [Arc::new(file.clone()), Arc::new(dotenv.clone())];
    let problem = |probe: Probe| probe.problem.unwrap_or_default();

    let nowhere = probe(&chain, &PAIR, SECOND).await;
    assert_eq!(nowhere.asked.len(), 2);
    assert!(problem(nowhere).contains("the file script (file): it has no USER, PASSWORD"));
    assert_eq!(probe(&chain, &ANY, SECOND).await.problem, None, "it requires nothing");

    file.set_silently([("USER", "half"), ("EXTRA", "")]);
    dotenv.set_silently([("USER", "ada"), ("PASSWORD", "pw-1"), ("KEY", "bad")]);
    let found = probe(&chain, &PAIR, SECOND).await;
    assert_eq!(found.source.as_deref(), Some("the dotenv script (dotenv)"));
    assert_eq!((found.present.len(), found.problem), (2, None));
    assert_eq!(found.asked, ["the file script (file): it has USER, but no PASSWORD"]);

    let unusable = problem(probe(&chain, &ONE, SECOND).await);
    assert_eq!(unusable, "the dotenv script (dotenv): KEY: the key is not of the right shape");
    file.hang();
    let silent = problem(probe(&chain, &ONE, SECOND).await);
    assert_eq!(silent, "the file script (file): no answer within 1s");
}
