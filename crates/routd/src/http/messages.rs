//! Messages: delivering one, how it ended, its whole life.

use super::until;
use crate::{
    app::App,
    fault::Fault,
    hub, ingest,
    store::{messages, messages::Message, trace, turns},
};
use kit::{Caller, Failure};
use proto::{
    Jid, Opaque,
    routd::{
        MessageAck, MessageOutcome, MessageState, NewMessage, OutcomeQuery, Trace, TraceQuery,
    },
};
use rusqlite::Connection;
use std::sync::Arc;

/// Commits a message.
pub(super) async fn post(
    app: Arc<App>,
    caller: Caller,
    message: NewMessage,
) -> Result<MessageAck, Failure> {
    Ok(ingest::ingest(&app, &caller, message).await?)
}

/// How a message ended; waits for the end.
pub(super) async fn outcome(
    app: Arc<App>,
    caller: Caller,
    query: OutcomeQuery,
) -> Result<MessageOutcome, Failure> {
    let OutcomeQuery { id, chat_jid, wait_seconds } = query;
    let deadline = until(wait_seconds);
    let (first, _) = ask(&app, &caller, &id, chat_jid.as_ref()).await?;
    // Listening comes before looking, so that an end between the two is not missed.
    let mut news = app.wake.hub.listen(&hub::chat(first.chat_jid.as_str()));
    loop {
        let (_, outcome) = ask(&app, &caller, &id, Some(&first.chat_jid)).await?;
        if outcome.state.is_final() {
            return Ok(outcome);
        }
        tokio::select! {
            () = news.woken() => {}
            () = app.context.stop.cancelled() => return Ok(outcome),
            () = tokio::time::sleep_until(deadline) => return Ok(outcome),
        }
    }
}

async fn ask(
    app: &Arc<App>,
    caller: &Caller,
    id: &Opaque,
    chat: Option<&Jid>,
) -> Result<(Message, MessageOutcome), Failure> {
    let (id, chat, caller) = (id.clone(), chat.cloned(), caller.clone());
    let found = app.db.try_read(move |conn| {
        let message = the_one(conn, &caller, &id, chat.as_ref())?;
        let outcome = outcome_of(conn, &message)?;
        Ok::<_, Fault>((message, outcome))
    });
    Ok(found.await?)
}

fn outcome_of(conn: &Connection, message: &Message) -> Result<MessageOutcome, Fault> {
    let turn = match &message.turn_id {
        Some(turn_id) if !message.outbound => turns::get(conn, turn_id.as_str())?,
        _ => None,
    };
    let (state, replies) = match &turn {
        Some(turn) => {
            let said = messages::said_in(conn, &turn.id, &message.chat_jid)?;
            (turn.message_state(), said.into_iter().map(Message::told).collect())
        }
        None if message.disposition == "unrouted" => (MessageState::Unrouted, Vec::new()),
        None => (MessageState::Observed, Vec::new()),
    };
    let turn_id = turn.and(message.turn_id.clone());
    Ok(MessageOutcome { id: message.id.clone(), state, turn_id, replies })
}

/// A message's whole life.
pub(super) async fn trace(
    app: Arc<App>,
    caller: Caller,
    query: TraceQuery,
) -> Result<Trace, Failure> {
    let found = app.db.try_read(move |conn| {
        let message = the_one(conn, &caller, &query.id, query.chat_jid.as_ref())?;
        let steps = trace::steps(conn, &message)?;
        let Message { id, chat_jid, seq, folder, turn_id, .. } = message;
        Ok::<_, Fault>(Trace { id, chat_jid, seq, folder, turn_id, steps })
    });
    Ok(found.await?)
}

/// The one message with this id, if the caller's token reaches its folder.
fn the_one(
    conn: &Connection,
    caller: &Caller,
    id: &Opaque,
    chat: Option<&Jid>,
) -> Result<Message, Fault> {
    let mut found = messages::find(conn, id, chat)?;
    if found.len() > 1 {
        let text = format!("several chats have a message {id}; name the chat as well");
        return Err(Fault::Conflict(text));
    }
    let reached = |message: &Message| match &message.folder {
        Some(folder) => caller.reaches(folder),
        // What went nowhere belongs to no folder, and is shown to those without a limit.
        None => caller.reaches_all(),
    };
    let found = found.pop().filter(reached);
    found.ok_or_else(|| Fault::NotFound(format!("there is no message {id} here")))
}
