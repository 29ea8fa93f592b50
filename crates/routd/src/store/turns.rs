//! Turns: each change of state is one guarded update.

use super::{parsed, time};
use crate::{
    fault::Fault,
    ids,
    turn::{self, Standing, State},
};
use proto::{
    Folder, Jid, Timestamp, Topic,
    routd::{MessageState, TurnEnd},
};
use rusqlite::{Connection, OptionalExtension, Row};

/// Messages that one turn answers at most.
const MESSAGES_MAX: i64 = 100;
/// Bytes of messages that one turn answers at most; the first message counts whatever its size.
const BYTES_MAX: i64 = 512 * 1024;

/// A turn's row.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) id: String,
    pub(crate) folder: Folder,
    pub(crate) topic: Topic,
    pub(crate) chat_jid: Jid,
    pub(crate) thread: Topic,
    pub(crate) sender: String,
    pub(crate) per_person: bool,
    pub(crate) standing: Standing,
    pub(crate) deadline_at: Option<Timestamp>,
    pub(crate) endpoint: Option<i64>,
    pub(crate) run_id: Option<String>,
    pub(crate) ended_at: Option<Timestamp>,
    /// Whether it ended by its agent's own word.
    pub(crate) by_result: bool,
}

impl Turn {
    /// The sender that what is said here is for alone, if it is.
    pub(crate) fn for_sender(&self) -> Option<&str> {
        self.per_person.then_some(self.sender.as_str())
    }

    /// Where its messages stand.
    pub(crate) fn message_state(&self) -> MessageState {
        match self.standing.state {
            State::Queued => MessageState::Queued,
            State::Starting | State::Running => MessageState::Running,
            State::Ended(TurnEnd::Answered) => MessageState::Answered,
            State::Ended(TurnEnd::Silent) => MessageState::Silent,
            State::Ended(TurnEnd::Failed) => MessageState::Failed,
            State::Ended(TurnEnd::Interrupted) => MessageState::Interrupted,
            State::Ended(TurnEnd::Cancelled) => MessageState::Cancelled,
        }
    }
}

/// Who and what a new message is, as far as turns tell them apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) topic: &'a Topic,
    pub(crate) chat_jid: &'a Jid,
    pub(crate) thread: &'a Topic,
    pub(crate) sender: &'a str,
    pub(crate) per_person: bool,
    pub(crate) bytes: usize,
}

const COLUMNS: &str = "id, folder, topic, chat_jid, thread, sender, per_person, state, outcome, \
    attempt, did_something, deadline_at, endpoint, run_id, ended_at, by_result";

/// The turn that a new message joins, or a new one: the newest of its chat in its folder, if that was never tried,
/// has the same topic, thread and sender, and has room. Joining any but the newest would change the order of a chat.
pub(crate) fn join_or_add(
    conn: &Connection,
    asked: &Asked<'_>,
    now: Timestamp,
) -> rusqlite::Result<(String, bool)> {
    let bytes = i64::try_from(asked.bytes).unwrap_or(i64::MAX);
    let joined: Option<String> = conn
        .prepare_cached(
            "SELECT id FROM turns AS t
             WHERE seq = (SELECT max(seq) FROM turns WHERE chat_jid = ?3 AND folder = ?1)
               AND state = 'queued' AND attempt = 0
               AND topic = ?2 AND thread = ?4 AND sender = ?5 AND per_person = ?6
               AND (SELECT count(*) < ?7 AND sum(length(CAST(content AS BLOB))) + ?8 <= ?9
                    FROM messages WHERE turn_id = t.id)",
        )?
        .query_row(
            rusqlite::params![
                asked.folder.as_str(),
                asked.topic.as_str(),
                asked.chat_jid.as_str(),
                asked.thread.as_str(),
                asked.sender,
                asked.per_person,
                MESSAGES_MAX,
                bytes,
                BYTES_MAX,
            ],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(id) = joined {
        return Ok((id, false));
    }
    let id = ids::fresh("t");
    conn.prepare_cached(
        "INSERT INTO turns (id, folder, topic, chat_jid, thread, sender, per_person, state, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'queued', ?8)",
    )?
    .execute(rusqlite::params![
        id,
        asked.folder.as_str(),
        asked.topic.as_str(),
        asked.chat_jid.as_str(),
        asked.thread.as_str(),
        asked.sender,
        asked.per_person,
        now.0,
    ])?;
    step(conn, &id, now, "turn.queued", "")?;
    Ok((id, true))
}

/// A turn by its id.
pub(crate) fn get(conn: &Connection, id: &str) -> rusqlite::Result<Option<Turn>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM turns WHERE id = ?1"))?
        .query_row([id], read)
        .optional()
}

/// Turns that may start now, oldest first, at most one of each folder. A chat's order is kept: a turn that waits for
/// another attempt holds back those of its chat, and no others.
///
/// It is asked while the writer waits, so that it steps from folder to folder by an index and looks at the first turns
/// of each: thousands that wait behind them cost nothing. The indexes are named, because the planner's own choice reads
/// for each of those all that its chat ever had.
pub(crate) fn startable(
    conn: &Connection,
    now: Timestamp,
    limit: u32,
) -> rusqlite::Result<Vec<Turn>> {
    conn.prepare_cached(&format!(
        "WITH RECURSIVE waiting_in (name) AS (
             SELECT min(folder) FROM turns WHERE state = 'queued'
             UNION ALL
             SELECT (SELECT min(folder) FROM turns WHERE state = 'queued' AND folder > name)
             FROM waiting_in WHERE name IS NOT NULL)
         SELECT {COLUMNS} FROM waiting_in CROSS JOIN turns AS t ON t.seq = (
             SELECT q.seq FROM turns AS q INDEXED BY turns_queued_of_folder
             WHERE q.state = 'queued' AND q.folder = name AND q.not_before NOT BETWEEN ?1 + 1 AND ?3
               AND NOT EXISTS (SELECT 1 FROM turns AS e INDEXED BY turns_queued
                   WHERE e.state = 'queued' AND e.not_before BETWEEN ?1 + 1 AND ?3
                     AND e.folder = q.folder AND e.chat_jid = q.chat_jid AND e.seq < q.seq)
             ORDER BY q.seq LIMIT 1)
         WHERE name IS NOT NULL AND NOT EXISTS (SELECT 1 FROM turns AS a
             WHERE a.folder = name AND a.state IN ('starting', 'running'))
         ORDER BY t.seq LIMIT ?2"
    ))?
    .query_map((now.0, limit, now.plus(turn::WAIT_MAX).0), read)?
    .collect()
}

/// When the next turn that waits for its time may start.
pub(crate) fn next_due(conn: &Connection, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    conn.prepare_cached(
        "SELECT min(not_before) FROM turns WHERE state = 'queued' AND not_before > ?1",
    )?
    .query_row([now.0], |row| Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp)))
}

/// Turns whose socket is to be there: those in progress, and those that ended while their run was not yet known to
/// be gone.
pub(crate) fn with_endpoint(conn: &Connection) -> rusqlite::Result<Vec<Turn>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM turns WHERE endpoint IS NOT NULL ORDER BY seq"
    ))?
    .query_map([], read)?
    .collect()
}

/// Turns of a folder that have not ended.
pub(crate) fn open_of(conn: &Connection, folder: &Folder) -> rusqlite::Result<Vec<Turn>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM turns WHERE folder = ?1 AND state != 'ended' ORDER BY seq"
    ))?
    .query_map([folder.as_str()], read)?
    .collect()
}

/// Removes a turn that was never tried and has no message any more: another took them all up.
pub(crate) fn withdraw(conn: &Connection, id: &str) -> Result<(), Fault> {
    conn.prepare_cached("DELETE FROM turn_steps WHERE turn_id = ?1")?.execute([id])?;
    let removed = conn
        .prepare_cached("DELETE FROM turns WHERE id = ?1 AND state = 'queued' AND attempt = 0")?
        .execute([id])?;
    match removed {
        1 => Ok(()),
        _ => Err(Fault::Conflict(format!("the turn {id} cannot be withdrawn where it stands"))),
    }
}

/// Begins an attempt: the turn gets a socket of a number that no other attempt ever had.
pub(crate) fn start(
    conn: &Connection,
    turn: &Turn,
    attempt: u32,
    now: Timestamp,
) -> Result<(), Fault> {
    let endpoint = super::count_up(conn, "endpoint")?;
    let changed = conn
        .prepare_cached(
            "UPDATE turns SET state = 'starting', attempt = ?3, endpoint = ?4, run_id = NULL,
                 begun_at = NULL, deadline_at = NULL, did_something = 0, not_before = 0, claimed_by = NULL
             WHERE id = ?1 AND state = 'queued' AND attempt = ?2",
        )?
        .execute((&turn.id, turn.standing.attempt, attempt, endpoint))?;
    once(changed, turn, "started")?;
    step(conn, &turn.id, now, "turn.started", &format!("attempt {attempt}"))?;
    Ok(())
}

/// runed has this run for the attempt; noted whatever became of the turn meanwhile.
pub(crate) fn note_run(
    conn: &Connection,
    turn: &Turn,
    run_id: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let changed = conn
        .prepare_cached(
            "UPDATE turns SET run_id = ?3
             WHERE id = ?1 AND endpoint = ?2 AND run_id IS NOT ?3",
        )?
        .execute((&turn.id, turn.endpoint, run_id))?;
    if changed == 1 {
        step(conn, &turn.id, now, "run.accepted", run_id)?;
    }
    Ok(())
}

/// The run of this attempt was accepted.
pub(crate) fn running(conn: &Connection, turn: &Turn) -> Result<(), Fault> {
    let changed = conn
        .prepare_cached(
            "UPDATE turns SET state = 'running'
             WHERE id = ?1 AND attempt = ?2 AND state IN ('starting', 'running')",
        )?
        .execute((&turn.id, turn.standing.attempt))?;
    once(changed, turn, "running")
}

/// Back into the queue, for another attempt.
pub(crate) fn again(
    conn: &Connection,
    turn: &Turn,
    not_before: Timestamp,
    why: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let changed = conn
        .prepare_cached(
            "UPDATE turns SET state = 'queued', not_before = ?3, endpoint = NULL, run_id = NULL,
                 begun_at = NULL, deadline_at = NULL
             WHERE id = ?1 AND attempt = ?2 AND state IN ('starting', 'running')
               AND did_something = 0",
        )?
        .execute((&turn.id, turn.standing.attempt, not_before.0))?;
    once(changed, turn, "queued again")?;
    step(conn, &turn.id, now, "turn.again", &format!("{why}; not before {not_before}"))?;
    Ok(())
}

/// Ends a turn. Its socket stays until the run is known to be gone.
pub(crate) fn end(
    conn: &Connection,
    turn: &Turn,
    how: TurnEnd,
    why: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let changed = conn
        .prepare_cached(
            "UPDATE turns SET state = 'ended', outcome = ?4, detail = ?5, ended_at = ?6
             WHERE id = ?1 AND state = ?2 AND attempt = ?3",
        )?
        .execute((
            &turn.id,
            turn.standing.state.name(),
            turn.standing.attempt,
            end_name(how),
            why,
            now.0,
        ))?;
    once(changed, turn, "ended")?;
    step(conn, &turn.id, now, "turn.ended", &format!("{}: {why}", end_name(how)))?;
    Ok(())
}

/// The end was the agent's own word. In the transaction of the end.
pub(crate) fn ended_by_result(conn: &Connection, turn: &Turn) -> Result<(), Fault> {
    let changed = conn
        .prepare_cached("UPDATE turns SET by_result = 1 WHERE id = ?1 AND state = 'ended'")?
        .execute([&turn.id])?;
    once(changed, turn, "marked as ended by its result")
}

/// The run of an ended turn is gone: its socket may go.
pub(crate) fn close_endpoint(conn: &Connection, id: &str, endpoint: i64) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE turns SET endpoint = NULL WHERE id = ?1 AND endpoint = ?2 AND state = 'ended'",
        )?
        .execute((id, endpoint))?;
    Ok(changed == 1)
}

/// The agent of this attempt asked for its input, or its run is known to run: its time begins, once.
pub(crate) fn begin_time(
    conn: &Connection,
    turn: &Turn,
    deadline: Timestamp,
) -> rusqlite::Result<Timestamp> {
    conn.prepare_cached(
        "UPDATE turns SET deadline_at = coalesce(deadline_at, ?3)
         WHERE id = ?1 AND attempt = ?2 RETURNING deadline_at",
    )?
    .query_row((&turn.id, turn.standing.attempt, deadline.0), |row| time(row, "deadline_at"))
}

/// The agent of this attempt asked for its input. Whether that was the first time.
pub(crate) fn begun(conn: &Connection, turn: &Turn, now: Timestamp) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE turns SET begun_at = ?3 WHERE id = ?1 AND attempt = ?2 AND begun_at IS NULL",
        )?
        .execute((&turn.id, turn.standing.attempt, now.0))?;
    if changed == 1 {
        step(conn, &turn.id, now, "agent.began", "")?;
    }
    Ok(changed == 1)
}

/// A pod asks for the attempt: the first that does has it, and may ask again. Whether it has.
pub(crate) fn claim(
    conn: &Connection,
    turn_id: &str,
    attempt: u32,
    pod: &str,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let known: bool = super::exists(
        conn,
        "SELECT 1 FROM turns WHERE id = ?1 AND attempt = ?2 AND claimed_by = ?3",
        (turn_id, attempt, pod),
    )?;
    if known {
        return Ok(true);
    }
    let changed = conn
        .prepare_cached(
            "UPDATE turns SET claimed_by = ?3
             WHERE id = ?1 AND attempt = ?2 AND claimed_by IS NULL
               AND state IN ('starting', 'running')",
        )?
        .execute((turn_id, attempt, pod))?;
    if changed == 1 {
        step(conn, turn_id, now, "pod.claimed", pod)?;
    }
    Ok(changed == 1)
}

/// This attempt did something visible or lasting. In the transaction of what it did.
pub(crate) fn acted(conn: &Connection, turn: &Turn) -> Result<(), Fault> {
    let changed = conn
        .prepare_cached(
            "UPDATE turns SET did_something = 1
             WHERE id = ?1 AND attempt = ?2 AND state IN ('starting', 'running')",
        )?
        .execute((&turn.id, turn.standing.attempt))?;
    once(changed, turn, "acting")
}

/// Writes a line of the turn's story.
pub(crate) fn step(
    conn: &Connection,
    turn_id: &str,
    at: Timestamp,
    what: &str,
    detail: &str,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO turn_steps (turn_id, at, what, detail) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((turn_id, at.0, what, detail))?;
    Ok(())
}

fn once(changed: usize, turn: &Turn, what: &str) -> Result<(), Fault> {
    match changed {
        1 => Ok(()),
        _ => Err(Fault::Conflict(format!("the turn {} cannot be {what} where it stands", turn.id))),
    }
}

/// An end's name in the database.
pub(crate) const fn end_name(how: TurnEnd) -> &'static str {
    match how {
        TurnEnd::Answered => "answered",
        TurnEnd::Silent => "silent",
        TurnEnd::Failed => "failed",
        TurnEnd::Interrupted => "interrupted",
        TurnEnd::Cancelled => "cancelled",
    }
}

/// An end by its name in the database.
pub(crate) fn end_named(name: &str) -> Option<TurnEnd> {
    let all = [
        TurnEnd::Answered,
        TurnEnd::Silent,
        TurnEnd::Failed,
        TurnEnd::Interrupted,
        TurnEnd::Cancelled,
    ];
    all.into_iter().find(|how| end_name(*how) == name)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Turn> {
    let time_if_there = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp));
    let state: String = row.get("state")?;
    let outcome: Option<String> = row.get("outcome")?;
    let state = match (state.as_str(), outcome.as_deref().and_then(end_named)) {
        ("queued", _) => State::Queued,
        ("starting", _) => State::Starting,
        ("running", _) => State::Running,
        (_, Some(how)) => State::Ended(how),
        // The table's checks allow none.
        (_, None) => return Err(rusqlite::Error::InvalidQuery),
    };
    Ok(Turn {
        id: row.get("id")?,
        folder: parsed(row, "folder")?,
        topic: parsed(row, "topic")?,
        chat_jid: parsed(row, "chat_jid")?,
        thread: parsed(row, "thread")?,
        sender: row.get("sender")?,
        per_person: row.get("per_person")?,
        standing: Standing {
            state,
            attempt: row.get("attempt")?,
            did_something: row.get("did_something")?,
        },
        deadline_at: time_if_there("deadline_at")?,
        endpoint: row.get("endpoint")?,
        run_id: row.get("run_id")?,
        ended_at: time_if_there("ended_at")?,
        by_result: row.get("by_result")?,
    })
}
