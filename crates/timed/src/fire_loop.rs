//! Asking routd to fire what is due, for as long as timed runs.

use crate::figures::Figures;
use kit::Context;
use proto::{
    Daemon,
    routd::{FIRE_SCHEDULES, FireSchedules},
};
use std::time::Duration;

/// Firings of one transaction at most, so that messages of people come in between.
const AT_ONCE: u32 = 100;
/// How long one request waits, in seconds: how late a firing is at most after the machine's clock was set forward.
const WAIT_SECONDS: u32 = 20;
/// How long to wait after routd could not be asked; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// Asks until the stop.
pub(crate) async fn run(context: Context, figures: Figures) {
    let mut pause = PAUSE_FIRST;
    loop {
        let asked = tokio::select! {
            () = context.stop.cancelled() => return,
            asked = ask(&context, &figures) => asked,
        };
        let wait = match asked {
            Ok(()) => {
                context.health.degraded("schedules", None);
                pause = PAUSE_FIRST;
                continue;
            }
            // A routd that starts, or is started anew, is back before that.
            Err(trouble) if pause < PAUSE_LONGEST => {
                tracing::debug!(%trouble, "routd cannot be asked yet");
                pause
            }
            Err(trouble) => {
                tracing::warn!(%trouble, "nothing fires while routd cannot be asked");
                context.health.degraded("schedules", Some(trouble));
                pause
            }
        };
        pause = (pause * 2).min(PAUSE_LONGEST);
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn ask(context: &Context, figures: &Figures) -> Result<(), String> {
    let request = FireSchedules { limit: AT_ONCE, wait_seconds: WAIT_SECONDS };
    let wait = Duration::from_secs(WAIT_SECONDS.into());
    let routd = context.peers.get(Daemon::Routd);
    let fired = routd.call_waiting(&FIRE_SCHEDULES, &request, wait).await;
    let fired = fired.map_err(|error| kit::chain(&error).to_string())?;
    figures.fired.inc_by(fired.done.into());
    figures.next.set(fired.next_at.map_or(0, |at| at.0 / 1000));
    Ok(())
}
