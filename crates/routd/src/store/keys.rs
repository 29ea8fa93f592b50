//! The wrapped data key of this database, and what is sealed under it.

use proto::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use secrets::seal::Wrap;

/// The wraps that there are.
pub(crate) fn wraps(conn: &Connection) -> rusqlite::Result<Vec<Wrap>> {
    conn.prepare_cached("SELECT key_id, wrapped FROM data_keys ORDER BY created_at, key_id")?
        .query_map([], |row| Ok(Wrap { key_id: row.get("key_id")?, bytes: row.get("wrapped")? }))?
        .collect()
}

/// When the wrap under this key was made, if there is one.
pub(crate) fn wrapped_at(conn: &Connection, key_id: &str) -> rusqlite::Result<Option<Timestamp>> {
    conn.prepare_cached("SELECT created_at FROM data_keys WHERE key_id = ?1")?
        .query_row([key_id], |row| row.get(0).map(Timestamp))
        .optional()
}

/// Writes a wrap.
pub(crate) fn add_wrap(conn: &Connection, wrap: &Wrap, now: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO data_keys (key_id, wrapped, created_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (key_id) DO UPDATE SET wrapped = ?2",
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
