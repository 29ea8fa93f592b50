//! Writes: together, alone, and when the disk is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

use db::{Constraint, Error};
use tempfile::tempdir;

use crate::{note, notes, open};

/// Holds the writer inside a job until the returned sender is used or dropped.
async fn hold(db: &db::Database) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel();
    let (entered, inside) = tokio::sync::oneshot::channel();
    let db = db.clone();
    #[expect(clippy::disallowed_methods, reason = "a test has no supervisor")]
    tokio::spawn(async move {
        db.write("hold", move |_| {
            entered.send(()).unwrap();
            // Ends on a message, on the sender's drop, or when the test has long failed.
            released.recv_timeout(Duration::from_secs(20)).ok();
            Ok(())
        })
        .await
    });
    inside.await.unwrap();
    release
}

/// Starts `n` writes that wait behind each other, and gives what became of them.
async fn all(
    db: &db::Database,
    n: usize,
    write: impl AsyncFn(&db::Database, usize) -> Result<(), Error> + Clone + 'static,
) -> Vec<Result<(), Error>> {
    let local = tokio::task::LocalSet::new();
    let tasks: Vec<_> = (0..n)
        .map(|i| {
            let (db, write) = (db.clone(), write.clone());
            local.spawn_local(async move { write(&db, i).await })
        })
        .collect();
    let mut results = Vec::new();
    local
        .run_until(async {
            for task in tasks {
                results.push(task.await.unwrap());
            }
        })
        .await;
    results
}

#[tokio::test]
async fn what_waits_is_committed_together() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    let before = db.stats();
    let release = hold(&db).await;
    let waiting =
        all(&db, 200, async |db: &db::Database, i| note(db, format!("n{i}")).await.map(|_| ()));
    let (results, ()) = tokio::join!(waiting, async {
        while db.health().waiting < 200 {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
    });

    assert!(results.iter().all(Result::is_ok));
    assert_eq!(notes(&db).await.len(), 200);
    let after = db.stats();
    assert_eq!(after.jobs - before.jobs, 201);
    assert!(after.largest_batch > 20, "{after:?}");
    assert!(after.commits - before.commits < 60, "{after:?}");
    assert_eq!((after.jobs_failed, after.commit_failures), (0, 0));
}

#[tokio::test]
async fn a_job_that_fails_is_undone_alone() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    let release = hold(&db).await;
    let write = async |db: &db::Database, i: usize| match i % 4 {
        0 => note(db, format!("n{i}")).await.map(|_| ()),
        // Two rows, of which the second is refused.
        1 => {
            db.write("two", move |tx| {
                tx.execute("INSERT INTO notes (text) VALUES (?1)", [format!("half{i}")])?;
                tx.execute("INSERT INTO notes (text) VALUES ('')", [])?;
                Ok(())
            })
            .await
        }
        2 => {
            db.write("panics", move |tx| {
                tx.execute("INSERT INTO notes (text) VALUES (?1)", [format!("panic{i}")])?;
                panic!("as planned")
            })
            .await
        }
        _ => {
            db.try_write("its own", move |tx| {
                tx.execute("INSERT INTO notes (text) VALUES (?1)", [format!("own{i}")])?;
                Err(Error::NoRow)
            })
            .await
        }
    };
    let (results, ()) = tokio::join!(all(&db, 40, write), async {
        while db.health().waiting < 40 {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
    });

    for (i, result) in results.iter().enumerate() {
        match (i % 4, result) {
            (0, Ok(())) | (3, Err(Error::NoRow)) => {}
            (1, Err(Error::Constraint { kind: Constraint::Check, .. })) => {}
            (2, Err(Error::Panicked { label: "panics" })) => {}
            _ => panic!("job {i}: {result:?}"),
        }
    }
    let kept: Vec<_> = (0..40).step_by(4).map(|i| format!("n{i}")).collect();
    assert_eq!(notes(&db).await, kept);
    assert_eq!(db.stats().jobs_failed, 30);
    assert!(db.health().is_good());
}

#[tokio::test]
async fn a_broken_rule_is_named() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    note(&db, "one").await.unwrap();

    let twice = note(&db, "one").await.unwrap_err();
    assert!(twice.is_unique() && !twice.is_retryable());
    assert_eq!(twice.to_string(), "UNIQUE constraint failed: notes.text");
    let orphan = db.write("orphan", |tx| tx.execute("INSERT INTO replies (note) VALUES (9)", []));
    let orphan = orphan.await.unwrap_err();
    assert!(matches!(orphan, Error::Constraint { kind: Constraint::ForeignKey, .. }), "{orphan:?}");
    let typed = db.write("typed", |tx| tx.execute("INSERT INTO replies (note) VALUES ('x')", []));
    let typed = typed.await.unwrap_err();
    assert!(matches!(typed, Error::Constraint { kind: Constraint::Other, .. }), "{typed:?}");
    let none =
        db.read(|conn| conn.query_row("SELECT id FROM replies", [], |row| row.get::<_, i64>(0)));
    assert!(matches!(none.await, Err(Error::NoRow)));
    let quoted = db.write("quoted", |tx| tx.execute("DELETE FROM notes WHERE text = \"one\"", []));
    assert!(matches!(quoted.await, Err(Error::Statement(_))), "a typo is no string");
}

#[tokio::test]
async fn a_commit_that_fails_acknowledges_nobody() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    let woken = Arc::new(AtomicU32::new(0));
    let release = hold(&db).await;
    let write = {
        let woken = Arc::clone(&woken);
        async move |db: &db::Database, i: usize| {
            let woken = Arc::clone(&woken);
            db.write("any", move |tx| {
                tx.after_commit(move || {
                    woken.fetch_add(1, SeqCst);
                });
                tx.execute("INSERT INTO notes (id, text) VALUES (?1, ?1)", [(i % 3).to_string()])?;
                if i == 2 {
                    // Checked by COMMIT, and not before.
                    tx.execute("INSERT INTO replies (note, later) VALUES (0, 999)", [])?;
                }
                Ok(())
            })
            .await
        }
    };
    let (results, ()) = tokio::join!(all(&db, 4, write), async {
        while db.health().waiting < 4 {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
    });

    // Also the one that was refused because of a row of another, which is not there now.
    for result in &results {
        let Err(error @ Error::NotCommitted(_)) = result else { panic!("{results:?}") };
        assert!(error.is_retryable());
    }
    assert_eq!(notes(&db).await, Vec::<String>::new());
    assert_eq!(woken.load(SeqCst), 0, "nothing follows what was not committed");
    assert!(db.health().trouble.is_some() && db.stats().commit_failures == 1);

    note(&db, "after").await.unwrap();
    assert_eq!(notes(&db).await, ["after"]);
    assert!(db.health().is_good());
}

#[tokio::test]
async fn a_job_that_ends_the_transaction_harms_nothing_for_good() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    for statement in ["COMMIT", "ROLLBACK", "RELEASE _db_job"] {
        let ended = db.write("ends it", move |tx| {
            tx.execute("INSERT INTO notes (text) VALUES (?1)", [statement])?;
            tx.execute_batch(statement)
        });
        assert!(matches!(ended.await, Err(Error::NotCommitted(_))), "{statement}");
        note(&db, format!("after {statement}")).await.unwrap();
    }
    assert!(db.health().is_good());
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    note(&db, "before").await.unwrap();
    let limit = |pages: i64| {
        db.write("limit", move |tx| {
            tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| {
                row.get::<_, i64>(0)
            })
        })
    };
    let pages = limit(0).await.unwrap();
    assert!(pages > 0);
    let now: i64 =
        db.read(|conn| conn.query_row("PRAGMA page_count", [], |row| row.get(0))).await.unwrap();
    limit(now).await.unwrap();

    let big = "x".repeat(100_000);
    let full = note(&db, big.clone()).await.unwrap_err();
    assert!(matches!(full, Error::DiskFull(_)) && full.is_retryable(), "{full:?}");
    assert_eq!(notes(&db).await, ["before"]);
    // What needs no new page is still written.
    note(&db, "small").await.unwrap();

    limit(1_000_000).await.unwrap();
    note(&db, big.clone()).await.unwrap();
    assert_eq!(notes(&db).await, ["before".to_owned(), "small".to_owned(), big]);
    db.integrity().await.unwrap();
}

#[tokio::test]
async fn a_job_runs_though_its_caller_left() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    let release = hold(&db).await;
    let (woken, woke) = tokio::sync::oneshot::channel();
    {
        let write = db.write("left alone", move |tx| {
            tx.after_commit(move || woken.send(()).unwrap());
            tx.execute("INSERT INTO notes (text) VALUES ('kept')", [])
        });
        tokio::pin!(write);
        // Polled until it is in the queue, then dropped.
        while db.health().waiting == 0 {
            tokio::select! {
                biased;
                _ = &mut write => panic!("the writer is held"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    release.send(()).unwrap();
    woke.await.unwrap();
    assert_eq!(notes(&db).await, ["kept"]);
}

#[tokio::test]
async fn what_follows_a_commit_sees_it_and_comes_before_the_answer() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    let woken = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&woken);
    db.write("wakes", move |tx| {
        tx.after_commit(|| panic!("a broken effect harms nobody"));
        tx.after_commit(move || {
            counter.fetch_add(1, SeqCst);
        });
        tx.execute("INSERT INTO notes (text) VALUES ('one')", [])
    })
    .await
    .unwrap();
    assert_eq!(woken.load(SeqCst), 1);

    let counter = Arc::clone(&woken);
    let failed = db.write("undone", move |tx| {
        tx.after_commit(move || {
            counter.fetch_add(1, SeqCst);
        });
        tx.execute("INSERT INTO notes (text) VALUES ('')", [])
    });
    assert!(failed.await.is_err());
    note(&db, "two").await.unwrap();
    assert_eq!(woken.load(SeqCst), 1, "nothing follows a job that was undone");
}
