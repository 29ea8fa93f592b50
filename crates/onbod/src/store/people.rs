//! Who was let in.

use super::{one, parsed};
use proto::{Folder, Jid, Timestamp, onbod::Person};
use rusqlite::{Connection, Row};

/// Keeps that somebody was let in. A repeat changes nothing.
pub(crate) fn add(
    conn: &Connection,
    subject: &str,
    folder: &Folder,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO people (subject, folder, since) VALUES (?1, ?2, ?3)
         ON CONFLICT (subject) DO NOTHING",
    )?
    .execute((subject, folder.as_str(), now.0))?;
    Ok(())
}

/// Somebody who was let in.
pub(crate) fn get(conn: &Connection, subject: &str) -> rusqlite::Result<Option<Person>> {
    let sql = "SELECT seq, subject, folder, since FROM people WHERE subject = ?1";
    let Some((_, mut person)) = one(conn, sql, [subject], read)? else { return Ok(None) };
    person.chats = chats(conn, subject)?;
    Ok(Some(person))
}

/// A page, in the order of their coming, of one row more than it has.
pub(crate) fn list(
    conn: &Connection,
    after: i64,
    limit: u32,
) -> rusqlite::Result<Vec<(i64, Person)>> {
    let mut rows = conn
        .prepare_cached(
            "SELECT seq, subject, folder, since FROM people WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?
        .query_map((after, limit.saturating_add(1)), read)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (_, person) in &mut rows {
        person.chats = chats(conn, &person.subject)?;
    }
    Ok(rows)
}

fn chats(conn: &Connection, subject: &str) -> rusqlite::Result<Vec<Jid>> {
    conn.prepare_cached(
        "SELECT chat_jid FROM admissions
         WHERE subject = ?1 AND state = 'admitted' AND chat_jid IS NOT NULL ORDER BY seq LIMIT 100",
    )?
    .query_map([subject], |row| parsed(row, "chat_jid"))?
    .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Person)> {
    let person = Person {
        subject: row.get("subject")?,
        folder: parsed(row, "folder")?,
        chats: Vec::new(),
        since: Timestamp(row.get("since")?),
    };
    Ok((row.get("seq")?, person))
}
