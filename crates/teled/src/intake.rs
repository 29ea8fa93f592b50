//! Updates on their way into the spool, however they came.

use crate::{
    bot::{Bot, CALL},
    telegram::Telegram,
    translate::{Known, Me, translate},
};
use adapter::{Spool, SpoolError};
use frankenstein::updates::Update;
use kit::{Clock, Context, Tasks};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// How far the updates were read, and of which bot: `BOT:NEXT`.
const CURSOR: &str = "cursor";
/// Telegram begins anew with the ids of updates when there was none for a week: then an old cursor is worth nothing.
const CURSOR_KEPT_MS: i64 = 6 * 24 * 60 * 60 * 1_000;
/// Bytes that are kept of an update that is not understood.
const RAW_MAX: usize = 65_536;

/// What takes updates. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    pub(crate) bot: Bot,
    pub(crate) spool: Spool,
    pub(crate) telegram: Arc<Telegram>,
    tasks: Tasks,
    clock: Clock,
    me: Arc<Mutex<Option<Me>>>,
}

impl Intake {
    pub(crate) fn new(context: &Context, bot: Bot, spool: Spool, telegram: Arc<Telegram>) -> Self {
        let (tasks, clock) = (context.tasks.clone(), context.clock.clone());
        Self { bot, spool, telegram, tasks, clock, me: Arc::default() }
    }

    /// Who the bot is, once Telegram said so.
    pub(crate) fn me(&self) -> Option<Me> {
        self.me.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is(&self, me: Me) {
        *self.me.lock().unwrap_or_else(PoisonError::into_inner) = Some(me);
    }

    /// The first update to ask for; nothing for the oldest that Telegram has. What comes twice is known by its id.
    pub(crate) async fn cursor(&self) -> Result<Option<i64>, SpoolError> {
        let (Some(me), Some(mark)) = (self.me(), self.spool.mark(CURSOR).await?) else {
            return Ok(None);
        };
        let age = self.clock.now().0.saturating_sub(mark.set_at.0);
        let parts = mark.value.split_once(':').filter(|(bot, _)| *bot == me.id.to_string());
        Ok(parts.filter(|_| age < CURSOR_KEPT_MS).and_then(|(_, next)| next.parse().ok()))
    }

    /// Takes updates that were asked for. When this answers, they are on disk, and so is how far was read.
    pub(crate) async fn read(&self, updates: &[Value]) -> Result<(), SpoolError> {
        let Some(me) = self.me() else { return Ok(()) };
        let ids = updates.iter().filter_map(|update| update.get("update_id")?.as_i64());
        let next = ids.max().map(|last| (CURSOR, format!("{}:{}", me.id, last + 1)));
        self.take(updates, me, next).await
    }

    /// Takes an update that Telegram brought.
    pub(crate) async fn brought(&self, update: &Value, me: Me) -> Result<(), SpoolError> {
        self.take(std::slice::from_ref(update), me, None).await
    }

    async fn take(
        &self,
        updates: &[Value],
        me: Me,
        mark: Option<(&'static str, String)>,
    ) -> Result<(), SpoolError> {
        let known = Known { me, file_max: self.telegram.download_max() };
        let (mut events, mut callbacks) = (Vec::new(), Vec::new());
        for raw in updates {
            match serde_json::from_value::<Update>(raw.clone()) {
                Ok(update) => {
                    let translated = translate(&update, &known);
                    events.extend(translated.event);
                    callbacks.extend(translated.callback);
                    if let Some((old, new)) = translated.moved {
                        self.telegram.has_moved(old, new).await;
                    }
                }
                Err(error) => self.set_aside(raw, &error).await?,
            }
        }
        self.spool.take(events, mark).await?;
        for id in callbacks {
            self.answer(id);
        }
        Ok(())
    }

    /// Keeps an update that is not understood. Nothing waits for it.
    async fn set_aside(&self, raw: &Value, error: &serde_json::Error) -> Result<(), SpoolError> {
        let id = raw.get("update_id").and_then(Value::as_i64).unwrap_or_default();
        let kinds = raw.as_object().into_iter().flat_map(|fields| fields.keys());
        let kind = kinds.filter(|name| *name != "update_id").cloned().collect::<Vec<_>>().join(" ");
        let why = format!("line {} column {}", error.line(), error.column());
        tracing::error!(update = id, kind, why, "an update is not understood, and set aside");
        let mut text = raw.to_string();
        text.truncate(text.floor_char_boundary(RAW_MAX));
        self.spool.set_aside(format!("u{id}"), text, error.to_string(), None).await
    }

    /// Ends the waiting of whoever pressed a button. It changes nothing, so nobody waits for it here.
    fn answer(&self, id: String) {
        let bot = self.bot.clone();
        self.tasks.spawn("teled.answer", async move {
            let request = json!({ "callback_query_id": id });
            if let Err(error) = bot.call("answerCallbackQuery", &request, CALL).await {
                tracing::warn!(%error, "a button that was pressed goes on waiting");
            }
        });
    }
}
