//! Opening: what is refused, with which words, and that it is left as it was.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use db::{Database, Error, Migration, OpenError, Options, rusqlite::Connection};
use tempfile::tempdir;

use crate::{NOTES, NOTES_ID, note, notes, open, options};

const SECOND: &[Migration] = &[
    NOTES[0],
    Migration {
        version: 2,
        name: "stars",
        sql: "ALTER TABLE notes ADD COLUMN stars INTEGER NOT NULL DEFAULT 1",
    },
];
const BROKEN: &[Migration] = &[
    NOTES[0],
    Migration {
        version: 2,
        name: "stars",
        sql: "ALTER TABLE notes ADD COLUMN stars INTEGER NOT NULL DEFAULT 1",
    },
    Migration {
        version: 3,
        name: "broken",
        sql: "CREATE TABLE more (id INTEGER PRIMARY KEY) STRICT; SELECT nonsense",
    },
];

async fn refused(options: Options) -> OpenError {
    Database::open(options).await.expect_err("it was opened")
}

fn with(directory: &Path, migrations: &'static [Migration]) -> Options {
    Options { migrations, ..options(directory) }
}

/// Every byte of the database, which a refusal must not touch.
fn bytes(directory: &Path) -> Vec<u8> {
    fs::read(directory.join("notes.db")).unwrap()
}

#[tokio::test]
async fn a_new_file_is_private_and_has_every_promise_kept() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    note(&db, "one").await.unwrap();
    for name in ["notes.db", "notes.db-wal", "notes.db-shm", "notes.db.lock"] {
        let mode = fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let pragmas = db.write("pragmas", |tx| {
        [
            "journal_mode",
            "synchronous",
            "foreign_keys",
            "secure_delete",
            "application_id",
            "user_version",
        ]
        .map(|name| {
            tx.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
        })
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
    });
    let pragmas: Vec<_> =
        pragmas.await.unwrap().into_iter().map(|value| format!("{value:?}")).collect();
    let id = format!("Integer({NOTES_ID})");
    let expected = ["Text(\"wal\")", "Integer(2)", "Integer(1)", "Integer(1)", &id, "Integer(1)"];
    assert_eq!(pragmas, expected);
    assert_eq!(db.health().schema_version, 1);
}

#[tokio::test]
async fn a_schema_moves_forward_and_only_forward() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    note(&db, "one").await.unwrap();
    db.close().await;

    let db = Database::open(with(directory.path(), SECOND)).await.unwrap();
    assert_eq!(db.health().schema_version, 2);
    let stars =
        db.read(|conn| conn.query_row("SELECT stars FROM notes", [], |row| row.get::<_, i64>(0)));
    assert_eq!(stars.await.unwrap(), 1);
    db.close().await;

    let before = bytes(directory.path());
    let error = refused(options(directory.path())).await;
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error:?}");
    assert!(error.to_string().contains("notes.db") && error.to_string().contains("newer release"));
    assert_eq!(bytes(directory.path()), before);
    Database::open(with(directory.path(), SECOND)).await.unwrap().close().await;
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_of_itself_or_its_neighbours() {
    let directory = tempdir().unwrap();
    open(directory.path()).await.close().await;
    let error = refused(with(directory.path(), BROKEN)).await;
    assert!(matches!(error, OpenError::Migration { version: 3, name: "broken", .. }), "{error:?}");
    let db = open(directory.path()).await;
    let tables = db.read(|conn| {
        conn.query_row("SELECT group_concat(sql) FROM sqlite_schema", [], |row| {
            row.get::<_, String>(0)
        })
    });
    let tables = tables.await.unwrap();
    assert!(!tables.contains("stars") && !tables.contains("more"), "{tables}");
    assert_eq!(db.health().schema_version, 1);
}

#[tokio::test]
async fn a_migration_that_was_edited_is_refused() {
    const EDITED: &[Migration] =
        &[Migration { sql: "CREATE TABLE notes (id INTEGER PRIMARY KEY) STRICT", ..NOTES[0] }];
    let directory = tempdir().unwrap();
    open(directory.path()).await.close().await;
    let before = bytes(directory.path());
    let error = refused(with(directory.path(), EDITED)).await;
    assert!(matches!(error, OpenError::MigrationChanged { version: 1, .. }), "{error:?}");
    assert_eq!(bytes(directory.path()), before);
}

#[tokio::test]
async fn a_list_that_makes_no_sense_is_a_defect() {
    const GAP: &[Migration] = &[NOTES[0], Migration { version: 3, ..NOTES[0] }];
    const TWICE: &[Migration] = &[NOTES[0], NOTES[0]];
    const ENDS: &[Migration] = &[Migration { version: 1, name: "ends", sql: "COMMIT" }];
    let directory = tempdir().unwrap();
    for list in [GAP, TWICE] {
        assert!(matches!(refused(with(directory.path(), list)).await, OpenError::Defect { .. }));
        assert!(!directory.path().join("notes.db").exists());
    }
    assert!(matches!(refused(with(directory.path(), ENDS)).await, OpenError::Defect { .. }));
    let nameless = Options { application_id: 0, ..options(directory.path()) };
    assert!(matches!(refused(nameless).await, OpenError::Defect { .. }));
}

#[tokio::test]
async fn a_file_that_is_not_there_is_missing() {
    let directory = tempdir().unwrap();
    let error = refused(options(directory.path()).existing()).await;
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "looking made nothing");
    let error = refused(options(&directory.path().join("no"))).await;
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
}

#[tokio::test]
async fn a_second_owner_is_refused_and_told_who_has_it() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    let error = refused(options(directory.path())).await;
    let OpenError::Locked { pid, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*pid, Some(std::process::id()));
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    // The first one goes on, also with the second gone.
    note(&db, "one").await.unwrap();
    assert!(matches!(refused(options(directory.path())).await, OpenError::Locked { .. }));
    db.close().await;
    assert_eq!(notes(&open(directory.path()).await).await, ["one"]);
}

#[tokio::test]
async fn another_programs_database_is_refused() {
    let directory = tempdir().unwrap();
    open(directory.path()).await.close().await;
    let before = bytes(directory.path());
    let other = Options { application_id: 7, ..options(directory.path()) };
    let error = refused(other).await;
    assert!(matches!(error, OpenError::Foreign { found: NOTES_ID, expected: 7, .. }), "{error:?}");
    assert_eq!(bytes(directory.path()), before);

    let directory = tempdir().unwrap();
    let path = directory.path().join("notes.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let before = bytes(directory.path());
    let error = refused(options(directory.path())).await;
    assert!(matches!(error, OpenError::Foreign { found: 0, .. }), "{error:?}");
    assert_eq!(bytes(directory.path()), before);
}

#[tokio::test]
async fn a_file_whose_making_was_cut_short_is_finished() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("notes.db"), "").unwrap();
    let db = open(directory.path()).await;
    note(&db, "one").await.unwrap();

    let directory = tempdir().unwrap();
    let path = directory.path().join("notes.db");
    let conn = Connection::open(&path).unwrap();
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    drop(conn);
    assert!(path.metadata().unwrap().len() > 0);
    note(&open(directory.path()).await, "one").await.unwrap();
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_kept() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("notes.db");
    fs::write(&path, "this is a letter, and no database ".repeat(100)).unwrap();
    let before = bytes(directory.path());
    let error = refused(options(directory.path())).await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("backup"), "{error}");
    assert_eq!(bytes(directory.path()), before);

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(Database::open(options(directory.path())).await.is_err());
}

#[tokio::test]
async fn a_damaged_page_is_found() {
    let directory = tempdir().unwrap();
    let db = open(directory.path()).await;
    for n in 0..400 {
        note(&db, format!("{n} {}", "x".repeat(200))).await.unwrap();
    }
    db.integrity().await.unwrap();
    db.close().await;
    let path = directory.path().join("notes.db");
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in 6..pages {
        file.seek(SeekFrom::Start(page * 4096)).unwrap();
        file.write_all(&[0xff; 64]).unwrap();
    }
    drop(file);
    match Database::open(options(directory.path())).await {
        Err(OpenError::Corrupt { .. }) => {}
        Err(other) => panic!("{other:?}"),
        Ok(db) => {
            let found = db.integrity().await;
            assert!(matches!(found, Err(Error::Corrupt { .. })), "{found:?}");
        }
    }
}

#[test]
fn a_large_file_is_looked_at_whole_only_where_that_is_asked_for() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("large.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE rows (content BLOB) STRICT").unwrap();
    let bytes = i64::try_from(db::EXAMINED_WHOLE).unwrap();
    conn.execute("INSERT INTO rows VALUES (zeroblob(?1))", [bytes]).unwrap();
    conn.close().unwrap();
    db::examine(&path).unwrap();

    let whole = fs::read(&path).unwrap();
    let middle = whole.len() / 2 / 4096 * 4096;
    let mut damaged = whole.clone();
    damaged[middle..middle + 4096].fill(0x5a);
    fs::write(&path, &damaged).unwrap();
    db::examine(&path).unwrap();
    let schema = db::Schema { application_id: NOTES_ID, migrations: NOTES };
    let found = schema.check(&path).unwrap_err();
    assert!(matches!(found, OpenError::Corrupt { .. }), "{found:?}");
    // What it begins with is looked at in any case.
    damaged[..16].fill(0x5a);
    fs::write(&path, &damaged).unwrap();
    let found = db::examine(&path).unwrap_err();
    assert!(matches!(found, OpenError::Corrupt { .. }), "{found:?}");
    assert!(fs::read(&path).unwrap() == damaged, "a look changed it");
}
