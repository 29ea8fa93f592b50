//! Doing what a tool is asked to.

use super::arguments::{
    GetMemory, INSPECT_MAX, Inspect, MEMORY_MAX, Reply, Send, SetMemory, check_content, read,
};
use super::request;
use crate::{
    app::App,
    attempt::Attempt,
    fault::Fault,
    progress::Progress,
    record::record,
    rights::Rights,
    say::{self, AGENT, Saying},
    store::{groups, messages, tools, turns, turns::Turn},
};
use db::Tx;
use proto::{Address, Folder, Jid, Timestamp, Topic};
use rmcp::model::JsonObject;
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Messages that one look shows when it does not say.
const INSPECT: u32 = 20;
/// Bytes of one message that one look shows, and of all of them.
const SHOWN_MAX: usize = 32 * 1024;
const SHOWN_ALL: usize = 512 * 1024;
/// Changes that one turn makes: an agent that runs in a circle ends here.
const CHANGES_MAX: u32 = 500;
/// Bytes of an idempotency key.
const KEY_MAX: usize = 256;

/// What a tool answers.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) structured: Option<Value>,
}

/// Something that a tool changes.
#[derive(Debug)]
enum Change {
    Reply(Reply),
    Send(Send),
    SetMemory(SetMemory),
}

/// Calls a tool.
pub(super) async fn call(
    attempt: &Attempt,
    tool: &str,
    arguments: JsonObject,
    key: Option<String>,
) -> Result<Answer, Fault> {
    let app = attempt.app()?;
    let hash = hash(tool, &arguments);
    match tool {
        "inspect_messages" => inspect(&app, attempt, read(tool, arguments)?).await,
        "get_memory" => {
            let GetMemory {} = read(tool, arguments)?;
            get_memory(&app, attempt).await
        }
        "reply" => {
            let reply: Reply = read(tool, arguments)?;
            check_content(&reply.content)?;
            change(&app, attempt, "reply", Change::Reply(reply), hash, key).await
        }
        "send" => {
            let send: Send = read(tool, arguments)?;
            check_content(&send.content)?;
            change(&app, attempt, "send", Change::Send(send), hash, key).await
        }
        "http_request" => request::run(&app, attempt, read(tool, arguments)?, hash, key).await,
        "set_memory" => {
            let memory: SetMemory = read(tool, arguments)?;
            if memory.content.len() > MEMORY_MAX {
                let text = format!("a memory has at most {MEMORY_MAX} bytes; keep what matters");
                return Err(Fault::Invalid(text));
            }
            change(&app, attempt, "set_memory", Change::SetMemory(memory), hash, key).await
        }
        other => Err(Fault::NotFound(format!("there is no tool `{other}`"))),
    }
}

/// Makes a change once: what it does, that the attempt did something, and its answer are one transaction.
async fn change(
    app: &Arc<App>,
    attempt: &Attempt,
    tool: &'static str,
    change: Change,
    arguments: String,
    key: Option<String>,
) -> Result<Answer, Fault> {
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_MAX) {
        return Err(Fault::Invalid("an idempotency key has 1 to 256 bytes".into()));
    }
    let (attempt, progress, now, epoch) =
        (attempt.clone(), Progress::of(app), app.now(), app.epoch);
    let done = app.db.try_write("tool", move |tx| {
        let turn = attempt.current(tx)?;
        let call = tools::Call {
            turn_id: &turn.id,
            attempt: turn.standing.attempt,
            key: key.as_deref(),
            tool,
            arguments: &arguments,
            epoch,
        };
        if let Some(answer) = tools::answered(tx, &call)? {
            return serde_json::from_str(&answer)
                .map_err(|_| Fault::Defect("the answer of a tool cannot be read".into()));
        }
        check_count(tx, &turn)?;
        let rights = Rights::of(tx, &turn.folder)?;
        let answer = carry_out(tx, &progress, &rights, &turn, &change, now)?;
        turns::acted(tx, &turn)?;
        turns::step(tx, &turn.id, now, &format!("tool.{tool}"), &answer.text)?;
        let kept = serde_json::to_string(&answer)
            .map_err(|_| Fault::Defect("the answer of a tool cannot be written".into()))?;
        tools::keep(tx, &call, &kept, now)?;
        Ok(answer)
    });
    done.await
}

/// Ends a turn's changes where there are too many.
pub(super) fn check_count(conn: &Connection, turn: &Turn) -> Result<(), Fault> {
    if tools::count(conn, &turn.id)? >= CHANGES_MAX {
        let text = format!("this turn has made {CHANGES_MAX} changes, which is enough");
        return Err(Fault::Conflict(text));
    }
    Ok(())
}

fn carry_out(
    tx: &Tx<'_>,
    progress: &Progress,
    rights: &Rights,
    turn: &Turn,
    change: &Change,
    now: Timestamp,
) -> Result<Answer, Fault> {
    let actor = || format!("folder:{}", turn.folder);
    match change {
        Change::Reply(Reply { content }) => {
            rights.require("reply", &turn.folder)?;
            let id = say::reply(tx, &progress.wake, turn, AGENT, content, now)?;
            say::engage(tx, turn, now.plus(progress.engagement_ms))?;
            Ok(said(id))
        }
        Change::Send(Send { chat_jid, content }) => {
            let folder = owner(tx, turn, chat_jid)?;
            rights.require("send", &folder)?;
            let nowhere = Topic::default();
            let own = *chat_jid == turn.chat_jid;
            let saying = Saying {
                sender: AGENT,
                content,
                chat: chat_jid,
                thread: if own { &turn.thread } else { &nowhere },
                topic: if own { &turn.topic } else { &nowhere },
                folder: &folder,
                reply_to: None,
                turn_id: Some(&turn.id),
                for_sender: if own { turn.for_sender() } else { None },
            };
            let id = say::say(tx, &progress.wake, &saying, now)?;
            record(tx, now, &actor(), "message.send", chat_jid.as_str(), &id)?;
            Ok(said(id))
        }
        Change::SetMemory(SetMemory { content }) => {
            rights.require("set_memory", &turn.folder)?;
            tools::remember(tx, &turn.folder, content, now)?;
            let detail = format!("{} bytes", content.len());
            record(tx, now, &actor(), "memory.set", turn.folder.as_str(), &detail)?;
            Ok(Answer { text: format!("remembered {detail}"), structured: None })
        }
    }
}

fn said(id: String) -> Answer {
    Answer { text: format!("said as {id}"), structured: Some(json!({ "id": id })) }
}

/// Whose chat this is. One that nobody wrote in, and that names no folder in service, is nobody's.
fn owner(conn: &Connection, turn: &Turn, chat: &Jid) -> Result<Folder, Fault> {
    let nobody = || {
        let text = format!("{chat} is no chat of a folder: nobody has written there");
        Fault::NotFound(text)
    };
    match chat.address() {
        Address::Web(folder) | Address::Hook(folder, _) => {
            let there = groups::in_service(conn, &folder)?;
            there.then_some(folder).ok_or_else(nobody)
        }
        Address::Platform if *chat == turn.chat_jid => Ok(turn.folder.clone()),
        Address::Platform => messages::folder_of_chat(conn, chat, &turn.folder)?.ok_or_else(nobody),
    }
}

async fn inspect(app: &Arc<App>, attempt: &Attempt, asked: Inspect) -> Result<Answer, Fault> {
    let limit = asked.limit.unwrap_or(INSPECT);
    if !(1..=INSPECT_MAX).contains(&limit) {
        return Err(Fault::Invalid(format!("`limit` is 1 to {INSPECT_MAX}")));
    }
    let attempt = attempt.clone();
    let found = app.db.try_read(move |conn| {
        let turn = attempt.current(conn)?;
        let chat = asked.chat_jid.unwrap_or_else(|| turn.chat_jid.clone());
        let folder = owner(conn, &turn, &chat)?;
        Rights::of(conn, &turn.folder)?.require("inspect_messages", &folder)?;
        let before = asked.before.unwrap_or(i64::MAX);
        Ok::<_, Fault>(messages::recent(conn, &chat, &folder, before, limit)?)
    });
    let mut room = SHOWN_ALL;
    let mut messages: Vec<Value> = Vec::new();
    // The newest first, as far as there is room; `before` asks for the others.
    for message in found.await?.into_iter().rev() {
        let Some(left) = room.checked_sub(message.content.len().min(SHOWN_MAX)) else { break };
        room = left;
        messages.push(shown(message));
    }
    messages.reverse();
    let structured = json!({ "messages": messages });
    Ok(Answer { text: structured.to_string(), structured: Some(structured) })
}

fn shown(mut message: messages::Message) -> Value {
    let whole = message.content.len();
    message.content.truncate(message.content.floor_char_boundary(SHOWN_MAX));
    json!({
        "cut": whole > message.content.len(),
        "seq": message.seq,
        "id": message.id,
        "chat_jid": message.chat_jid,
        "sender": message.sender,
        "sender_name": message.sender_name,
        "from_agent": message.outbound && message.sender == AGENT,
        "content": message.content,
        "verb": message.verb,
        "topic": message.topic,
        "reply_to": message.reply_to,
        "sent_at": message.sent_at,
    })
}

async fn get_memory(app: &Arc<App>, attempt: &Attempt) -> Result<Answer, Fault> {
    let attempt = attempt.clone();
    let found = app.db.try_read(move |conn| {
        let turn = attempt.current(conn)?;
        Rights::of(conn, &turn.folder)?.require("get_memory", &turn.folder)?;
        Ok::<_, Fault>(tools::memory(conn, &turn.folder)?.unwrap_or_default())
    });
    Ok(Answer { text: found.await?, structured: None })
}

/// The call, as one hash. `serde_json` keeps an object's keys in order, so equal arguments hash alike.
fn hash(tool: &str, arguments: &JsonObject) -> String {
    let text = Value::Object(arguments.clone()).to_string();
    hex::encode(Sha256::new().chain_update(tool).chain_update([0]).chain_update(text).finalize())
}
