//! Reads: fresh, of one moment, unable to write; and copies.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;
use std::time::Duration;

use db::{BackupError, Database, Error};
use tempfile::tempdir;

use crate::{note, notes, open, options};

#[tokio::test]
async fn a_read_sees_what_was_acknowledged_before_it() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    for n in 1..=100 {
        note(&db, format!("n{n}")).await.unwrap();
        let count = db.read(|conn| {
            conn.query_row("SELECT count(*) FROM notes", [], |row| row.get::<_, i64>(0))
        });
        assert_eq!(count.await.unwrap(), n);
    }
}

#[tokio::test]
async fn a_read_is_of_one_moment() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    note(&db, "one").await.unwrap();
    let (go, gone) = mpsc::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let read = db.read(move |conn| {
        let count = || conn.query_row("SELECT count(*) FROM notes", [], |row| row.get::<_, i64>(0));
        let first = count()?;
        begun.send(()).unwrap();
        gone.recv_timeout(Duration::from_secs(20)).unwrap();
        Ok((first, count()?))
    });
    let (both, ()) = tokio::join!(read, async {
        begins.await.unwrap();
        note(&db, "two").await.unwrap();
        assert!(matches!(db.empty_log().await, Err(Error::Busy(_))), "a read still needs the log");
        go.send(()).unwrap();
    });
    assert_eq!(both.unwrap(), (1, 1));
    assert_eq!(notes(&db).await.len(), 2);
    db.empty_log().await.unwrap();
    assert_eq!(fs::metadata(directory.path().join("notes.db-wal")).unwrap().len(), 0);
}

#[tokio::test]
async fn a_read_cannot_write_and_its_panic_is_its_own() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    for statement in
        ["INSERT INTO notes (text) VALUES ('x')", "DROP TABLE notes", "PRAGMA user_version=9"]
    {
        let refused = db.read(move |conn| conn.execute_batch(statement)).await;
        assert!(refused.is_err(), "{statement}");
    }
    for _ in 0..10 {
        let panicked = db.read(|_| -> rusqlite::Result<()> { panic!("as planned") }).await;
        assert!(matches!(panicked, Err(Error::Panicked { .. })));
    }
    assert_eq!(notes(&db).await, Vec::<String>::new());
    let version: u32 =
        db.read(|conn| conn.query_row("PRAGMA user_version", [], |row| row.get(0))).await.unwrap();
    assert_eq!(version, 1);
}

#[tokio::test]
async fn more_reads_than_readers_wait_their_turn() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    note(&db, "one").await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let db = db.clone();
        tasks.spawn(async move { notes(&db).await.len() });
    }
    assert_eq!(tasks.join_all().await, vec![1; 64]);
}

#[tokio::test]
async fn a_copy_is_whole_private_and_never_replaces_anything() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    for n in 0..50 {
        note(&db, format!("n{n}")).await.unwrap();
    }
    let elsewhere = tempdir().unwrap();
    let target = elsewhere.path().join("notes.db");
    fs::write(elsewhere.path().join("notes.db.partial"), "left by a crash").unwrap();
    db.backup_to(&target).await.unwrap();
    note(&db, "after").await.unwrap();

    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> =
        fs::read_dir(elsewhere.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["notes.db"]);
    let copy = Database::open(options(elsewhere.path()).existing()).await.unwrap();
    assert_eq!(notes(&copy).await.len(), 50);
    copy.integrity().await.unwrap();
    copy.close().await;

    let before = fs::read(&target).unwrap();
    assert!(matches!(db.backup_to(&target).await, Err(BackupError::Exists { .. })));
    assert_eq!(fs::read(&target).unwrap(), before);
    let nowhere = db.backup_to(elsewhere.path().join("no/notes.db")).await;
    assert!(matches!(nowhere, Err(BackupError::Target { .. })), "{nowhere:?}");
    // A copy took no reader away.
    assert_eq!(notes(&db).await.len(), 51);
}

#[tokio::test]
async fn closing_finishes_what_is_queued_and_lets_go() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..50 {
        let db = db.clone();
        tasks.spawn(async move { note(&db, format!("n{n}")).await });
    }
    while db.stats().jobs == 0 {
        tokio::task::yield_now().await;
    }
    db.close().await;
    let kept = tasks.join_all().await.into_iter().filter(Result::is_ok).count();
    assert!(matches!(note(&db, "late").await, Err(Error::Closed)));
    assert!(matches!(db.read(|_| Ok(())).await, Err(Error::Closed)));
    assert!(!db.health().open);
    db.close().await;

    // The log is gone, the lock is free though the handle is not, and every acknowledged row is there.
    assert!(!directory.path().join("notes.db-wal").exists());
    let again = open(directory.path()).await;
    assert_eq!(notes(&again).await.len(), kept);
}
