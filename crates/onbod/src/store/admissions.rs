//! Admissions: who knocked or came by an invite, and how things stand.

use super::{count, one, parsed, parsed_if_there};
use crate::admission::Chat;
use proto::{
    Folder, Jid, Opaque, Timestamp,
    onbod::{Admission, AdmissionState as State, Knock},
};
use rusqlite::{Connection, Row};

/// An admission, as it is decided about.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) shown: Admission,
    /// Whether whoever uses its link comes in.
    pub(crate) approved: bool,
    /// Where the folder is to lie, where an invite says so.
    pub(crate) template: Option<String>,
    pub(crate) attempts: u32,
    seq: i64,
}

const COLUMNS: &str =
    "seq, id, chat_jid, sender, sender_name, excerpt, state, approved, subject, template, folder, \
    decided_by, note, trouble, attempts, created_at, changed_at, \
    CASE state WHEN 'waiting' THEN (SELECT count(*) FROM admissions AS w
        WHERE w.state = 'waiting' AND w.seq <= admissions.seq) END AS position";

/// Writes that a chat knocked.
pub(crate) fn add_chat(
    conn: &Connection,
    id: &str,
    knock: &Knock,
    state: State,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO admissions (id, chat_jid, sender, sender_name, excerpt, state, created_at, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
    )?
    .execute((
        id,
        knock.chat_jid.as_str(),
        &knock.sender,
        &knock.sender_name,
        &knock.excerpt,
        state.name(),
        now.0,
    ))?;
    Ok(())
}

/// Somebody who came by an invite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest<'a> {
    pub(crate) subject: &'a str,
    pub(crate) template: &'a str,
    pub(crate) folder: &'a Folder,
    pub(crate) decided_by: &'a str,
}

/// Writes that somebody came by an invite.
pub(crate) fn add_guest(
    conn: &Connection,
    id: &str,
    guest: Guest<'_>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO admissions (id, sender, excerpt, state, approved, subject, template, folder, decided_by,
             created_at, changed_at)
         VALUES (?1, ?2, '', 'admitting', 1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute((id, guest.subject, guest.template, guest.folder.as_str(), guest.decided_by, now.0))?;
    Ok(())
}

/// One admission.
pub(crate) fn get(conn: &Connection, id: &str) -> rusqlite::Result<Option<Entry>> {
    one(conn, &format!("SELECT {COLUMNS} FROM admissions WHERE id = ?1"), [id], read)
}

/// The admission of a chat.
pub(crate) fn of_chat(conn: &Connection, chat: &Jid) -> rusqlite::Result<Option<Entry>> {
    let sql = format!("SELECT {COLUMNS} FROM admissions WHERE chat_jid = ?1");
    one(conn, &sql, [chat.as_str()], read)
}

/// What the rules want to know of a chat.
pub(crate) fn chat(conn: &Connection, entry: &Entry) -> rusqlite::Result<Chat> {
    let (greetings, last): (u32, Option<i64>) = conn
        .prepare_cached(
            "SELECT count(*), max(created_at) FROM notices
             WHERE admission = ?1 AND kind = 'greeting' AND state != 'dropped'",
        )?
        .query_row([entry.shown.id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let greeted_at = Timestamp(last.unwrap_or_default());
    Ok(Chat { state: entry.shown.state, greetings, greeted_at })
}

/// All admissions of somebody, the newest first.
pub(crate) fn of_subject(conn: &Connection, subject: &str) -> rusqlite::Result<Vec<Entry>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM admissions WHERE subject = ?1 ORDER BY seq DESC LIMIT 100"
    ))?
    .query_map([subject], read)?
    .collect()
}

/// The folder of somebody who was let in, or is being let in.
pub(crate) fn folder_of(conn: &Connection, subject: &str) -> rusqlite::Result<Option<Folder>> {
    one(
        conn,
        "SELECT folder FROM admissions WHERE subject = ?1 AND state IN ('admitting', 'admitted')
         ORDER BY seq LIMIT 1",
        [subject],
        |row| parsed(row, "folder"),
    )
}

/// Whether an operator refused somebody.
pub(crate) fn was_refused(conn: &Connection, subject: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM admissions WHERE subject = ?1 AND state = 'refused' LIMIT 1";
    Ok(one(conn, sql, [subject], |_| Ok(()))?.is_some())
}

/// How many wait.
pub(crate) fn waiting(conn: &Connection) -> rusqlite::Result<u32> {
    count(conn, "SELECT count(*) FROM admissions WHERE state = 'waiting'", [])
}

/// Those who wait and have logged in, in the queue's order.
pub(crate) fn waiting_people(conn: &Connection, limit: u32) -> rusqlite::Result<Vec<Entry>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM admissions WHERE state = 'waiting' AND subject IS NOT NULL
         ORDER BY seq LIMIT ?1"
    ))?
    .query_map([limit], read)?
    .collect()
}

/// What is to be carried out now.
pub(crate) fn due(conn: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<Vec<Entry>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM admissions WHERE state = 'admitting' AND not_before <= ?1
         ORDER BY seq LIMIT ?2"
    ))?
    .query_map((now.0, limit), read)?
    .collect()
}

/// A page, oldest first, of one row more than it has.
pub(crate) fn list(
    conn: &Connection,
    state: Option<State>,
    after: i64,
    limit: u32,
) -> rusqlite::Result<Vec<(i64, Admission)>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM admissions WHERE seq > ?1 AND (?2 IS NULL OR state = ?2)
         ORDER BY seq LIMIT ?3"
    ))?
    .query_map((after, state.map(State::name), limit.saturating_add(1)), |row| {
        let entry = read(row)?;
        Ok((entry.seq, entry.shown))
    })?
    .collect()
}

/// Moves an admission on from the state in which it was looked at. Whether it was still in that state.
pub(crate) fn move_on(
    conn: &Connection,
    from: &Entry,
    to: State,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let moved = conn
        .prepare_cached(
            "UPDATE admissions SET state = ?3, trouble = NULL, attempts = 0, not_before = 0, changed_at = ?4
             WHERE id = ?1 AND state = ?2",
        )?
        .execute((from.shown.id.as_str(), from.shown.state.name(), to.name(), now.0))?;
    Ok(moved == 1)
}

/// Writes who logged in, once.
pub(crate) fn claim(conn: &Connection, id: &Opaque, subject: &str) -> rusqlite::Result<bool> {
    let sql = "UPDATE admissions SET subject = ?2 WHERE id = ?1 AND subject IS NULL";
    Ok(conn.prepare_cached(sql)?.execute((id.as_str(), subject))? == 1)
}

/// Writes which folder it is to be. Before the state that needs one.
pub(crate) fn set_folder(conn: &Connection, id: &Opaque, folder: &Folder) -> rusqlite::Result<()> {
    let sql = "UPDATE admissions SET folder = ?2 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((id.as_str(), folder.as_str()))?;
    Ok(())
}

/// Writes where an invite wants the folder.
pub(crate) fn set_template(conn: &Connection, id: &Opaque, template: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE admissions SET template = ?2 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((id.as_str(), template))?;
    Ok(())
}

/// Writes who decided, what was said, and whether whoever uses the link comes in.
pub(crate) fn decide(
    conn: &Connection,
    id: &Opaque,
    approved: bool,
    by: &str,
    note: Option<&str>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE admissions SET approved = ?2, decided_by = ?3, note = ?4, changed_at = ?5 WHERE id = ?1",
    )?
    .execute((id.as_str(), approved, by, note, now.0))?;
    Ok(())
}

/// Writes by which gate somebody comes in.
pub(crate) fn pass_gate(
    conn: &Connection,
    id: &Opaque,
    gate: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE admissions SET gate = ?2, gate_at = ?3, decided_by = 'gate ' || ?2 WHERE id = ?1",
    )?
    .execute((id.as_str(), gate, now.0))?;
    Ok(())
}

/// Puts off what could not be carried out.
pub(crate) fn put_off(
    conn: &Connection,
    entry: &Entry,
    trouble: &str,
    not_before: Timestamp,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE admissions SET trouble = ?2, attempts = attempts + 1, not_before = ?3
         WHERE id = ?1 AND state = 'admitting'",
    )?
    .execute((entry.shown.id.as_str(), trouble, not_before.0))?;
    Ok(())
}

/// The first trouble that keeps one from being carried out.
pub(crate) fn trouble(conn: &Connection) -> rusqlite::Result<Option<String>> {
    one(
        conn,
        "SELECT id || ': ' || trouble AS trouble FROM admissions
         WHERE state = 'admitting' AND trouble IS NOT NULL ORDER BY seq LIMIT 1",
        [],
        |row| row.get("trouble"),
    )
}

fn read(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let shown = Admission {
        id: parsed(row, "id")?,
        state: parsed(row, "state")?,
        chat_jid: parsed_if_there(row, "chat_jid")?,
        sender: row.get("sender")?,
        sender_name: row.get("sender_name")?,
        excerpt: row.get("excerpt")?,
        subject: row.get("subject")?,
        folder: parsed_if_there(row, "folder")?,
        position: row.get::<_, Option<i64>>("position")?.map(i64::unsigned_abs),
        decided_by: row.get("decided_by")?,
        note: row.get("note")?,
        trouble: row.get("trouble")?,
        created_at: Timestamp(row.get("created_at")?),
        changed_at: Timestamp(row.get("changed_at")?),
    };
    Ok(Entry {
        shown,
        approved: row.get("approved")?,
        template: row.get("template")?,
        attempts: row.get("attempts")?,
        seq: row.get("seq")?,
    })
}
