//! A cluster that does not do as it is asked: lost connections, refusals that pass, versions that are gone.

use super::*;
use cluster::{Fault, Faults};

#[tokio::test]
async fn a_request_whose_answer_is_lost_makes_one_job() {
    let town = Town::loose();
    let backend = town.kubernetes().await;
    let (first, _) = town.run("before", "exit 0");
    backend.start(&first).await.unwrap();
    end(&backend, &first).await;
    let (spec, home) =
        town.run("lost", "echo ran >> ran; touch up; while ! [ -e go ]; do sleep 0.05; done");
    town.cluster.faults(Faults::all(Fault::LostAfter));
    let starting = backend.start(&spec);
    let mending = async {
        until("the Job is made", || !town.cluster.list("jobs").is_empty()).await;
        town.cluster.faults(Faults::none());
    };
    let (started, ()) = tokio::join!(starting, mending);
    started.unwrap();
    until("the agent is up", || home.join("up").exists()).await;
    assert_eq!(backend.find(&spec.id).await.unwrap(), Found::Alive);
    fs::write(home.join("go"), "").unwrap();
    assert_eq!(end(&backend, &spec).await.how, How::Exited { code: 0 });
    town.empty().await;
    assert_eq!(fs::read_to_string(home.join("ran")).unwrap(), "ran\n", "one Job, one pod");
}

#[tokio::test]
async fn a_watch_whose_version_is_gone_begins_anew_and_misses_nothing() {
    let town = Town::loose();
    let backend = town.kubernetes().await;
    let (spec, home) = town.run("gone", "touch up; while ! [ -e go ]; do sleep 0.05; done; exit 5");
    backend.start(&spec).await.unwrap();
    until("the agent is up", || home.join("up").exists()).await;
    town.cluster.compact();
    fs::write(home.join("go"), "").unwrap();
    assert_eq!(end(&backend, &spec).await.how, How::Exited { code: 5 });
    let lists = town.cluster.calls().into_iter().filter(|call| call.verb == "list").count();
    assert!(lists > 2, "what was listed at first was listed again: {lists}");
}

#[tokio::test]
async fn an_api_that_is_away_fails_a_start_and_a_late_job_is_removed() {
    let mut town = Town::loose();
    town.slack = Duration::from_secs(2);
    let backend = town.kubernetes().await;
    let (first, _) = town.run("before", "exit 0");
    backend.start(&first).await.unwrap();
    end(&backend, &first).await;
    let (spec, home) = town.run("late", "echo ran >> ran; while :; do sleep 0.05; done");
    // Every call is carried out, and none is answered for.
    town.cluster.faults(Faults::all(Fault::Broken(503)));
    let began = Instant::now();
    let error = backend.start(&spec).await.unwrap_err();
    assert!(matches!(error, NotStarted::Failed { .. }), "{}", error.chain());
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    assert!(backend.trouble().await.unwrap().contains("503"));
    let found = backend.find(&spec.id).await.unwrap();
    assert!(matches!(found, Found::Ended(_)), "it is over, whatever comes late: {found:?}");
    town.cluster.faults(Faults::none());
    assert_eq!(backend.trouble().await, None);
    backend.start(&spec).await.unwrap();
    assert!(!home.join("ran").exists(), "and it is not run now");
    town.empty().await;
}

/// Many runs while a tenth of all calls go wrong in every way. `RUNED_SOAK_RUNS` says how many.
#[tokio::test(flavor = "multi_thread")]
async fn no_run_is_lost_doubled_or_left_behind_while_calls_go_wrong() {
    let mut town = Town::loose();
    town.slack = Duration::from_secs(60);
    let backend = Arc::new(town.kubernetes().await);
    #[expect(clippy::disallowed_methods, reason = "a test asks how long it may take")]
    let asked = std::env::var("RUNED_SOAK_RUNS").ok().and_then(|text| text.parse().ok());
    let (runs, at_once) = (asked.unwrap_or(500_usize), 8);
    town.cluster.faults(Faults::some(10, 7));
    let town = Arc::new(town);
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let ends = Arc::new(std::sync::Mutex::new(BTreeMap::<String, usize>::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (town, backend, next, ends) =
            (town.clone(), backend.clone(), next.clone(), ends.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                if number >= runs {
                    return;
                }
                let (spec, home) = town.run(&format!("soak{number}"), "echo ran >> ran");
                let how = match backend.start(&spec).await {
                    Ok(()) => loop {
                        if let Ok(ended) = backend.watch(&spec.id).await {
                            break ended.how;
                        }
                    },
                    Err(NotStarted::Failed { .. }) => How::NotStarted { permanent: false },
                    Err(error) => panic!("{}", error.chain()),
                };
                let ran = fs::read_to_string(home.join("ran")).unwrap_or_default();
                assert!(ran.lines().count() <= 1, "{} ran twice", spec.id);
                if how == (How::Exited { code: 0 }) {
                    assert_eq!(ran, "ran\n", "{} is said to have run", spec.id);
                }
                *ends.lock().unwrap().entry(format!("{how:?}")).or_default() += 1;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    town.cluster.faults(Faults::none());
    let ended = Instant::now();
    town.empty().await;
    let (ends, calls) = (ends.lock().unwrap().clone(), town.cluster.calls().len());
    println!(
        "{runs} runs ended as {ends:?}, with {calls} calls; none was left {:?} later",
        ended.elapsed()
    );
    let good = ends.get("Exited { code: 0 }").copied().unwrap_or_default();
    assert!(good * 100 >= runs * 99, "{ends:?}");
    assert!(town.cluster.started() <= runs as u64, "no run was started twice");
    town.nothing_forbidden();
}
