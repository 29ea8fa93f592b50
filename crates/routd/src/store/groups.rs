//! Folders: in service or not, with their homes.

use super::{json, parsed, time};
use crate::{fault::Fault, ids};
use proto::{Folder, Timestamp, routd::Group, turn::Harness};
use rusqlite::{Connection, OptionalExtension, Row};

/// Folders that an instance holds at most; `{sender}` makes them on demand.
pub(crate) const FOLDERS_MAX: u64 = 100_000;

/// What is needed to run a folder's turn.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) home: String,
    pub(crate) harness: Option<Harness>,
    pub(crate) command: Vec<String>,
    pub(crate) model: Option<String>,
}

/// What is said of a folder that is put into service. What is not said leaves what is there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) harness: Option<Harness>,
    pub(crate) command: &'a [String],
    /// The model; an empty one is the instance's.
    pub(crate) model: Option<&'a str>,
}

/// Whether the folder is there and takes messages.
pub(crate) fn in_service(conn: &Connection, folder: &Folder) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM groups WHERE folder = ?1 AND removed_at IS NULL";
    super::exists(conn, sql, [folder.as_str()])
}

/// The folder as it is shown, if it is in service.
pub(crate) fn get(conn: &Connection, folder: &Folder) -> rusqlite::Result<Option<Group>> {
    conn.prepare_cached(
        "SELECT folder, harness, command, model, created_at FROM groups
         WHERE folder = ?1 AND removed_at IS NULL",
    )?
    .query_row([folder.as_str()], group)
    .optional()
}

/// What runs its turns. Also for a folder out of service: its last turn may still run.
pub(crate) fn settings(conn: &Connection, folder: &Folder) -> rusqlite::Result<Settings> {
    conn.prepare_cached("SELECT home, harness, command, model FROM groups WHERE folder = ?1")?
        .query_row([folder.as_str()], |row| {
            Ok(Settings {
                home: row.get("home")?,
                harness: harness(row)?,
                command: json(row, "command")?,
                model: row.get("model")?,
            })
        })
}

/// The folders in service, by name.
pub(crate) fn list(conn: &Connection) -> rusqlite::Result<Vec<Group>> {
    conn.prepare_cached(
        "SELECT folder, harness, command, model, created_at FROM groups
         WHERE removed_at IS NULL ORDER BY folder",
    )?
    .query_map([], group)?
    .collect()
}

/// Puts a folder into service; one that was removed gets its home back. Whether anything changed.
pub(crate) fn add(
    conn: &Connection,
    folder: &Folder,
    wanted: Wanted<'_>,
    now: Timestamp,
) -> Result<bool, Fault> {
    let Wanted { harness, command, model } = wanted;
    let counted = super::count(conn, "SELECT count(*) FROM groups")?;
    if counted >= FOLDERS_MAX {
        let text = format!("there are {FOLDERS_MAX} folders, which is as many as there can be");
        return Err(Fault::Conflict(text));
    }
    let command = (!command.is_empty()).then(|| super::to_json(&command)).transpose()?;
    let changed = conn
        .prepare_cached(
            "INSERT INTO groups (folder, home, harness, command, model, created_at)
             VALUES (?1, ?2, ?3, coalesce(?4, '[]'), nullif(?6, ''), ?5)
             ON CONFLICT (folder) DO UPDATE SET
                 removed_at = NULL,
                 harness = coalesce(?3, harness),
                 command = coalesce(?4, command),
                 model = CASE WHEN ?6 IS NULL THEN model ELSE nullif(?6, '') END
             WHERE removed_at IS NOT NULL
                OR (?3 IS NOT NULL AND harness IS NOT ?3)
                OR (?4 IS NOT NULL AND command IS NOT ?4)
                OR (?6 IS NOT NULL AND model IS NOT nullif(?6, ''))",
        )?
        .execute((
            folder.as_str(),
            ids::fresh("h"),
            harness.map(Harness::name),
            command,
            now.0,
            model,
        ))?;
    Ok(changed > 0)
}

/// Makes a person's folder below `base`, with what runs the turns of `base`. Whether it was made.
pub(crate) fn add_below(
    conn: &Connection,
    folder: &Folder,
    base: &Folder,
    now: Timestamp,
) -> Result<bool, Fault> {
    let known = super::exists(conn, "SELECT 1 FROM groups WHERE folder = ?1", [folder.as_str()])?;
    // Also when it was removed: an operator's removal is not undone by a message.
    if known {
        return Ok(false);
    }
    let settings = settings(conn, base)?;
    let Settings { harness, command, model, .. } = &settings;
    let wanted = Wanted { harness: *harness, command, model: model.as_deref() };
    add(conn, folder, wanted, now)
}

/// Who the folder's agent is told to be, where somebody says so.
pub(crate) fn persona(conn: &Connection, folder: &Folder) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT content FROM personas WHERE folder = ?1")?
        .query_row([folder.as_str()], |row| row.get(0))
        .optional()
}

/// Says anew who the folder's agent is; an empty text takes it away. Whether anything changed.
pub(crate) fn set_persona(
    conn: &Connection,
    folder: &Folder,
    content: &str,
    by: &str,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    if content.is_empty() {
        let sql = "DELETE FROM personas WHERE folder = ?1";
        return Ok(conn.prepare_cached(sql)?.execute([folder.as_str()])? == 1);
    }
    let changed = conn
        .prepare_cached(
            "INSERT INTO personas (folder, content, set_at, set_by) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (folder) DO UPDATE SET content = ?2, set_at = ?3, set_by = ?4
             WHERE content IS NOT ?2",
        )?
        .execute((folder.as_str(), content, now.0, by))?;
    Ok(changed == 1)
}

/// Takes a folder out of service. Whether it was in service.
pub(crate) fn remove(conn: &Connection, folder: &Folder, now: Timestamp) -> rusqlite::Result<bool> {
    let removed = conn
        .prepare_cached(
            "UPDATE groups SET removed_at = ?2 WHERE folder = ?1 AND removed_at IS NULL",
        )?
        .execute((folder.as_str(), now.0))?;
    Ok(removed == 1)
}

fn group(row: &Row<'_>) -> rusqlite::Result<Group> {
    Ok(Group {
        folder: parsed(row, "folder")?,
        harness: harness(row)?,
        command: json(row, "command")?,
        model: row.get("model")?,
        created_at: time(row, "created_at")?,
    })
}

fn harness(row: &Row<'_>) -> rusqlite::Result<Option<Harness>> {
    let text: Option<String> = row.get("harness")?;
    let read = |text: String| {
        text.parse().map_err(|error: String| super::unreadable("harness", Unknown(error)))
    };
    text.map(read).transpose()
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unknown(String);
