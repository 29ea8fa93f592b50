//! The loop that keeps a socket of Slack's open while there is an app's token (Socket Mode).
//!
//! A socket is replaced before it ends: when Slack says that it ends soon, and when the token changes. The new one is
//! open before the old one is closed, so that there is always one to send an event through.

use crate::{
    api::Api,
    credentials::Token,
    inbound::Inbound,
    socket::{self, Change, Socket},
};
use kit::Context;
use secrets::Watched;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// The waits after a socket that could not be opened, from the first to the longest.
const WAIT_MIN: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The part of the health that this is.
const PART: &str = "slack socket";

/// Runs until the daemon stops.
pub(crate) async fn run(
    context: Context,
    api: Api,
    mut token: Watched<Option<Token>>,
    inbound: Arc<Inbound>,
) {
    let mut open: Option<Socket> = None;
    let mut wait = WAIT_MIN;
    while !context.stop.is_cancelled() {
        if token.current().is_none() {
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = token.changed() => continue,
            }
        }
        match socket::open(&api, &token, &inbound, &context.stop).await {
            Ok(socket) => {
                wait = WAIT_MIN;
                context.health.degraded(PART, None);
                // The one before it ends as it is dropped.
                drop(open.replace(socket));
            }
            Err(why) => {
                tracing::warn!(why, "no socket of Slack's is opened");
                context.health.degraded(PART, Some(why));
                tokio::select! {
                    () = context.stop.cancelled() => return,
                    () = token.changed() => wait = WAIT_MIN,
                    () = sleep(wait) => wait = (wait * 2).min(WAIT_MAX),
                }
                continue;
            }
        }
        let Some(socket) = &mut open else { continue };
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = token.changed() => {}
            change = socket.changes.recv() => {
                if matches!(change, Some(Change::Ended) | None) {
                    drop(open.take());
                }
            }
        }
    }
}
