//! The Slack adapter: what people write in Slack reaches an agent, and what the agent says reaches Slack.
//!
//! # The design
//!
//! 1. What every adapter does is `adapter`'s: the spool, the outbound server, registration. Here is what is Slack's own.
//! 2. **In.** Slack posts events to `/slack/events`, commands and interactions beside it, or sends them through a socket
//!    (Socket Mode) where there is an app's token. `event` says what one means, `inbound` puts it into the spool, and
//!    then Slack is told that it arrived: within the three seconds that it waits, whether routd is there or not.
//! 3. **Out.** `platform` makes calls of the Web API of what routd asks for. Each message carries its key as metadata, so
//!    that one whose answer was lost is looked for in the conversation before anything is sent again (`reconcile`).
//! 4. **Answers are read field by field**, and so are events. Typed models of Slack's objects lose a message's text when
//!    one of its blocks is of a kind that they do not know, and take a message that is out for a failure when its answer
//!    grew: so none is used.
//! 5. **Pauses** that Slack asks for are kept for each method: no call of it is made before its time.
//!
//! # What always holds
//!
//! - Nothing is believed that is not signed under a signing secret that is accepted, within five minutes.
//! - A token goes to Slack's own servers, or to the one that the operator set, and is in no log.
//! - A message is posted again only where the conversation shows that it is not there.
//! - Our own messages, and those of other apps, are not heard: two agents never talk to each other.

mod account_loop;
mod api;
mod chat;
mod credentials;
mod emoji;
mod event;
mod figures;
mod files;
mod history;
mod http;
mod inbound;
mod mrkdwn;
mod names;
mod platform;
mod reconcile;
mod refusal;
mod settings;
mod signature;
mod socket;
mod socket_loop;
mod text;

pub use adapter::SCHEMA;
pub use http::ROUTES;
pub use settings::SETTINGS;

use adapter::{Adapter, Routd, Spool};
use kit::{Context, StartError};
use secrets::AnyBundle;
use std::{sync::Arc, time::Duration};

/// To connect to Slack.
const CONNECT: Duration = Duration::from_secs(10);

/// The secrets that slakd needs, besides its service key.
pub const BUNDLES: &[&dyn AnyBundle] =
    &[&credentials::CHANNEL_SECRET, &credentials::BOT, &credentials::APP, &credentials::SIGNING];

/// Starts slakd: answers with what it serves. Without a bot's token it is ready, and waits for one.
///
/// # Errors
/// A setting does not parse, `CHANNEL_SECRET` is nowhere, or the spool cannot be opened.
pub async fn start(context: Context) -> Result<axum::Router, StartError> {
    let url = context.settings.get(&settings::SLACK_API_URL)?;
    let prompts = context.settings.get(&settings::SLACK_PROMPTS)?;
    let bot = context.secrets.watch_optional(&credentials::BOT).await?;
    let app_token = context.secrets.watch_optional(&credentials::APP).await?;
    let signing = context.secrets.watch_optional(&credentials::SIGNING).await?;
    let routd = Routd::of(&context, &credentials::CHANNEL_SECRET).await?;
    let spool = Spool::open(&context).await?;
    let agent = concat!("arizuko/", env!("CARGO_PKG_VERSION"));
    let client = kit::client_builder().connect_timeout(CONNECT).user_agent(agent).build();
    let client = client.map_err(|error| {
        StartError::Other("the client for Slack could not be made".into(), Some(error.into()))
    })?;
    let web = api::Api::new(client, url, bot);
    let names = names::Names::new(web.clone());
    let figures = figures::Figures::register(&context.metrics);
    let platform =
        platform::Slack { api: web.clone(), names: names.clone(), clock: context.clock.clone() };
    let mut served = kit::Api::new(&context);
    let adapter = Adapter::start(&context, &mut served, spool.clone(), routd, Arc::new(platform));
    let inbound = Arc::new(inbound::Inbound {
        spool,
        names,
        api: web.clone(),
        prompts,
        figures: figures.clone(),
        tasks: context.tasks.clone(),
    });
    let (clock, shared) = (context.clock.clone(), inbound.clone());
    http::mount(&mut served, &Arc::new(http::App { inbound: shared, signing, clock, figures }));
    let (probing, probed) = (context.clone(), web.clone());
    context.tasks.supervise("slakd.account", move || {
        account_loop::run(probing.clone(), probed.clone(), adapter.clone())
    });
    let listening = context.clone();
    context.tasks.supervise("slakd.sockets", move || {
        socket_loop::run(listening.clone(), web.clone(), app_token.clone(), inbound.clone())
    });
    Ok(served.into_router())
}
