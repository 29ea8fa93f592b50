//! The audit log: who did what to what, in rows that name the row before them.
//!
//! Each daemon that owns a database keeps its own log in it, so that a change and its audit row are one transaction.
//! Every row carries the hash of itself and of the row before it; a row that was edited, taken out or put in between
//! breaks the chain from there on, and [`verify`] says where. The chain does not protect against somebody who can
//! rewrite the whole file: for that, the newest hash is shown (and may be kept elsewhere).

use proto::{
    Timestamp,
    routd::{Act, AuditPage, AuditRow, chained},
};
use rusqlite::{Connection, OptionalExtension};

use crate::database::{Database, WeakDatabase};
use crate::error::Error;

/// The table, as a migration of its own: `Migration { version: n, name: "audit", sql: db::audit::SCHEMA }`.
pub const SCHEMA: &str = include_str!("audit.sql");

/// Bytes of a target or a detail that are kept.
const LONGEST: usize = 4096;

/// Something that was done. None of it may be a secret.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who, as a subject such as `operator:local`.
    pub actor: &'a str,
    /// What, such as `route.add`.
    pub action: &'a str,
    /// To what.
    pub target: &'a str,
    /// More about it.
    pub detail: &'a str,
}

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Every row is where it was and as it was.
    Whole {
        /// How many rows there are.
        rows: i64,
        /// The hash of the newest; empty where there is none.
        newest: String,
    },
    /// From this row on the log is not what was written.
    Broken {
        /// The first row that does not fit.
        id: i64,
    },
}

/// Appends a row. Part of the caller's transaction: what is undone was not done.
pub fn append(conn: &Connection, entry: &Entry<'_>) -> rusqlite::Result<i64> {
    let last = conn
        .prepare_cached("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let (id, before) = last.map_or((1, String::new()), |(id, hash)| (id + 1, hash));
    let entry = Entry { target: cut(entry.target), detail: cut(entry.detail), ..*entry };
    let hash = digest(id, &entry, &before);
    conn.prepare_cached(
        "INSERT INTO audit (id, at_ms, actor, action, target, detail, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        id,
        entry.at_ms,
        entry.actor,
        entry.action,
        entry.target,
        entry.detail,
        hash,
    ))?;
    Ok(id)
}

/// Rows before the cursor, newest first, at most `limit` of them.
pub fn list(conn: &Connection, before: Option<i64>, limit: u32) -> rusqlite::Result<Vec<AuditRow>> {
    conn.prepare_cached(
        "SELECT id, at_ms, actor, action, target, detail, hash FROM audit
         WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
    )?
    .query_map((before.unwrap_or(i64::MAX), limit), read)?
    .collect()
}

/// Rows of a page when its reader does not say how many.
pub const PAGE_ROWS: u32 = 100;
/// Rows of a page at the most.
pub const PAGE_ROWS_MAX: u32 = 500;

/// A page of the log, newest first, and where the next one begins; `None` at the end.
pub fn page(
    conn: &Connection,
    before: Option<i64>,
    limit: Option<u32>,
) -> rusqlite::Result<AuditPage> {
    let limit = limit.unwrap_or(PAGE_ROWS).clamp(1, PAGE_ROWS_MAX);
    let rows = list(conn, before, limit)?;
    let full = u32::try_from(rows.len()).is_ok_and(|count| count == limit);
    // Ids begin at 1, so nothing comes before that row.
    let next = rows.last().map(|row| row.id).filter(|id| full && *id > 1);
    Ok(AuditPage { rows, next })
}

/// Writes what others than the owner's own changes have to be remembered. Weak, so that whoever holds it does not
/// keep the database open.
#[derive(Clone, Debug)]
pub struct Keeper(WeakDatabase);

impl Keeper {
    /// For the log of this database.
    pub fn of(db: &Database) -> Self {
        Self(db.downgrade())
    }

    /// Appends these rows, as one transaction; answers once they are on the disk.
    ///
    /// # Errors
    /// The database is closed, or failed. Nothing is written then.
    pub async fn keep(self, acts: Vec<Act>) -> Result<(), Error> {
        let db = self.0.upgrade().ok_or(Error::Closed)?;
        db.write("audit", move |tx| {
            acts.iter().try_for_each(|act| append(tx, &Entry::from(act)).map(drop))
        })
        .await
    }
}

impl<'a> From<&'a Act> for Entry<'a> {
    fn from(act: &'a Act) -> Self {
        let Act { at, actor, action, target, detail } = act;
        Self { at_ms: at.0, actor, action, target, detail }
    }
}

/// Reads the whole log and says whether the chain holds.
pub fn verify(conn: &Connection) -> Result<Chain, Error> {
    let mut statement = conn
        .prepare("SELECT id, at_ms, actor, action, target, detail, hash FROM audit ORDER BY id")?;
    let (mut rows, mut newest) = (0, String::new());
    for row in statement.query_map([], read)? {
        let row = row?;
        if row.id != rows + 1 || !row.fits(&newest) {
            return Ok(Chain::Broken { id: row.id });
        }
        (rows, newest) = (row.id, row.hash);
    }
    Ok(Chain::Whole { rows, newest })
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        id: row.get(0)?,
        at: Timestamp(row.get(1)?),
        actor: row.get(2)?,
        action: row.get(3)?,
        target: row.get(4)?,
        detail: row.get(5)?,
        hash: row.get(6)?,
    })
}

fn digest(id: i64, entry: &Entry<'_>, before: &str) -> String {
    let said = [entry.actor, entry.action, entry.target, entry.detail];
    chained(id, Timestamp(entry.at_ms), said, before)
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(rows: &[(&str, &str)]) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(SCHEMA).unwrap();
        for (at_ms, (action, target)) in (1..).zip(rows) {
            let entry = Entry { at_ms, actor: "operator:local", action, target, detail: "" };
            append(&conn, &entry).unwrap();
        }
        conn
    }

    /// Edits the log as somebody with the file in hand would: past its triggers.
    fn tamper(conn: &Connection, sql: &str) {
        conn.execute_batch("DROP TRIGGER audit_is_kept; DROP TRIGGER audit_is_fixed").unwrap();
        assert!(conn.execute(sql, []).unwrap() > 0);
    }

    #[test]
    fn a_log_that_was_not_touched_is_whole() {
        let conn = log(&[]);
        assert_eq!(verify(&conn).unwrap(), Chain::Whole { rows: 0, newest: String::new() });
        let conn = log(&[("route.add", "1"), ("route.remove", "1")]);
        let Chain::Whole { rows: 2, newest } = verify(&conn).unwrap() else { panic!("broken") };
        let page = list(&conn, None, 10).unwrap();
        assert_eq!(page.first().map(|row| &row.hash), Some(&newest));
        assert_eq!(list(&conn, Some(2), 10).unwrap().len(), 1, "a cursor leaves out what it names");
    }

    #[test]
    fn an_edit_a_gap_and_a_swap_are_found_where_they_are() {
        let rows = [("route.add", "1"), ("route.add", "2"), ("route.remove", "1")];
        for (sql, id) in [
            ("UPDATE audit SET actor = 'nobody' WHERE id = 2", 2),
            ("DELETE FROM audit WHERE id = 2", 3),
            ("UPDATE audit SET id = id + 10 WHERE id = 3", 13),
        ] {
            let conn = log(&rows);
            tamper(&conn, sql);
            assert_eq!(verify(&conn).unwrap(), Chain::Broken { id }, "{sql}");
        }
    }

    #[test]
    fn the_log_only_grows() {
        let conn = log(&[("route.add", "1")]);
        assert!(conn.execute("DELETE FROM audit", []).is_err());
        assert!(conn.execute("UPDATE audit SET detail = 'x'", []).is_err());
    }

    #[test]
    fn fields_that_join_to_the_same_text_hash_apart() {
        let one = Entry { at_ms: 1, actor: "ab", action: "c", target: "", detail: "" };
        let two = Entry { actor: "a", action: "bc", ..one };
        assert_ne!(digest(1, &one, ""), digest(1, &two, ""));
    }
}
