//! Messages that join a turn which runs already.
//!
//! They wait in a turn of their own, as any message does. The running turn is shown them, and once its agent says that
//! it has taken them up they become its own. What it did not take up stays where it waits, and is the next turn: there
//! is no moment in which a message belongs to neither.

use super::{
    messages::{self, Message},
    turns::{self, Turn},
};
use crate::fault::Fault;
use proto::Timestamp;
use rusqlite::{Connection, OptionalExtension};

/// Messages that are shown at a time.
const PAGE: i64 = 20;
/// Messages that one turn answers at most, those that it took up among them.
const MESSAGES_MAX: i64 = 100;

/// What waits for this turn, oldest first: messages of the same sender in the same chat, thread and topic, and only
/// while no other turn of the chat stands before them. Somebody else's messages are a turn of their own, because a turn
/// may use the secrets of the one who asked.
pub(crate) fn waiting(conn: &Connection, turn: &Turn) -> rusqlite::Result<Vec<Message>> {
    let Some(next) = next_of_kind(conn, turn)? else { return Ok(Vec::new()) };
    let held: i64 = conn
        .prepare_cached("SELECT count(*) FROM messages WHERE turn_id = ?1 AND outbound = 0")?
        .query_row([&turn.id], |row| row.get(0))?;
    let room = (MESSAGES_MAX - held).clamp(0, PAGE);
    let mut waiting = messages::of_turn(conn, &next)?;
    waiting.truncate(usize::try_from(room).unwrap_or(0));
    Ok(waiting)
}

/// Makes what waits for this turn its own, up to the message with this number. What was taken before, or does not wait
/// any more, changes nothing. Returns how many there were.
pub(crate) fn take(
    conn: &Connection,
    turn: &Turn,
    upto: i64,
    now: Timestamp,
) -> Result<usize, Fault> {
    let Some(next) = next_of_kind(conn, turn)? else { return Ok(0) };
    let taken = conn
        .prepare_cached(
            "UPDATE messages SET turn_id = ?1 WHERE turn_id = ?2 AND outbound = 0 AND seq <= ?3",
        )?
        .execute((&turn.id, &next, upto))?;
    if taken == 0 {
        return Ok(0);
    }
    turns::step(conn, &turn.id, now, "turn.steered", &format!("{taken} more"))?;
    if messages::of_turn(conn, &next)?.is_empty() {
        turns::withdraw(conn, &next)?;
    }
    Ok(taken)
}

/// The turn that is next in this turn's chat, if it was never tried and is of the same kind.
fn next_of_kind(conn: &Connection, turn: &Turn) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached(
        "SELECT id FROM turns
         WHERE seq = (SELECT min(seq) FROM turns INDEXED BY turns_queued_of_folder
                 WHERE state = 'queued' AND folder = ?1 AND chat_jid = ?2)
           AND attempt = 0 AND topic = ?3 AND thread = ?4 AND sender = ?5 AND per_person = ?6",
    )?
    .query_row(
        (
            turn.folder.as_str(),
            turn.chat_jid.as_str(),
            turn.topic.as_str(),
            turn.thread.as_str(),
            &turn.sender,
            turn.per_person,
        ),
        |row| row.get(0),
    )
    .optional()
}
