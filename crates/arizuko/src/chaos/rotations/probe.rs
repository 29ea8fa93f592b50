//! Presenting a retired value to whoever checks it.

use super::{
    desk::Desk,
    source::Values,
    units::{Proves, Unit},
};
use crate::{chaos::stage::defect, failure::Failure};
use kit::{PeerError, chain};
use proto::{
    Daemon,
    authd::{SERVICE_TOKEN, ServiceTokenRequest},
    routd::{REGISTER_CHANNEL, RegisterChannel},
};
use secrets::{Secret, seal::SecretsKey};
use std::time::{Duration, Instant};

/// An overlap runs from a moment that is a little before it can be seen to have begun; clocks tick.
const MARGIN: Duration = Duration::from_millis(50);
/// How long after an overlap a wrap may still be there: dropping one is a write, and not an answer.
const WRAP_GRACE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
/// How long a database may take until a new `SECRETS_KEY` opens it. A bound, and far away.
const OPENED_MAX: Duration = Duration::from_secs(60);
const OPENED_PAUSE: Duration = Duration::from_millis(20);

/// What whoever checks it makes of a value.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    Refused,
}

/// A value that was replaced.
pub struct Retired {
    /// It.
    pub values: Values,
    /// Before the new one was written: until one overlap after this it must be accepted.
    pub written: Instant,
    /// After everybody was seen to have the new one: from one overlap after this it must be refused.
    pub seen: Instant,
}

/// Presents a retired value within its overlap, twice, and after it.
pub async fn follow(desk: &Desk, unit: &Unit, retired: &Retired) {
    let Some((_, secret)) = retired.values.first() else { return };
    if unit.proves == Proves::Edge {
        return;
    }
    let ends = retired.written + desk.overlap;
    within(desk, unit, secret, ends).await;
    tokio::time::sleep_until((retired.written + desk.overlap.mul_f64(0.7)).into()).await;
    within(desk, unit, secret, ends).await;
    tokio::time::sleep_until((retired.seen + desk.overlap + MARGIN).into()).await;
    after(desk, unit, secret).await;
}

/// Waits until every database is opened by the value.
///
/// # Errors
/// One is not, after a minute.
pub async fn opened(desk: &Desk, values: &Values) -> Result<(), Failure> {
    let Some((name, secret)) = values.first() else { return Ok(()) };
    let key = SecretsKey::new(secret).map_err(defect)?;
    let deadline = Instant::now() + OPENED_MAX;
    while Instant::now() < deadline {
        match desk.databases().await {
            Ok(all) if all.iter().all(|of| of.opened_by.iter().any(|id| id == key.id())) => {
                return Ok(());
            }
            Ok(_) => {}
            Err(why) => desk.failed(format!("the databases' keys: {why}")),
        }
        tokio::time::sleep(OPENED_PAUSE).await;
    }
    Err(defect(format!("the databases are not opened by the new {name} after a minute")))
}

/// One probe within the overlap. What was answered after it proves nothing.
async fn within(desk: &Desk, unit: &Unit, secret: &Secret, ends: Instant) {
    match ask(desk, unit, secret).await {
        Ok(Answer::Accepted) => desk.count(unit, |count| count.accepted_within += 1),
        Ok(Answer::Refused) if Instant::now() < ends => {
            let left = ends.saturating_duration_since(Instant::now());
            desk.failed(format!(
                "an old {} was refused {left:?} before its overlap ended",
                unit.label()
            ));
        }
        Ok(Answer::Refused) => {}
        Err(why) => desk.failed(format!("a probe with an old {}: {why}", unit.label())),
    }
}

/// The probe after the overlap.
async fn after(desk: &Desk, unit: &Unit, secret: &Secret) {
    let began = Instant::now();
    loop {
        match ask(desk, unit, secret).await {
            Ok(Answer::Refused) => {
                return desk.count(unit, |count| count.refused_after += 1);
            }
            Ok(Answer::Accepted) => {
                if unit.proves == Proves::Databases && began.elapsed() < WRAP_GRACE {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                desk.count(unit, |count| count.accepted_after += 1);
                return desk.tally().late.add(format!("an old {}", unit.label()));
            }
            Err(why) => {
                return desk.failed(format!("a probe with an old {}: {why}", unit.label()));
            }
        }
    }
}

async fn ask(desk: &Desk, unit: &Unit, secret: &Secret) -> Result<Answer, String> {
    match unit.proves {
        Proves::Daemon(daemon) => {
            let request = ServiceTokenRequest { daemon, audience: Some(Daemon::Routd) };
            let authd = desk.peers.get(Daemon::Authd);
            let asked = authd.call_with(&SERVICE_TOKEN, &request, secret.expose()).await;
            answer(asked.map(drop), 200)
        }
        Proves::Adapter => {
            // Whoever is let in is told that this registers nothing.
            let nobody = RegisterChannel {
                name: String::new(),
                url: String::new(),
                jid_prefixes: Vec::new(),
                capabilities: Vec::new(),
            };
            let routd = desk.peers.get(Daemon::Routd);
            let asked = routd.call_with(&REGISTER_CHANNEL, &nobody, secret.expose()).await;
            answer(asked.map(drop), 400)
        }
        Proves::Databases => {
            let key = SecretsKey::new(secret).map_err(|reason| reason.to_string())?;
            let opens = desk.databases().await?;
            let mut opens = opens.iter().map(|of| of.opened_by.iter().any(|id| id == key.id()));
            // Both within the overlap; none after it. One of two is neither.
            Ok(if opens.any(|opens| opens) { Answer::Accepted } else { Answer::Refused })
        }
        Proves::Edge => Ok(Answer::Refused),
    }
}

/// A refusal is 401, or 429 where many were refused before: no good credential is ever told that.
fn answer(asked: Result<(), PeerError>, let_in: u16) -> Result<Answer, String> {
    match asked {
        Ok(()) if let_in == 200 => Ok(Answer::Accepted),
        Ok(()) => Err("it was taken, and should not have been understood".into()),
        Err(error) => match error.status() {
            Some(401 | 429) => Ok(Answer::Refused),
            Some(status) if status == let_in => Ok(Answer::Accepted),
            _ => Err(chain(&error)),
        },
    }
}
