//! The Telegram adapter.
//!
//! # The design
//!
//! 1. What every adapter does is [`adapter`]'s; here is Telegram. An update becomes an event (`translate.rs`) and is on
//!    disk before Telegram is told that it arrived: by the next long poll, whose offset is behind it, or by the answer
//!    to the webhook. Telegram keeps updates for 24 hours, so that nothing is lost while teled is away, or while its
//!    token is being replaced, for that long.
//! 2. What an agent says is Markdown, cut into messages of at most 4,096 UTF-16 units, and sent as HTML. Markup that
//!    Telegram does not read goes as plain text, message by message.
//! 3. The Bot API takes no key under which a repeat would be known. So a message whose answer is lost is ambiguous,
//!    and never sent again by itself.
//! 4. The token is in every address of the Bot API. It is asked for at the moment of use, and in no log and no error.
//!
//! # What always holds
//!
//! - Without `TELEGRAM_BOT_TOKEN` teled is ready and idle; it begins when the token appears.
//! - A token that is refused is looked for again, and the same call made with the new one; a message waits for a good
//!   one.
//! - An update that is not understood is set aside, and the next ones go on.
//! - The webhook takes nothing from anybody who does not show `TELEGRAM_WEBHOOK_SECRET`, the one before it included
//!   until its overlap ends.

mod address;
mod answer;
mod bot;
mod credentials;
mod entities;
mod html;
mod intake;
mod piece;
mod poll_loop;
mod settings;
mod telegram;
mod translate;
mod webhook;

pub use adapter::SCHEMA;
pub use credentials::{BOT_TOKEN, BotToken, CHANNEL_SECRET, WEBHOOK_SECRET, WebhookSecret};
pub use settings::{SETTINGS, TELEGRAM_API_URL, TELEGRAM_WEBHOOK_URL};
pub use webhook::ROUTES;

use adapter::{Adapter, Routd, Spool};
use axum::Router;
use bot::Bot;
use intake::Intake;
use kit::{Api, Context, StartError};
use poll_loop::Polling;
use secrets::AnyBundle;
use std::sync::Arc;
use telegram::Telegram;
use webhook::Webhook;

/// The secrets that teled needs, besides its service key.
pub const BUNDLES: &[&dyn AnyBundle] = &[&CHANNEL_SECRET, &BOT_TOKEN, &WEBHOOK_SECRET];

/// Starts teled: answers with what it serves.
///
/// # Errors
/// A setting does not parse, the spool cannot be had, or `CHANNEL_SECRET` is nowhere.
pub async fn start(context: Context) -> Result<Router, StartError> {
    let url = context.settings.get(&TELEGRAM_API_URL)?;
    let webhook_url = context.settings.get(&TELEGRAM_WEBHOOK_URL)?;
    let spool = Spool::open(&context).await?;
    let routd = Routd::of(&context, &CHANNEL_SECRET).await?;
    let token = context.secrets.watch_optional(&BOT_TOKEN).await?;
    let webhook_secret = context.secrets.watch_optional(&WEBHOOK_SECRET).await?;
    let is_cloud = url == settings::CLOUD;
    let bot = Bot::new(kit::http_client()?, url, token);
    let telegram = Telegram::new(bot.clone(), spool.clone(), is_cloud).await.map_err(|error| {
        StartError::Other("what teled remembers cannot be read".into(), Some(error.into()))
    })?;
    let telegram = Arc::new(telegram);
    let mut api = Api::new(&context);
    let adapter = Adapter::start(&context, &mut api, spool.clone(), routd, telegram.clone());
    let intake = Intake::new(&context, bot, spool, telegram);
    let (is_wanted, secret) = (webhook_url.is_some(), webhook_secret.clone());
    webhook::mount(&mut api, Webhook { intake: intake.clone(), secret, is_wanted });
    let polling =
        Polling { context: context.clone(), intake, adapter, webhook_url, webhook_secret };
    context.tasks.supervise("teled.poll", move || polling.clone().run());
    Ok(api.into_router())
}
