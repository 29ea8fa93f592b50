//! What was acknowledged survives the process, and a process without rights is told so.
//!
//! The children are this test binary again, running one ignored test, with the directory on its standard input.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use db::{Database, Error, OpenError};
use tempfile::tempdir;

use crate::{note, notes, open, options};

/// Starts one ignored test of this binary as a child; `prepare` may change how.
fn child(test: &str, directory: &Path, shell: Option<&str>, uid: Option<u32>) -> Child {
    let this = std::env::current_exe().unwrap();
    let mut command = match shell {
        None => Command::new(&this),
        Some(script) => {
            let mut command = Command::new("sh");
            command.arg("-c").arg(format!("{script}; exec \"$0\" \"$@\"")).arg(&this);
            command
        }
    };
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    let mut child = command
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}", directory.display()).unwrap();
    child
}

fn directory_from_stdin() -> PathBuf {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    assert!(
        !line.trim().is_empty(),
        "this test is a child of another one, and not to be run alone"
    );
    PathBuf::from(line.trim())
}

#[tokio::test]
#[ignore = "run as a child by acknowledged_writes_survive_a_kill"]
async fn writes_until_it_is_killed() {
    let db = open(&directory_from_stdin()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..8 {
        let db = db.clone();
        tasks.spawn(async move {
            // Bounded, should nobody kill it.
            for n in 0..100_000 {
                let text = format!("{lane}-{n}");
                note(&db, text.clone()).await.unwrap();
                println!("\nack {text}");
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn acknowledged_writes_survive_a_kill() {
    let directory = tempdir().unwrap();
    for round in 0..3 {
        let test = "surviving::writes_until_it_is_killed";
        // Each round's notes are new ones.
        let home = directory.path().join(round.to_string());
        fs::create_dir(&home).unwrap();
        let mut child = child(test, &home, None, None);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        while acknowledged.len() < 50 + 150 * round {
            let line = lines.next().expect("the child ended").unwrap();
            acknowledged.extend(line.strip_prefix("ack ").map(str::to_owned));
        }
        child.kill().unwrap();
        // What it still said before it died counts as well.
        acknowledged.extend(
            lines
                .map_while(Result::ok)
                .filter_map(|line| line.strip_prefix("ack ").map(str::to_owned)),
        );
        child.wait().unwrap();

        let db = open(&home).await;
        let kept: std::collections::BTreeSet<_> = notes(&db).await.into_iter().collect();
        // The last line may have been cut.
        for text in &acknowledged[..acknowledged.len() - 1] {
            assert!(kept.contains(text), "{text} was acknowledged and is gone");
        }
        db.integrity().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "run as a child by a_disk_that_refuses_loses_nothing_that_was_acknowledged"]
async fn writes_until_the_disk_refuses() {
    let db = open(&directory_from_stdin()).await;
    let mut failures = 0;
    for n in 0..2_000 {
        let text = format!("{n} {}", "x".repeat(4_000));
        match note(&db, text).await {
            Ok(_) => println!("\nack {n}"),
            Err(error) => {
                assert!(matches!(error, Error::Disk(_) | Error::DiskFull(_)), "{error:?}");
                assert!(db.health().trouble.is_some() && !db.health().is_good());
                failures += 1;
                println!("\nrefused {n}");
            }
        }
        if failures == 5 {
            return;
        }
    }
    panic!("the disk never refused");
}

#[tokio::test]
async fn a_disk_that_refuses_loses_nothing_that_was_acknowledged() {
    let directory = tempdir().unwrap();
    let test = "surviving::writes_until_the_disk_refuses";
    // No file may grow past a megabyte (2048 blocks of 512 bytes); a write beyond it fails instead of ending the child.
    let limit = "trap '' XFSZ; ulimit -f 2048";
    let child = child(test, directory.path(), Some(limit), None);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    let numbers = |word: &str| -> Vec<String> {
        said.lines().filter_map(|line| line.strip_prefix(word).map(str::to_owned)).collect()
    };
    let (acknowledged, refused) = (numbers("ack "), numbers("refused "));
    assert!(acknowledged.len() > 10 && refused.len() == 5, "{said}");

    let db = open(directory.path()).await;
    db.integrity().await.unwrap();
    let kept: Vec<_> =
        notes(&db).await.iter().map(|text| text.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(kept, acknowledged);
    note(&db, "and it goes on").await.unwrap();
}

#[tokio::test]
#[ignore = "run as a child by a_user_without_rights_is_told_so"]
async fn opens_without_rights() {
    let directory = directory_from_stdin();
    for (name, create) in
        [("closed", true), ("unreadable", true), ("unwritable", true), ("unwritable", false)]
    {
        let home = directory.join(name);
        let options = db::Options { create, ..options(&home) };
        let error = Database::open(options).await.expect_err(name);
        assert!(matches!(error, OpenError::Permission { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
    println!("\nrefused all");
}

#[tokio::test]
async fn a_user_without_rights_is_told_so() {
    let directory = tempdir().unwrap();
    let set =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(directory.path(), 0o755);
    for name in ["closed", "unreadable", "unwritable"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    for name in ["unreadable", "unwritable"] {
        let home = directory.path().join(name);
        let db = open(&home).await;
        note(&db, "one").await.unwrap();
        db.close().await;
        set(&home.join("notes.db.lock"), 0o666);
        set(&home, 0o777);
    }
    set(&directory.path().join("unreadable/notes.db"), 0o000);
    set(&directory.path().join("unwritable/notes.db"), 0o444);
    set(&directory.path().join("closed"), 0o555);

    // The system lets root do anything, so that root becomes somebody else for this.
    let root =
        fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let test = "surviving::opens_without_rights";
    let output =
        child(test, directory.path(), None, root.then_some(65534)).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("refused all"), "{said}");

    // Nothing was touched.
    let home = directory.path().join("unwritable");
    set(&home.join("notes.db"), 0o600);
    assert_eq!(notes(&open(&home).await).await, ["one"]);
    assert_eq!(fs::read_dir(directory.path().join("closed")).unwrap().count(), 0);
}

/// Leaves the writer inside a transaction that can be neither committed nor undone, as a failing disk or a want of memory
/// might: no statement is short enough any more.
async fn strand(db: &Database) -> Error {
    use rusqlite::limits::Limit::SQLITE_LIMIT_SQL_LENGTH;
    let stranded = db.write("strand", |tx| {
        tx.prepare_cached("INSERT INTO notes (text) VALUES ('never')")?.insert([])?;
        tx.set_limit(SQLITE_LIMIT_SQL_LENGTH, 1).map(drop)
    });
    stranded.await.unwrap_err()
}

#[tokio::test]
async fn a_writer_that_cannot_undo_stops_and_says_so_and_the_file_can_be_opened_again() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    note(&db, "kept").await.unwrap();
    let watcher = db.watcher();
    let error = strand(&db).await;
    assert!(matches!(error, Error::NotCommitted(_)), "{error:?}");
    // Whoever waits for it is told, while others still hold the database.
    tokio::time::timeout(std::time::Duration::from_secs(20), watcher.closed()).await.unwrap();
    assert!(!db.health().open && watcher.trouble().is_some());
    assert!(matches!(note(&db, "later").await, Err(Error::Closed)));
    db.close().await;

    let again = open(directory.path()).await;
    assert_eq!(notes(&again).await, ["kept"], "nothing of what was not committed is there");
    note(&again, "and it goes on").await.unwrap();
}

#[tokio::test]
async fn closing_empties_the_log_and_a_look_does_not_keep_it_open() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    note(&db, "one").await.unwrap();
    let log = directory.path().join("notes.db-wal");
    assert!(log.exists(), "there is a log while it is open");
    let watcher = db.watcher();
    watcher.close().await;
    assert!(!log.exists() && !directory.path().join("notes.db-shm").exists());
    assert!(matches!(note(&db, "two").await, Err(Error::Closed)));
    watcher.close().await;

    let next = open(directory.path()).await;
    let watcher = next.watcher();
    drop(next);
    watcher.closed().await;
    assert!(!log.exists(), "nor is there one where the last handle is simply dropped");
    open(directory.path()).await;
}
