//! Messages that come at their time: once, whatever happens to the clock, to routd, or to whoever asks.

use crate::{agent::Agent, stage::Stage};
use kit::Clock;
use proto::{
    Daemon, Problem, Timestamp,
    routd::{
        ADD_SCHEDULE, AUDIT, AuditQuery, FIRE_SCHEDULES, FireSchedules, Fired, LIST_SCHEDULES,
        ListSchedules, Missed, NewSchedule, OneSchedule, PAUSE_SCHEDULE, REMOVE_GROUP,
        REMOVE_SCHEDULE, RESUME_SCHEDULE, RUN_SCHEDULE, RemoveGroup, RunOutcome, RunSchedule,
        SCHEDULE_RUNS, Schedule, ScheduleRun, ScheduleState,
    },
    turn::Outcome,
};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

const CHAT: &str = "web:atlas~plans";
const HOUR: Duration = Duration::from_secs(3600);
/// 2026-03-02T00:30:00Z.
const MONDAY: i64 = 1_772_411_400_000;

fn wanted(when: &str, missed: Missed) -> NewSchedule {
    NewSchedule {
        folder: "atlas".parse().unwrap(),
        chat_jid: Some(CHAT.parse().unwrap()),
        topic: "".parse().unwrap(),
        when: when.into(),
        zone: None,
        missed,
        content: format!("it is time: {when}"),
    }
}

/// A routd whose clock stands at half past midnight of a Monday.
async fn stage() -> Stage {
    let mut stage = Stage::unstarted();
    at(&mut stage, MONDAY);
    stage.start().await;
    stage.add_group("atlas").await;
    stage
}

fn at(stage: &mut Stage, ms: i64) {
    stage.clock = Clock::manual(Timestamp(ms));
    stage.authority = kit::testing::TestAuthority::new(stage.clock.clone());
}

async fn add(stage: &Stage, wanted: &NewSchedule) -> Schedule {
    stage.call(&ADD_SCHEDULE, wanted, &stage.operator()).await.unwrap()
}

async fn refused(stage: &Stage, wanted: &NewSchedule) -> Problem {
    stage.call(&ADD_SCHEDULE, wanted, &stage.operator()).await.unwrap_err()
}

async fn fire(stage: &Stage, wait_seconds: u32) -> Fired {
    let request = FireSchedules { limit: 100, wait_seconds };
    stage.call(&FIRE_SCHEDULES, &request, &stage.authority.service(Daemon::Timed)).await.unwrap()
}

/// Fires until nothing is due.
async fn fire_all(stage: &Stage) -> u32 {
    let mut done = 0;
    loop {
        let fired = fire(stage, 0).await;
        done += fired.done;
        if fired.done == 0 {
            return done;
        }
    }
}

async fn runs(stage: &Stage, schedule: &Schedule) -> Vec<ScheduleRun> {
    let one = OneSchedule { id: schedule.id.clone() };
    stage.call(&SCHEDULE_RUNS, &one, &stage.operator()).await.unwrap().runs
}

fn messages(stage: &Stage) -> i64 {
    stage.count("SELECT count(*) FROM messages WHERE origin = 'schedule'")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_is_one_message_however_many_ask_for_it() {
    let mut stage = stage().await;
    let hourly = add(&stage, &wanted("@hourly", Missed::Once)).await;
    assert_eq!(hourly.next_at, Some(Timestamp(MONDAY + 1_800_000)));
    assert_eq!(fire(&stage, 0).await, Fired { done: 0, next_at: hourly.next_at });
    assert_eq!(messages(&stage), 0, "before its time");

    stage.clock.advance(HOUR / 2);
    let all = [fire(&stage, 0), fire(&stage, 0), fire(&stage, 0), fire(&stage, 0)];
    let done: u32 = futures_of(all).await.iter().map(|fired| fired.done).sum();
    assert_eq!(done, 1);
    stage.restart().await;
    assert_eq!(fire_all(&stage).await, 0);

    let [run] = runs(&stage, &hourly).await.try_into().unwrap();
    assert_eq!(run.outcome, RunOutcome::Fired);
    assert_eq!(Some(run.due_at), hourly.next_at);
    let id = run.message_id.unwrap();
    assert_eq!(id.as_str(), format!("sched.{}.{}", hourly.id, run.due_at.0));
    // The agent gets it as what it is, and its reply is heard where the schedule says.
    let agent = Agent::on(&stage.runed.nth(0).await);
    let input = agent.input().await.unwrap();
    assert_eq!(input.messages.len(), 1);
    assert_eq!(input.messages[0].content, "it is time: @hourly");
    assert!(input.prompt.contains("origin=\"schedule\""), "{}", input.prompt);
    agent.result(Outcome::Replied, Some("done")).await.unwrap();
    stage.ended(CHAT, id.as_str()).await;
    assert_eq!(stage.heard(CHAT).await.0, ["done"]);
    assert_eq!(messages(&stage), 1);
}

async fn futures_of<F: Future>(all: [F; 4]) -> Vec<F::Output> {
    let [a, b, c, d] = all;
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    vec![a, b, c, d]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_soon_does_not_fire_beside_what_is_due() {
    let stage = stage().await;
    add(&stage, &wanted("at 2026-03-02T00:31:00", Missed::Once)).await;
    let soon = add(&stage, &wanted("at 2026-03-02T00:31:01", Missed::Once)).await;
    stage.clock.advance(Duration::from_secs(60));
    assert_eq!(fire(&stage, 0).await, Fired { done: 1, next_at: soon.next_at });
    assert_eq!(messages(&stage), 1, "a second before its time");
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(fire(&stage, 0).await, Fired { done: 1, next_at: None });
    assert_eq!(messages(&stage), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_not_understood_any_more_pauses_and_the_others_fire() {
    let mut stage = stage().await;
    let lost = add(&stage, &wanted("0 1 * * *", Missed::Once)).await;
    let well = add(&stage, &wanted("@hourly", Missed::Once)).await;
    stage.stop().await;
    // As after an update whose time zone database has another name for it.
    let renamed = "UPDATE schedules SET zone = 'Europe/Elsewhere' WHERE id = ?1";
    assert_eq!(stage.database().execute(renamed, [lost.id.as_str()]).unwrap(), 1);
    stage.start().await;
    stage.clock.advance(HOUR / 2);
    fire_all(&stage).await;
    assert_eq!(runs(&stage, &well).await.len(), 1);
    let paused =
        "SELECT count(*) FROM schedules WHERE state = 'paused' AND zone = 'Europe/Elsewhere'";
    assert_eq!(stage.count(paused), 1);
    assert!(runs(&stage, &lost).await.is_empty());
    assert_eq!(messages(&stage), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_woken_by_the_time_and_by_a_new_schedule() {
    let mut stage = Stage::unstarted().setting("SCHEDULES_SHORTEST", "1s");
    stage.start().await;
    stage.add_group("atlas").await;
    add(&stage, &wanted("@yearly", Missed::Once)).await;
    let every = wanted("every 1s", Missed::All);
    // The wait is longer than the test's patience with it: only the new schedule ends it.
    let (fired, soon) = tokio::join!(fire(&stage, 25), add(&stage, &every));
    assert_eq!(fired.done, 1, "{fired:?}");
    let [run] = runs(&stage, &soon).await.try_into().unwrap();
    assert!(run.at >= run.due_at, "not before its time: {run:?}");
    assert_eq!(messages(&stage), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_goes_by_the_rule_of_each() {
    let mut stage = stage().await;
    let mut all = Vec::new();
    for missed in [Missed::Skip, Missed::Once, Missed::All] {
        all.push(add(&stage, &wanted("@hourly", missed)).await);
    }
    let past = add(&stage, &wanted("at 2026-03-02T02:00", Missed::Skip)).await;
    stage.stop().await;
    // Five hours later: 1:00 to 5:00 were missed.
    stage.clock.advance(HOUR * 5);
    stage.start().await;
    fire_all(&stage).await;
    let mut outcomes = Vec::new();
    for schedule in &all {
        let runs = runs(&stage, schedule).await;
        outcomes.push(runs.iter().map(|run| run.outcome).collect::<Vec<_>>());
        let times: BTreeSet<i64> = runs.iter().map(|run| run.due_at.0).collect();
        assert_eq!(times.len(), runs.len(), "each time once");
    }
    assert_eq!(outcomes[0], [RunOutcome::Skipped]);
    assert_eq!(outcomes[1], [RunOutcome::Fired]);
    assert_eq!(outcomes[2], [RunOutcome::Fired; 5]);
    assert_eq!(runs(&stage, &past).await[0].outcome, RunOutcome::Skipped);
    assert_eq!(messages(&stage), 6);
    let listed = stage.call(&LIST_SCHEDULES, &ListSchedules::default(), &stage.operator()).await;
    for schedule in listed.unwrap().schedules {
        let over = schedule.id == past.id;
        assert_eq!(schedule.state == ScheduleState::Done, over, "{schedule:?}");
        let six = Some(Timestamp(MONDAY + 1_800_000 + 5 * 3_600_000));
        assert!(over || schedule.next_at == six, "{schedule:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_fires_nothing_again() {
    let mut stage = stage().await;
    let hourly = add(&stage, &wanted("@hourly", Missed::All)).await;
    stage.clock.advance(HOUR * 3);
    assert_eq!(fire_all(&stage).await, 3);
    stage.stop().await;
    at(&mut stage, MONDAY);
    stage.start().await;
    assert_eq!(fire_all(&stage).await, 0);
    // Nor does one that was paused and resumed while the clock was wrong.
    let one = OneSchedule { id: hourly.id.clone() };
    stage.call(&PAUSE_SCHEDULE, &one, &stage.operator()).await.unwrap();
    let resumed = stage.call(&RESUME_SCHEDULE, &one, &stage.operator()).await.unwrap();
    assert_eq!(resumed.next_at, Some(Timestamp(MONDAY + 1_800_000 + 3 * 3_600_000)));
    stage.clock.advance(HOUR * 3);
    assert_eq!(fire_all(&stage).await, 0);
    assert_eq!(messages(&stage), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_pause_resume_run_and_remove() {
    let stage = stage().await;
    let operator = stage.operator();
    let hourly = add(&stage, &wanted("@hourly", Missed::Once)).await;
    let one = OneSchedule { id: hourly.id.clone() };
    for _ in 0..2 {
        let paused = stage.call(&PAUSE_SCHEDULE, &one, &operator).await.unwrap();
        assert_eq!((paused.state, paused.next_at), (ScheduleState::Paused, None));
    }
    stage.clock.advance(HOUR * 2);
    let operator = stage.operator();
    assert_eq!(fire_all(&stage).await, 0, "paused");
    for _ in 0..2 {
        let resumed = stage.call(&RESUME_SCHEDULE, &one, &operator).await.unwrap();
        assert_eq!(resumed.next_at, Some(Timestamp(MONDAY + 5 * 1_800_000)), "from now on");
    }
    // Under one key it runs once.
    let run = RunSchedule { id: hourly.id.clone(), key: "k1".parse().unwrap() };
    let first = stage.call(&RUN_SCHEDULE, &run, &operator).await.unwrap();
    assert_eq!(stage.call(&RUN_SCHEDULE, &run, &operator).await.unwrap(), first);
    assert_eq!(first.outcome, RunOutcome::Manual);
    assert_eq!(messages(&stage), 1);

    for _ in 0..2 {
        stage.call(&REMOVE_SCHEDULE, &one, &operator).await.unwrap();
    }
    stage.clock.advance(HOUR * 2);
    assert_eq!(fire_all(&stage).await, 0, "removed");
    let gone = stage.call(&SCHEDULE_RUNS, &one, &stage.operator()).await.unwrap_err();
    assert_eq!(gone.status, 404);
    assert_eq!(messages(&stage), 1);
    let query = AuditQuery { before: None, limit: Some(100) };
    let audit = stage.call(&AUDIT, &query, &stage.operator()).await.unwrap();
    let count = |action: &str| audit.rows.iter().filter(|row| row.action == action).count();
    let actions = ["add", "pause", "resume", "run", "remove"];
    assert_eq!(actions.map(|action| count(&format!("schedule.{action}"))), [1; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_out_of_service_gets_nothing_and_its_schedules_go_on() {
    let stage = stage().await;
    let hourly = add(&stage, &wanted("@hourly", Missed::Once)).await;
    let remove = RemoveGroup { folder: "atlas".parse().unwrap() };
    stage.call(&REMOVE_GROUP, &remove, &stage.operator()).await.unwrap();
    stage.clock.advance(HOUR);
    assert_eq!(fire_all(&stage).await, 1);
    assert_eq!(messages(&stage), 0);
    stage.add_group("atlas").await;
    stage.clock.advance(HOUR);
    assert_eq!(fire_all(&stage).await, 1);
    assert_eq!(messages(&stage), 1);
    let outcomes: Vec<_> = runs(&stage, &hourly).await.iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [RunOutcome::Fired, RunOutcome::Refused]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_is_refused_and_leaves_nothing() {
    let mut stage =
        Stage::unstarted().setting("SCHEDULES_PER_FOLDER", "2").setting("SCHEDULES_SHORTEST", "5m");
    at(&mut stage, MONDAY);
    stage.start().await;
    stage.add_group("atlas").await;
    stage.add_group("other").await;
    let hourly = wanted("@hourly", Missed::Once);
    for (bad, status, says) in [
        (wanted("60 * * * *", Missed::Once), 400, "five fields"),
        (wanted("* * * * *", Missed::Once), 400, "too often"),
        (wanted("0,2 9 * * *", Missed::Once), 400, "too often"),
        (wanted("every 299s", Missed::Once), 400, "too often"),
        (wanted("0 0 30 2 *", Missed::Once), 400, "never fires"),
        (wanted("at 2026-03-01T00:00", Missed::Once), 400, "never fires"),
        (NewSchedule { zone: Some("Mars/Olympus".into()), ..hourly.clone() }, 400, "time zone"),
        (NewSchedule { content: "  ".into(), ..hourly.clone() }, 400, "`content`"),
        (NewSchedule { content: "x".repeat(65_537), ..hourly.clone() }, 400, "`content`"),
        (
            NewSchedule { folder: "nowhere".parse().unwrap(), chat_jid: None, ..hourly.clone() },
            404,
            "nowhere",
        ),
        (
            NewSchedule { chat_jid: Some("web:other".parse().unwrap()), ..hourly.clone() },
            403,
            "other",
        ),
    ] {
        let problem = refused(&stage, &bad).await;
        assert_eq!(problem.status, status, "{bad:?}: {problem:?}");
        assert!(format!("{problem:?}").contains(says), "{bad:?}: {problem:?}");
    }
    assert_eq!(stage.count("SELECT count(*) FROM schedules"), 0);
    for _ in 0..2 {
        add(&stage, &wanted("every 5m", Missed::Once)).await;
    }
    assert_eq!(refused(&stage, &hourly).await.status, 409, "a third");
    // Whoever has no right to it: an adapter, and timed itself beyond saying when.
    let webd = stage.authority.service(Daemon::Webd);
    let timed = stage.authority.service(Daemon::Timed);
    let request = FireSchedules { limit: 1, wait_seconds: 0 };
    assert_eq!(stage.call(&FIRE_SCHEDULES, &request, &webd).await.unwrap_err().status, 403);
    for bearer in [&webd, &timed] {
        assert_eq!(stage.call(&ADD_SCHEDULE, &hourly, bearer).await.unwrap_err().status, 403);
    }
    assert_eq!(stage.count("SELECT count(*) FROM schedules"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_schedules_for_its_own_folder_alone() {
    let mut stage = stage().await;
    stage.add_group("other").await;
    stage.say(CHAT, "m0", "remind me").await;
    let agent = Agent::on(&stage.runed.nth(0).await);
    let task = json!({ "when": "at 2026-03-02T09:00", "zone": "Europe/London", "content": "tea" });
    let told = agent.tool("schedule_task", task.clone(), Some("k1")).await;
    assert!(!told.is_error, "{told:?}");
    assert_eq!(agent.tool("schedule_task", task, Some("k1")).await, told, "once under one key");
    assert_eq!(stage.count("SELECT count(*) FROM schedules"), 1);
    let id = told.structured["id"].clone();
    assert_eq!(told.structured["chat_jid"], CHAT);
    let listed = agent.tool("list_tasks", json!({}), None).await;
    assert_eq!(listed.structured["tasks"][0]["id"], id);
    assert_eq!(listed.structured["tasks"][0]["next_at"], "2026-03-02T09:00:00Z");

    // Another folder's agent sees nothing of it and may do nothing to it.
    stage.say("web:other~x", "m1", "hello").await;
    let other = Agent::on(&stage.runed.nth(1).await);
    assert_eq!(other.tool("list_tasks", json!({}), None).await.structured["tasks"], json!([]));
    for name in ["pause_task", "resume_task", "cancel_task"] {
        assert!(other.tool(name, json!({ "id": id }), None).await.is_error, "{name}");
    }
    let theirs = json!({ "when": "@daily", "content": "x", "chat_jid": CHAT });
    assert!(other.tool("schedule_task", theirs, None).await.is_error);
    assert_eq!(stage.count("SELECT count(*) FROM schedules WHERE state = 'active'"), 1);

    for (name, state) in [("pause_task", "paused"), ("resume_task", "active")] {
        let told = agent.tool(name, json!({ "id": id }), None).await;
        assert_eq!(told.structured["state"], state, "{told:?}");
    }
    agent.result(Outcome::Silent, None).await.unwrap();
    stage.clock.advance(HOUR * 9);
    stage.restart().await;
    assert_eq!(fire_all(&stage).await, 1);
    let agent = Agent::on(&stage.runed.nth(2).await);
    assert_eq!(agent.input().await.unwrap().messages[0].content, "tea");
    let told = agent.tool("cancel_task", json!({ "id": id }), None).await;
    assert!(!told.is_error, "{told:?}");
    assert_eq!(stage.count("SELECT count(*) FROM schedules"), 0);
    assert_eq!(messages(&stage), 1);
}
