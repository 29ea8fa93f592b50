//! A day beside a source that hangs, answers too late or refuses.

use crate::stage::{MINUTE, ONE, PAIR, SECOND, accepted, handle, keeping, pass, reach, with_key};
use secrets::{
    BACKOFF_FIRST, LOOK_SPACING, Secrets, Watched,
    testing::{Call, ScriptedSource, policy, wall_begin},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

const HOUR: Duration = Duration::from_secs(3600);
/// `SECRETS_POLL_INTERVAL`, as it is where nobody sets it.
const POLL: Duration = Duration::from_secs(30);
/// The limit of one read.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// One way to be out of order, and what the status says of it.
type Outage = (&'static str, fn(&ScriptedSource));

const OUTAGES: [Outage; 6] = [
    ("no answer within 10s", ScriptedSource::hang),
    ("no answer within 10s", |source| source.answer_after(READ_LIMIT + SECOND)),
    ("it is down", ScriptedSource::fail),
    ("403", ScriptedSource::deny),
    ("chmod 600", ScriptedSource::refuse),
    ("did not answer for every name", ScriptedSource::answer_too_few),
];

/// Tasks that use a secret all the time: they present what is current and check what is accepted.
struct Users {
    tasks: JoinSet<()>,
    over: Arc<AtomicBool>,
    uses: Arc<AtomicU64>,
}

impl Users {
    /// Four of them, each use that far from its next. `good` tells whether a value may be in use.
    fn of(watched: &Watched<String>, every: Duration, good: fn(&str) -> bool) -> Self {
        let (over, uses) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for user in 0..4 {
            let (watched, over, uses) = (watched.clone(), over.clone(), uses.clone());
            tasks.spawn(async move {
                pass(every * user / 4).await;
                while !over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let presented = watched.current();
                    assert!(good(&presented), "presented: {presented}");
                    let known = |value: &String| (*value == *presented).then_some(());
                    assert!(watched.check(known).await.is_some(), "refused: {presented}");
                    assert!(watched.accepted().all(|value| good(&value)));
                    assert_eq!(began.elapsed(), Duration::ZERO, "a use never waits for a source");
                    uses.fetch_add(1, Ordering::Relaxed);
                    pass(every).await;
                }
            });
        }
        Self { tasks, over, uses }
    }

    /// How often the secret was used, each time with success.
    async fn end(mut self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no use of the secret has failed");
        }
        self.uses.load(Ordering::Relaxed)
    }
}

/// That no two calls were under way at one moment, and none for longer than the limit.
fn one_at_a_time(calls: &[Call]) {
    for pair in calls.windows(2) {
        let ended = pair[0].ended.expect("only the last may be under way");
        assert!(ended <= pair[1].began, "two calls at once: {pair:?}");
    }
    for call in calls {
        let took = call.ended.unwrap_or_else(Instant::now) - call.began;
        assert!(took <= READ_LIMIT + SECOND / 100, "a call lasted {took:?}");
    }
}

/// From the end of each call to the beginning of the next.
fn waits(calls: &[Call]) -> Vec<Duration> {
    let wait = |pair: &[Call]| pair[1].began - pair[0].ended.unwrap();
    calls.windows(2).map(wait).collect()
}

/// That the source was left alone for longer after each failure: a second, two, four and so on up
/// to the poll interval, each wait within a half and the whole of that.
fn backs_off(failed: &[Call]) {
    let waits = waits(failed);
    assert!(waits.len() > 10, "{waits:?}");
    for (failures, wait) in waits.iter().enumerate() {
        let longest = (BACKOFF_FIRST * (1 << failures.min(10))).min(POLL);
        let spaced = *wait + SECOND / 100 >= (longest / 2).max(LOOK_SPACING);
        let within = *wait <= longest + LOOK_SPACING;
        assert!(spaced && within, "after {} failures: {wait:?} of {longest:?}", failures + 1);
    }
}

/// When the metrics say that the source of that kind last answered.
fn last_ok(registry: &prometheus_client::registry::Registry, kind: &str) -> Duration {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    let name = "arizuko_secret_source_last_ok_timestamp_seconds";
    let line = format!("{name}{{source=\"{kind}\",place=\"the {kind} script\"}} ");
    let found = text.lines().find_map(|l| l.strip_prefix(&line));
    let seconds: f64 = found.unwrap_or_else(|| panic!("{line} in {text}")).parse().unwrap();
    let begin = wall_begin().duration_since(UNIX_EPOCH).unwrap();
    Duration::from_secs_f64(seconds).saturating_sub(begin)
}

/// The error that the status shows for a name.
fn error(secrets: &Secrets, name: &str) -> Option<String> {
    let mut statuses = secrets.status().into_iter();
    statuses.find(|status| status.name.as_str() == name).unwrap().error
}

/// Lets the call that may be under way end.
async fn between_calls(source: &ScriptedSource) {
    while source.calls().last().is_some_and(|call| call.ended.is_none()) {
        pass(SECOND / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn twenty_four_hours_of_trouble_fail_no_use_and_every_repair_is_taken_up_at_the_next_call() {
    let began = Instant::now();
    let source = ScriptedSource::default();
    source.set_silently([("KEY", "k-1")]);
    let secrets = keeping(&[&source]);
    let mut watched = secrets.watch(&ONE).await.unwrap();
    let mut registry = prometheus_client::registry::Registry::default();
    secrets.register_metrics(&mut registry);
    let users = Users::of(&watched, SECOND, |value| value.starts_with("k-"));
    for round in 0..4 {
        for (reason, break_it) in OUTAGES {
            let generation = watched.generation();
            let healthy = source.calls().len();
            break_it(&source);
            pass(2 * POLL).await;
            let shown = error(&secrets, "KEY").expect("shown within two poll intervals");
            assert!(shown.contains(reason), "{shown}");
            let said_no = ["403", "chmod 600"].contains(&reason);
            assert_eq!(!secrets.degraded().is_empty(), said_no, "an answer of no is told at once");
            let answered = last_ok(&registry, "scripted");

            pass(HOUR - 2 * POLL).await;
            assert_eq!(last_ok(&registry, "scripted"), answered, "the metric stands still");
            assert_eq!(watched.generation(), generation, "and what is in use stays: {reason}");
            let calls = source.calls();
            let (mut failed, now) = (calls[healthy..].to_vec(), Instant::now());
            failed.retain(|call| call.ended.is_some_and(|ended| ended < now));
            backs_off(&failed);

            // Repaired while nothing is asked, and without a hint.
            between_calls(&source).await;
            let next = format!("k-{}", generation + 1);
            source.set_silently([("KEY", &next)]);
            source.repair();
            let asked = source.calls().len();
            timeout(POLL + 2 * SECOND, watched.reached(generation + 1)).await.expect(reason);
            assert_eq!(source.calls().len(), asked + 1, "by the first call after the repair");
            assert_eq!(*watched.current(), next);
            assert_eq!(error(&secrets, "KEY"), None);
            assert!(secrets.degraded().is_empty(), "{:?}", secrets.degraded());
            pass(POLL).await;
            assert!(last_ok(&registry, "scripted") > answered, "round {round}, after: {reason}");
        }
    }
    assert!(began.elapsed() > 24 * HOUR, "{:?}", began.elapsed());
    let uses = users.end().await;
    assert!(uses > 300_000, "{uses} uses");
    let calls = source.calls();
    one_at_a_time(&calls);
    println!("{uses} uses, {} calls of the source in {:?}", calls.len(), began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_dead_source_for_a_whole_day_leaves_the_good_one_beside_it_as_it_was() {
    let began = Instant::now();
    let (dead, good) = (ScriptedSource::new("dead"), ScriptedSource::new("good"));
    dead.set_silently([("KEY", "k-1")]);
    good.set_silently([("USER", "ada"), ("PASSWORD", "pw-1")]);
    let secrets = keeping(&[&dead, &good]);
    let key = secrets.watch(&ONE).await.unwrap();
    let mut pair = secrets.watch(&PAIR).await.unwrap();
    let mut registry = prometheus_client::registry::Registry::default();
    secrets.register_metrics(&mut registry);
    let users = [
        Users::of(&key, 10 * SECOND, |value| value == "k-1"),
        Users::of(&pair, 10 * SECOND, |value| value.starts_with("ada:pw-")),
    ];
    let polled = POLL.mul_f64(1.1) + SECOND;
    // Each hour in another way; it never answers in between.
    for (hour, (reason, break_it)) in (1..=24).zip(OUTAGES.into_iter().cycle()) {
        dead.answer_after(Duration::ZERO);
        break_it(&dead);
        let value = format!("pw-{}", hour + 1);
        if hour % 2 == 0 {
            good.set([("PASSWORD", &value)]);
            timeout(SECOND, pair.reached(hour + 1)).await.expect("a hint is heard at once");
        } else {
            good.set_silently([("PASSWORD", &value)]);
            let found = timeout(polled, pair.reached(hour + 1)).await;
            found.expect("and without one the poll finds it");
        }
        pass(HOUR).await;
        let silent = began.elapsed() - last_ok(&registry, "good");
        assert!(silent <= polled, "{reason}: the good one was not asked for {silent:?}");
        assert_eq!((error(&secrets, "USER"), error(&secrets, "PASSWORD")), (None, None));
        assert!(error(&secrets, "KEY").is_some(), "{reason}");
        let degraded = secrets.degraded();
        assert!(degraded.len() == 1 && degraded[0].contains("the dead script"), "{degraded:?}");
    }
    assert_eq!(accepted(&key), ["k-1"]);
    assert_eq!(accepted(&pair), ["ada:pw-25"]);
    for users in users {
        assert!(users.end().await > 30_000);
    }
    let late = waits(&good.calls()).into_iter().max().unwrap();
    assert!(late <= polled, "the good one waited {late:?}");
    one_at_a_time(&dead.calls());
    one_at_a_time(&good.calls());
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_and_however_often_a_source_in_trouble_has_one_call_at_a_time() {
    for (reason, break_it) in OUTAGES {
        let source = ScriptedSource::default();
        source.set_silently([("KEY", "k-1")]);
        let handle = handle(&[&source], policy());
        let secrets = handle.for_daemon("routd");
        let mut watched = secrets.watch(&ONE).await.unwrap();
        let users = Users::of(&watched, SECOND, |value| ["k-1", "k-2"].contains(&value));
        break_it(&source);
        let mut askers = JoinSet::new();
        for asker in 0..40_u32 {
            let (source, secrets, watched) = (source.clone(), secrets.clone(), watched.clone());
            askers.spawn(async move {
                for _ in 0..5 {
                    pass(SECOND * asker / 7).await;
                    match asker % 4 {
                        0 => secrets.refresh().await,
                        1 => source.hint(),
                        2 => assert!(watched.check(|_| None::<()>).await.is_none(), "a stranger"),
                        _ => drop(watched.refused(watched.generation()).await),
                    }
                }
            });
        }
        let asked = async {
            while let Some(ended) = askers.join_next().await {
                ended.unwrap();
            }
        };
        timeout(HOUR, asked).await.expect("nobody waits for a source without end");
        one_at_a_time(&source.calls());
        assert_eq!(accepted(&watched), ["k-1"], "{reason}");
        between_calls(&source).await;
        source.set_silently([("KEY", "k-2")]);
        source.repair();
        reach(&mut watched, 2).await;
        assert!(users.end().await > 100, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_given_up_and_asked_again() {
    let (source, secrets, mut watched) = with_key().await;
    source.hang();
    source.hint();
    pass(READ_LIMIT + SECOND / 2).await;
    let calls = source.calls();
    let hung = calls.last().unwrap();
    assert_eq!(hung.ended.unwrap() - hung.began, READ_LIMIT, "given up at the limit");
    assert!(error(&secrets, "KEY").unwrap().contains("no answer within 10s"));
    pass(MINUTE).await;
    assert!(source.calls().len() > calls.len(), "and asked again");
    source.set_silently([("KEY", "k-2")]);
    source.repair();
    reach(&mut watched, 2).await;
    one_at_a_time(&source.calls());
}
