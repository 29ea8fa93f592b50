//! Capability links, by the keyed hash of their token.

use super::{parsed, time};
use proto::{
    Timestamp,
    routd::{Link, LinkKind, Signature},
};
use rusqlite::{Connection, OptionalExtension, Row};

/// Writes a link.
pub(crate) fn add(conn: &Connection, link: &Link, token_hash: &[u8]) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO links (id, kind, folder, chat_jid, token_hash, created_at, signature)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        link.id.as_str(),
        link.kind.name(),
        link.folder.as_str(),
        link.chat_jid.as_str(),
        token_hash,
        link.created_at.0,
        link.signature.map(Signature::name),
    ))?;
    Ok(())
}

/// Notes when a link's signing secret was replaced.
pub(crate) fn secret_changed(conn: &Connection, id: &str, now: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE links SET secret_changed_at = ?2 WHERE id = ?1")?
        .execute((id, now.0))?;
    Ok(())
}

/// How the deliveries of a link are signed, and when its secret was last replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed {
    pub(crate) signature: Signature,
    pub(crate) changed_at: Option<Timestamp>,
}

/// The same of a link that is not revoked and whose deliveries are signed.
pub(crate) fn signed(conn: &Connection, id: &str) -> rusqlite::Result<Option<Signed>> {
    let found = conn
        .prepare_cached(
            "SELECT signature, secret_changed_at FROM links WHERE id = ?1 AND revoked_at IS NULL",
        )?
        .query_row([id], |row| Ok((read_signature(row)?, row.get::<_, Option<i64>>(1)?)))
        .optional()?;
    Ok(found.and_then(|(signature, changed_at)| {
        Some(Signed { signature: signature?, changed_at: changed_at.map(Timestamp) })
    }))
}

/// The links that are not revoked, oldest first.
pub(crate) fn list(conn: &Connection) -> rusqlite::Result<Vec<Link>> {
    conn.prepare_cached(
        "SELECT id, kind, folder, chat_jid, created_at, signature FROM links
         WHERE revoked_at IS NULL ORDER BY created_at, id",
    )?
    .query_map([], read)?
    .collect()
}

/// A link by its id, also a revoked one.
pub(crate) fn get(conn: &Connection, id: &str) -> rusqlite::Result<Option<Link>> {
    conn.prepare_cached(
        "SELECT id, kind, folder, chat_jid, created_at, signature FROM links WHERE id = ?1",
    )?
    .query_row([id], read)
    .optional()
}

/// Ends a link. Whether it was open.
pub(crate) fn revoke(conn: &Connection, id: &str, now: Timestamp) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached("UPDATE links SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")?
        .execute((id, now.0))?;
    Ok(changed == 1)
}

/// What a token opens: only while the link is not revoked and its folder is in service.
pub(crate) fn open(
    conn: &Connection,
    token_hash: &[u8],
    kind: LinkKind,
) -> rusqlite::Result<Option<Link>> {
    conn.prepare_cached(
        "SELECT l.id, l.kind, l.folder, l.chat_jid, l.created_at, l.signature
         FROM links AS l JOIN groups AS g ON g.folder = l.folder
         WHERE l.token_hash = ?1 AND l.kind = ?2 AND l.revoked_at IS NULL AND g.removed_at IS NULL",
    )?
    .query_row((token_hash, kind.name()), read)
    .optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Link> {
    let kind: String = row.get("kind")?;
    Ok(Link {
        id: parsed(row, "id")?,
        // The table's check allows these two.
        kind: if kind == LinkKind::Hook.name() { LinkKind::Hook } else { LinkKind::Chat },
        folder: parsed(row, "folder")?,
        chat_jid: parsed(row, "chat_jid")?,
        created_at: time(row, "created_at")?,
        signature: read_signature(row)?,
    })
}

/// The table's check allows these two, and null.
fn read_signature(row: &Row<'_>) -> rusqlite::Result<Option<Signature>> {
    let name: Option<String> = row.get("signature")?;
    Ok(name.map(|name| match &*name {
        "github" => Signature::Github,
        _ => Signature::Standard,
    }))
}
