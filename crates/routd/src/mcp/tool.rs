//! What a tool is: its name, what it is for, what it takes, whether it changes something, the action that it needs,
//! and what it does.
//!
//! A group of tools is one file with a `tools()`, named in [`super::registry`]. What a tool does is one of three:
//!
//! - it *reads*: in one read transaction;
//! - it *changes*: in one write transaction, together with the record of its answer, so that the same call made again
//!   is answered alike and done once;
//! - it goes *outside*: it waits for somebody else, and writes its own transactions.

use super::arguments::Arguments;
use crate::{
    app::App, attempt::Attempt, fault::Fault, progress::Progress, rights::Rights,
    store::turns::Turn,
};
use db::Tx;
use futures::{FutureExt, future::BoxFuture};
use proto::{Folder, Timestamp};
use rmcp::model::{JsonObject, Tool as Shown, ToolAnnotations};
use rusqlite::Connection;
use serde_json::Value;
use std::{ops::Deref, sync::Arc};

/// What a tool answers.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) structured: Option<Value>,
}

impl Answer {
    /// One line.
    pub(super) fn line(text: impl Into<String>) -> Self {
        Self { text: text.into(), structured: None }
    }

    /// A value, which is its own text.
    pub(super) fn value(value: Value) -> Self {
        Self { text: value.to_string(), structured: Some(value) }
    }
}

/// A tool.
pub(super) struct Tool {
    pub(super) name: &'static str,
    about: &'static str,
    annotations: ToolAnnotations,
    schema: JsonObject,
    /// What its caller must be allowed to do.
    pub(super) action: String,
    /// Whether a call can be made after its turn has ended, so that it can wait for a person's approval.
    pub(super) may_wait: bool,
    /// Whether it looks for words, which must be indexed for it.
    pub(super) needs_words: bool,
    pub(super) does: Does,
}

/// A read or a change whose arguments were taken.
pub(super) type Reading = Box<dyn FnOnce(&Look<'_>) -> Result<Answer, Fault> + Send>;
pub(super) type Changing = Box<dyn FnOnce(&Change<'_>) -> Result<Answer, Fault> + Send>;
type Takes<T> = Box<dyn Fn(JsonObject) -> Result<T, Fault> + Send + Sync>;
type Going =
    Box<dyn Fn(Call, JsonObject) -> BoxFuture<'static, Result<Answer, Fault>> + Send + Sync>;

/// What a tool does.
pub(super) enum Does {
    Reads(Takes<Reading>),
    Changes(Takes<Changing>),
    Outside(Going),
}

/// What a tool sees of one consistent state: the turn that calls, and what its folder may.
pub(super) struct Look<'a> {
    pub(super) conn: &'a Connection,
    pub(super) turn: &'a Turn,
    pub(super) rights: &'a Rights,
    pub(super) now: Timestamp,
    /// The action of the tool that is called.
    pub(super) action: &'a str,
}

impl Look<'_> {
    /// Refuses the call where the caller may not do this to that folder.
    pub(super) fn require(&self, folder: &Folder) -> Result<(), Fault> {
        self.rights.require(self.action, folder)
    }

    /// Refuses the call where the caller may not do this to its own folder.
    pub(super) fn require_own(&self) -> Result<(), Fault> {
        self.require(&self.turn.folder)
    }

    /// Who calls, as audit rows name it.
    pub(super) fn actor(&self) -> String {
        format!("folder:{}", self.turn.folder)
    }
}

/// What a tool that changes something has: all that a look has, and the transaction.
pub(super) struct Change<'a> {
    pub(super) look: Look<'a>,
    pub(super) tx: &'a Tx<'a>,
    pub(super) progress: &'a Progress,
}

impl<'a> Deref for Change<'a> {
    type Target = Look<'a>;
    fn deref(&self) -> &Look<'a> {
        &self.look
    }
}

/// One call of a tool.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) app: Arc<App>,
    pub(super) attempt: Attempt,
    pub(super) tool: &'static str,
    pub(super) action: String,
    /// A hash of its arguments.
    pub(super) arguments: String,
    /// The caller's own key for it.
    pub(super) key: Option<String>,
}

impl Tool {
    /// A tool that reads.
    pub(super) fn reads<A: Arguments>(
        name: &'static str,
        about: &'static str,
        run: fn(&Look<'_>, A) -> Result<Answer, Fault>,
    ) -> Self {
        let takes = move |given| {
            let taken = A::take(name, given)?;
            Ok::<Reading, Fault>(Box::new(move |look: &Look<'_>| run(look, taken)))
        };
        Self::new::<A>(name, about, Does::Reads(Box::new(takes)))
            .hint(|hints| hints.read_only(true))
    }

    /// A tool that changes something.
    pub(super) fn changes<A: Arguments>(
        name: &'static str,
        about: &'static str,
        run: fn(&Change<'_>, A) -> Result<Answer, Fault>,
    ) -> Self {
        let takes = move |given| {
            let taken = A::take(name, given)?;
            Ok::<Changing, Fault>(Box::new(move |change: &Change<'_>| run(change, taken)))
        };
        Self::new::<A>(name, about, Does::Changes(Box::new(takes)))
            .hint(|hints| hints.destructive(false))
    }

    /// A tool that waits for somebody else.
    pub(super) fn outside<A, F>(
        name: &'static str,
        about: &'static str,
        run: fn(Call, A) -> F,
    ) -> Self
    where
        A: Arguments,
        F: Future<Output = Result<Answer, Fault>> + Send + 'static,
    {
        let goes = move |call, given| match A::take(name, given) {
            Ok(taken) => run(call, taken).boxed(),
            Err(fault) => futures::future::ready(Err(fault)).boxed(),
        };
        Self::new::<A>(name, about, Does::Outside(Box::new(goes)))
            .hint(|hints| hints.open_world(true))
    }

    fn new<A: Arguments>(name: &'static str, about: &'static str, does: Does) -> Self {
        let schema = schemars::schema_for!(A).to_value();
        let schema = schema.as_object().cloned().unwrap_or_default();
        let annotations = ToolAnnotations::new();
        let action = format!("mcp:{name}");
        Self { name, about, annotations, schema, action, may_wait: true, needs_words: false, does }
    }

    /// It needs what only the turn itself has.
    pub(super) fn while_the_turn_lasts(self) -> Self {
        Self { may_wait: false, ..self }
    }

    /// It looks for words in messages.
    pub(super) fn that_needs_words(self) -> Self {
        Self { needs_words: true, ..self }
    }

    /// Says more about it to whoever reads the list of tools.
    pub(super) fn hint(mut self, hint: impl FnOnce(ToolAnnotations) -> ToolAnnotations) -> Self {
        self.annotations = hint(self.annotations);
        self
    }

    /// As an agent sees it.
    pub(super) fn shown(&self) -> Shown {
        Shown::new(self.name, self.about, self.schema.clone())
            .with_annotations(self.annotations.clone())
    }
}
