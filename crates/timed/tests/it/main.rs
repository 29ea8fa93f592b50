//! timed before a real routd.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, with the reason"
)]

use kit::{
    Context, Peers,
    testing::{Rig, Serving, TestAuthority, serve_daemon},
};
use proto::{
    Daemon, Endpoint,
    routd::{
        ADD_SCHEDULE, Missed, NewSchedule, OneSchedule, PAUSE_SCHEDULE, RunOutcome, SCHEDULE_RUNS,
        Schedule, ScheduleRun,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);

struct Suite {
    authority: TestAuthority,
    routd: Context,
    serving: Serving,
    dir: TempDir,
}

impl Suite {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let rig = Rig::new(Daemon::Routd, dir.path())
            .secret("CHANNEL_SECRET", "channel-secret-of-the-tests")
            .secret("SECRETS_KEY", "0123456789abcdef0123456789abcdef-one")
            .setting("SCHEDULES_SHORTEST", "1s")
            // Nobody runs what the messages ask for.
            .peer(Daemon::Runed, "http://127.0.0.1:1");
        let (routd, authority) = rig.build().await;
        let router = routd::start(routd.clone()).await.unwrap();
        let serving = serve_daemon(&routd, router).await;
        Self { authority, routd, serving, dir }
    }

    async fn timed(&self) -> Context {
        self.timed_at(&self.serving.url).await
    }

    async fn timed_at(&self, url: &str) -> Context {
        let rig = Rig::new(Daemon::Timed, self.dir.path())
            .authority(&self.authority)
            .peer(Daemon::Routd, url);
        let (context, _) = rig.build().await;
        let _router = timed::start(context.clone()).await.unwrap();
        context
    }

    async fn call<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
    ) -> Res {
        let url = [(Daemon::Routd, self.serving.url.clone())].into();
        let peers = Peers::with_token(kit::http_client().unwrap(), url, &self.authority.operator());
        peers.get(Daemon::Routd).call(endpoint, request).await.unwrap()
    }

    async fn add(&self, when: &str) -> Schedule {
        let wanted = NewSchedule {
            folder: "main".parse().unwrap(),
            chat_jid: None,
            topic: "".parse().unwrap(),
            when: when.into(),
            zone: Some("Europe/London".into()),
            missed: Missed::All,
            content: "it is time".into(),
        };
        self.call(&ADD_SCHEDULE, &wanted).await
    }

    async fn runs(&self, schedule: &Schedule) -> Vec<ScheduleRun> {
        let one = OneSchedule { id: schedule.id.clone() };
        let mut runs = self.call(&SCHEDULE_RUNS, &one).await.runs;
        runs.reverse();
        runs
    }

    /// Waits until a schedule has fired so often.
    async fn fired(&self, schedule: &Schedule, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.runs(schedule).await.len() < times {
            assert!(Instant::now() < deadline, "{} never fires {times} times", schedule.id);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn messages(&self, chat: &str) -> i64 {
        let path = self.dir.path().join("store").join("routd.db");
        let sql = "SELECT count(*) FROM messages WHERE chat_jid = ?1 AND outbound = 0";
        let found = rusqlite::Connection::open(path).unwrap();
        found.query_row(sql, [chat], |row| row.get(0)).unwrap()
    }
}

async fn stop(context: Context) {
    context.stop.cancel();
    let busy = context.tasks.ended(PATIENCE).await;
    assert!(busy.is_empty(), "still busy: {busy:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_them_fire_each_time_once_and_one_is_enough() {
    let suite = Suite::new().await;
    let (first, second) = (suite.timed().await, suite.timed().await);
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(suite.add("every 1s").await);
    }
    suite.fired(&all[0], 2).await;
    stop(first).await;
    let so_far = suite.runs(&all[0]).await.len();
    suite.fired(&all[0], so_far + 2).await;
    let third = suite.timed().await;
    suite.fired(&all[4], so_far + 3).await;
    for schedule in &all {
        let one = OneSchedule { id: schedule.id.clone() };
        suite.call(&PAUSE_SCHEDULE, &one).await;
    }
    for schedule in &all {
        let runs = suite.runs(schedule).await;
        for (n, run) in (1..).zip(&runs) {
            let due = schedule.created_at.plus(n * 1000);
            assert_eq!(
                (run.outcome, run.due_at),
                (RunOutcome::Fired, due),
                "none twice, none left out"
            );
            assert!(run.at >= due, "not before its time");
        }
        assert_eq!(suite.messages(schedule.chat_jid.as_str()), i64::try_from(runs.len()).unwrap());
    }
    stop(second).await;
    stop(third).await;
    stop(suite.routd.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_routd_is_away_timed_says_so_and_stays_ready() {
    let suite = Suite::new().await;
    let alone = suite.timed_at("http://127.0.0.1:1").await;
    let deadline = Instant::now() + PATIENCE;
    while alone.health.troubles().is_empty() {
        assert!(Instant::now() < deadline, "it never says that nothing fires");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let troubles = alone.health.troubles().join(" ");
    assert!(troubles.contains("schedules"), "{troubles}");
    stop(alone).await;
    let there = suite.timed().await;
    let once = suite.add("every 1s").await;
    suite.fired(&once, 1).await;
    assert!(there.health.troubles().is_empty(), "{:?}", there.health.troubles());
    stop(there).await;
    stop(suite.routd.clone()).await;
}
