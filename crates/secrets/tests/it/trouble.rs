//! A source says nonsense, or nothing at all, while the daemon runs.

use crate::stage::{
    MINUTE, ONE, PAIR, SECOND, WITH_EXTRA, accepted, keeping, pass, reach, with_key, with_pair,
};
use secrets::{Outcome, testing::ScriptedSource};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_the_whole_last_good_generation_stays() {
    let (source, secrets, mut watched) = with_pair().await;
    type Break = fn(&ScriptedSource);
    let checks: [(&str, Break); 8] = [
        ("it is down", ScriptedSource::fail),
        ("403", ScriptedSource::deny),
        ("chmod 600", ScriptedSource::refuse),
        ("no answer within 10s", ScriptedSource::hang),
        ("did not answer for every name", ScriptedSource::answer_too_few),
        ("not of the right shape", |s| s.set_silently([("USER", "bob"), ("PASSWORD", "bad")])),
        ("it is a FIFO", |s| s.reject("PASSWORD", "it is a FIFO")),
        ("it is empty", |s| s.set_silently([("USER", "bob"), ("PASSWORD", "")])),
    ];
    for (reason, break_it) in checks {
        break_it(&source);
        secrets.refresh().await;
        pass(2 * MINUTE).await;
        assert_eq!(accepted(&watched), ["ada:pw-1"], "{reason}");
        let status = secrets.status();
        let errors: Vec<_> = status.iter().filter_map(|s| s.error.as_deref()).collect();
        assert!(errors.iter().any(|error| error.contains(reason)), "{reason}: {errors:?}");
        source.set_silently([("USER", "ada"), ("PASSWORD", "pw-1")]);
        source.repair();
        pass(2 * MINUTE).await;
        assert!(secrets.status().iter().all(|s| s.error.is_none()), "after: {reason}");
        assert!(secrets.degraded().is_empty(), "after: {reason}: {:?}", secrets.degraded());
    }
    assert_eq!(watched.generation(), 1);
    source.set([("PASSWORD", "pw-2")]);
    reach(&mut watched, 2).await;
}

#[tokio::test(start_paused = true)]
async fn half_a_pair_that_vanishes_keeps_the_other_half_as_it_was() {
    let (source, secrets, watched) = with_pair().await;
    source.set_silently([("USER", "bob")]);
    source.remove("PASSWORD");
    secrets.refresh().await;
    assert_eq!(accepted(&watched), ["ada:pw-1"]);
    let degraded = secrets.degraded();
    assert!(degraded.iter().any(|line| line.starts_with("PASSWORD: ")), "{degraded:?}");
}

#[tokio::test(start_paused = true)]
async fn an_optional_name_that_is_rejected_keeps_the_whole_as_it_was() {
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-1"), ("EXTRA", "e-1")]);
    let secrets = keeping(&[&source]);
    let watched = secrets.watch(&WITH_EXTRA).await.unwrap();
    source.set_silently([("KEY", "k-2")]);
    source.reject("EXTRA", "it is a FIFO");
    secrets.refresh().await;
    assert_eq!(accepted(&watched), ["k-1/e-1"]);
    assert!(secrets.degraded()[0].contains("it is a FIFO"), "{:?}", secrets.degraded());
    source.set_silently([("EXTRA", "")]);
    secrets.refresh().await;
    assert_eq!(accepted(&watched), ["k-1/e-1"], "emptied is not absent, once it was there");
}

#[tokio::test(start_paused = true)]
async fn a_bad_push_is_counted_and_told_once_until_it_changes() {
    let (source, secrets, mut watched) = with_key().await;
    let mut registry = prometheus_client::registry::Registry::default();
    secrets.register_metrics(&mut registry);
    let mut events = secrets.events();
    source.set([("KEY", "bad-1")]);
    pass(5 * MINUTE).await;
    let rejected = Outcome::Rejected("the key is not of the right shape".into());
    assert_eq!(events.try_recv().unwrap().outcome, rejected);
    assert!(events.try_recv().is_err(), "told once, however often it is read");
    assert_eq!(count(&registry), 1);
    assert!(figures(&registry).contains("arizuko_secret_error{name=\"KEY\"} 1\n"));

    source.set([("KEY", "bad-2")]);
    pass(MINUTE).await;
    assert_eq!(count(&registry), 2, "another bad push is another rejection");
    source.set([("KEY", "k-2")]);
    reach(&mut watched, 2).await;
    assert_eq!(accepted(&watched), ["k-2", "k-1"], "nothing of the bad pushes is accepted");
    assert!(secrets.degraded().is_empty());
    assert!(figures(&registry).contains("arizuko_secret_error{name=\"KEY\"} 0\n"));
}

fn figures(registry: &prometheus_client::registry::Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    text
}

fn count(registry: &prometheus_client::registry::Registry) -> u32 {
    let text = figures(registry);
    let line = "arizuko_secret_rejected_total{name=\"KEY\",source=\"scripted\"} ";
    let found = text.lines().find_map(|l| l.strip_prefix(line));
    found.map_or(0, |number| number.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_parser_that_panics_takes_nothing_with_it() {
    let (source, secrets, mut watched) = with_key().await;
    source.set([("KEY", "panic")]);
    pass(MINUTE).await;
    assert_eq!(accepted(&watched), ["k-1"]);
    assert!(secrets.degraded()[0].contains("its parser failed"), "{:?}", secrets.degraded());
    source.set([("KEY", "k-2")]);
    reach(&mut watched, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_is_read_again_later() {
    let (source, _secrets, mut watched) = with_key().await;
    source.panic();
    source.set([("KEY", "k-2")]);
    pass(MINUTE).await;
    assert_eq!(accepted(&watched), ["k-1"]);
    source.repair();
    reach(&mut watched, 2).await;
}

#[tokio::test(start_paused = true)]
async fn silence_is_degraded_only_once_it_has_lasted() {
    let (source, secrets, watched) = with_key().await;
    source.fail();
    pass(59 * MINUTE).await;
    assert!(secrets.degraded().is_empty(), "{:?}", secrets.degraded());
    assert!(secrets.status()[0].error.is_some(), "though the status shows it at once");
    pass(3 * MINUTE).await;
    let degraded = secrets.degraded();
    assert_eq!(degraded.len(), 1, "{degraded:?}");
    assert!(degraded[0].contains("has not answered for 6"), "{degraded:?}");
    assert_eq!(accepted(&watched), ["k-1"], "and nothing else changes");
}

#[tokio::test(start_paused = true)]
async fn a_failing_source_is_asked_again_with_backoff() {
    let (source, _secrets, _watched) = with_key().await;
    source.fail();
    source.hint();
    pass(SECOND / 10).await;
    let before = source.reads();
    pass(3 * SECOND).await;
    let early = source.reads() - before;
    assert!((2..=4).contains(&early), "soon at first: {early}");
    pass(5 * MINUTE).await;
    let before = source.reads();
    pass(10 * MINUTE).await;
    let late = source.reads() - before;
    assert!((18..=45).contains(&late), "then once in half a poll or a whole one: {late}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hints_without_end_is_not_read_without_end() {
    let (source, _secrets, _watched) = with_key().await;
    let before = source.reads();
    let began = Instant::now();
    while began.elapsed() < SECOND {
        source.hint();
        pass(SECOND / 1000).await;
    }
    assert!(source.reads() - before <= 21, "{} reads in a second", source.reads() - before);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_of_a_source_that_hangs_ends() {
    let (source, secrets, watched) = with_key().await;
    source.hang();
    let began = Instant::now();
    secrets.refresh().await;
    assert!(began.elapsed() <= 11 * SECOND, "{:?}", began.elapsed());
    assert_eq!(accepted(&watched), ["k-1"]);
}

#[tokio::test(start_paused = true)]
async fn no_output_shows_a_value() {
    let source = ScriptedSource::default();
    source.set_silently([("USER", "ada"), ("PASSWORD", "hunter2-secret")]);
    let secrets = keeping(&[&source]);
    let watched = secrets.watch(&PAIR).await.unwrap();
    source.set([("PASSWORD", "bad-hunter2-secret")]);
    pass(MINUTE).await;
    let shown = format!(
        "{source:?} {secrets:?} {watched:?} {:?} {:?} {:?} {ONE:?}",
        watched.accepted(),
        secrets.status(),
        secrets.degraded(),
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}
