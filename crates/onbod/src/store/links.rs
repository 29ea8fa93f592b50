//! Pairing links.

use super::{one, parsed};
use crate::token::Hash;
use proto::{Opaque, Timestamp};
use rusqlite::Connection;

/// How long links that have ended are kept, so that a person who comes late is told why.
const KEEP_MS: i64 = 24 * 60 * 60 * 1000;

/// A pairing link.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) admission: Opaque,
    ends_at: Timestamp,
    spent_by: Option<String>,
}

/// What a link is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It pairs.
    Open(Opaque),
    /// This person used it.
    Spent(String),
    /// Its time is over, or it never was.
    Gone,
}

/// Keeps a new link.
pub(crate) fn add(
    conn: &Connection,
    hash: &Hash,
    admission: &Opaque,
    ends_at: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO links (token_hash, admission, ends_at) VALUES (?1, ?2, ?3)")?
        .execute((hash, admission.as_str(), ends_at.0))?;
    Ok(())
}

/// What a link is good for now. Changes nothing.
pub(crate) fn standing(
    conn: &Connection,
    hash: &Hash,
    now: Timestamp,
) -> rusqlite::Result<Standing> {
    let found = one(
        conn,
        "SELECT admission, ends_at, spent_by FROM links WHERE token_hash = ?1",
        [hash],
        |row| {
            Ok(Link {
                admission: parsed(row, "admission")?,
                ends_at: Timestamp(row.get("ends_at")?),
                spent_by: row.get("spent_by")?,
            })
        },
    )?;
    Ok(match found {
        Some(Link { spent_by: Some(subject), .. }) => Standing::Spent(subject),
        Some(link) if now < link.ends_at => Standing::Open(link.admission),
        _ => Standing::Gone,
    })
}

/// Spends a link, once. Whether it was open.
pub(crate) fn spend(
    conn: &Connection,
    hash: &Hash,
    subject: &str,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let spent = conn
        .prepare_cached(
            "UPDATE links SET spent_at = ?2, spent_by = ?3
             WHERE token_hash = ?1 AND spent_at IS NULL AND ends_at > ?2",
        )?
        .execute((hash, now.0, subject))?;
    Ok(spent == 1)
}

/// Ends the links of an admission that nobody has used.
pub(crate) fn end(conn: &Connection, admission: &Opaque) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM links WHERE admission = ?1 AND spent_at IS NULL")?
        .execute([admission.as_str()])?;
    Ok(())
}

/// Takes back a link that was made and reached nobody.
pub(crate) fn take_back(conn: &Connection, hash: &Hash) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM links WHERE token_hash = ?1 AND spent_at IS NULL")?
        .execute([hash])?;
    Ok(())
}

/// Removes links that have been over for a day.
pub(crate) fn tidy(conn: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM links WHERE ends_at < ?1")?.execute([now.plus(-KEEP_MS).0])?;
    Ok(())
}
