//! All daemons of an instance at once: what they say of their secrets, and what they are asked.

use crate::{
    daemons::PROGRAMS,
    failure::{Exit, Failure},
    session::Session,
};
use kit::{PeerError, chain};
use proto::{
    Daemon, Nothing, Timestamp, authd,
    kit::{
        DaemonSecrets, DatabaseKey, FORGET_SECRET, ForgetSecret, REFRESH_SECRETS, SECRETS,
        SecretState,
    },
    routd,
};
use secrets::Name;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// How long a daemon waits for a source that does not answer, before it says so.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// What every daemon is asked.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// What it has.
    Status,
    /// What it has after reading its sources again.
    Refresh,
    /// To accept the current value of this secret alone, and to end what earlier ones made.
    Forget(&'a Name),
}

/// The answers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Fleet {
    /// When they were asked, by this machine's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
    /// Of those that answered.
    pub daemons: Vec<DaemonSecrets>,
    /// Those that this instance may do without, and that do not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_running: Vec<Daemon>,
    /// Why the others did not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreachable: BTreeMap<Daemon, String>,
    /// Which values of `SECRETS_KEY` open each database, by their ids; none where that was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<DatabaseKey>,
}

impl Fleet {
    /// Asks every daemon of this program.
    pub async fn ask(session: &Session, ask: Ask<'_>) -> Self {
        let all: Vec<Daemon> = PROGRAMS.iter().map(|program| program.daemon).collect();
        Self::ask_some(session, &all, ask).await
    }

    /// Asks these daemons, all at the same time.
    pub async fn ask_some(session: &Session, daemons: &[Daemon], ask: Ask<'_>) -> Self {
        let asks = daemons.iter().map(|daemon| one(session, *daemon, ask));
        let mut fleet = Self { asked_at: Some(kit::Clock::real().now()), ..Self::default() };
        for (daemon, answer) in daemons.iter().zip(futures::future::join_all(asks).await) {
            match answer {
                Ok(secrets) => fleet.daemons.push(secrets),
                Err(error) if is_off(*daemon, &error) => fleet.not_running.push(*daemon),
                Err(error) => {
                    fleet.unreachable.insert(*daemon, chain(&error));
                }
            }
        }
        fleet
    }

    /// The state of `name` in each daemon that has it.
    pub fn users<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = (Daemon, &'a SecretState)> {
        self.daemons.iter().flat_map(move |of| {
            let its = of.secrets.iter();
            let has = its.filter(move |s| s.name == name.as_str() && s.source.is_some());
            has.map(move |secret| (of.daemon, secret))
        })
    }

    /// The state of `name` in `daemon`, if it has it.
    pub fn of<'a>(&'a self, daemon: Daemon, name: &'a Name) -> Option<&'a SecretState> {
        self.users(name).find(|(user, _)| *user == daemon).map(|(_, state)| state)
    }

    /// What `daemon` says of `name`, also where no source of its has it; `None` where it has no use for it.
    #[cfg(feature = "kubernetes")]
    pub fn said_of(&self, daemon: Daemon, name: &Name) -> Option<&SecretState> {
        let of = self.daemons.iter().find(|of| of.daemon == daemon)?;
        of.secrets.iter().find(|secret| secret.name == name.as_str())
    }

    /// What is said of `name` alone.
    pub fn only(mut self, name: &Name) -> Self {
        for of in &mut self.daemons {
            of.secrets.retain(|secret| secret.name == name.as_str());
        }
        self.daemons.retain(|of| !of.secrets.is_empty());
        self
    }

    /// Whether all answered.
    ///
    /// # Errors
    /// Those that did not, each with why.
    pub fn whole(&self) -> Result<(), Failure> {
        if self.unreachable.is_empty() {
            return Ok(());
        }
        let each = self.unreachable.iter().map(|(d, why)| format!("{d} did not answer: {why}"));
        let each = each.collect::<Vec<_>>().join("; ");
        let line = format!("{each}; `arizuko status` shows which daemons run");
        Err(Failure::new(Exit::Unavailable, line))
    }
}

/// Whether nobody is there, of a daemon that need not be there. One that is there and silent is another matter.
pub fn is_off(daemon: Daemon, error: &PeerError) -> bool {
    daemon.is_optional() && error.is_nobody()
}

async fn one(session: &Session, daemon: Daemon, ask: Ask<'_>) -> Result<DaemonSecrets, PeerError> {
    let peer = session.peer(daemon);
    match ask {
        Ask::Status => peer.call(&SECRETS, &Nothing {}).await,
        Ask::Refresh => peer.call_waiting(&REFRESH_SECRETS, &Nothing {}, READ_TIMEOUT).await,
        Ask::Forget(name) => {
            peer.call(&FORGET_SECRET, &ForgetSecret { name: name.to_string() }).await
        }
    }
}

/// Which values of `SECRETS_KEY` open the databases that seal anything.
///
/// # Errors
/// One of their owners does not answer.
pub async fn databases(session: &Session) -> Result<Vec<DatabaseKey>, PeerError> {
    let (authd, routd) = (session.peer(Daemon::Authd), session.peer(Daemon::Routd));
    let nothing = Nothing {};
    let both = futures::future::join(
        authd.call(&authd::DATABASE_KEY, &nothing),
        routd.call(&routd::DATABASE_KEY, &nothing),
    );
    let (authd, routd) = both.await;
    Ok(vec![authd?, routd?])
}
