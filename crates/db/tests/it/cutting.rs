//! Several databases are cut at one moment, while their owners write.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use db::epoch::{self, Begun, Mark};
use db::{BackupError, Cut, CutError, Database, Schema, rusqlite};
use tempfile::tempdir;

use crate::{NOTES, NOTES_ID, note, notes, open, options};

const SCHEMA: Schema = Schema { application_id: NOTES_ID, migrations: NOTES };
/// How often two databases are cut under load.
const CUTS: usize = 12;

fn mark() -> Mark {
    Mark { backup: "b-1".into(), taken_at_ms: 7 }
}

fn newest(path: &Path) -> i64 {
    db::look(path, |conn| {
        conn.query_row("SELECT coalesce(max(id), 0) FROM notes", [], |row| row.get(0))
    })
    .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the task is waited for below")]
#[tokio::test(flavor = "multi_thread")]
async fn what_followed_from_what_is_never_there_without_it() {
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    let (first, second) = (open(one.path()).await, open(two.path()).await);
    let (ended, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
    let writing = {
        let (first, second) = (first.clone(), second.clone());
        let (ended, written) = (ended.clone(), written.clone());
        tokio::spawn(async move {
            while !ended.load(Ordering::SeqCst) {
                let number = written.fetch_add(1, Ordering::SeqCst);
                // As a message and its answer: the second only once the first is acknowledged.
                note(&first, format!("asked {number}")).await.unwrap();
                note(&second, format!("answered {number}")).await.unwrap();
            }
        })
    };
    let paths = [first.path().to_owned(), second.path().to_owned()];
    for round in 0..CUTS {
        let before = written.load(Ordering::SeqCst);
        let (paths, into) = (paths.clone(), one.path().to_owned());
        let copied = tokio::task::spawn_blocking(move || {
            let cut = Cut::of(&paths).unwrap();
            let copies = [0, 1].map(|which| into.join(format!("copy-{round}-{which}.db")));
            for (path, copy) in paths.iter().zip(&copies) {
                assert_eq!(cut.copy(path, copy, &mark()).unwrap(), 1);
                SCHEMA.check(copy).unwrap();
            }
            copies
        });
        let [asked, answered] = copied.await.unwrap().map(|copy| newest(&copy));
        assert!((0..=1).contains(&(asked - answered)), "{asked} asked, {answered} answered");
        assert!(asked + 1 >= i64::from(before), "what was acknowledged before is in the copy");
        // The owners were not stopped by it.
        while written.load(Ordering::SeqCst) < before + 4 {
            tokio::task::yield_now().await;
        }
    }
    ended.store(true, Ordering::SeqCst);
    writing.await.unwrap();
    assert!(newest(first.path()) > 0 && newest(second.path()) > 0);
}

#[tokio::test]
async fn a_copy_is_opened_in_a_new_epoch_and_the_original_never() {
    let place = tempdir().unwrap();
    let database = open(place.path()).await;
    note(&database, "kept").await.unwrap();
    let begin = async |database: &Database| {
        database.write("epoch", |tx| epoch::begin(tx, 9)).await.unwrap()
    };
    let elsewhere = tempdir().unwrap();
    let copy = elsewhere.path().join("notes.db");
    let paths = [database.path().to_owned()];
    let cut = Cut::of(&paths).unwrap();
    note(&database, "later").await.unwrap();
    cut.copy(&paths[0], &copy, &mark()).unwrap();
    assert!(matches!(cut.copy(&paths[0], &copy, &mark()), Err(BackupError::Exists { .. })));
    drop(cut);
    assert_eq!(begin(&database).await, None);
    let restored = open(elsewhere.path()).await;
    assert_eq!(notes(&restored).await, ["kept"], "what came later is not in it");
    assert_eq!(begin(&restored).await, Some(Begun { epoch: 2, from: mark() }));
    assert_eq!(begin(&restored).await, None, "it begins once");
    assert_eq!(notes(&database).await, ["kept", "later"]);
}

#[tokio::test]
async fn a_file_that_somebody_holds_is_named_and_nothing_is_changed() {
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    let (first, second) = (open(one.path()).await, open(two.path()).await);
    let paths: [PathBuf; 2] = [first.path().to_owned(), second.path().to_owned()];
    let holder = rusqlite::Connection::open(&paths[1]).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let wanted = paths.clone();
    let found = tokio::task::spawn_blocking(move || Cut::of(&wanted)).await.unwrap();
    match found {
        Err(CutError::Busy { path }) => assert_eq!(path, paths[1]),
        other => panic!("{other:?}"),
    }
    holder.execute_batch("ROLLBACK").unwrap();
    // Neither is held any more.
    note(&first, "goes on").await.unwrap();
    note(&second, "goes on").await.unwrap();
    let missing = one.path().join("nothing.db");
    assert!(matches!(Cut::of(std::slice::from_ref(&missing)), Err(CutError::Open(_))));
    assert!(!missing.exists(), "a look makes nothing");
    assert_eq!(options(one.path()).path, paths[0]);
}
