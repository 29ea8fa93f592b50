//! Tasks that one folder's agent gave to another's.

use super::parsed;
use crate::{delegation::Chain, fault::Fault, store::turns::Turn};
use proto::{Folder, Jid, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

/// A task.
#[derive(Clone, Debug)]
pub(crate) struct Delegation {
    pub(crate) id: String,
    pub(crate) root: String,
    pub(crate) parent: Option<String>,
    pub(crate) depth: u32,
    pub(crate) by_turn: String,
    pub(crate) by_folder: Folder,
    pub(crate) folder: Folder,
    pub(crate) chat_jid: Jid,
}

const COLUMNS: &str = "id, root, parent, depth, by_turn, by_folder, folder, chat_jid";

/// Writes a task.
pub(crate) fn add(conn: &Connection, task: &Delegation, now: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(&format!(
        "INSERT INTO delegations ({COLUMNS}, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    ))?
    .execute(rusqlite::params![
        task.id,
        task.root,
        task.parent,
        task.depth,
        task.by_turn,
        task.by_folder.as_str(),
        task.folder.as_str(),
        task.chat_jid.as_str(),
        now.0,
    ])?;
    Ok(())
}

/// Where a turn stands: at work on a task, or on the result of one.
pub(crate) fn chain(conn: &Connection, turn: &Turn) -> Result<Chain, Fault> {
    let ids = conn
        .prepare_cached(
            "SELECT DISTINCT delegation FROM messages
             WHERE turn_id = ?1 AND outbound = 0 AND delegation IS NOT NULL",
        )?
        .query_map([&turn.id], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    let mut deepest = Chain::default();
    for id in ids {
        let task = get(conn, &id)?;
        let at_work = task.chat_jid == turn.chat_jid;
        let parent = if at_work { Some(task.id.clone()) } else { task.parent.clone() };
        let mut chain =
            Chain { root: Some(task.root.clone()), parent: parent.clone(), ..deepest.clone() };
        (chain.waiting, chain.depth) = above(conn, parent)?;
        chain.made = made(conn, &task.root)?.max(deepest.made);
        if deepest.root.is_none() || chain.depth > deepest.depth {
            deepest = chain;
        } else {
            deepest.made = chain.made;
        }
    }
    Ok(deepest)
}

/// The folders that wait for a task, and how deep it is.
fn above(conn: &Connection, mut task: Option<String>) -> Result<(Vec<Folder>, u32), Fault> {
    let (mut waiting, mut depth) = (Vec::new(), 0);
    while let Some(id) = task {
        let found = get(conn, &id)?;
        depth = depth.max(found.depth);
        waiting.push(found.by_folder);
        task = found.parent;
    }
    Ok((waiting, depth))
}

fn made(conn: &Connection, root: &str) -> rusqlite::Result<u32> {
    conn.prepare_cached("SELECT count(*) FROM delegations WHERE root = ?1")?
        .query_row([root], |row| row.get(0))
}

/// The task that a turn was at work on, where its result was not told yet: marks it as told.
pub(crate) fn finish(
    conn: &Connection,
    turn: &Turn,
    now: Timestamp,
) -> rusqlite::Result<Option<Delegation>> {
    conn.prepare_cached(&format!(
        "UPDATE delegations SET ended_at = ?3
         WHERE chat_jid = ?1 AND ended_at IS NULL
           AND id IN (SELECT delegation FROM messages WHERE turn_id = ?2 AND outbound = 0)
         RETURNING {COLUMNS}"
    ))?
    .query_row((turn.chat_jid.as_str(), &turn.id, now.0), read)
    .optional()
}

fn get(conn: &Connection, id: &str) -> Result<Delegation, Fault> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM delegations WHERE id = ?1"))?
        .query_row([id], read)
        .optional()?
        .ok_or_else(|| Fault::Defect(format!("the task {id} has no row")))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Delegation> {
    Ok(Delegation {
        id: row.get("id")?,
        root: row.get("root")?,
        parent: row.get("parent")?,
        depth: row.get("depth")?,
        by_turn: row.get("by_turn")?,
        by_folder: parsed(row, "by_folder")?,
        folder: parsed(row, "folder")?,
        chat_jid: parsed(row, "chat_jid")?,
    })
}
