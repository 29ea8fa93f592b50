//! Calling a tool: its arguments are taken, then it reads, changes or goes outside.

use super::{
    held, registry,
    tool::{Answer, Call, Change, Changing, Does, Look, Reading, Tool},
};
use crate::{
    approving,
    attempt::Attempt,
    fault::Fault,
    progress::Progress,
    store::{tools, turns, turns::Turn},
    word_loop,
};
use rmcp::model::JsonObject;
use rusqlite::Connection;
use serde_json::Value;

/// Changes that one turn makes: an agent that runs in a circle ends here.
const CHANGES_MAX: u32 = 500;
/// Bytes of an idempotency key.
const KEY_MAX: usize = 256;

/// Calls a tool for an agent. What a row of the ACL holds waits for a person.
pub(super) async fn call(
    attempt: &Attempt,
    name: &str,
    arguments: JsonObject,
    key: Option<String>,
) -> Result<Answer, Fault> {
    // `serde_json` keeps an object's keys in order, so equal arguments are written alike.
    let text = Value::Object(arguments.clone()).to_string();
    let called = call_tool(attempt, name, arguments, key.clone()).await;
    let Err(Fault::Held(why)) = called else { return called };
    let (call, tool) = begin(attempt, name, &text, key)?;
    if !tool.may_wait {
        let text = format!("{why}; and `{name}` cannot wait for that, because it needs this turn");
        return Err(Fault::Forbidden(text));
    }
    held::hold(call, text).await
}

/// A call, as its tool has it.
fn begin(
    attempt: &Attempt,
    name: &str,
    arguments: &str,
    key: Option<String>,
) -> Result<(Call, &'static Tool), Fault> {
    let app = attempt.app()?;
    let tool = registry::find(name)
        .ok_or_else(|| Fault::NotFound(format!("there is no tool `{name}`")))?;
    let call = Call {
        app,
        attempt: attempt.clone(),
        tool: tool.name,
        action: tool.action.clone(),
        arguments: approving::digest(tool.name, arguments),
        key,
    };
    Ok((call, tool))
}

/// Calls a tool, for an agent or as a person has approved.
pub(super) async fn call_tool(
    attempt: &Attempt,
    name: &str,
    arguments: JsonObject,
    key: Option<String>,
) -> Result<Answer, Fault> {
    let text = Value::Object(arguments.clone()).to_string();
    let (call, tool) = begin(attempt, name, &text, key)?;
    match &tool.does {
        Does::Reads(takes) => {
            let reading = takes(arguments)?;
            if tool.needs_words {
                word_loop::catch_up(&call.app).await?;
            }
            read(call, reading).await
        }
        Does::Changes(takes) => change(call, takes(arguments)?).await,
        Does::Outside(goes) => goes(call, arguments).await,
    }
}

async fn read(call: Call, reading: Reading) -> Result<Answer, Fault> {
    let Call { app, attempt, action, .. } = call;
    let now = app.now();
    let found = app.db.try_read(move |conn| {
        let turn = attempt.current(conn)?;
        let rights = attempt.rights(conn, &turn)?;
        let done = reading(&Look { conn, turn: &turn, rights: &rights, now, action: &action });
        rights.free(done)
    });
    found.await
}

/// Makes a change once: what it does, that the attempt did something, and its answer are one transaction.
pub(super) async fn change(call: Call, changing: Changing) -> Result<Answer, Fault> {
    check_key(&call)?;
    let (app, progress) = (call.app.clone(), Progress::of(&call.app));
    let (now, epoch) = (app.now(), app.epoch);
    let done = app.db.try_write("tool", move |tx| {
        let turn = call.attempt.current(tx)?;
        let row = call.row(&turn, epoch);
        if let Some(answer) = answered(tx, &row)? {
            return Ok(answer);
        }
        check_count(tx, &turn)?;
        let rights = call.attempt.rights(tx, &turn)?;
        let look = Look { conn: tx, turn: &turn, rights: &rights, now, action: &call.action };
        let answer = rights.free(changing(&Change { look, tx, progress: &progress }))?;
        call.attempt.acted(tx, &turn)?;
        turns::step(tx, &turn.id, now, &format!("tool.{}", call.tool), &answer.text)?;
        keep(tx, &row, &answer, now)?;
        Ok(answer)
    });
    done.await
}

impl Call {
    /// As it is remembered.
    pub(super) fn row<'a>(&'a self, turn: &'a Turn, epoch: i64) -> tools::Call<'a> {
        tools::Call {
            turn_id: &turn.id,
            attempt: turn.standing.attempt,
            key: self.key.as_deref(),
            tool: self.tool,
            arguments: &self.arguments,
            epoch,
        }
    }
}

/// Refuses a key that cannot be kept.
pub(super) fn check_key(call: &Call) -> Result<(), Fault> {
    if call.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_MAX) {
        return Err(Fault::Invalid("an idempotency key has 1 to 256 bytes".into()));
    }
    let is_ours = call.key.as_ref().is_some_and(|key| key.starts_with(held::KEY));
    if is_ours && !call.attempt.is_approved() {
        let text = format!("an idempotency key does not begin with `{}`", held::KEY);
        return Err(Fault::Invalid(text));
    }
    Ok(())
}

/// What the same call was answered before.
pub(super) fn answered(conn: &Connection, row: &tools::Call<'_>) -> Result<Option<Answer>, Fault> {
    let broken = |_| Fault::Defect("the answer of a tool cannot be read".into());
    tools::answered(conn, row)?.map(|text| serde_json::from_str(&text).map_err(broken)).transpose()
}

/// Keeps an answer.
pub(super) fn keep(
    conn: &Connection,
    row: &tools::Call<'_>,
    answer: &Answer,
    now: proto::Timestamp,
) -> Result<(), Fault> {
    let kept = serde_json::to_string(answer)
        .map_err(|_| Fault::Defect("the answer of a tool cannot be written".into()))?;
    Ok(tools::keep(conn, row, &kept, now)?)
}

/// Ends a turn's changes where there are too many.
pub(super) fn check_count(conn: &Connection, turn: &Turn) -> Result<(), Fault> {
    if tools::count(conn, &turn.id)? >= CHANGES_MAX {
        let text = format!("this turn has made {CHANGES_MAX} changes, which is enough");
        return Err(Fault::Conflict(text));
    }
    Ok(())
}
