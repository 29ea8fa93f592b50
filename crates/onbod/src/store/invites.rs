//! Invites.

use super::{one, parsed};
use crate::token::Hash;
use proto::{Opaque, Timestamp, onbod::Invite};
use rusqlite::{Connection, Row};

const COLUMNS: &str =
    "seq, id, template, uses, uses_max, made_by, created_at, expires_at, revoked_at";

/// Keeps a new invite.
pub(crate) fn add(conn: &Connection, invite: &Invite, hash: &Hash) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO invites (id, token_hash, template, uses_max, made_by, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        invite.id.as_str(),
        hash,
        &invite.folder_template,
        invite.uses_max,
        &invite.made_by,
        invite.created_at.0,
        invite.expires_at.0,
    ))?;
    Ok(())
}

/// The invite of a token that can be used now. Changes nothing.
pub(crate) fn open(
    conn: &Connection,
    hash: &Hash,
    now: Timestamp,
) -> rusqlite::Result<Option<Invite>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM invites
         WHERE token_hash = ?1 AND revoked_at IS NULL AND expires_at > ?2 AND uses < uses_max"
    );
    Ok(one(conn, &sql, (hash, now.0), read)?.map(|(_, invite)| invite))
}

/// Uses an invite up by one. Whether it still could be used.
pub(crate) fn take(conn: &Connection, id: &Opaque, now: Timestamp) -> rusqlite::Result<bool> {
    let taken = conn
        .prepare_cached(
            "UPDATE invites SET uses = uses + 1
             WHERE id = ?1 AND revoked_at IS NULL AND expires_at > ?2 AND uses < uses_max",
        )?
        .execute((id.as_str(), now.0))?;
    Ok(taken == 1)
}

/// Ends an invite. Whether it was there and not ended.
pub(crate) fn revoke(conn: &Connection, id: &Opaque, now: Timestamp) -> rusqlite::Result<bool> {
    let sql = "UPDATE invites SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
    Ok(conn.prepare_cached(sql)?.execute((id.as_str(), now.0))? == 1)
}

/// Whether there is such an invite, revoked or not.
pub(crate) fn is_there(conn: &Connection, id: &Opaque) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM invites WHERE id = ?1")?.exists((id.as_str(),))
}

/// A page, in the order in which they were made, of one row more than it has.
pub(crate) fn list(
    conn: &Connection,
    after: i64,
    limit: u32,
) -> rusqlite::Result<Vec<(i64, Invite)>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM invites WHERE seq > ?1 ORDER BY seq LIMIT ?2"
    ))?
    .query_map((after, limit.saturating_add(1)), read)?
    .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Invite)> {
    let invite = Invite {
        id: parsed(row, "id")?,
        folder_template: row.get("template")?,
        uses: row.get("uses")?,
        uses_max: row.get("uses_max")?,
        made_by: row.get("made_by")?,
        created_at: Timestamp(row.get("created_at")?),
        expires_at: Timestamp(row.get("expires_at")?),
        revoked_at: row.get::<_, Option<i64>>("revoked_at")?.map(Timestamp),
    };
    Ok((row.get("seq")?, invite))
}
