//! How late 2,000 firings of one second are among 100,000 schedules: `cargo run --release -p timed --example many`.
//!
//! routd and timed run in this process, as they do in `arizuko up`; the schedules belong to 1,000 folders.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for engineers, which ends at the first thing that is wrong"
)]

use kit::testing::{Rig, TestAuthority, serve_daemon};
use proto::Daemon;
use std::{path::Path, time::Duration};

const SCHEDULES: i64 = 100_000;
const DUE: i64 = 2_000;
const FOLDERS: i64 = 1_000;

fn rig(daemon: Daemon, dir: &Path, authority: Option<&TestAuthority>) -> Rig {
    let rig = Rig::new(daemon, dir)
        .secret("CHANNEL_SECRET", "channel-secret-of-the-tests")
        .secret("SECRETS_KEY", "0123456789abcdef0123456789abcdef-one")
        .peer(Daemon::Runed, "http://127.0.0.1:1");
    match authority {
        Some(authority) => rig.authority(authority),
        None => rig,
    }
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    let (context, authority) = rig(Daemon::Routd, dir.path(), None).build().await;
    let router = routd::start(context.clone()).await.unwrap();
    let routd = serve_daemon(&context, router).await;

    let mut database = rusqlite::Connection::open(dir.path().join("store/routd.db")).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    let start = context.clock.now().0 / 1000 * 1000 + 15_000;
    let rows = database.transaction().unwrap();
    for n in 0..FOLDERS {
        let sql = "INSERT INTO groups (folder, home, created_at) VALUES (?1, ?2, 0)";
        rows.execute(sql, (format!("f{n}"), format!("h{n}"))).unwrap();
    }
    for n in 0..SCHEDULES {
        let folder = n % FOLDERS;
        // Two in a hundred are due in the one second; the others in the hours after it.
        let next = if n < DUE { start + n * 1000 / DUE } else { start + 3_600_000 + n * 100 };
        rows.execute(
            "INSERT INTO schedules (id, folder, chat_jid, topic, plan, zone, missed, content, state,
                 next_at, created_at, created_by)
             VALUES (?1, ?2, ?3, '', '*/5 * * * *', 'America/New_York', 'once', 'it is time', 'active',
                 ?4, 0, 'operator:local')",
            (format!("s-{n}"), format!("f{folder}"), format!("web:f{folder}~s-{n}"), next),
        )
        .unwrap();
    }
    rows.commit().unwrap();

    let timed = rig(Daemon::Timed, dir.path(), Some(&authority)).peer(Daemon::Routd, &routd.url);
    let (timed, _) = timed.build().await;
    let _router = timed::start(timed.clone()).await.unwrap();
    let count = || -> i64 {
        let sql = "SELECT count(*) FROM messages WHERE id LIKE 'sched.%'";
        database.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    while count() < DUE {
        assert!(context.clock.now().0 < start + 120_000, "{} of {DUE} fired", count());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sql = "SELECT max(received_at - sent_at), avg(received_at - sent_at), max(received_at) - ?1
               FROM messages WHERE id LIKE 'sched.%'";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (latest, mean, last): (i64, f64, i64) = database.query_row(sql, [start], read).unwrap();
    println!(
        "{DUE} of {SCHEDULES} schedules due in one second: the last began to be written {last} ms after its beginning; \
         late by {mean:.0} ms in the mean, {latest} ms at most"
    );
    timed.stop.cancel();
    context.stop.cancel();
    timed.tasks.ended(Duration::from_secs(10)).await;
    context.tasks.ended(Duration::from_secs(10)).await;
}
