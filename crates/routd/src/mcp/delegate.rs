//! `delegate`: a task for another folder's agent.

use super::{
    arguments::{Arguments, check_content},
    tool::{Answer, Change, Tool},
};
use crate::{fault::Fault, hand_on, record::record};
use proto::Folder;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

pub(super) fn tools() -> Vec<Tool> {
    let about = "Give a task to another folder's agent. It works on it in a turn of its own; its result comes as a \
         message in this chat, in a later turn of yours. Write down all that it must know: it sees nothing else.";
    vec![Tool::changes("delegate", about, delegate)]
}

/// Arguments of `delegate`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Delegate {
    /// The folder, such as `team/name`.
    folder: Folder,
    /// What is to be done, as Markdown.
    task: String,
}

impl Arguments for Delegate {
    fn check(&self) -> Result<(), Fault> {
        check_content(&self.task)
    }
}

fn delegate(change: &Change<'_>, Delegate { folder, task }: Delegate) -> Result<Answer, Fault> {
    change.require(&folder)?;
    let (tx, turn, now) = (change.tx, change.turn, change.now);
    let id = hand_on::give(tx, &change.progress.wake, turn, &folder, &task, now)?;
    record(tx, now, &change.actor(), "delegate", folder.as_str(), &id)?;
    let text = format!("{folder} has the task {id}; its result comes as a message in this chat");
    Ok(Answer { text, structured: Some(json!({ "id": id })) })
}
