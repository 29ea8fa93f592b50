//! Drives the keys through their life, and clears away what is over.
//!
//! Woken when somebody notices that something is due, when `SECRETS_KEY` changes, and by a timer all
//! the same. Each round reads everything and does whatever is to be done.

use crate::{app::App, keyring::KeyringError, session::Kind};
use kit::{Health, chain};
use proto::Timestamp;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// The longest time between two rounds.
const TICK: Duration = Duration::from_secs(30);
/// The shortest, so that a database that fails is not asked all the time.
const SPACING: Duration = Duration::from_millis(50);
/// How often what is over is cleared away.
const TIDY_MS: i64 = 60 * 60 * 1000;

/// How long sessions last.
const LIVES: [(Kind, i64, i64); 2] = [of(Kind::Browser), of(Kind::Program)];

const fn of(kind: Kind) -> (Kind, i64, i64) {
    let (idle, whole) = kind.lives();
    (kind, idle, whole)
}

/// Runs until it is dropped.
pub(crate) async fn run(app: Arc<App>, health: Health) {
    let mut secrets_key = app.ring.secrets_key();
    let mut tidied = Timestamp(i64::MIN);
    loop {
        let rewrapped = app.ring.rewrap().await;
        let again = rewrapped.as_ref().ok().copied().flatten();
        report(&health, "SECRETS_KEY", rewrapped.map(drop));
        report(&health, "signing keys", app.ring.sweep().await);
        let now = app.clock.now();
        if now >= tidied.plus(TIDY_MS) {
            app.limits.tidy();
            let result = app.store.tidy(now, LIVES).await;
            report(&health, "sessions", result.map_err(KeyringError::from));
            tidied = now;
        }
        sleep(SPACING).await;
        tokio::select! {
            () = app.ring.due(&mut secrets_key) => {}
            () = sleep(again.map_or(TICK, |again| again.min(TICK))) => {}
        }
    }
}

fn report(health: &Health, part: &str, result: Result<(), KeyringError>) {
    let trouble = result.err().map(|error| {
        let trouble = chain(&error);
        tracing::error!(part, error = trouble, "tried again soon");
        trouble
    });
    health.degraded(part, trouble);
}
