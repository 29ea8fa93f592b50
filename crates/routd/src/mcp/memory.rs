//! What a folder remembers from turn to turn: `get_memory`, `set_memory`.

use super::{
    arguments::Arguments,
    tool::{Answer, Change, Look, Tool},
};
use crate::{fault::Fault, record::record, store::tools as rows};
use schemars::JsonSchema;
use serde::Deserialize;

/// Bytes of a folder's memory.
const MEMORY_MAX: usize = 64 * 1024;

pub(super) fn tools() -> Vec<Tool> {
    vec![
        Tool::reads("get_memory", "The text that this folder remembers from turn to turn.", get),
        Tool::changes(
            "set_memory",
            "Replace the text that this folder remembers. Read it first: what is left out is forgotten.",
            set,
        )
        .hint(|hints| hints.destructive(true).idempotent(true)),
    ]
}

/// Arguments of `get_memory`: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetMemory {}

impl Arguments for GetMemory {}

/// Arguments of `set_memory`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SetMemory {
    /// The whole text that replaces the memory; at most 64 KiB.
    content: String,
}

impl Arguments for SetMemory {
    fn check(&self) -> Result<(), Fault> {
        if self.content.len() > MEMORY_MAX {
            let text = format!("a memory has at most {MEMORY_MAX} bytes; keep what matters");
            return Err(Fault::Invalid(text));
        }
        Ok(())
    }
}

fn get(look: &Look<'_>, GetMemory {}: GetMemory) -> Result<Answer, Fault> {
    look.require_own()?;
    Ok(Answer::line(rows::memory(look.conn, &look.turn.folder)?.unwrap_or_default()))
}

fn set(change: &Change<'_>, SetMemory { content }: SetMemory) -> Result<Answer, Fault> {
    change.require_own()?;
    let folder = &change.turn.folder;
    rows::remember(change.tx, folder, &content, change.now)?;
    let detail = format!("{} bytes", content.len());
    record(change.tx, change.now, &change.actor(), "memory.set", folder.as_str(), &detail)?;
    Ok(Answer::line(format!("remembered {detail}")))
}
