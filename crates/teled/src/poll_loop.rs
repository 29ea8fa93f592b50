//! The loop that asks Telegram for updates, or tells it where to bring them.

use crate::{
    answer::ApiError,
    bot::{Bot, CALL},
    credentials::WebhookSecret,
    intake::Intake,
    translate::{KINDS, Me},
};
use adapter::Adapter;
use kit::Context;
use secrets::Watched;
use serde_json::{Value, json};
use std::time::Duration;

/// How long Telegram waits for an update before it answers that there is none, in seconds.
const WAIT_SECONDS: u64 = 25;
/// How long such a call may take.
const POLL: Duration = Duration::from_secs(WAIT_SECONDS + 15);
/// The waits after a failure, from the first to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// How often Telegram is told where the webhook is, in case it forgot.
const REMIND: Duration = Duration::from_secs(10 * 60);

/// Part of the daemon's health.
const HEALTH: &str = "telegram";

/// What the loop needs.
#[derive(Clone)]
pub(crate) struct Polling {
    pub(crate) context: Context,
    pub(crate) intake: Intake,
    pub(crate) adapter: Adapter,
    /// Where Telegram is to bring updates, if it is to.
    pub(crate) webhook_url: Option<String>,
    pub(crate) webhook_secret: Watched<Option<WebhookSecret>>,
}

/// Why the loop begins anew.
enum Trouble {
    /// Telegram, or the way there.
    Api(ApiError),
    /// Something here.
    Own(String),
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl Polling {
    /// Runs until the daemon stops.
    pub(crate) async fn run(self) {
        let stop = self.context.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.forever() => {}
        }
    }

    async fn forever(&self) {
        let bot = &self.intake.bot;
        let mut pause = PAUSE_MIN;
        loop {
            if !bot.has_token() {
                // To be idle is no trouble, and teled is ready for it.
                self.context.health.ready().await;
                let idle = self.context.health.needs("TELEGRAM_BOT_TOKEN");
                tracing::info!("waiting for TELEGRAM_BOT_TOKEN");
                bot.token_there().await;
                idle.met();
            }
            let mut token = bot.token_watch();
            let seen = token.generation();
            let trouble = match self.work(&mut pause).await {
                Ok(()) => continue,
                Err(trouble) => trouble,
            };
            let (why, wait) = match trouble {
                Trouble::Own(why) => (why, pause),
                Trouble::Api(ApiError::RateLimited(wait)) => {
                    ("it wants to be asked later".into(), wait)
                }
                Trouble::Api(error) => (error.to_string(), pause),
            };
            pause = (pause * 2).min(PAUSE_MAX);
            tracing::warn!(why, "no updates for the moment");
            self.health(Some(why));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // A new token need not wait.
                () = token.reached(seen + 1) => pause = PAUSE_MIN,
            }
        }
    }

    /// Learns who the bot is, and gets updates until something is another way than it was.
    async fn work(&self, pause: &mut Duration) -> Result<(), Trouble> {
        let bot = &self.intake.bot;
        let seen = bot.token_watch().generation();
        self.intake.is(who(bot).await?);
        self.adapter.online();
        match &self.webhook_url {
            Some(url) => self.be_called(url, seen, pause).await,
            None => self.ask(seen, pause).await,
        }
    }

    /// Asks for updates, until the token is another.
    async fn ask(&self, seen: u64, pause: &mut Duration) -> Result<(), Trouble> {
        let bot = &self.intake.bot;
        // A webhook that was set once would get them.
        bot.call("deleteWebhook", &json!({ "drop_pending_updates": false }), CALL).await?;
        let own = |error: &dyn std::error::Error| Trouble::Own(kit::chain(error));
        while bot.token_watch().generation() == seen {
            let cursor = self.intake.cursor().await.map_err(|error| own(&error))?;
            let mut request = json!({ "timeout": WAIT_SECONDS, "allowed_updates": KINDS });
            if let (Some(cursor), Some(fields)) = (cursor, request.as_object_mut()) {
                fields.insert("offset".into(), cursor.into());
            }
            let updates = bot.call("getUpdates", &request, POLL).await?;
            let updates = updates.as_array().map(Vec::as_slice).unwrap_or_default();
            // Telegram forgets them with the next call, which has the new cursor.
            self.intake.read(updates).await.map_err(|error| own(&error))?;
            *pause = PAUSE_MIN;
            self.health(None);
        }
        Ok(())
    }

    /// Has Telegram bring updates, and tells it again when a secret is another.
    async fn be_called(&self, url: &str, seen: u64, pause: &mut Duration) -> Result<(), Trouble> {
        let bot = &self.intake.bot;
        let mut secret = self.webhook_secret.clone();
        let mut token = bot.token_watch();
        loop {
            let generation = secret.generation();
            let current = secret.current();
            let shown = current
                .as_ref()
                .as_ref()
                .and_then(|secret| std::str::from_utf8(secret.expose()).ok());
            let Some(shown) = shown else {
                let why =
                    "TELEGRAM_WEBHOOK_URL is set, and TELEGRAM_WEBHOOK_SECRET is not".to_owned();
                self.health(Some(why));
                secret.reached(generation + 1).await;
                continue;
            };
            let request = json!({
                "url": url,
                "secret_token": shown,
                "allowed_updates": KINDS,
                "drop_pending_updates": false,
            });
            bot.call("setWebhook", &request, CALL).await?;
            *pause = PAUSE_MIN;
            self.health(self.undelivered().await?);
            tokio::select! {
                () = secret.reached(generation + 1) => {}
                () = token.reached(seen + 1) => return Ok(()),
                () = tokio::time::sleep(REMIND) => {}
            }
        }
    }

    /// What Telegram says of its last attempts to bring updates.
    async fn undelivered(&self) -> Result<Option<String>, ApiError> {
        let info = self.intake.bot.call("getWebhookInfo", &json!({}), CALL).await?;
        let said = info.get("last_error_message").and_then(Value::as_str);
        let waiting = info.get("pending_update_count").and_then(Value::as_u64).unwrap_or(0);
        let said = said.filter(|_| waiting > 0);
        Ok(said.map(|said| format!("{waiting} updates wait at Telegram, which says: {said}")))
    }

    fn health(&self, trouble: Option<String>) {
        self.context.health.degraded(HEALTH, trouble);
    }
}

async fn who(bot: &Bot) -> Result<Me, Trouble> {
    let me = bot.call("getMe", &json!({}), CALL).await?;
    let id = me.get("id").and_then(Value::as_u64);
    let username = me.get("username").and_then(Value::as_str).unwrap_or_default();
    let id = id.ok_or_else(|| Trouble::Own("Telegram does not say who the bot is".into()))?;
    Ok(Me { id, username: username.to_owned() })
}
