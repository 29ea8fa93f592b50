//! What the disk and SQLite give at best: rows of the same size, committed together, by a program that does nothing else.

use crate::{Bench, Failed};
use rusqlite::Connection;
use std::time::{Duration, Instant};

/// Rows a second, of `bytes` each, `together` in a commit, with `synchronous=FULL` and a write-ahead log.
///
/// # Errors
/// The database cannot be made.
pub fn group_commit(
    bench: &Bench,
    together: usize,
    bytes: usize,
    span: Duration,
) -> Result<f64, Failed> {
    let dir = tempfile::Builder::new().prefix("ceiling").tempdir_in(&bench.on)?;
    let conn = Connection::open(dir.path().join("c.db"))?;
    conn.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         CREATE TABLE rows (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, content TEXT NOT NULL);",
    )?;
    let content = "x".repeat(bytes);
    let started = Instant::now();
    let mut rows = 0_u32;
    while started.elapsed() < span {
        let tx = conn.unchecked_transaction()?;
        {
            let mut insert = tx.prepare_cached("INSERT INTO rows (id, content) VALUES (?1, ?2)")?;
            for _ in 0..together {
                insert.execute((format!("m-{rows}"), &content))?;
                rows += 1;
            }
        }
        tx.commit()?;
    }
    Ok(f64::from(rows) / started.elapsed().as_secs_f64())
}
