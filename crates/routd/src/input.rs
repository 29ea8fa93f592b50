//! What an agent is asked: the turn's messages, and what it should know to answer them.

use crate::{
    attachment,
    fault::Fault,
    ids,
    prompt::{self, Line, Material},
    settings::FileLimits,
    store::{context, groups, messages, tools, turns::Turn},
};
use proto::{
    Timestamp, Topic,
    turn::{Harness, InputMessage, TurnFile, TurnInput},
};
use rusqlite::Connection;

/// Earlier messages that a harness without a session is shown.
const EARLIER_MAX: u32 = 20;

/// Files of one turn's messages that an agent is given.
const FILES_MAX: usize = 32;
/// Where they are, in its home.
const INBOX: &str = "inbox";

/// What holds for every folder that says nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    /// What runs its turns.
    pub(crate) harness: Harness,
    /// What its agent is called.
    pub(crate) assistant: String,
    /// The model that it calls.
    pub(crate) model: String,
    /// What files may take.
    pub(crate) files: FileLimits,
}

/// Puts together what the agent of this attempt is asked.
pub(crate) fn compose(
    conn: &Connection,
    turn: &Turn,
    defaults: Defaults,
    deadline: Timestamp,
    now: Timestamp,
) -> Result<TurnInput, Fault> {
    let settings = groups::settings(conn, &turn.folder)?;
    let harness = settings.harness.unwrap_or(defaults.harness);
    let asked = messages::of_turn(conn, &turn.id)?;
    let first = asked.first().map_or(i64::MAX, |message| message.seq);
    let session = context::session(conn, &turn.folder, &turn.topic, harness.name())?;
    let lines =
        |messages: Vec<messages::Message>| messages.into_iter().map(Line::from).collect::<Vec<_>>();
    let earlier = lines(earlier(conn, turn, first)?);
    let mut observed = lines(context::observed(conn, &turn.folder, first)?);
    let memory = tools::memory(conn, &turn.folder)?;
    let input: Vec<_> = asked.iter().map(InputMessage::from).collect();
    let mut asked = lines(asked);
    let mut files = offer(&mut asked, &[])?;
    files.extend(offer(&mut observed, &files)?);
    let without = Material {
        now,
        assistant: &defaults.assistant,
        folder: turn.folder.as_str(),
        topic: turn.topic.as_str(),
        chat_jid: turn.chat_jid.as_str(),
        attempt: turn.standing.attempt,
        memory: memory.as_deref(),
        earlier: &[],
        observed: &observed,
        messages: &asked,
    };
    let whole = prompt::compose(&Material { earlier: &earlier, ..without.clone() });
    // A harness with a session remembers what was said before, unless the session is lost.
    let (prompt, prompt_anew) = match session {
        Some(_) => (prompt::compose(&without), Some(whole)),
        None => (whole, None),
    };
    Ok(TurnInput {
        turn_id: ids::opaque(&turn.id)?,
        attempt: turn.standing.attempt,
        folder: turn.folder.clone(),
        topic: turn.topic.clone(),
        chat_jid: turn.chat_jid.clone(),
        harness,
        command: settings.command,
        prompt,
        messages: input,
        session,
        prompt_anew,
        model: settings.model.unwrap_or(defaults.model),
        persona: groups::persona(conn, &turn.folder)?,
        deadline,
        time_left_ms: Some(u64::try_from(deadline.0.saturating_sub(now.0)).unwrap_or(0)),
        files,
        file_max_bytes: defaults.files.each,
        files_max_bytes: defaults.files.of_inbox(),
    })
}

/// Gives the files of these messages their places in the home, the newest first, as long as there are not too many with
/// `before`.
pub(crate) fn offer(lines: &mut [Line], before: &[TurnFile]) -> Result<Vec<TurnFile>, Fault> {
    let mut offered = Vec::new();
    let files = lines.iter_mut().rev().flat_map(|line| &mut line.attachments);
    for file in files.take(FILES_MAX.saturating_sub(before.len())) {
        let Some(id) = &file.id else { continue };
        let path = format!("{INBOX}/{id}-{}", attachment::safe_name(&file.name));
        file.path = Some(path.clone());
        offered.push(TurnFile { id: ids::opaque(id)?, path, size: file.size });
    }
    Ok(offered)
}

impl From<&messages::Message> for InputMessage {
    fn from(message: &messages::Message) -> Self {
        Self {
            id: message.id.clone(),
            sender: message.sender.clone(),
            sender_name: message.sender_name.clone(),
            content: message.content.clone(),
            sent_at: message.sent_at,
        }
    }
}

/// What was said in this chat and topic before, for a harness that does not remember it.
fn earlier(conn: &Connection, turn: &Turn, before: i64) -> Result<Vec<messages::Message>, Fault> {
    let same = |topic: &Topic| *topic == turn.topic;
    let mut all = messages::recent(conn, &turn.chat_jid, &turn.folder, before, EARLIER_MAX)?;
    all.retain(|message| same(&message.topic) && message.disposition != "observed");
    Ok(all)
}
