//! Which life of an instance this is: the first, or one that began when a backup was brought back.
//!
//! A copy made for a backup carries a mark. Whoever owns the database looks for it at start ([`begin`]) and, in the
//! same transaction, does what keeps this life apart from the one that went on after the backup: other numbers, other
//! keys, doubt about what that one may have done. It does not matter by what way the file came back.

use rusqlite::{Connection, OptionalExtension};

/// The table. Made where a copy is marked, so that a database that never was one has none.
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS instance_epochs (
    -- The first life has no row, and is 1.
    epoch INTEGER PRIMARY KEY CHECK (epoch > 1),
    backup TEXT NOT NULL,
    taken_at_ms INTEGER NOT NULL,
    -- Null: nobody has opened this copy yet.
    begun_at_ms INTEGER
) STRICT";

/// What a copy is marked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The backup's id.
    pub backup: String,
    /// The moment that it shows, in milliseconds since 1970.
    pub taken_at_ms: i64,
}

/// An epoch that has just begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its number: 2 for the first that followed a backup.
    pub epoch: i64,
    /// What it goes on from.
    pub from: Mark,
}

/// Marks a copy.
pub(crate) fn mark(conn: &Connection, mark: &Mark) -> rusqlite::Result<()> {
    conn.execute_batch(SCHEMA)?;
    conn.execute(
        "INSERT INTO instance_epochs (epoch, backup, taken_at_ms)
         SELECT coalesce(max(epoch), 1) + 1, ?1, ?2 FROM instance_epochs",
        (&mark.backup, mark.taken_at_ms),
    )
    .map(drop)
}

/// Begins the new epoch where this database is a copy that nobody has opened yet. Part of the caller's transaction.
pub fn begin(conn: &Connection, now_ms: i64) -> rusqlite::Result<Option<Begun>> {
    if !is_marked(conn)? {
        return Ok(None);
    }
    conn.prepare(
        "UPDATE instance_epochs SET begun_at_ms = ?1 WHERE begun_at_ms IS NULL
         RETURNING epoch, backup, taken_at_ms",
    )?
    .query_map([now_ms], |row| {
        let from = Mark { backup: row.get(1)?, taken_at_ms: row.get(2)? };
        Ok(Begun { epoch: row.get(0)?, from })
    })?
    .collect::<rusqlite::Result<Vec<_>>>()
    .map(|begun| begun.into_iter().max_by_key(|begun| begun.epoch))
}

fn is_marked(conn: &Connection) -> rusqlite::Result<bool> {
    let table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'instance_epochs'";
    Ok(conn.query_row(table, [], |_| Ok(())).optional()?.is_some())
}

/// Has the numbers of `table`, whose key is `AUTOINCREMENT`, go on above `number`: those up to it may have been given
/// out in the life that went on after the backup.
pub fn skip_to(conn: &Connection, table: &str, number: i64) -> rusqlite::Result<()> {
    let known = conn.execute(
        "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1",
        (table, number),
    )?;
    if known == 0 {
        conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (table, number))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT")
            .unwrap();
        conn
    }

    #[test]
    fn an_epoch_begins_once_for_each_copy_and_never_without_one() {
        let conn = copy();
        assert_eq!(begin(&conn, 5).unwrap(), None);
        let first = Mark { backup: "b-1".into(), taken_at_ms: 3 };
        mark(&conn, &first).unwrap();
        assert_eq!(begin(&conn, 5).unwrap(), Some(Begun { epoch: 2, from: first }));
        assert_eq!(begin(&conn, 6).unwrap(), None);
        let again = Mark { backup: "b-2".into(), taken_at_ms: 9 };
        mark(&conn, &again).unwrap();
        assert_eq!(begin(&conn, 10).unwrap(), Some(Begun { epoch: 3, from: again }));
    }

    #[test]
    fn numbers_go_on_above_and_never_back() {
        let conn = copy();
        let next = || {
            conn.execute("INSERT INTO notes DEFAULT VALUES", []).unwrap();
            conn.last_insert_rowid()
        };
        skip_to(&conn, "notes", 1_000).unwrap();
        assert_eq!(next(), 1_001);
        skip_to(&conn, "notes", 500).unwrap();
        assert_eq!(next(), 1_002);
    }
}
