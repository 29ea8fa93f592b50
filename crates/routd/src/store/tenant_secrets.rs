//! The secrets of folders and persons, without their values.

use super::{parsed, time};
use proto::{
    Timestamp,
    routd::{Owner, TenantSecret},
};
use rusqlite::{Connection, OptionalExtension, Row};

const COLUMNS: &str = "id, owner, name, url, header, set_at, set_by, used_at";

/// Writes a secret's row, in place of the one of the same owner and name.
pub(crate) fn put(conn: &Connection, secret: &TenantSecret) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO tenant_secrets (id, owner, name, url, header, set_at, set_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (owner, name) DO UPDATE SET url = ?4, header = ?5, set_at = ?6, set_by = ?7",
    )?
    .execute((
        secret.id.as_str(),
        secret.owner.to_string(),
        &secret.name,
        &secret.url,
        &secret.header,
        secret.set_at.0,
        &secret.set_by,
    ))?;
    Ok(())
}

/// An owner's secret of this name.
pub(crate) fn find(
    conn: &Connection,
    owner: &Owner,
    name: &str,
) -> rusqlite::Result<Option<TenantSecret>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM tenant_secrets WHERE owner = ?1 AND name = ?2"
    ))?
    .query_row((owner.to_string(), name), read)
    .optional()
}

/// A secret by its id.
pub(crate) fn get(conn: &Connection, id: &str) -> rusqlite::Result<Option<TenantSecret>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM tenant_secrets WHERE id = ?1"))?
        .query_row([id], read)
        .optional()
}

/// All of them, by owner and name.
pub(crate) fn list(conn: &Connection) -> rusqlite::Result<Vec<TenantSecret>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM tenant_secrets ORDER BY owner, name"))?
        .query_map([], read)?
        .collect()
}

/// Removes one.
pub(crate) fn remove(conn: &Connection, id: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM tenant_secrets WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Notes that it was spent.
pub(crate) fn used(conn: &Connection, id: &str, now: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE tenant_secrets SET used_at = ?2 WHERE id = ?1")?
        .execute((id, now.0))?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<TenantSecret> {
    Ok(TenantSecret {
        id: parsed(row, "id")?,
        owner: parsed(row, "owner")?,
        name: row.get("name")?,
        url: row.get("url")?,
        header: row.get("header")?,
        set_at: time(row, "set_at")?,
        set_by: row.get("set_by")?,
        used_at: row.get::<_, Option<i64>>("used_at")?.map(Timestamp),
    })
}
