//! Replacing a secret that arizuko issues, so that nothing that is under way fails.
//!
//! The old value is written beside the new one, in one write where the source can do that, before
//! any daemon has to know: whoever is interrupted leaves a state in which both are accepted, and
//! running it again goes on from there. [`crate::tidy`] removes the old one when it has served.
//!
//! What leaked is replaced without leaving the old value anywhere. Only for `SECRETS_KEY` it stands
//! beside the new one until every database has been opened with it and closed under the new one: a
//! database that nothing opens any more would be worse.

use crate::{
    daemons::PROGRAMS,
    failure::{Exit, Failure},
    fleet::{Ask, Fleet, databases},
    instance::{Environment, Instance},
    lock,
    output::Output,
    session::Session,
    sources::{self, Found},
};
use kit::chain;
use proto::{Daemon, Timestamp, kit::SecretState};
use secrets::{
    Change, Name, Secret,
    seal::{SECRETS_KEY, SecretsKey},
};
use serde::Serialize;
use std::{fs::File, io, time::Duration};
use tokio::time::{Instant, sleep};

/// How long daemons may take until each has what was written.
const PATIENCE: Duration = Duration::from_secs(60);
/// After this long the operator is told what is waited for.
const PROGRESS: Duration = Duration::from_secs(2);
/// The waits between two looks: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How long another command that changes secrets is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(90);
/// How long a daemon is asked to forget that does not answer, or that it cannot yet.
const FORGET_PATIENCE: Duration = Duration::from_secs(10);

/// A secret that has been replaced.
#[derive(Debug, Serialize)]
pub struct Rotated {
    /// Which.
    pub secret: Name,
    /// Where it is written.
    pub place: String,
    /// Whether the old value is refused from now on.
    pub leaked: bool,
    /// The daemons that use it, all of which have the new value; none where nothing runs.
    pub daemons: Vec<Daemon>,
    /// Until when the old value is accepted, if it is.
    pub previous_accepted_until: Option<Timestamp>,
}

/// The earlier values of a secret have been forgotten.
#[derive(Debug, Serialize)]
pub struct Forgotten {
    /// Which secret.
    pub secret: Name,
    /// The daemons that accept its current value alone; none where nothing runs.
    pub daemons: Vec<Daemon>,
    /// Whether `NAME_PREVIOUS` was removed from the source.
    pub removed_previous: bool,
    /// Why `NAME_PREVIOUS` still stands there, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_stays: Option<String>,
}

/// Makes sure that no two commands change the secrets of an instance at once.
///
/// # Errors
/// Another has it and does not end, or there is no instance.
pub async fn lock(instance: &Instance) -> Result<File, Failure> {
    locked(instance, LOCK_PATIENCE).await?.ok_or_else(|| {
        let line =
            "another command is changing the secrets of this instance; try again when it has ended";
        Failure::new(Exit::TryAgain, line)
    })
}

/// As [`lock()`], or `None` where another has it.
///
/// # Errors
/// There is no instance, or it is another user's.
pub async fn try_lock(instance: &Instance) -> Result<Option<File>, Failure> {
    locked(instance, Duration::ZERO).await
}

async fn locked(instance: &Instance, patience: Duration) -> Result<Option<File>, Failure> {
    let path = instance.run_dir().join("secrets.lock");
    lock::take(&path, patience).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let (dir, name) = (instance.dir.display(), &instance.name);
            let line =
                format!("there is no instance in {dir}; make it with `arizuko create {name}`");
            Failure::new(Exit::Config, line)
        }
        _ => Failure::io("lock", &path, &error),
    })
}

/// The session with a running instance; `None` where nothing runs.
pub async fn running(instance: &Instance) -> Result<Option<Session>, Failure> {
    match Session::begin(instance).await {
        Ok(session) => Ok(Some(session)),
        Err(failure) if failure.code == Exit::Unavailable as u8 => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// One rotation, or one forgetting.
#[derive(Debug)]
pub struct Rotation<'a> {
    /// Whose secrets.
    pub instance: &'a Instance,
    /// The process's environment.
    pub environment: &'a Environment,
    /// Which secret.
    pub name: &'a Name,
    /// Where it is told what is waited for.
    pub output: Output,
}

impl Rotation<'_> {
    /// Replaces the secret by a new random value, and waits until every daemon has it.
    ///
    /// # Errors
    /// It is nowhere, its source cannot be written, a daemon does not take it up; each with what
    /// has been done and what is left to do.
    pub async fn rotate(&self, leaked: bool) -> Result<Rotated, Failure> {
        let _alone = lock(self.instance).await?;
        let found = self.find().await?.ok_or_else(|| self.nowhere())?;
        let seals = *self.name == SECRETS_KEY;
        let mut current = found.current.as_ref().ok();
        if seals {
            current = Some(self.current(&found)?);
        }
        let session = running(self.instance).await?;
        let before = match &session {
            Some(session) => Some(self.settled(session, current, leaked && !seals).await?),
            None => {
                self.may_without_daemons(&found, current, leaked)?;
                None
            }
        };
        // What the daemons do not use is not what they are to accept for a while.
        let errors = before.iter().flat_map(|fleet| fleet.users(self.name));
        if errors.filter(|(_, of)| of.error.is_some()).count() > 0 {
            current = None;
        }
        let new = sources::random()?;
        let previous = self.name.previous();
        let set = Change::Set(self.name, &new);
        let changes = match current {
            _ if leaked && !seals => vec![set, Change::Remove(&previous)],
            // The old one first: where they are two writes, it is not lost between them.
            Some(current) => vec![Change::Set(&previous, current), set],
            None => vec![set],
        };
        found.change(self.name, &changes).await.map_err(|failure| self.by_hand(failure, leaked))?;
        let place = found.source.place();
        self.output.note(&format!("{} is written to {place}", self.name));
        let mut rotated = Rotated {
            secret: self.name.clone(),
            place,
            leaked,
            daemons: Vec::new(),
            previous_accepted_until: None,
        };
        let (Some(session), Some(before)) = (session, before) else { return Ok(rotated) };
        let taken = self.taken_up(&session, &before, &new).await;
        let after = match (leaked, seals) {
            (false, _) => taken?,
            (true, false) => {
                // Also where one daemon keeps it from being done everywhere: the others are to
                // refuse what leaked now.
                let after = self.forget_everywhere().await?;
                taken?;
                after
            }
            (true, true) => {
                taken?;
                found.change(self.name, &[Change::Remove(&previous)]).await?;
                let after = self.forget_everywhere().await?;
                self.opened_only_by(&new).await?;
                after
            }
        };
        rotated.daemons = after.users(self.name).map(|(daemon, _)| daemon).collect();
        let ends = after.users(self.name).filter_map(|(_, of)| of.previous_accepted_until);
        rotated.previous_accepted_until = ends.max();
        Ok(rotated)
    }

    /// Ends the overlap of the secret, in its source and in every daemon.
    ///
    /// # Errors
    /// A daemon does not answer; or a database may still need an earlier `SECRETS_KEY`.
    pub async fn forget(&self) -> Result<Forgotten, Failure> {
        let _alone = lock(self.instance).await?;
        let found = self.find().await?;
        let session = running(self.instance).await?;
        if *self.name == SECRETS_KEY {
            let found = found.as_ref().ok_or_else(|| self.nowhere())?;
            let Some(session) = &session else { return Err(self.needs_daemons()) };
            self.settled(session, Some(self.current(found)?), false).await?;
        } else if let Some(session) = &session {
            // Who still has the old one as its current one would not forget it.
            Fleet::ask(session, Ask::Refresh).await.whole()?;
        }
        let mut forgotten = Forgotten {
            secret: self.name.clone(),
            daemons: Vec::new(),
            removed_previous: false,
            previous_stays: None,
        };
        if let Some(found) = found.as_ref().filter(|found| found.previous.is_some()) {
            let previous = self.name.previous();
            match found.change(&previous, &[Change::Remove(&previous)]).await {
                Ok(()) => forgotten.removed_previous = true,
                // The daemons forget it all the same, for as long as they run.
                Err(failure) => forgotten.previous_stays = Some(failure.line),
            }
        }
        if session.is_some() {
            let after = self.forget_everywhere().await?;
            forgotten.daemons = after.daemons.iter().map(|of| of.daemon).collect();
        }
        Ok(forgotten)
    }

    async fn find(&self) -> Result<Option<Found>, Failure> {
        let found = sources::find(self.instance, self.environment, [self.name.clone()]).await;
        Ok(found?.remove(self.name))
    }

    fn current<'f>(&self, found: &'f Found) -> Result<&'f Secret, Failure> {
        let name = self.name;
        found.current.as_ref().map_err(|reason| {
            let place = found.source.place();
            let line = format!(
                "{name} in {place} cannot be used: {reason}; the daemons use another value, if they run: put that one back first, with `arizuko secrets set {name}`"
            );
            Failure::new(Exit::Config, line)
        })
    }

    fn nowhere(&self) -> Failure {
        let name = self.name;
        let line = format!(
            "no source has {name}, so there is nothing to replace; `arizuko secrets init` makes what a new instance needs, and `arizuko secrets set {name}` takes any other value"
        );
        Failure::new(Exit::Data, line)
    }

    fn needs_daemons(&self) -> Failure {
        let line = format!(
            "the instance {} does not run, and its databases are opened by the SECRETS_KEY that is to go; start it, so that they are sealed anew",
            self.instance.name
        );
        Failure::new(Exit::Unavailable, line)
    }

    /// Whether it may be replaced while nothing runs.
    fn may_without_daemons(
        &self,
        found: &Found,
        current: Option<&Secret>,
        leaked: bool,
    ) -> Result<(), Failure> {
        if *self.name != SECRETS_KEY {
            return Ok(());
        }
        let previous = found.previous.as_ref().zip(current);
        let waits = previous.is_some_and(|(previous, current)| !previous.same_as(current));
        // A database may wait for the previous one, whose place the current one would take.
        if leaked || waits { Err(self.needs_daemons()) } else { Ok(()) }
    }

    /// What to do where the source is not ours to write.
    fn by_hand(&self, mut failure: Failure, leaked: bool) -> Failure {
        if failure.code == Exit::Config as u8 {
            let name = self.name;
            failure.line.push_str(&match leaked {
                false => format!(
                    ". Nothing was changed. There, put the value of {name} under {name}_PREVIOUS and a new one under {name}, and remove {name}_PREVIOUS when SECRETS_OVERLAP has passed"
                ),
                true => format!(
                    ". Nothing was changed. Replace {name} there, and then run `arizuko secrets forget {name}`"
                ),
            });
        }
        failure
    }

    /// Has every daemon read the source, and makes sure that each answers; and that the `SECRETS_KEY`
    /// that is there opens every database: only then may it become the previous one.
    async fn settled(
        &self,
        session: &Session,
        current: Option<&Secret>,
        some_may_be_away: bool,
    ) -> Result<Fleet, Failure> {
        let fleet = Fleet::ask(session, Ask::Refresh).await;
        if !some_may_be_away {
            fleet.whole().map_err(unchanged)?;
        }
        let Some(current) = current.filter(|_| *self.name == SECRETS_KEY) else { return Ok(fleet) };
        let refused = fleet.users(self.name).find_map(|(d, s)| Some((d, s.error.as_ref()?)));
        if let Some((daemon, error)) = refused {
            let line = format!(
                "{daemon} does not use the SECRETS_KEY that is there ({error}); put the one before it back first, with `arizuko secrets set SECRETS_KEY`"
            );
            return Err(unchanged(Failure::new(Exit::Data, line)));
        }
        self.taken_up(session, &Fleet::default(), current).await.map_err(unchanged)?;
        Ok(fleet)
    }

    /// Waits until every daemon that uses the secret has another value than `before`, and, where it
    /// is what databases are opened with, until each opens with `new`.
    async fn taken_up(
        &self,
        session: &Session,
        before: &Fleet,
        new: &Secret,
    ) -> Result<Fleet, Failure> {
        let (began, mut told, mut pause) = (Instant::now(), false, PAUSES.0);
        let mut found = None::<Session>;
        // Who was away before takes what is there when it comes back, and nobody waits for it.
        let mut asked: Vec<Daemon> = PROGRAMS.iter().map(|program| program.daemon).collect();
        asked.retain(|daemon| !before.unreachable.contains_key(daemon));
        loop {
            let session = found.as_ref().unwrap_or(session);
            let fleet = Fleet::ask_some(session, &asked, Ask::Refresh).await;
            let mut behind = self.behind(before, &fleet);
            if behind.is_empty() && *self.name == SECRETS_KEY {
                behind = not_opened_by(session, new).await?;
            }
            let is_lost = !fleet.unreachable.is_empty() || *self.name == SECRETS_KEY;
            if behind.is_empty() {
                return Ok(fleet);
            }
            let (name, behind) = (self.name, behind.join(", "));
            if began.elapsed() > PATIENCE {
                let line = format!(
                    "the {name} that is in its source is not in use everywhere after {} s: {behind}; see `arizuko secrets status`, and run this again",
                    PATIENCE.as_secs()
                );
                return Err(Failure::new(Exit::Unavailable, line));
            }
            if began.elapsed() > PROGRESS && !told {
                self.output.note(&format!("waiting until {name} is in use: {behind}"));
                told = true;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
            // Whoever was started again may be elsewhere, and believe no token of before.
            if is_lost && let Ok(session) = Session::begin(self.instance).await {
                found = Some(session);
            }
        }
    }

    /// The daemons that have what they had before.
    fn behind(&self, before: &Fleet, now: &Fleet) -> Vec<String> {
        let mut behind = Vec::new();
        for daemon in PROGRAMS.iter().map(|program| program.daemon) {
            // It was away before, and takes what is there when it comes back.
            if before.unreachable.contains_key(&daemon) || before.not_running.contains(&daemon) {
                continue;
            }
            if let Some(error) = now.unreachable.get(&daemon) {
                behind.push(format!("{daemon} does not answer ({error})"));
                continue;
            }
            let Some(state) = now.of(daemon, self.name) else { continue };
            if let Some(error) = &state.error {
                behind.push(format!("{daemon} ({error})"));
            } else if before.of(daemon, self.name).is_some_and(|old| is_same(old, state)) {
                behind.push(format!("{daemon} has the old one"));
            }
        }
        behind
    }

    /// Has every daemon accept the current value alone.
    async fn forget_everywhere(&self) -> Result<Fleet, Failure> {
        // authd first: what it ends, the others are to fetch from it. That may be the very token
        // that this command holds.
        let mut fleet = self.forget_in(&[Daemon::Authd]).await?;
        // Then the edge: it has other tokens before the daemons behind it know that those of before
        // have ended, and take who shows one for a stranger. If it does not answer now, it is asked
        // again with the others.
        let session = Session::begin(self.instance).await?;
        let edge = Fleet::ask_some(&session, &[Daemon::Proxyd], Ask::Forget(self.name)).await;
        fleet.daemons.extend(edge.daemons);
        let mut others: Vec<Daemon> = PROGRAMS.iter().map(|program| program.daemon).collect();
        others.retain(|daemon| fleet.daemons.iter().all(|told| told.daemon != *daemon));
        fleet.daemons.extend(self.forget_in(&others).await?.daemons);
        Ok(fleet)
    }

    async fn forget_in(&self, daemons: &[Daemon]) -> Result<Fleet, Failure> {
        let (mut left, mut all) = (daemons.to_vec(), Fleet::default());
        let began = Instant::now();
        while began.elapsed() < FORGET_PATIENCE {
            let session = Session::begin(self.instance).await?;
            let fleet = Fleet::ask_some(&session, &left, Ask::Forget(self.name)).await;
            all.daemons.extend(fleet.daemons);
            all.unreachable = fleet.unreachable;
            left = all.unreachable.keys().copied().collect();
            if left.is_empty() {
                return Ok(all);
            }
            sleep(PAUSES.1).await;
        }
        let said: Vec<String> =
            all.unreachable.iter().map(|(d, why)| format!("{d}: {why}")).collect();
        let name = self.name;
        let line = format!(
            "earlier values of {name} may still be accepted, as not every daemon could be asked ({}); start or end those, and run `arizuko secrets forget {name}`",
            said.join("; ")
        );
        Err(Failure::new(Exit::Unavailable, line))
    }

    /// Makes sure that no other `SECRETS_KEY` than `new` opens any database.
    async fn opened_only_by(&self, new: &Secret) -> Result<(), Failure> {
        let session = Session::begin(self.instance).await?;
        let id = key_id(new)?;
        for database in databases(&session).await? {
            if database.opened_by.iter().any(|other| *other != id) {
                let line = format!(
                    "{} is still opened by an earlier SECRETS_KEY; run `arizuko secrets forget SECRETS_KEY`",
                    database.database
                );
                return Err(Failure::new(Exit::TryAgain, line));
            }
        }
        Ok(())
    }
}

/// The databases that `key` does not open.
async fn not_opened_by(session: &Session, key: &Secret) -> Result<Vec<String>, Failure> {
    let id = key_id(key)?;
    match databases(session).await {
        Ok(all) => {
            let without = all.into_iter().filter(|database| !database.opened_by.contains(&id));
            Ok(without.map(|of| format!("{} is not sealed under it yet", of.database)).collect())
        }
        Err(error) => Ok(vec![chain(&error)]),
    }
}

/// Whether `key` opens every database.
///
/// # Errors
/// It is no `SECRETS_KEY`.
pub async fn opens_all(session: &Session, key: &Secret) -> Result<bool, Failure> {
    Ok(not_opened_by(session, key).await?.is_empty())
}

/// The id of a `SECRETS_KEY`, which tells nothing about it.
///
/// # Errors
/// It is none.
pub fn key_id(key: &Secret) -> Result<String, Failure> {
    let key = SecretsKey::new(key);
    let key = key.map_err(|reason| Failure::new(Exit::Config, format!("SECRETS_KEY: {reason}")))?;
    Ok(key.id().to_owned())
}

/// Whether a daemon has what it had: by the fingerprint, or, before it has one, by the version.
pub fn is_same(before: &SecretState, now: &SecretState) -> bool {
    match (&before.fingerprint, &now.fingerprint) {
        (Some(before), Some(now)) => before == now,
        _ => before.version == now.version,
    }
}

/// The same failure, which says that nothing was changed.
pub fn unchanged(mut failure: Failure) -> Failure {
    failure.line.push_str("; nothing was changed");
    failure
}
