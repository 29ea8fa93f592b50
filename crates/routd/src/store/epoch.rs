//! What routd does when its database is a copy that was brought back.
//!
//! The life that went on after the copy was made gave out numbers, started attempts and sent messages, of which nothing
//! is known here. So the numbers that others keep as cursors go on above any of its own; an attempt that was in
//! progress is not made again; and what had not been seen to arrive is held, in doubt, and never sent by itself.

use super::channels;
use crate::{fault::Fault, record::record};
use db::epoch::{self, Begun};
use proto::Timestamp;
use rusqlite::Connection;

/// Whose numbers others keep: readers of feeds, of lists and of the order of arrival.
const NUMBERED: [&str; 4] = ["messages", "turns", "feed", "outbox"];
/// The numbers of sockets that the other life may have used since. A short number, because paths are.
const SOCKETS: i64 = 1_000_000;
/// The counter that says up to which row of the outbox nothing is sent by itself.
pub(crate) const HELD: &str = "outbox held";

/// Begins the new epoch, where this database is a copy that nobody has opened yet.
pub(crate) fn begin(conn: &Connection, now: Timestamp) -> Result<Option<Begun>, Fault> {
    let Some(begun) = epoch::begin(conn, now.0)? else { return Ok(None) };
    let taken = Timestamp(begun.from.taken_at_ms);
    for table in NUMBERED {
        // Faster than a thousand a second for as long as an instance lives, no number comes near the time.
        epoch::skip_to(conn, table, now.0)?;
    }
    conn.execute(
        "INSERT INTO counters (name, value) VALUES ('endpoint', ?1)
         ON CONFLICT (name) DO UPDATE SET value = value + ?1",
        [SOCKETS],
    )?;
    let held = hold(conn, &format!("may have been sent after the backup of {taken} was made"))?;
    let begun_turns = conn.execute(
        "UPDATE turns SET did_something = 1
         WHERE state IN ('starting', 'running') AND run_id IS NOT NULL",
        [],
    )?;
    // They are those of another place; each adapter comes again by itself.
    channels::forget_all(conn)?;
    let detail = format!(
        "backup {} of {taken}; {held} messages to platforms held; {begun_turns} turns were in progress",
        begun.from.backup
    );
    record(
        conn,
        now,
        "service:routd",
        "instance.restore",
        &format!("epoch {}", begun.epoch),
        &detail,
    )?;
    tracing::warn!(epoch = begun.epoch, detail, "this instance was brought back from a backup");
    Ok(Some(begun))
}

/// Has nothing that is in the outbox now be sent by itself.
fn hold(conn: &Connection, why: &str) -> rusqlite::Result<usize> {
    conn.execute(
        "INSERT INTO counters (name, value) SELECT ?1, coalesce(max(seq), 0) FROM outbox WHERE true
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [HELD],
    )?;
    conn.execute(
        "UPDATE outbox SET state = 'ambiguous', not_before = 0, detail = ?1
         WHERE state IN ('pending', 'sending', 'ambiguous')",
        [why],
    )
}
