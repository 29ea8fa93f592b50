//! Removes each `NAME_PREVIOUS` of a secret that arizuko issues, once it has served its overlap, so
//! that nobody has to think of it.
//!
//! The process that has authd does it, where it can write the source; so does `arizuko secrets
//! refresh`. It is gone only when no daemon accepts an earlier value any more, and, for
//! `SECRETS_KEY`, when the current one opens every database.

use crate::{
    failure::Failure,
    fleet::{Ask, Fleet},
    instance::{Environment, Instance},
    issued,
    rotation::{opens_all, running, try_lock},
    sources::{self, Found},
};
use secrets::{Change, Name, seal::SECRETS_KEY};
use std::{collections::BTreeMap, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often it is looked at: once an overlap where a source is a server, else a quarter of the overlap, and not more
/// or less often than this.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// The longest wait after it failed.
const INTERVAL_FAILED: Duration = Duration::from_secs(60 * 60);

/// Looks again and again, until `stop`.
pub async fn run(instance: Instance, environment: Environment, stop: CancellationToken) {
    let overlap = instance.settings.get(&kit::SECRETS_OVERLAP).unwrap_or(INTERVAL.1);
    // Each look at a server is a call that somebody pays for.
    let usual = if sources::has_server(&instance) {
        overlap.max(INTERVAL.0)
    } else {
        (overlap / 4).clamp(INTERVAL.0, INTERVAL.1)
    };
    let mut wait = usual;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = tidy(&instance, &environment) => done,
        };
        match done {
            Ok(removed) => {
                for name in removed {
                    tracing::info!(target: "arizuko::audit", %name, "removed: it has served its overlap");
                }
                wait = usual;
            }
            Err(failure) => {
                // Whoever may write there is told by `degraded` what to remove.
                tracing::debug!(%failure, "previous values could not be removed");
                wait = (wait * 2).min(INTERVAL_FAILED);
            }
        }
    }
}

/// Looks once; what was removed.
///
/// # Errors
/// The sources cannot be read or written, or the daemons not asked.
pub async fn tidy(instance: &Instance, environment: &Environment) -> Result<Vec<Name>, Failure> {
    let mut removed = Vec::new();
    if standing(instance, environment).await?.is_empty() {
        return Ok(removed);
    }
    // Whoever holds it is changing them now.
    let Some(_alone) = try_lock(instance).await? else { return Ok(removed) };
    let Some(session) = running(instance).await? else { return Ok(removed) };
    // Read before the daemons look, so that what they answer is of this or of later.
    let standing = standing(instance, environment).await?;
    let fleet = Fleet::ask(&session, Ask::Refresh).await;
    fleet.whole()?;
    for (name, found) in standing {
        if !has_served(&fleet, &name) {
            continue;
        }
        if name == SECRETS_KEY {
            let Ok(current) = &found.current else { continue };
            if !opens_all(&session, current).await? {
                continue;
            }
        }
        let previous = name.previous();
        found.change(&previous, &[Change::Remove(&previous)]).await?;
        removed.push(previous);
    }
    Ok(removed)
}

/// The secrets whose previous value stands beside them where we may write.
async fn standing(
    instance: &Instance,
    environment: &Environment,
) -> Result<BTreeMap<Name, Found>, Failure> {
    let mut found = sources::find(instance, environment, issued::all()).await?;
    found.retain(|_, found| found.is_ours && found.previous.is_some());
    Ok(found)
}

/// Whether nobody accepts an earlier value any more, and nobody is left with one.
fn has_served(fleet: &Fleet, name: &Name) -> bool {
    fleet.users(name).all(|(_, of)| of.previous_accepted_until.is_none() && of.error.is_none())
}
