//! The whole life of a message, from the rows that it left.

use super::{messages::Message, time, turns};
use proto::{Timestamp, routd::TraceStep};
use rusqlite::{Connection, OptionalExtension};

/// What happened to a message, in order.
pub(crate) fn steps(conn: &Connection, message: &Message) -> rusqlite::Result<Vec<TraceStep>> {
    let step =
        |at: Timestamp, what: &str, detail: String| TraceStep { at, what: what.into(), detail };
    let mut steps = vec![step(
        message.received_at,
        "received",
        format!("seq {}, origin {}", message.seq, message.origin),
    )];
    if !message.outbound {
        let (how, rule) = (message.disposition.as_str(), message.rule.as_str());
        let detail = match &message.folder {
            Some(folder) => format!("{how} to {folder} by {rule}"),
            None => format!("nowhere: {rule}"),
        };
        steps.push(step(message.received_at, "routed", detail));
    }
    if let Some(turn_id) = message.turn_id.as_ref().filter(|_| !message.outbound) {
        steps.extend(of_turn(conn, turn_id.as_str())?);
        steps.extend(said(conn, turn_id.as_str())?);
    }
    if message.outbound {
        steps.extend(sent(conn, message.seq)?);
    }
    // Steps of one moment stay in the order in which they were written.
    steps.sort_by_key(|step| step.at);
    Ok(steps)
}

fn of_turn(conn: &Connection, turn_id: &str) -> rusqlite::Result<Vec<TraceStep>> {
    conn.prepare_cached("SELECT at, what, detail FROM turn_steps WHERE turn_id = ?1 ORDER BY id")?
        .query_map([turn_id], |row| {
            Ok(TraceStep {
                at: time(row, "at")?,
                what: row.get("what")?,
                detail: row.get("detail")?,
            })
        })?
        .collect()
}

/// What was said in the turn, and what became of that.
fn said(conn: &Connection, turn_id: &str) -> rusqlite::Result<Vec<TraceStep>> {
    let messages = conn
        .prepare_cached(
            "SELECT seq, id, chat_jid, sender, received_at FROM messages
             WHERE turn_id = ?1 AND outbound = 1 ORDER BY seq",
        )?
        .query_map([turn_id], |row| {
            let (id, chat): (String, String) = (row.get("id")?, row.get("chat_jid")?);
            let sender: String = row.get("sender")?;
            let at = time(row, "received_at")?;
            let said = TraceStep {
                at,
                what: "message.said".into(),
                detail: format!("{id} by {sender} in {chat}"),
            };
            Ok((row.get::<_, i64>("seq")?, said))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut steps = Vec::new();
    for (seq, step) in messages {
        steps.push(step);
        steps.extend(sent(conn, seq)?);
    }
    Ok(steps)
}

fn sent(conn: &Connection, message_seq: i64) -> rusqlite::Result<Vec<TraceStep>> {
    conn.prepare_cached(
        "SELECT id, kind, state, attempts, detail, created_at, ended_at FROM outbox WHERE message_seq = ?1",
    )?
    .query_map([message_seq], |row| {
        let (id, state): (String, String) = (row.get("id")?, row.get("state")?);
        let kind: String = row.get("kind")?;
        let change = if kind == "send" { String::new() } else { format!(" ({kind})") };
        let (attempts, detail): (i64, String) = (row.get("attempts")?, row.get("detail")?);
        let ended_at: Option<i64> = row.get("ended_at")?;
        let at = ended_at.map_or_else(|| time(row, "created_at"), |at| Ok(Timestamp(at)))?;
        let tries = if attempts > 0 { format!(", {attempts} attempts") } else { String::new() };
        let colon = if detail.is_empty() { "" } else { ": " };
        Ok(TraceStep {
            at,
            what: format!("outbox.{state}"),
            detail: format!("{id}{change}{tries}{colon}{detail}"),
        })
    })?
    .collect()
}

/// The step whose detail is the span of a telemetry trace that a turn goes on from (`traceparent`).
const TRACED: &str = "traced";

/// The turn goes on from this span: that of the message that it answers, and then its own.
pub(crate) fn go_on_from(
    conn: &Connection,
    turn_id: &str,
    span: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    turns::step(conn, turn_id, now, TRACED, span)
}

/// The span that the turn goes on from, and the id of the first message that it answers, where there are.
pub(crate) fn span_of_turn(
    conn: &Connection,
    turn_id: &str,
) -> rusqlite::Result<(Option<String>, Option<String>)> {
    let message = conn
        .prepare_cached(
            "SELECT id FROM messages WHERE turn_id = ?1 AND outbound = 0 ORDER BY seq LIMIT 1",
        )?
        .query_row([turn_id], |row| row.get(0))
        .optional()?;
    Ok((span(conn, turn_id)?, message))
}

/// The span of the turn in which a message was said.
pub(crate) fn span_of_said(
    conn: &Connection,
    message_seq: i64,
) -> rusqlite::Result<Option<String>> {
    let turn: Option<Option<String>> = conn
        .prepare_cached("SELECT turn_id FROM messages WHERE seq = ?1")?
        .query_row([message_seq], |row| row.get(0))
        .optional()?;
    turn.flatten().map_or(Ok(None), |turn_id| span(conn, &turn_id))
}

fn span(conn: &Connection, turn_id: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached(
        "SELECT detail FROM turn_steps WHERE turn_id = ?1 AND what = ?2 ORDER BY id DESC LIMIT 1",
    )?
    .query_row([turn_id, TRACED], |row| row.get(0))
    .optional()
}
