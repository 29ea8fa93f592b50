//! Files that agents sent: whose they are, and until when they are kept.

use super::parsed;
use proto::{Folder, Jid, Timestamp, routd::Attachment};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashSet;

/// A file on its way into the table.
#[derive(Clone, Debug)]
pub(crate) struct NewFile<'a> {
    pub(crate) id: &'a str,
    pub(crate) folder: &'a Folder,
    pub(crate) message_seq: i64,
    pub(crate) chat_jid: &'a Jid,
    pub(crate) name: &'a str,
    pub(crate) mime: &'a str,
    pub(crate) size: u64,
    pub(crate) sha256: &'a str,
}

/// A file that is kept.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) folder: Folder,
    pub(crate) chat_jid: Jid,
    pub(crate) name: String,
    pub(crate) mime: String,
    pub(crate) size: u64,
}

/// Writes that a file is kept.
pub(crate) fn add(conn: &Connection, file: &NewFile<'_>, now: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO files (id, folder, message_seq, chat_jid, name, mime, size, sha256, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute((
        file.id,
        file.folder.as_str(),
        file.message_seq,
        file.chat_jid.as_str(),
        file.name,
        file.mime,
        i64::try_from(file.size).unwrap_or(i64::MAX),
        file.sha256,
        now.0,
    ))?;
    Ok(())
}

/// A file, while it is kept and its message was not taken back.
pub(crate) fn get(conn: &Connection, id: &str) -> rusqlite::Result<Option<File>> {
    conn.prepare_cached(
        "SELECT f.folder, f.chat_jid, f.name, f.mime, f.size
         FROM files AS f JOIN messages AS m ON m.seq = f.message_seq
         WHERE f.id = ?1 AND f.gone_at IS NULL AND m.deleted_at IS NULL",
    )?
    .query_row([id], |row| {
        Ok(File {
            folder: parsed(row, "folder")?,
            chat_jid: parsed(row, "chat_jid")?,
            name: row.get("name")?,
            mime: row.get("mime")?,
            size: size(row.get("size")?),
        })
    })
    .optional()
}

/// Bytes of the files that a folder's agent sent and that are kept.
pub(crate) fn held(conn: &Connection, folder: &Folder) -> rusqlite::Result<u64> {
    conn.prepare_cached(
        "SELECT coalesce(sum(size), 0) FROM files WHERE folder = ?1 AND gone_at IS NULL",
    )?
    .query_row([folder.as_str()], |row| Ok(size(row.get(0)?)))
}

/// Lets go of what was sent before this time, and of what was taken back; not of what is still to be sent. How many.
pub(crate) fn let_go(
    conn: &Connection,
    before: Timestamp,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "UPDATE files SET gone_at = ?2
         WHERE gone_at IS NULL
           AND (created_at < ?1
             OR message_seq IN (SELECT seq FROM messages WHERE deleted_at IS NOT NULL))
           AND NOT EXISTS (SELECT 1 FROM outbox AS o WHERE o.message_seq = files.message_seq
             AND o.kind = 'send' AND o.state IN ('pending', 'sending', 'ambiguous'))",
    )?
    .execute((before.0, now.0))
}

/// The ids of all that are kept.
pub(crate) fn kept(conn: &Connection) -> rusqlite::Result<HashSet<String>> {
    conn.prepare_cached("SELECT id FROM files WHERE gone_at IS NULL")?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn size(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or_default()
}

/// Where routd serves a file.
pub(crate) fn attachment(id: &str, name: &str, mime: &str, size: u64) -> Attachment {
    Attachment {
        filename: name.to_owned(),
        mime: mime.to_owned(),
        url: Some(format!("/v1/files/{id}")),
        size: Some(size),
    }
}
