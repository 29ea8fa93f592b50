//! Calls that a row of the ACL holds: kept until a person decides, and made with what was kept.

use super::{
    call::{answered, call_tool, check_count, check_key, keep},
    registry,
    tool::{Answer, Call, Does},
};
use crate::{
    approving::{self, Wanted},
    attempt::Attempt,
    fault::Fault,
    store::turns,
};
use proto::routd::Approval;
use serde_json::json;

/// What the key of an approved call begins with. No agent may use such a key.
pub(super) const KEY: &str = "approval:";

/// The key under which the tool keeps its answer.
pub(crate) fn key_of(id: &str) -> String {
    format!("{KEY}{id}")
}

/// The text of an answer that was kept.
pub(crate) fn text_of(kept: &str) -> Result<String, Fault> {
    let answer: Answer = serde_json::from_str(kept)
        .map_err(|_| Fault::Defect("the answer of a tool cannot be read".into()))?;
    Ok(answer.text)
}

/// Whether a tool has effects that are no rows of the database.
pub(crate) fn goes_outside(tool: &str) -> bool {
    registry::find(tool).is_none_or(|tool| matches!(tool.does, Does::Outside(_)))
}

/// Keeps a call until a person decides, and has them asked. What the agent is told is kept with it, so that the same
/// call, made again because its answer was lost, is not asked for twice.
pub(super) async fn hold(call: Call, arguments: String) -> Result<Answer, Fault> {
    check_key(&call)?;
    let app = call.app.clone();
    let (now, epoch, wake) = (app.now(), app.epoch, app.wake.clone());
    let wanted = Wanted { tool: call.tool, arguments, lifetime_ms: app.settings.approval_ms };
    let held = app.db.try_write("tool.hold", move |tx| {
        let turn = call.attempt.current(tx)?;
        let row = call.row(&turn, epoch);
        if let Some(answer) = answered(tx, &row)? {
            return Ok(answer);
        }
        check_count(tx, &turn)?;
        let (id, until) = approving::hold(tx, &wake, &turn, &wanted, now)?;
        let answer = Answer {
            text: format!(
                "Not made yet: a person has to approve this call first, and is asked in this chat. It waits as {id} \
                 until {until}. Do not make it again: what comes of it is told to you in a message, in a later turn."
            ),
            structured: Some(json!({ "held": id, "until": until })),
        };
        turns::acted(tx, &turn)?;
        turns::step(tx, &turn.id, now, "tool.held", &format!("{} as {id}", call.tool))?;
        keep(tx, &row, &answer, now)?;
        Ok(answer)
    });
    held.await
}

/// Makes a call that was approved, with the arguments that it was held with, and answers its text.
pub(crate) async fn make(attempt: &Attempt, held: &Approval, id: &str) -> Result<String, Fault> {
    let arguments = serde_json::from_str(&held.arguments)
        .map_err(|_| Fault::Defect(format!("the arguments of {id} cannot be read")))?;
    if approving::digest(&held.tool, &held.arguments) != held.digest {
        return Err(Fault::Defect(format!("the arguments of {id} are not those that were held")));
    }
    let made = call_tool(attempt, &held.tool, arguments, Some(key_of(id))).await;
    made.map(|answer| answer.text)
}
