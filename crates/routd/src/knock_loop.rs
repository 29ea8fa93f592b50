//! The loop that tells onbod of messages that no route takes. What happens then is onbod's to decide.
//!
//! A row stays until onbod has answered, so that nothing is lost while onbod is down; a repeat changes nothing there.

use crate::{app::App, fault::Fault, store::newcomers};
use kit::PeerError;
use proto::{Daemon, onbod::KNOCK};
use std::{sync::Arc, time::Duration};

/// Rows of one pass.
const AT_ONCE: u32 = 64;
/// How long the loop sleeps when nothing wakes it.
const BACKSTOP: Duration = Duration::from_secs(30);
/// The wait after onbod could not be told; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_LONGEST: Duration = Duration::from_secs(15);

/// Runs until the daemon stops.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.context.stop.clone();
    let mut pause = PAUSE_FIRST;
    while !stop.is_cancelled() {
        let wait = match pass(&app).await {
            Ok(more) => {
                app.context.health.degraded("newcomers", None);
                pause = PAUSE_FIRST;
                if more {
                    continue;
                }
                BACKSTOP
            }
            Err(trouble) => {
                trouble.show(&app);
                let wait = pause;
                pause = (pause * 2).min(PAUSE_LONGEST);
                // Not woken by the next message: strangers do not say how often onbod is tried.
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait) => continue,
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.wake.knocks.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Why onbod was not told.
enum Trouble {
    /// It does not run, as in an instance that lets nobody in: what waits for it is no fault.
    Nobody(String),
    /// It runs, and does not take what it is told; or the rows cannot be read.
    Fault(String),
}

impl Trouble {
    fn show(self, app: &App) {
        match self {
            Self::Nobody(why) => tracing::debug!(why, "onbod does not run"),
            Self::Fault(why) => {
                tracing::warn!(why, "onbod could not be told of newcomers");
                app.context.health.degraded("newcomers", Some(why));
            }
        }
    }
}

/// Tells of what there is. Whether there may be more.
async fn pass(app: &Arc<App>) -> Result<bool, Trouble> {
    let failed = |error: &(dyn std::error::Error + 'static)| Trouble::Fault(kit::chain(error));
    let knocks = app.db.read(|conn| newcomers::pending(conn, AT_ONCE)).await;
    let knocks = knocks.map_err(|error| failed(&error))?;
    let more = u32::try_from(knocks.len()).is_ok_and(|count| count == AT_ONCE);
    let onbod = app.context.peers.get(Daemon::Onbod);
    for (seq, knock) in knocks {
        match onbod.call(&KNOCK, &knock).await {
            Ok(_) => {}
            Err(error) if is_final(&error) => {
                let id = knock.message_id.as_str();
                tracing::error!(id, error = kit::chain(&error), "onbod takes no such knock");
            }
            Err(error) if error.is_nobody() => return Err(Trouble::Nobody(kit::chain(&error))),
            Err(error) => return Err(Trouble::Fault(kit::chain(&error))),
        }
        let told =
            move |tx: &db::Tx<'_>| Ok::<_, Fault>(newcomers::told(tx, &knock.chat_jid, seq)?);
        app.db.try_write("knock.told", told).await.map_err(|error| failed(&error))?;
    }
    Ok(more)
}

/// Whether telling again would be answered alike.
fn is_final(error: &PeerError) -> bool {
    matches!(error.status(), Some(400 | 404..=428 | 430..=499))
}
