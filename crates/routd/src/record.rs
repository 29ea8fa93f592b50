//! Audit rows: written in the transaction of what they tell of.

use db::audit::{self, Entry};
use proto::Timestamp;
use rusqlite::Connection;

/// Writes that `actor` did `action` to `target`. Nothing in it may be a secret.
pub(crate) fn record(
    conn: &Connection,
    now: Timestamp,
    actor: &str,
    action: &str,
    target: &str,
    detail: &str,
) -> rusqlite::Result<()> {
    audit::append(conn, &Entry { at_ms: now.0, actor, action, target, detail })?;
    Ok(())
}
