//! runed as a daemon: over HTTP, with agents that run, through restarts.

use crate::conformance::Place;
use crate::process::Machine;
use crate::waiting::{PATIENCE, until, within};
use kit::testing::{Rig, Serving, TestAuthority, serve_daemon};
use kit::{Clock, Context, Peer, PeerError, Peers};
use proto::runed::{
    AUDIT, END_RUN, Egress, EndRun, GET_RUN, GetRun, LIST_RUNS, Limits, ListRuns, RUN_LOG, Run,
    RunEnd, RunState, START_RUN, STATUS, StartRun, TurnEndpoint,
};
use proto::turn::Harness;
use proto::{Daemon, Nothing, Timestamp};
use runed::Programs;
use runed::process::Without;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A runed that is served, and a routd that calls it.
pub struct Runed {
    context: Context,
    authority: TestAuthority,
    serving: Serving,
    /// As routd.
    pub peer: Peer,
    /// As the operator.
    operator: Peer,
}

/// How runed is set up.
#[derive(Clone, Default)]
pub struct SetUp {
    pub settings: Vec<(&'static str, String)>,
    pub clock: Option<Clock>,
    pub authority: Option<TestAuthority>,
}

impl Runed {
    pub async fn start(machine: &Machine, set_up: SetUp) -> Self {
        let mut rig = Rig::new(Daemon::Runed, machine.data());
        for (name, value) in set_up.settings {
            rig = rig.setting(name, value);
        }
        if let Some(clock) = &set_up.clock {
            rig = rig.clock(clock);
        }
        if let Some(authority) = &set_up.authority {
            rig = rig.authority(authority);
        }
        let (context, authority) = rig.build().await;
        let router = runed::start_with(context.clone(), programs(machine)).await.unwrap();
        let serving = serve_daemon(&context, router).await;
        let routd = Rig::new(Daemon::Routd, machine.data())
            .authority(&authority)
            .peer(Daemon::Runed, &serving.url);
        let (routd, _) = routd.build().await;
        let peer = routd.peers.get(Daemon::Runed);
        let urls = [(Daemon::Runed, serving.url.clone())].into();
        let operator = Peers::with_token(reqwest::Client::new(), urls, &authority.operator());
        let operator = operator.get(Daemon::Runed);
        Self { context, authority, serving, peer, operator }
    }

    /// Stops it as a process is stopped: its tasks end, its shims do not.
    async fn stop(self) -> TestAuthority {
        self.context.stop.cancel();
        drop(self.serving);
        let late = self.context.tasks.ended(PATIENCE).await;
        assert_eq!(late, [""; 0], "every task ends when it is told to");
        assert_eq!(self.context.stores.close().await, [""; 0], "its database is closed");
        self.authority
    }

    pub async fn run(&self, wanted: &StartRun) -> Run {
        within("the answer to a start", self.peer.call(&START_RUN, wanted)).await.unwrap()
    }

    async fn get(&self, run: &Run) -> Run {
        let asked = GetRun { id: run.id.clone(), wait_seconds: 0, unless_state: None };
        self.peer.call(&GET_RUN, &asked).await.unwrap()
    }

    /// Long polls until the run is in `state`.
    async fn reaches(&self, run: &Run, state: RunState) -> Run {
        within(&format!("{} to be {state:?}", run.turn_id), async {
            let mut seen = self.get(run).await;
            while seen.state != state {
                assert_ne!(seen.state, RunState::Ended, "{seen:?}");
                let asked =
                    GetRun { id: run.id.clone(), wait_seconds: 30, unless_state: Some(seen.state) };
                let wait = Duration::from_secs(30);
                seen = self.peer.call_waiting(&GET_RUN, &asked, wait).await.unwrap();
            }
            seen
        })
        .await
    }

    pub async fn ended(&self, run: &Run) -> Run {
        self.reaches(run, RunState::Ended).await
    }

    async fn end(&self, run: &Run) -> Run {
        let asked = EndRun { id: run.id.clone() };
        let wait = Duration::from_secs(30);
        within("an end", self.peer.call_waiting(&END_RUN, &asked, wait)).await.unwrap()
    }
}

fn programs(machine: &Machine) -> Programs {
    let config = machine.config();
    Programs {
        launcher: config.launcher,
        agent: config.agent,
        grace: config.grace,
        without: config.without,
    }
}

/// An order for attempt 1 at the turn `turn`, in a folder whose agent does what `script` says.
fn order(machine: &Machine, turn: &str, folder: &str, script: &str) -> StartRun {
    let home = machine.data().join("homes").join(folder);
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("script"), script).unwrap();
    let directory = machine.turn_dir(&turn.parse().unwrap());
    StartRun {
        turn_id: turn.parse().unwrap(),
        attempt: 1,
        folder: folder.parse().unwrap(),
        home: folder.parse().unwrap(),
        image: None,
        limits: Limits::default(),
        egress: Egress::None,
        endpoint: TurnEndpoint::UnixSocket { directory: directory.to_str().unwrap().into() },
        harness: Harness::Offline,
    }
}

fn home(machine: &Machine, folder: &str) -> PathBuf {
    machine.data().join("homes").join(folder)
}

const WAITS: &str = "echo ran >> ran; while ! [ -e go ]; do sleep 0.02; done";

#[tokio::test]
async fn a_run_is_started_once_followed_to_its_end_and_written_down() {
    let machine = Machine::new(Without::default());
    let runed = Runed::start(&machine, SetUp::default()).await;
    let order = order(&machine, "t1", "corp", "echo ran >> ran; echo hello");
    let (run, second, third, fourth) =
        tokio::join!(runed.run(&order), runed.run(&order), runed.run(&order), runed.run(&order));
    let ids = [&second.id, &third.id, &fourth.id];
    assert_eq!(ids, [&run.id; 3], "one attempt is one run");
    let ended = runed.ended(&run).await;
    assert_eq!((ended.end, ended.detail.clone()), (Some(RunEnd::Completed), None));
    assert!(ended.started_at <= ended.ended_at && ended.started_at.is_some());
    assert_eq!(runed.run(&order).await, ended, "a late repeat is told how it ended");
    assert_eq!(fs::read_to_string(home(&machine, "corp").join("ran")).unwrap(), "ran\n");

    let asked = EndRun { id: run.id.clone() };
    let log = runed.peer.call(&RUN_LOG, &asked).await.unwrap();
    assert_eq!((log.text.as_str(), log.dropped_bytes), ("hello\n", 0));
    let page = runed.peer.call(&LIST_RUNS, &ListRuns::default()).await.unwrap();
    assert_eq!((page.runs, page.next), (vec![ended.clone()], None));

    let elsewhere = StartRun { folder: "other".parse().unwrap(), ..order };
    let refused = runed.peer.call(&START_RUN, &elsewhere).await.unwrap_err();
    assert_eq!(refused.status(), Some(409), "{refused}");
    let status = runed.operator.call(&STATUS, &Nothing {}).await.unwrap();
    assert_eq!((status.pending, status.running, status.capacity), (0, 0, 4));
    assert_eq!(status.backend, "process");
    assert!(status.enforced.iter().any(|text| text.contains("capabilities")), "{status:?}");
    assert!(status.harnesses.contains(&"offline".to_owned()), "{status:?}");
}

#[tokio::test]
async fn a_folder_has_one_run_at_a_time_and_all_together_have_a_cap() {
    let machine = Machine::new(Without::default());
    let settings = vec![("MAX_CONCURRENT_RUNS", "2".into())];
    let runed = Runed::start(&machine, SetUp { settings, ..SetUp::default() }).await;
    let first = runed.run(&order(&machine, "a1", "a", WAITS)).await;
    let second = runed.run(&order(&machine, "a2", "a", WAITS)).await;
    let other = runed.run(&order(&machine, "b1", "b", WAITS)).await;
    let third = runed.run(&order(&machine, "c1", "c", WAITS)).await;
    runed.reaches(&first, RunState::Running).await;
    runed.reaches(&other, RunState::Running).await;
    let status = runed.operator.call(&STATUS, &Nothing {}).await.unwrap();
    assert_eq!((status.pending, status.running), (2, 2));
    fs::write(home(&machine, "b").join("go"), "").unwrap();
    runed.ended(&other).await;
    runed.reaches(&third, RunState::Running).await;
    assert_eq!(runed.get(&second).await.state, RunState::Pending, "its folder is busy");
    fs::write(home(&machine, "a").join("go"), "").unwrap();
    assert_eq!(runed.ended(&first).await.end, Some(RunEnd::Completed));
    assert_eq!(runed.ended(&second).await.end, Some(RunEnd::Completed));
    let ran = fs::read_to_string(home(&machine, "a").join("ran")).unwrap();
    assert_eq!(ran, "ran\nran\n", "one after the other");
    fs::write(home(&machine, "c").join("go"), "").unwrap();
    runed.ended(&third).await;
    let listed = ListRuns { limit: Some(3), ..ListRuns::default() };
    let page = runed.peer.call(&LIST_RUNS, &listed).await.unwrap();
    let turns: Vec<&str> = page.runs.iter().map(|run| run.turn_id.as_str()).collect();
    assert_eq!(turns, ["c1", "b1", "a2"], "newest first");
    let rest = ListRuns { before: page.next, ..listed };
    let rest = runed.peer.call(&LIST_RUNS, &rest).await.unwrap();
    assert_eq!((rest.runs.len(), rest.next), (1, None));
}

#[tokio::test]
async fn an_end_that_is_asked_for_lasts_until_the_run_is_gone() {
    let machine = Machine::new(Without::default());
    let runed = Runed::start(&machine, SetUp::default()).await;
    let stubborn = "trap '' TERM; echo ran >> ran; while :; do sleep 0.05; done";
    let running = runed.run(&order(&machine, "t1", "corp", stubborn)).await;
    let waiting = runed.run(&order(&machine, "t2", "corp", stubborn)).await;
    runed.reaches(&running, RunState::Running).await;
    // Running is the shim; its agent may still be on its way.
    let ran = home(&machine, "corp").join("ran");
    until("the agent runs", || ran.exists()).await;
    let never = runed.end(&waiting).await;
    assert_eq!((never.state, never.end), (RunState::Ended, Some(RunEnd::Cancelled)));
    assert_eq!(never.started_at, None, "it had not begun");
    let gone = runed.end(&running).await;
    assert_eq!((gone.state, gone.end), (RunState::Ended, Some(RunEnd::Cancelled)), "{gone:?}");
    assert_eq!(machine.processes(&home(&machine, "corp")), 0);
    assert_eq!(runed.end(&running).await, gone, "a repeat answers alike");
    assert_eq!(fs::read_to_string(ran).unwrap(), "ran\n", "the one that waited never ran");

    let unknown = EndRun { id: "nosuchrun".parse().unwrap() };
    let refused = runed.peer.call(&END_RUN, &unknown).await.unwrap_err();
    assert_eq!(refused.status(), Some(404));
    let query = proto::routd::AuditQuery { before: None, limit: None };
    let audit = runed.operator.call(&AUDIT, &query).await.unwrap();
    let actions: Vec<&str> = audit.rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["run.end", "run.end", "run.start", "run.start"], "repeats are no news");
    assert!(audit.rows.iter().all(|row| row.actor == "service:routd"), "{audit:?}");
}

#[tokio::test]
async fn a_restart_takes_every_run_up_where_it_was() {
    let machine = Machine::new(Without::default());
    let settings = vec![("MAX_CONCURRENT_RUNS", "3".into())];
    let set_up = SetUp { settings, ..SetUp::default() };
    let runed = Runed::start(&machine, set_up.clone()).await;
    let goes_on = runed.run(&order(&machine, "goeson", "a", WAITS)).await;
    let finishes = runed.run(&order(&machine, "finishes", "b", WAITS)).await;
    let is_lost = runed.run(&order(&machine, "lost", "c", WAITS)).await;
    let waits = runed.run(&order(&machine, "waits", "d", "echo ran >> ran")).await;
    for run in [&goes_on, &finishes, &is_lost] {
        runed.reaches(run, RunState::Running).await;
    }
    assert_eq!(runed.get(&waits).await.state, RunState::Pending);
    let authority = runed.stop().await;

    // While no runed is there, one agent finishes and one dies with its shim.
    fs::write(home(&machine, "b").join("go"), "").unwrap();
    machine.kill_shim(is_lost.id.as_str());
    let gone = || ["b", "c"].iter().all(|folder| machine.processes(&home(&machine, folder)) == 0);
    until("two of the runs are gone", gone).await;
    assert!(machine.processes(&home(&machine, "a")) > 0, "a run outlives runed");

    let set_up = SetUp { authority: Some(authority), ..set_up };
    let runed = Runed::start(&machine, set_up).await;
    assert_eq!(runed.ended(&finishes).await.end, Some(RunEnd::Completed));
    let lost = runed.ended(&is_lost).await;
    assert_eq!(lost.end, Some(RunEnd::Crashed));
    assert!(lost.detail.unwrap().contains("lost"));
    assert_eq!(runed.ended(&waits).await.end, Some(RunEnd::Completed));
    assert_eq!(runed.get(&goes_on).await.state, RunState::Running);
    fs::write(home(&machine, "a").join("go"), "").unwrap();
    assert_eq!(runed.ended(&goes_on).await.end, Some(RunEnd::Completed));
    for folder in ["a", "b", "c", "d"] {
        let ran = fs::read_to_string(home(&machine, folder).join("ran")).unwrap();
        assert_eq!(ran, "ran\n", "{folder} was run twice");
    }
}

#[tokio::test]
async fn an_end_that_was_asked_for_before_a_restart_is_brought_about_after_it() {
    let machine = Machine::new(Without::default());
    let runed = Runed::start(&machine, SetUp::default()).await;
    let run = runed.run(&order(&machine, "t1", "corp", WAITS)).await;
    runed.reaches(&run, RunState::Running).await;
    let authority = runed.stop().await;
    // As if runed had been killed between writing the wish down and carrying it out.
    let file = machine.data().join("store/runed.db");
    let db = rusqlite::Connection::open(file).unwrap();
    let changed = db.execute("UPDATE runs SET state = 'ending', asked_by = 'service:routd'", []);
    assert_eq!(changed.unwrap(), 1);
    drop(db);
    let set_up = SetUp { authority: Some(authority), ..SetUp::default() };
    let runed = Runed::start(&machine, set_up).await;
    assert_eq!(runed.ended(&run).await.end, Some(RunEnd::Cancelled));
    assert_eq!(machine.processes(&home(&machine, "corp")), 0);
}

#[tokio::test]
async fn a_lost_database_ends_its_runs_and_does_not_repeat_them() {
    let machine = Machine::new(Without::default());
    let runed = Runed::start(&machine, SetUp::default()).await;
    let asked = order(&machine, "t1", "corp", WAITS);
    let run = runed.run(&asked).await;
    runed.reaches(&run, RunState::Running).await;
    let authority = runed.stop().await;
    fs::remove_dir_all(machine.data().join("store")).unwrap();
    let set_up = SetUp { authority: Some(authority), ..SetUp::default() };
    let runed = Runed::start(&machine, set_up).await;
    let gone = || machine.processes(&home(&machine, "corp")) == 0;
    until("the orphan is ended", gone).await;
    let again = runed.run(&asked).await;
    assert_eq!(again.id, run.id);
    assert_ne!(runed.ended(&again).await.end, Some(RunEnd::Completed));
    let ran = fs::read_to_string(home(&machine, "corp").join("ran")).unwrap();
    assert_eq!(ran, "ran\n", "the same attempt never runs twice");
}

#[tokio::test]
async fn what_can_never_run_is_refused_with_a_reason_and_runs_nothing() {
    let machine = Machine::new(Without { namespaces: true, ..Without::default() });
    let runed = Runed::start(&machine, SetUp::default()).await;
    let fine = order(&machine, "t1", "corp", "echo ran >> ran");
    let granted = StartRun { egress: Egress::Granted, ..fine.clone() };
    let command =
        StartRun { turn_id: "t2".parse().unwrap(), harness: Harness::Command, ..fine.clone() };
    let directory = machine.data().join("store").to_str().unwrap().to_owned();
    let foreign = StartRun {
        turn_id: "t3".parse().unwrap(),
        endpoint: TurnEndpoint::UnixSocket { directory },
        ..fine.clone()
    };
    for (order, word) in
        [(granted, "network"), (command, "`command`"), (foreign, "turn's directory")]
    {
        let run = runed.run(&order).await;
        let ended = runed.ended(&run).await;
        assert_eq!(ended.end, Some(RunEnd::Refused), "{word}");
        assert!(ended.detail.as_ref().unwrap().contains(word), "{ended:?}");
    }
    let no_limit = Limits { memory_mib: 0, ..Limits::default() };
    for bad in [
        StartRun { home: "../store".parse().unwrap(), ..fine.clone() },
        StartRun { limits: no_limit, ..fine.clone() },
        StartRun { attempt: 0, ..fine.clone() },
    ] {
        let refused = runed.peer.call(&START_RUN, &bad).await.unwrap_err();
        assert_eq!(refused.status(), Some(400), "{refused}");
    }
    assert!(!home(&machine, "corp").join("ran").exists(), "nothing ran");
    let run = runed.run(&StartRun { turn_id: "t4".parse().unwrap(), ..fine }).await;
    assert_eq!(runed.ended(&run).await.end, Some(RunEnd::Completed), "the rest was fine");
}

#[tokio::test]
async fn starts_that_keep_failing_are_not_tried_for_a_while_in_that_folder_alone() {
    let machine = Machine::new(Without::default());
    let clock = Clock::manual(Timestamp(1_700_000_000_000));
    let set_up = SetUp { clock: Some(clock.clone()), ..SetUp::default() };
    let runed = Runed::start(&machine, set_up).await;
    let fine = order(&machine, "t", "corp", "echo ran >> ran");
    let nowhere = machine.data().join("run/t/nowhere").to_str().unwrap().to_owned();
    let endpoint = TurnEndpoint::UnixSocket { directory: nowhere };
    for attempt in 1..=3 {
        let failing = StartRun { attempt, endpoint: endpoint.clone(), ..fine.clone() };
        let ended = runed.ended(&runed.run(&failing).await).await;
        assert_eq!(ended.end, Some(RunEnd::StartFailed), "{ended:?}");
        assert!(ended.detail.unwrap().contains("nowhere"));
    }
    let ended = runed.ended(&runed.run(&StartRun { attempt: 4, ..fine.clone() }).await).await;
    assert_eq!(ended.end, Some(RunEnd::StartFailed));
    assert!(ended.detail.unwrap().contains("not tried"));
    assert!(
        !home(&machine, "corp").join("ran").exists(),
        "it would have worked, and was not tried"
    );
    let figures = || runed.context.metrics.text().unwrap();
    until("a breaker shows as open", || figures().contains("arizuko_breakers_open 1\n")).await;
    let other = order(&machine, "o", "other2", "exit 1");
    for attempt in 1..=4 {
        let ended = runed.ended(&runed.run(&StartRun { attempt, ..other.clone() }).await).await;
        assert_eq!(ended.end, Some(RunEnd::Crashed), "agents that crash open no breaker");
    }
    clock.advance(Duration::from_secs(31));
    let ended = runed.ended(&runed.run(&StartRun { attempt: 5, ..fine }).await).await;
    assert_eq!(ended.end, Some(RunEnd::Completed));
    until("no breaker shows as open", || figures().contains("arizuko_breakers_open 0\n")).await;
}

#[tokio::test]
async fn with_no_backend_every_run_is_refused_and_says_what_to_set() {
    let machine = Machine::new(Without::default());
    let settings = vec![("CONTAINER_BACKEND", "none".into())];
    let runed = Runed::start(&machine, SetUp { settings, ..SetUp::default() }).await;
    let run = runed.run(&order(&machine, "t1", "corp", "echo ran >> ran")).await;
    assert_eq!((run.state, run.end), (RunState::Ended, Some(RunEnd::Refused)));
    assert!(run.detail.unwrap().contains("CONTAINER_BACKEND"));
    assert!(!home(&machine, "corp").join("ran").exists());

    let machine = Machine::new(Without::default());
    let (context, _) = Rig::new(Daemon::Runed, machine.data())
        .setting("CONTAINER_BACKEND", "kubernetes")
        .build()
        .await;
    let error = runed::start_with(context, programs(&machine)).await.unwrap_err();
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("no image of agents is named"), "{error}");
}

#[tokio::test]
async fn nobody_starts_or_sees_a_run_without_the_right_to() {
    let machine = Machine::new(Without::default());
    let runed = Runed::start(&machine, SetUp::default()).await;
    let order = order(&machine, "t1", "corp", "echo ran >> ran");
    let client = reqwest::Client::new();
    let weak = runed.authority.token(
        "service:webd",
        &[Daemon::Runed],
        auth::Kind::Service,
        &["messages:write"],
    );
    for route in proto::runed::ROUTES {
        let url = format!("{}{}", runed.serving.url, route.path.replace("{id}", "r1"));
        let method: reqwest::Method = route.method.name().parse().unwrap();
        let ask = || client.request(method.clone(), &url).json(&order);
        assert_eq!(ask().send().await.unwrap().status(), 401, "{}", route.path);
        assert_eq!(ask().bearer_auth(&weak).send().await.unwrap().status(), 403, "{}", route.path);
    }
    let page: Result<_, PeerError> = runed.peer.call(&LIST_RUNS, &ListRuns::default()).await;
    assert_eq!(page.unwrap().runs, [], "nothing was started");
    assert!(!home(&machine, "corp").join("ran").exists());
}
