//! Handing a task to another folder's agent, and its result back.
//!
//! A task is a message in a chat of its own, and starts a turn there. When that turn ends, what was said in it comes
//! back as one message into the chat of the turn that gave the task, and starts a turn in turn; that it ended and that
//! its result is told are one transaction. Both messages have the origin `delegation`, and the folder as their sender.

use crate::{
    delegation,
    fault::Fault,
    ids,
    origin::Origin,
    say,
    store::{
        delegations::{self, Delegation},
        feed, groups,
        messages::{self, Inbound},
        turns::{self, Asked, Turn},
    },
    wake::Wake,
};
use db::Tx;
use proto::{Folder, Jid, Timestamp, Topic, routd::TurnEnd};

/// The kinds of the two messages.
const TASK: &str = "task";
const RESULT: &str = "result";

/// Gives a task to a folder, and answers its id.
pub(crate) fn give(
    tx: &Tx<'_>,
    wake: &Wake,
    turn: &Turn,
    folder: &Folder,
    task: &str,
    now: Timestamp,
) -> Result<String, Fault> {
    if !groups::in_service(tx, folder)? {
        return Err(Fault::NotFound(format!("there is no folder {folder}")));
    }
    let chain = delegations::chain(tx, turn)?;
    let depth = delegation::admit(&chain, &turn.folder, folder).map_err(Fault::Conflict)?;
    let id = ids::fresh("d");
    let chat_jid: Jid = format!("web:{folder}~{id}")
        .parse()
        .map_err(|_| Fault::Defect("a task's chat has no address".into()))?;
    let row = Delegation {
        root: chain.root.unwrap_or_else(|| id.clone()),
        parent: chain.parent,
        depth,
        by_turn: turn.id.clone(),
        by_folder: turn.folder.clone(),
        folder: folder.clone(),
        chat_jid: chat_jid.clone(),
        id,
    };
    delegations::add(tx, &row, now)?;
    let main = Topic::default();
    let asked = Asked {
        folder,
        topic: &main,
        chat_jid: &chat_jid,
        thread: &main,
        sender: &sender(&turn.folder),
        per_person: false,
        bytes: task.len(),
    };
    put(tx, wake, &asked, &turn.folder, TASK, task, &row.id, now)?;
    Ok(row.id)
}

/// A turn has ended: where it was at work on a task, whoever gave that is told.
pub(crate) fn report(
    tx: &Tx<'_>,
    wake: &Wake,
    turn: &Turn,
    how: TurnEnd,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(task) = delegations::finish(tx, turn, now)? else { return Ok(()) };
    let by = turns::get(tx, &task.by_turn)?
        .ok_or_else(|| Fault::Defect(format!("the turn {} has no row", task.by_turn)))?;
    if !groups::in_service(tx, &by.folder)? {
        return Ok(());
    }
    let said = messages::said_in(tx, &turn.id, &turn.chat_jid)?;
    let said: Vec<_> = said.into_iter().map(messages::Message::told).collect();
    let text = match said.is_empty() {
        false => said.join("\n\n"),
        true => format!("The task ended without a word: {}.", turns::end_name(how)),
    };
    let text = say::within_limit(&text);
    let asked = Asked {
        folder: &by.folder,
        topic: &by.topic,
        chat_jid: &by.chat_jid,
        thread: &by.thread,
        sender: &by.sender,
        per_person: by.per_person,
        bytes: text.len(),
    };
    put(tx, wake, &asked, &turn.folder, RESULT, &text, &task.id, now)
}

/// Puts a message of one folder's agent before another's.
#[expect(clippy::too_many_arguments, reason = "two callers, and each names all of them")]
fn put(
    tx: &Tx<'_>,
    wake: &Wake,
    asked: &Asked<'_>,
    from: &Folder,
    verb: &str,
    content: &str,
    delegation: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let (turn_id, _) = turns::join_or_add(tx, asked, now)?;
    let id = ids::opaque(&ids::fresh("m"))?;
    let row = Inbound {
        id: &id,
        chat_jid: asked.chat_jid,
        sender: &sender(from),
        sender_name: None,
        content,
        verb,
        thread: asked.thread,
        topic: asked.topic,
        folder: Some(asked.folder),
        disposition: "turn",
        turn_id: Some(&turn_id),
        reply_to: None,
        is_group: false,
        attachments: &[],
        sent_at: now,
        rule: "delegation",
        origin: Origin::Delegation,
        delegation: Some(delegation),
    };
    let seq = messages::add(tx, &row, now)?;
    feed::message(tx, asked.chat_jid, asked.topic, seq, now)?;
    wake.chat(tx, asked.chat_jid.as_str());
    wake.turns(tx);
    Ok(())
}

/// A folder's agent, as a sender. Nobody else may take such a name.
fn sender(folder: &Folder) -> String {
    format!("folder:{folder}")
}
