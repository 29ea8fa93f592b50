//! The loop that tells routd where this adapter is, again and again: the heartbeat.

use crate::{Profile, deliver_loop::Busy, routd::Routd};
use kit::Context;
use proto::routd::RegisterChannel;
use std::time::Duration;
use tokio::sync::watch;

/// The heartbeat. routd asks about sends in doubt at the next one, so it is well below a minute.
const BEAT: Duration = Duration::from_secs(20);
/// The waits after a registration that failed, from the first to the longest.
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The capability of answering a repeat of a key alike.
const REMEMBERS: &str = "idempotency";

/// Runs until the daemon stops; registers while `online` says so.
pub(crate) async fn run(
    context: Context,
    routd: Routd,
    profile: Profile,
    busy: Busy,
    mut online: watch::Receiver<bool>,
) {
    let capabilities = profile.capabilities.iter().chain([&REMEMBERS]);
    let channel = RegisterChannel {
        name: profile.name.into(),
        url: context.peers.get(context.daemon).url().to_owned(),
        jid_prefixes: profile.prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        capabilities: capabilities.map(|word| (*word).to_owned()).collect(),
    };
    let mut wait = WAIT_MIN;
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            // An error would mean that the adapter is gone.
            known = online.wait_for(|online| *online) => if known.is_err() { return },
        }
        let sleep = match routd.register(&channel).await {
            Ok(_) => {
                if wait > WAIT_MIN {
                    tracing::info!("routd knows this adapter");
                    busy.hurry();
                }
                wait = WAIT_MIN;
                context.health.degraded("registration", None);
                BEAT
            }
            Err(error) => {
                let why = kit::chain(&error);
                tracing::warn!(why, "routd does not know where this adapter is");
                context.health.degraded("registration", Some(why));
                let now = wait;
                wait = (wait * 2).min(WAIT_MAX);
                now
            }
        };
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(sleep) => {}
        }
    }
}
