//! Changing a secret that is a Kubernetes Secret, from an operator's own machine, while everything runs.
//!
//! The Secret is written with the operator's own kubeconfig, the old value beside the new one, only where it still is
//! as it was read, and no other key of it. Then each pod that mounts it is touched, which has its kubelet bring the
//! files at once, and the daemons are asked, by the operator's command inside the pod, until each has what was
//! written. Before the write everything that could stand in the way is tried: whoever may not touch a pod or ask in
//! it has changed nothing.
//!
//! Who uses a key follows from the pods: which container has it, under which name, and which daemon that is.

mod town;

use crate::{
    cli::InCluster,
    failure::{Exit, Failure},
    fleet::Fleet,
    instance::Environment,
    output::Output,
    rotation::{is_same, key_id, unchanged},
    sources,
};
use proto::{Daemon, Timestamp};
use provider_kubernetes::{Cluster, Kubeconfig, SecretName, Stored, Trouble};
use secrets::{Change, Name, Secret, seal::SECRETS_KEY};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep};
use town::{Asked, Town};

/// How long every daemon may take: the kubelet looks by itself after 60 to 90 seconds.
const PATIENCE: Duration = Duration::from_secs(180);
/// After this long the operator is told what is waited for.
const PROGRESS: Duration = Duration::from_secs(3);
/// The waits between two looks: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often pods are touched again: the kubelet may not have heard of the Secret when it looked.
const TOUCH: Duration = Duration::from_secs(5);
/// How often a write is tried.
const WRITES: u32 = 5;

/// A secret that has been changed in a Kubernetes Secret.
#[derive(Debug, Serialize)]
pub struct Renewed {
    /// Which.
    pub secret: Name,
    /// The Secret: namespace and name.
    pub place: String,
    /// Whether the old value is refused from now on.
    pub leaked: bool,
    /// Whether it had this value before, so that nothing was changed.
    pub was_there: bool,
    /// The pods that were touched.
    pub pods: Vec<String>,
    /// The daemons that use it, all of which have the new value; none where nothing runs.
    pub daemons: Vec<Daemon>,
    /// Until when the old value is accepted, if it is.
    pub previous_accepted_until: Option<Timestamp>,
    /// How long it took, where daemons use it.
    #[serde(flatten)]
    pub latency: Option<Latency>,
}

/// How long a new value took on its way, in milliseconds, by the clock of the pod's node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// From the write of the Secret until the last container had the file. As exact as the clocks are told apart: half
    /// of what a command in the pod takes.
    pub source_to_file_ms: u64,
    /// From a container's file until its daemon used it; of all daemons the longest.
    pub file_to_last_use_ms: u64,
}

/// The earlier values of a secret have been forgotten.
#[derive(Debug, Serialize)]
pub struct Forgotten {
    /// Which secret.
    pub secret: Name,
    /// The Secret: namespace and name.
    pub place: String,
    /// The daemons that accept its current value alone; none where nothing runs.
    pub daemons: Vec<Daemon>,
    /// Whether `NAME_PREVIOUS` was removed from the Secret.
    pub removed_previous: bool,
}

/// One secret of a Kubernetes Secret.
#[derive(Debug)]
pub struct Mounted<'a> {
    /// The Secret.
    pub cluster: Cluster,
    /// Which of its keys.
    pub name: &'a Name,
    /// Where it is told what is waited for.
    pub output: Output,
}

/// The cluster that the operator's kubeconfig leads to: the files of `KUBECONFIG`, or `.kube/config` of their home.
///
/// # Errors
/// There is no such file, or it will not do.
pub async fn open(environment: &Environment, at: &InCluster) -> Result<Cluster, Failure> {
    let text = at.kubernetes_secret.as_deref().unwrap_or_default();
    let place: SecretName = text.parse().map_err(|line: String| Failure::new(Exit::Usage, line))?;
    let named = environment.get("KUBECONFIG").into_iter().flat_map(|list| list.split(':'));
    let mut files: Vec<PathBuf> =
        named.filter(|file| !file.is_empty()).map(PathBuf::from).collect();
    if files.is_empty() {
        let home = environment.get("HOME").ok_or_else(|| {
            Failure::new(Exit::Config, "neither KUBECONFIG nor HOME says where the kubeconfig is")
        })?;
        files.push(PathBuf::from(home).join(".kube/config"));
    }
    let kubeconfig = Kubeconfig { files, context: at.kubernetes_context.clone() };
    Cluster::open(&kubeconfig, place).await.map_err(failure)
}

impl Mounted<'_> {
    /// Replaces the secret by a new random value, and waits until every daemon has it.
    ///
    /// # Errors
    /// It is not there, may not be changed, or a daemon does not take it up; each with what to do.
    pub async fn rotate(&self, leaked: bool) -> Result<Renewed, Failure> {
        let (name, seals) = (self.name, *self.name == SECRETS_KEY);
        let read = self.read().await?;
        if !read.has(name) {
            let line = format!(
                "the Secret {} has no {name}, so there is nothing to replace; deploy/kubernetes/make-secret makes a whole one, and `arizuko secrets set {name}` takes any value",
                self.place()
            );
            return Err(Failure::new(Exit::Data, line));
        }
        let town = Town::find(&self.cluster, name).await.map_err(unchanged)?;
        let before = self.settled(&town, &read, leaked && !seals).await.map_err(unchanged)?;
        let new = sources::random()?;
        let keeps_old = !leaked || seals;
        // What the daemons do not use is not what they are to accept for a while.
        let is_in_use = before.as_ref().is_none_or(|before| town.errors(&before.fleet).is_empty());
        let old = match read.value(name) {
            Some(Ok(old)) if keeps_old && is_in_use => Some(old),
            _ => None,
        };
        let previous = name.previous();
        let changes = match &old {
            Some(old) => vec![Change::Set(&previous, old), Change::Set(name, &new)],
            None if leaked => vec![Change::Set(name, &new), Change::Remove(&previous)],
            None => vec![Change::Set(name, &new)],
        };
        let sent = self.write(read, &changes).await?;
        let mut renewed = self.renewed(&town);
        renewed.leaked = leaked;
        let Some(before) = before else { return Ok(renewed) };
        let taken = self.taken_up(&town, &before, Some(&new)).await;
        let after = match (leaked, seals) {
            (false, _) => taken?,
            (true, false) => {
                // Also where one daemon keeps it from being done everywhere: the others are to refuse what leaked now.
                town.forget(&self.cluster).await?;
                taken?
            }
            (true, true) => {
                taken?;
                town.forget(&self.cluster).await?;
                let read = self.read().await?;
                self.write(read, &[Change::Remove(&previous)]).await?;
                town.touch(&self.cluster).await?;
                let after = town.ask(&self.cluster).await?;
                opened_only_by(&after.fleet, &new)?;
                after
            }
        };
        self.tell(&mut renewed, &town, &after, sent);
        Ok(renewed)
    }

    /// Gives the secret this value. Where `waits` is false, it is not waited until it is in use, since it is not yet.
    ///
    /// # Errors
    /// As for [`Self::rotate`].
    pub async fn set(&self, value: &Secret, waits: bool) -> Result<Renewed, Failure> {
        let read = self.read().await?;
        let town = Town::find(&self.cluster, self.name).await.map_err(unchanged)?;
        let mut renewed = self.renewed(&town);
        if matches!(read.value(self.name), Some(Ok(held)) if held.same_as(value)) {
            renewed.was_there = true;
            return Ok(renewed);
        }
        let before = match self.settled(&town, &read, true).await {
            Ok(before) => before,
            // What keeps the pod from running may be the very value that this is to put right.
            Err(failure) if failure.code == Exit::Unavailable as u8 => {
                self.output
                    .note(&format!("nobody is asked whether it is in use: {}", failure.line));
                None
            }
            Err(failure) => return Err(unchanged(failure)),
        };
        let sent = self.write(read, &[Change::Set(self.name, value)]).await?;
        if !town.is_empty() {
            town.touch(&self.cluster).await?;
        }
        let Some(before) = before else { return Ok(renewed) };
        if waits {
            let after = self.taken_up(&town, &before, None).await?;
            self.tell(&mut renewed, &town, &after, sent);
        }
        Ok(renewed)
    }

    /// Ends the overlap of the secret, in the Secret and in every daemon.
    ///
    /// # Errors
    /// A database still needs an earlier `SECRETS_KEY`, or a daemon does not answer.
    pub async fn forget(&self) -> Result<Forgotten, Failure> {
        let read = self.read().await?;
        let town = Town::find(&self.cluster, self.name).await.map_err(unchanged)?;
        let before = self.settled(&town, &read, false).await.map_err(unchanged)?;
        let previous = self.name.previous();
        let removed_previous = read.has(&previous);
        if removed_previous {
            self.write(read, &[Change::Remove(&previous)]).await?;
        }
        let mut daemons = Vec::new();
        if before.is_some() {
            town.touch(&self.cluster).await?;
            town.forget(&self.cluster).await?;
            daemons = town.daemons(&town.ask(&self.cluster).await?.fleet);
        }
        let (secret, place) = (self.name.clone(), self.place().to_string());
        Ok(Forgotten { secret, place, daemons, removed_previous })
    }

    /// The good values under these names, for who judges another.
    ///
    /// # Errors
    /// The Secret cannot be read.
    pub async fn values(
        &self,
        names: BTreeSet<Name>,
    ) -> Result<BTreeMap<Name, Arc<Secret>>, Failure> {
        let read = self.cluster.read().await.map_err(failure)?;
        let good = names.into_iter().filter_map(|name| {
            let value = read.value(&name)?.ok()?;
            Some((name, Arc::new(value)))
        });
        Ok(good.collect())
    }

    fn place(&self) -> &SecretName {
        self.cluster.place()
    }

    fn renewed(&self, town: &Town) -> Renewed {
        Renewed {
            secret: self.name.clone(),
            place: self.place().to_string(),
            leaked: false,
            was_there: false,
            pods: town.pods(),
            daemons: Vec::new(),
            previous_accepted_until: None,
            latency: None,
        }
    }

    fn tell(&self, renewed: &mut Renewed, town: &Town, after: &Asked, sent: Timestamp) {
        renewed.daemons = town.daemons(&after.fleet);
        let states = town.states(&after.fleet);
        renewed.previous_accepted_until =
            states.iter().filter_map(|(_, state)| state.previous_accepted_until).max();
        renewed.latency = latency(after, &states, sent);
    }

    /// Reads the Secret, and makes sure that it may be changed.
    async fn read(&self) -> Result<Stored, Failure> {
        let read = self.cluster.read().await.map_err(failure).map_err(unchanged)?;
        let place = self.place();
        if read.is_immutable {
            let line = format!(
                "the Secret {place} is immutable, and its files never change; make it anew without `immutable: true`"
            );
            return Err(unchanged(Failure::new(Exit::Config, line)));
        }
        if let Some(owner) = &read.owner {
            let line = format!(
                "the Secret {place} is made by {owner}, which would put back what it wants; change {} where that takes it from, and the daemons follow by themselves",
                self.name
            );
            return Err(unchanged(Failure::new(Exit::Config, line)));
        }
        Ok(read)
    }

    /// Makes sure that everything that will be asked for can be done, and that every daemon that has the secret
    /// answers. `None` where nothing that mounts it runs.
    async fn settled(
        &self,
        town: &Town,
        read: &Stored,
        some_may_be_away: bool,
    ) -> Result<Option<Asked>, Failure> {
        let seals = *self.name == SECRETS_KEY;
        if town.is_empty() {
            if seals && read.has(&self.name.previous()) {
                let line = "no pod mounts it, and a database may still wait for SECRETS_KEY_PREVIOUS, whose place the current one would take; start the pod first";
                return Err(Failure::new(Exit::Unavailable, line));
            }
            return Ok(None);
        }
        town.may_touch(&self.cluster).await?;
        let asked = town.ask(&self.cluster).await?;
        if !some_may_be_away {
            town.whole(&asked.fleet)?;
        }
        if seals {
            if let Some(said) = town.errors(&asked.fleet).first() {
                let line = format!(
                    "the SECRETS_KEY that is there is not in use ({said}); put the one before it back first, with `arizuko secrets set SECRETS_KEY`"
                );
                return Err(Failure::new(Exit::Data, line));
            }
            let Some(Ok(current)) = read.value(self.name) else { return Err(self.unusable()) };
            let behind = not_opened_by(&asked.fleet, &current)?;
            if !behind.is_empty() {
                return Err(Failure::new(Exit::TryAgain, behind.join(", ")));
            }
        }
        Ok(Some(asked))
    }

    fn unusable(&self) -> Failure {
        let line = format!(
            "{} of the Secret {} cannot be used; put the value that the daemons use back first, with `arizuko secrets set`",
            self.name,
            self.place()
        );
        Failure::new(Exit::Config, line)
    }

    /// Writes `changes`, again where somebody else wrote another key meanwhile, or the answer was lost. When it was sent.
    async fn write(&self, mut read: Stored, changes: &[Change<'_>]) -> Result<Timestamp, Failure> {
        let mut tries = WRITES;
        loop {
            tries -= 1;
            let sent = kit::Clock::real().now();
            let trouble = match self.cluster.write(&read, changes).await {
                Ok(_) => {
                    let (name, place) = (self.name, self.place());
                    self.output.note(&format!("{name} is written to the Secret {place}"));
                    return Ok(sent);
                }
                Err(trouble) => trouble,
            };
            if !trouble.passes() || tries == 0 {
                return Err(failure(trouble));
            }
            sleep(PAUSES.0).await;
            let now = self.cluster.read().await.map_err(failure)?;
            if matches!(trouble, Trouble::Away { .. }) && holds(&now, changes) {
                return Ok(sent);
            }
            if !now.agrees(&read, self.name) {
                let line = format!(
                    "somebody else changes {} of the Secret {} now; nothing was written, try again",
                    self.name,
                    self.place()
                );
                return Err(Failure::new(Exit::TryAgain, line));
            }
            read = now;
        }
    }

    /// Waits until every daemon has another value than `before`, and, where it is what databases are opened with, until
    /// each opens with `new`.
    async fn taken_up(
        &self,
        town: &Town,
        before: &Asked,
        new: Option<&Secret>,
    ) -> Result<Asked, Failure> {
        let new = new.filter(|_| *self.name == SECRETS_KEY);
        let (began, mut told, mut pause) = (Instant::now(), false, PAUSES.0);
        let mut touched = None::<Instant>;
        loop {
            if touched.is_none_or(|touched| touched.elapsed() > TOUCH) {
                town.touch(&self.cluster).await?;
                touched = Some(Instant::now());
            }
            let behind = match town.ask(&self.cluster).await {
                Ok(asked) => {
                    let mut behind = town.behind(&before.fleet, &asked.fleet, is_same);
                    if let Some(new) = new.filter(|_| behind.is_empty()) {
                        behind = not_opened_by(&asked.fleet, new)?;
                    }
                    if behind.is_empty() {
                        return Ok(asked);
                    }
                    behind
                }
                // The pod may be started again just now.
                Err(failure) => vec![failure.line],
            };
            let (name, behind) = (self.name, behind.join(", "));
            if began.elapsed() > PATIENCE {
                let line = format!(
                    "the {name} that is in the Secret {} is not in use everywhere after {} s: {behind}; see `arizuko secrets status` in the pod, and docs/kubernetes.md",
                    self.place(),
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
        }
    }
}

/// Whether the Secret is as `changes` make it.
fn holds(stored: &Stored, changes: &[Change<'_>]) -> bool {
    changes.iter().all(|change| match change {
        Change::Set(name, value) => {
            matches!(stored.value(name), Some(Ok(held)) if held.same_as(value))
        }
        Change::Remove(name) => !stored.has(name),
    })
}

/// The databases that `key` does not open.
fn not_opened_by(fleet: &Fleet, key: &Secret) -> Result<Vec<String>, Failure> {
    let id = key_id(key)?;
    if fleet.databases.is_empty() {
        return Ok(vec!["it is not known what opens the databases".into()]);
    }
    let without = fleet.databases.iter().filter(|database| !database.opened_by.contains(&id));
    Ok(without.map(|of| format!("{} is not sealed under it yet", of.database)).collect())
}

/// Makes sure that no other `SECRETS_KEY` than `key` opens any database.
fn opened_only_by(fleet: &Fleet, key: &Secret) -> Result<(), Failure> {
    let id = key_id(key)?;
    let is_only = |opened_by: &Vec<String>| opened_by.iter().all(|other| *other == id);
    match fleet.databases.iter().find(|database| !is_only(&database.opened_by)) {
        None => Ok(()),
        Some(database) => {
            let line = format!(
                "{} is still opened by an earlier SECRETS_KEY; run `arizuko secrets forget SECRETS_KEY`",
                database.database
            );
            Err(Failure::new(Exit::TryAgain, line))
        }
    }
}

/// How long a value took that was sent at `sent`, by this machine's clock.
fn latency(
    asked: &Asked,
    states: &[(Daemon, &proto::kit::SecretState)],
    sent: Timestamp,
) -> Option<Latency> {
    let files = states.iter().filter_map(|(_, state)| state.changed_at).max()?;
    let sent = sent.0.saturating_add(asked.ahead_ms);
    let uses = states.iter().filter_map(|(_, state)| Some(state.taken_at?.0 - state.changed_at?.0));
    let positive = |ms: i64| u64::try_from(ms).unwrap_or_default();
    Some(Latency {
        source_to_file_ms: positive(files.0.saturating_sub(sent)),
        file_to_last_use_ms: positive(uses.max().unwrap_or_default()),
    })
}

/// The same, as a command fails with it.
fn failure(trouble: Trouble) -> Failure {
    let (exit, hint) = match &trouble {
        Trouble::Kubeconfig(_) => {
            (Exit::Config, "; name another with KUBECONFIG, or a context with --kubernetes-context")
        }
        Trouble::Away { .. } => (Exit::Unavailable, "; see that it is there, and try again"),
        Trouble::Denied { .. } => (
            Exit::Permission,
            "; who changes secrets needs Secrets (get, patch), pods (list, patch) and pods/exec (get, create) there",
        ),
        Trouble::NoSecret(_) => (Exit::Data, "; deploy/kubernetes/make-secret makes one"),
        Trouble::Changed(_) => (Exit::TryAgain, "; try again"),
        Trouble::Refused { .. } => (Exit::Data, ""),
    };
    Failure::new(exit, format!("{}{hint}", kit::chain(&trouble)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::kit::SecretState;

    fn state(changed: Option<i64>, taken: i64) -> SecretState {
        SecretState {
            name: "KEY".into(),
            source: Some("file".into()),
            version: None,
            fingerprint: None,
            age_seconds: None,
            changed_at: changed.map(Timestamp),
            taken_at: Some(Timestamp(taken)),
            previous_accepted_until: None,
            last_checked: None,
            error: None,
        }
    }

    #[test]
    fn a_latency_is_told_by_the_clock_of_the_pod() {
        // The clock there is five seconds ahead.
        let asked = Asked { fleet: Fleet::default(), ahead_ms: 5000 };
        let (first, last) = (state(Some(106_300), 106_400), state(Some(106_600), 106_650));
        let states = [(Daemon::Routd, &first), (Daemon::Webd, &last)];
        let told = latency(&asked, &states, Timestamp(101_000)).unwrap();
        assert_eq!(told, Latency { source_to_file_ms: 600, file_to_last_use_ms: 100 });
        // Clocks that are told apart by less than they differ make nothing negative.
        let early = latency(&asked, &states, Timestamp(103_000)).unwrap();
        assert_eq!(early.source_to_file_ms, 0);
        let unsaid = state(None, 106_400);
        assert_eq!(latency(&asked, &[(Daemon::Routd, &unsaid)], Timestamp(0)), None);
    }

    #[test]
    fn a_failure_says_what_to_do_and_has_a_code_of_its_own() {
        let place: SecretName = "arizuko/arizuko".parse().unwrap();
        let denied = Trouble::Denied { what: "list pods".into(), said: "no".into() };
        for (trouble, code, words) in [
            (Trouble::NoSecret(place.clone()), 65, "make-secret"),
            (Trouble::Changed(place), 75, "try again"),
            (denied, 77, "pods/exec"),
            (Trouble::Away { url: "https://x".into(), source: "late".into() }, 69, "https://x"),
            (Trouble::Kubeconfig("none".into()), 78, "KUBECONFIG"),
        ] {
            let failure = failure(trouble);
            assert_eq!(failure.code, code, "{failure}");
            assert!(failure.line.contains(words), "{failure}");
        }
    }
}
