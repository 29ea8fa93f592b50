//! The loop that knows whether Slack takes the bot's token, and says so.

use crate::{api::Api, credentials::Token};
use adapter::Adapter;
use kit::Context;
use secrets::Watched;
use std::time::Duration;
use tokio::time::sleep;

/// How often a token that is good is tried.
const PROBE: Duration = Duration::from_secs(300);
/// The waits after a failure, from the first to the longest.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The part of the health that this is.
const PART: &str = "slack";

/// Runs until the daemon stops. Has the adapter register once a token is good for the first time.
pub(crate) async fn run(context: Context, api: Api, adapter: Adapter) {
    let mut token = api.bot().clone();
    let (mut wait, mut was_good) = (WAIT_MIN, false);
    while !context.stop.is_cancelled() {
        if token.current().is_none() {
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = idle(&context, &mut token) => {}
            }
        }
        let pause = match api.call("auth.test", &Vec::new()).await {
            Ok(answer) => {
                if !was_good {
                    let team = answer["team"].as_str().unwrap_or_default();
                    let user = answer["user"].as_str().unwrap_or_default();
                    tracing::info!(team, user, "Slack takes the bot's token");
                }
                (was_good, wait) = (true, WAIT_MIN);
                adapter.online();
                context.health.degraded(PART, None);
                PROBE
            }
            Err(error) => {
                was_good = false;
                tracing::warn!(%error, "Slack cannot be used");
                context.health.degraded(PART, Some(error.to_string()));
                let now = wait;
                wait = (wait * 2).min(WAIT_MAX);
                now
            }
        };
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = token.changed() => wait = WAIT_MIN,
            () = sleep(pause) => {}
        }
    }
}

/// Waits for a token. To be idle is no trouble, and slakd is ready for it.
async fn idle(context: &Context, token: &mut Watched<Option<Token>>) {
    context.health.ready().await;
    let idle = context.health.needs("SLACK_BOT_TOKEN");
    tracing::info!("waiting for SLACK_BOT_TOKEN");
    while token.current().is_none() {
        token.changed().await;
    }
    idle.met();
}
