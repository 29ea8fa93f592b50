//! Showing in a chat that the agent is at work, for as long as it is. Nothing depends on it: what fails is not tried
//! again, and nobody is told but the debug log.

use crate::{
    adapters,
    app::App,
    store::{channels, turns, turns::Turn},
    turn::State,
};
use kit::CallOptions;
use proto::routd::{TYPING, Typing};
use std::{sync::Arc, time::Duration};

/// What an adapter that can show it says of itself.
const CAPABILITY: &str = "typing";
/// Platforms show it for five seconds or a little more.
const AGAIN: Duration = Duration::from_secs(4);
/// Later than this it would not be true any more.
const CALL: Duration = Duration::from_secs(3);

/// Shows it while the attempt whose socket has this number is in progress. Never ends by itself: whoever drives the
/// attempt drops it.
pub(crate) async fn show(app: &Arc<App>, turn_id: &str, number: i64) {
    loop {
        let id = turn_id.to_owned();
        match app.db.read(move |conn| turns::get(conn, &id)).await {
            Ok(Some(turn)) if is_at_work(&turn, number) => tell(app, &turn).await,
            Ok(_) => return std::future::pending().await,
            Err(error) => tracing::debug!(turn_id, %error, "it is not shown that an agent works"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether the attempt is in progress, in a chat that an adapter serves.
fn is_at_work(turn: &Turn, number: i64) -> bool {
    turn.endpoint == Some(number)
        && !matches!(turn.standing.state, State::Ended(_))
        && !turn.chat_jid.is_shown_here()
}

async fn tell(app: &Arc<App>, turn: &Turn) {
    let chat = turn.chat_jid.clone();
    let found = app.db.read(move |conn| channels::of_chat(conn, &chat)).await;
    let channel = found.ok().flatten().filter(|one| one.can(CAPABILITY)).map(|one| one.channel);
    let daemon = adapters::of_platform(turn.chat_jid.platform());
    let (Some(channel), Some(daemon)) = (channel, daemon) else { return };
    let thread_id = Some(turn.thread.to_string()).filter(|thread| !thread.is_empty());
    let typing = Typing { chat_jid: turn.chat_jid.clone(), thread_id };
    let mut options = CallOptions::default();
    options.timeout = Some(CALL);
    let adapter = app.context.peers.at(daemon, channel.url);
    if let Err(error) = adapter.send(&TYPING, &typing, options).await {
        tracing::debug!(turn = turn.id, %error, "it is not shown that an agent works");
    }
}
