//! Calls of tools that wait for a person: held, decided on, made once, and told of.
//!
//! A call is held with its arguments, and what is made is what was held. Each step is a guarded update in the
//! transaction of what follows from it: that it was decided and by whom, that it is being made, and what came of it with
//! the message that tells the agent. A routd that ends between two of them leaves a row that says where it stands.

use crate::{
    approval::{self, Verdict},
    fault::Fault,
    ids,
    origin::Origin,
    record::record,
    say::{self, SYSTEM},
    store::{
        approvals::{self, NewApproval},
        feed, groups,
        messages::{self, Inbound},
        turns::{self, Asked, Turn},
    },
    wake::Wake,
};
use db::Tx;
use proto::{
    Timestamp,
    routd::{Approval, ApprovalState as State},
};
use sha2::{Digest, Sha256};

/// Calls of one folder that wait at once: an agent that runs in a circle ends here.
const PENDING_MAX: u32 = 50;
/// The kind of the message that tells what came of one.
const OUTCOME: &str = "approval";

/// A call that a row holds.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) tool: &'static str,
    /// JSON, its keys in order.
    pub(crate) arguments: String,
    /// How long it may wait, in milliseconds.
    pub(crate) lifetime_ms: i64,
}

/// A tool with its arguments, as one hash.
pub(crate) fn digest(tool: &str, arguments: &str) -> String {
    hex::encode(
        Sha256::new().chain_update(tool).chain_update([0]).chain_update(arguments).finalize(),
    )
}

/// Holds a call, and asks in the chat. The very same call that waits already is answered alike.
pub(crate) fn hold(
    tx: &Tx<'_>,
    wake: &Wake,
    turn: &Turn,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<(String, Timestamp), Fault> {
    let Wanted { tool, arguments, lifetime_ms } = wanted;
    if arguments.len() > approval::ARGUMENTS_MAX {
        let text = format!(
            "a call that waits for a person's approval has at most {} bytes of arguments",
            approval::ARGUMENTS_MAX
        );
        return Err(Fault::Invalid(text));
    }
    let digest = digest(tool, arguments);
    if let Some(waiting) = approvals::same_pending(tx, turn, &digest, now)? {
        return Ok(waiting);
    }
    if approvals::count_pending(tx, &turn.folder)? >= PENDING_MAX {
        let text = format!(
            "{PENDING_MAX} calls of {} wait for a person's approval already; wait for these",
            turn.folder
        );
        return Err(Fault::Conflict(text));
    }
    let (id, expires_at) = (ids::fresh(approval::PREFIX), now.plus(*lifetime_ms));
    let new = NewApproval { id: &id, turn, tool, arguments, digest: &digest, expires_at };
    approvals::add(tx, &new, now)?;
    let actor = format!("folder:{}", turn.folder);
    let detail = format!("mcp:{tool} sha256:{digest} in {}", turn.id);
    record(tx, now, &actor, "approval.hold", &id, &detail)?;
    let question = approval::question(&id, tool, arguments, expires_at);
    say::reply(tx, wake, turn, SYSTEM, &question, now)?;
    Ok((id, expires_at))
}

/// Who decides, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By<'a> {
    /// As the audit names them.
    pub(crate) who: &'a str,
    pub(crate) reason: Option<&'a str>,
}

/// Writes a decision; that whoever makes it may is the caller's to see to. A repeat changes nothing, and another
/// decision than the one that stands is a conflict.
pub(crate) fn decide(
    tx: &Tx<'_>,
    wake: &Wake,
    held: &Approval,
    verdict: Verdict,
    by: By<'_>,
    now: Timestamp,
) -> Result<Approval, Fault> {
    let id = held.id.as_str();
    if is_as(held.state, verdict) {
        return Ok(held.clone());
    }
    if held.state != State::Pending {
        return Err(Fault::Conflict(format!("{id} is not to be decided on: {}", standing(held))));
    }
    if held.expires_at <= now {
        return Err(Fault::Conflict(format!("{id} has lapsed: nobody decided in time")));
    }
    let (to, action) = match verdict {
        Verdict::Approve => (State::Approved, "approval.approve"),
        Verdict::Deny => (State::Denied, "approval.deny"),
    };
    if !approvals::decide(tx, id, to, (by.who, by.reason), now)? {
        return Err(Fault::Conflict(format!("{id} was decided on meanwhile")));
    }
    let detail = format!("mcp:{} sha256:{} for {}", held.tool, held.digest, held.folder);
    record(tx, now, by.who, action, id, &detail)?;
    let decided = found(tx, id)?;
    match verdict {
        Verdict::Approve => wake.approvals(tx),
        Verdict::Deny => tell(tx, wake, &decided, now)?,
    }
    Ok(decided)
}

/// Whether a call stands where this verdict has led it.
fn is_as(state: State, verdict: Verdict) -> bool {
    let approved =
        [State::Approved, State::Running, State::Done, State::Failed, State::Interrupted];
    match verdict {
        Verdict::Approve => approved.contains(&state),
        Verdict::Deny => state == State::Denied,
    }
}

/// How a call stands, in a few words.
pub(crate) fn standing(held: &Approval) -> String {
    let by = held.decided_by.as_deref().unwrap_or("nobody");
    match held.state {
        State::Pending => "it waits for a person".into(),
        State::Approved | State::Running => format!("{by} approved it, and it is being made"),
        State::Done => format!("{by} approved it, and it was made"),
        State::Failed => format!("{by} approved it, and it failed"),
        State::Denied => format!("{by} denied it"),
        State::Expired => "it lapsed: nobody decided in time".into(),
        State::Interrupted => {
            format!("{by} approved it, and whether it was made is not known")
        }
    }
}

/// Claims one that was approved: from here on it is being made.
pub(crate) fn claim(tx: &Tx<'_>, held: &Approval) -> Result<bool, Fault> {
    Ok(approvals::step(tx, held.id.as_str(), State::Approved, State::Running)?)
}

/// Writes what came of one, and tells the agent.
pub(crate) fn settle(
    tx: &Tx<'_>,
    wake: &Wake,
    id: &str,
    (from, to): (State, State),
    answer: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    if !approvals::settle(tx, id, (from, to), answer, now)? {
        return Ok(());
    }
    let settled = found(tx, id)?;
    let detail = format!("mcp:{} sha256:{} {to}", settled.tool, settled.digest);
    record(tx, now, "service:routd", "approval.settle", id, &detail)?;
    tell(tx, wake, &settled, now)
}

/// Tells of what came of a call, in the chat of the turn that made it: a message that starts a turn there. That one
/// lapsed is said and noted, and starts none: an agent that asked again each time would never end.
fn tell(tx: &Tx<'_>, wake: &Wake, held: &Approval, now: Timestamp) -> Result<(), Fault> {
    let turn = turn_of(tx, held)?;
    if !groups::in_service(tx, &turn.folder)? {
        return Ok(());
    }
    let text = say::within_limit(&told(held));
    let starts_turn = held.state != State::Expired;
    let turn_id = match starts_turn {
        true => {
            let asked = Asked {
                folder: &turn.folder,
                topic: &turn.topic,
                chat_jid: &turn.chat_jid,
                thread: &turn.thread,
                sender: &turn.sender,
                per_person: turn.per_person,
                bytes: text.len(),
            };
            Some(turns::join_or_add(tx, &asked, now)?.0)
        }
        false => {
            say::reply(tx, wake, &turn, SYSTEM, &text, now)?;
            None
        }
    };
    let id = ids::opaque(&format!("{}.outcome", held.id))?;
    let row = Inbound {
        id: &id,
        chat_jid: &turn.chat_jid,
        sender: SYSTEM,
        sender_name: None,
        content: &text,
        verb: OUTCOME,
        thread: &turn.thread,
        topic: &turn.topic,
        folder: Some(&turn.folder),
        disposition: if starts_turn { "turn" } else { "observed" },
        turn_id: turn_id.as_deref(),
        reply_to: None,
        is_group: false,
        attachments: &[],
        sent_at: now,
        rule: OUTCOME,
        origin: Origin::System,
        delegation: None,
    };
    let seq = messages::add(tx, &row, now)?;
    if starts_turn {
        feed::message(tx, &turn.chat_jid, &turn.topic, seq, now)?;
        wake.chat(tx, turn.chat_jid.as_str());
        wake.turns(tx);
    }
    Ok(())
}

/// What the agent is told.
fn told(held: &Approval) -> String {
    let Approval { id, tool, .. } = held;
    let by = held.decided_by.as_deref().unwrap_or("nobody");
    let answer = held.answer.as_deref().unwrap_or_default();
    let reason = held.reason.as_deref().map(|text| format!(" Why: {text}")).unwrap_or_default();
    match held.state {
        State::Done => {
            format!(
                "The call of `{tool}` held as {id} was approved by {by} and made.{reason} It answered:\n\n{answer}"
            )
        }
        State::Failed => {
            format!("The call of `{tool}` held as {id} was approved by {by}, and failed: {answer}")
        }
        State::Denied => {
            format!("The call of `{tool}` held as {id} was denied by {by}. It is not made.{reason}")
        }
        State::Interrupted => format!(
            "The call of `{tool}` held as {id} was approved by {by}. Whether it was made is not known: routd ended \
             while it was under way. It is not made again by itself; see whether it was, and ask anew if not."
        ),
        State::Expired => {
            format!(
                "The call of `{tool}` held as {id} lapsed: nobody decided in time. It was not made."
            )
        }
        State::Pending | State::Approved | State::Running => {
            format!("The call of `{tool}` held as {id}: {}.", standing(held))
        }
    }
}

/// The turn that made a held call.
pub(crate) fn turn_of(tx: &rusqlite::Connection, held: &Approval) -> Result<Turn, Fault> {
    turns::get(tx, held.turn_id.as_str())?
        .ok_or_else(|| Fault::Defect(format!("the turn {} has no row", held.turn_id)))
}

fn found(tx: &Tx<'_>, id: &str) -> Result<Approval, Fault> {
    approvals::get(tx, id)?.ok_or_else(|| Fault::Defect(format!("the held call {id} has no row")))
}
