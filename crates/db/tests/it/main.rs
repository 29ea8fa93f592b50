//! A database through its public interface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cutting;
mod opening;
mod reading;
mod surviving;
mod writing;

use std::path::Path;

use db::{Database, Migration, Options};

pub(crate) const NOTES: &[Migration] = &[Migration {
    version: 1,
    name: "notes",
    sql: "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE CHECK (text <> '')) STRICT;
          CREATE TABLE replies (
              id INTEGER PRIMARY KEY,
              note INTEGER NOT NULL REFERENCES notes (id),
              later INTEGER REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED
          ) STRICT;",
}];
pub(crate) const NOTES_ID: i32 = 0x6e6f_7465;

pub(crate) fn options(directory: &Path) -> Options {
    Options::new(directory.join("notes.db"), NOTES_ID, NOTES)
}

pub(crate) async fn open(directory: &Path) -> Database {
    Database::open(options(directory)).await.unwrap()
}

pub(crate) async fn note(db: &Database, text: impl Into<String>) -> Result<i64, db::Error> {
    let text = text.into();
    db.write("note", move |tx| {
        tx.prepare_cached("INSERT INTO notes (text) VALUES (?1)")?.insert([text])
    })
    .await
}

pub(crate) async fn notes(db: &Database) -> Vec<String> {
    db.read(|conn| {
        conn.prepare_cached("SELECT text FROM notes ORDER BY id")?
            .query_map([], |row| row.get(0))?
            .collect()
    })
    .await
    .unwrap()
}
