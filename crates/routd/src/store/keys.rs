//! The wrapped data key of this database, and what is sealed under it.

use proto::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use secrets::seal::{KeptWrap, Wrap};
use std::time::Duration;

/// The wraps that there are.
pub(crate) fn wraps(conn: &Connection) -> rusqlite::Result<Vec<Wrap>> {
    conn.prepare_cached("SELECT key_id, wrapped FROM data_keys ORDER BY created_at, key_id")?
        .query_map([], |row| Ok(Wrap { key_id: row.get("key_id")?, bytes: row.get("wrapped")? }))?
        .collect()
}

/// The wraps, each with its age at `now`.
pub(crate) fn kept_wraps(conn: &Connection, now: Timestamp) -> rusqlite::Result<Vec<KeptWrap>> {
    conn.prepare_cached(
        "SELECT key_id, wrapped, created_at FROM data_keys ORDER BY created_at, key_id",
    )?
    .query_map([], |row| {
        let wrap = Wrap { key_id: row.get("key_id")?, bytes: row.get("wrapped")? };
        let age = now.0.saturating_sub(row.get("created_at")?);
        Ok(KeptWrap { wrap, age: Duration::from_millis(u64::try_from(age).unwrap_or(0)) })
    })?
    .collect()
}

/// Writes a wrap, whose key is the current one from `now` on.
pub(crate) fn add_wrap(conn: &Connection, wrap: &Wrap, now: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO data_keys (key_id, wrapped, created_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (key_id) DO UPDATE SET wrapped = ?2, created_at = ?3",
    )?
    .execute((&wrap.key_id, &wrap.bytes, now.0))?;
    Ok(())
}

/// Drops the wrap under this key.
pub(crate) fn drop_wrap(conn: &Connection, key_id: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM data_keys WHERE key_id = ?1")?.execute([key_id])?;
    Ok(())
}

/// A small secret of this daemon's own, as it is stored.
pub(crate) fn sealed(conn: &Connection, name: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    conn.prepare_cached("SELECT sealed FROM sealed WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Writes one.
pub(crate) fn keep_sealed(conn: &Connection, name: &str, sealed: &[u8]) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO sealed (name, sealed) VALUES (?1, ?2)")?
        .execute((name, sealed))?;
    Ok(())
}

/// Writes one in place of what it was.
pub(crate) fn replace_sealed(conn: &Connection, name: &str, sealed: &[u8]) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO sealed (name, sealed) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET sealed = ?2",
    )?
    .execute((name, sealed))?;
    Ok(())
}

/// Removes one.
pub(crate) fn drop_sealed(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM sealed WHERE name = ?1")?.execute([name])?;
    Ok(())
}

/// All of them, by name.
pub(crate) fn all_sealed(conn: &Connection) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
    conn.prepare_cached("SELECT name, sealed FROM sealed ORDER BY name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Replaces one by itself, sealed under another key.
pub(crate) fn seal_anew(conn: &Connection, name: &str, sealed: &[u8]) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE sealed SET sealed = ?2 WHERE name = ?1")?
        .execute((name, sealed))?;
    Ok(())
}
