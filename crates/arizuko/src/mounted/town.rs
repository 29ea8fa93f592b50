//! The pods that mount a secret, and the daemons in them.

use super::failure;
use crate::{
    daemons::PROGRAMS,
    failure::{Exit, Failure},
    fleet::Fleet,
};
use proto::{Daemon, kit::SecretState};
use provider_kubernetes::{Cluster, Held, Holder, MountingPod, Program};
use secrets::Name;
use std::{collections::BTreeSet, time::Duration};

/// How long a command in a pod may take.
const COMMAND: Duration = Duration::from_secs(30);
/// How long forgetting may take there: it waits for daemons that do not answer.
const FORGET: Duration = Duration::from_secs(90);

/// The pods that mount a secret, and who uses it there.
#[derive(Debug)]
pub struct Town {
    pods: Vec<MountingPod>,
    /// A container in which the operator's command reaches every daemon: its pod, and its name.
    desk: Option<(String, String)>,
    /// Each daemon that may use it, and the name under which it finds it.
    users: BTreeSet<(Daemon, Name)>,
}

/// What the daemons said.
#[derive(Debug)]
pub struct Asked {
    pub fleet: Fleet,
    /// How far the clock there is ahead of the one here.
    pub ahead_ms: i64,
}

impl Town {
    /// Looks for the pods that mount `name`.
    ///
    /// # Errors
    /// One has it where it never changes.
    pub async fn find(cluster: &Cluster, name: &Name) -> Result<Self, Failure> {
        let pods = cluster.pods(name).await.map_err(failure)?;
        let mut users = BTreeSet::new();
        for (pod, holder) in holders(&pods) {
            for sight in &holder.sights {
                let what = match sight.held {
                    Held::File => {
                        // What is no name of a secret is somebody else's file.
                        if let Ok(name) = sight.name.parse::<Name>() {
                            let ours = daemons(holder).into_iter();
                            users.extend(ours.map(|daemon| (daemon, name.clone())));
                        }
                        continue;
                    }
                    Held::Variable => "a variable of its environment",
                    Held::SubPath => "a file that is mounted by subPath",
                };
                let line = format!(
                    "the container {} of the pod {} has {name} as {what}, which never changes while it runs; mount the Secret as a directory, as deploy/kubernetes does, or write it with `kubectl` and restart the pod",
                    holder.container, pod.name
                );
                return Err(Failure::new(Exit::Config, line));
            }
        }
        let desk = desk(&pods);
        Ok(Self { pods, desk, users })
    }

    /// Whether no pod has anything of the Secret.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// The names of the pods.
    pub fn pods(&self) -> Vec<String> {
        self.pods.iter().map(|pod| pod.name.clone()).collect()
    }

    /// Whether this user may do what [`Self::touch`] does.
    pub async fn may_touch(&self, cluster: &Cluster) -> Result<(), Failure> {
        for pod in &self.pods {
            cluster.may_touch(&pod.name).await.map_err(failure)?;
        }
        Ok(())
    }

    /// Has the kubelets look at the pods' volumes now.
    pub async fn touch(&self, cluster: &Cluster) -> Result<(), Failure> {
        let now = kit::Clock::real().now();
        for pod in &self.pods {
            cluster.touch(&pod.name, now.0).await.map_err(failure)?;
        }
        Ok(())
    }

    async fn run(
        &self,
        cluster: &Cluster,
        words: &[&str],
        patience: Duration,
    ) -> Result<provider_kubernetes::Ran, Failure> {
        let Some((pod, container)) = &self.desk else {
            let line = "no pod that mounts it runs authd, so that nobody can be asked; see `kubectl get pods`";
            return Err(Failure::new(Exit::Unavailable, line));
        };
        let command: Vec<&str> =
            ["arizuko", "--json"].into_iter().chain(words.iter().copied()).collect();
        cluster.run(pod, container, &command, patience).await.map_err(failure)
    }

    /// Asks every daemon what it has.
    pub async fn ask(&self, cluster: &Cluster) -> Result<Asked, Failure> {
        let before = kit::Clock::real().now();
        let ran = self.run(cluster, &["secrets", "status"], COMMAND).await?;
        let here = i64::midpoint(before.0, kit::Clock::real().now().0);
        // That some did not answer makes it fail, and is a part of what it says.
        let fleet: Fleet = serde_json::from_str(&ran.out).map_err(|_| {
            let said = ran.errors.trim().trim_start_matches("arizuko: ");
            Failure::new(Exit::Unavailable, format!("the command in the pod says: {said}"))
        })?;
        let ahead_ms = fleet.asked_at.map_or(0, |there| there.0 - here);
        Ok(Asked { fleet, ahead_ms })
    }

    /// Has every daemon accept the current value alone.
    pub async fn forget(&self, cluster: &Cluster) -> Result<(), Failure> {
        let names: BTreeSet<&Name> = self.users.iter().map(|(_, name)| name).collect();
        for name in names {
            let ran = self.run(cluster, &["secrets", "forget", name.as_str()], FORGET).await?;
            if !ran.ok {
                let said = ran.errors.trim().trim_start_matches("arizuko: ").to_owned();
                return Err(Failure::new(Exit::Unavailable, said));
            }
        }
        Ok(())
    }

    /// What each daemon that uses the secret says of it.
    pub fn states<'a>(&self, fleet: &'a Fleet) -> Vec<(Daemon, &'a SecretState)> {
        let said = |(daemon, name): &(Daemon, Name)| Some((*daemon, fleet.said_of(*daemon, name)?));
        self.users.iter().filter_map(said).collect()
    }

    /// The daemons that use the secret.
    pub fn daemons(&self, fleet: &Fleet) -> Vec<Daemon> {
        let has =
            |(daemon, state): (Daemon, &SecretState)| state.source.is_some().then_some(daemon);
        let all: BTreeSet<Daemon> = self.states(fleet).into_iter().filter_map(has).collect();
        all.into_iter().collect()
    }

    /// What is wrong with the secret where it is used.
    pub fn errors(&self, fleet: &Fleet) -> Vec<String> {
        let wrong = |(daemon, state): (Daemon, &SecretState)| {
            Some(format!("{daemon}: {}", state.error.as_ref()?))
        };
        self.states(fleet).into_iter().filter_map(wrong).collect()
    }

    /// Whether every daemon that may use the secret answered.
    pub fn whole(&self, fleet: &Fleet) -> Result<(), Failure> {
        let ours = fleet
            .unreachable
            .iter()
            .filter(|(daemon, _)| self.users.iter().any(|(of, _)| of == *daemon));
        let said: Vec<String> =
            ours.map(|(daemon, why)| format!("{daemon} did not answer: {why}")).collect();
        if said.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Unavailable, said.join("; "))) }
    }

    /// The daemons that have what they had before.
    pub fn behind(
        &self,
        before: &Fleet,
        now: &Fleet,
        is_same: impl Fn(&SecretState, &SecretState) -> bool,
    ) -> Vec<String> {
        let mut behind = Vec::new();
        for (daemon, name) in &self.users {
            // It was away before, and takes what is there when it comes back.
            if before.unreachable.contains_key(daemon) || before.not_running.contains(daemon) {
                continue;
            }
            if let Some(why) = now.unreachable.get(daemon) {
                behind.push(format!("{daemon} does not answer ({why})"));
                continue;
            }
            // Who has no use for it has it all the same where the whole Secret is mounted.
            let Some(state) = now.said_of(*daemon, name) else { continue };
            let old = before.said_of(*daemon, name);
            if let Some(error) = &state.error {
                behind.push(format!("{daemon} ({error})"));
            } else if state.source.is_none() {
                behind.push(format!("{daemon} has none yet"));
            } else if old.is_some_and(|old| old.source.is_some() && is_same(old, state)) {
                behind.push(format!("{daemon} has the old one"));
            }
        }
        behind
    }
}

fn holders(pods: &[MountingPod]) -> impl Iterator<Item = (&MountingPod, &Holder)> {
    pods.iter().flat_map(|pod| pod.holders.iter().map(move |holder| (pod, holder)))
}

fn daemons(holder: &Holder) -> Vec<Daemon> {
    match &holder.program {
        Program::Up => PROGRAMS.iter().map(|program| program.daemon).collect(),
        Program::Named(name) => name.parse().ok().into_iter().collect(),
    }
}

fn desk(pods: &[MountingPod]) -> Option<(String, String)> {
    let is_desk = |holder: &Holder| daemons(holder).contains(&Daemon::Authd);
    let mut found = holders(pods).filter(|(pod, holder)| pod.runs && is_desk(holder));
    found.next().map(|(pod, holder)| (pod.name.clone(), holder.container.clone()))
}
