//! Doing what the plan says, and remembering when.

use super::{
    clock,
    disk::Disk,
    faults::{Fault, Victim},
    fleet::{Fleet, fill_disk, signal},
    platform::Platform,
};
use crate::failure::Failure;
use kit::Clock;
use proto::Daemon;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rustix::process::{Pid, Signal};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long an agent is waited for that is to be met.
const AGENT_MAX: Duration = Duration::from_secs(3);

/// Something that was done to the suite.
#[derive(Clone, Debug)]
pub struct Happened {
    /// When it began, in milliseconds since 1970.
    pub at: i64,
    /// What.
    pub fault: Fault,
    /// Whether it was the whole disk that was full.
    pub whole: bool,
}

/// Injects faults.
pub struct Injector {
    platform: Arc<Platform>,
    random: StdRng,
    clock: Clock,
    happened: Vec<Happened>,
    counts: BTreeMap<String, u32>,
    ready: BTreeMap<Daemon, Vec<Duration>>,
    deaths: Vec<String>,
}

impl Injector {
    /// Nothing has happened yet.
    pub fn new(platform: Arc<Platform>, seed: u64) -> Self {
        Self {
            platform,
            random: StdRng::seed_from_u64(seed ^ 1),
            clock: Clock::real(),
            happened: Vec::new(),
            counts: BTreeMap::new(),
            ready: BTreeMap::new(),
            deaths: Vec::new(),
        }
    }

    /// What was done, in order.
    pub fn happened(&self) -> &[Happened] {
        &self.happened
    }

    /// How often each kind of fault was injected.
    pub const fn counts(&self) -> &BTreeMap<String, u32> {
        &self.counts
    }

    /// How long each restart took, from SIGKILL to ready.
    pub const fn ready_times(&self) -> &BTreeMap<Daemon, Vec<Duration>> {
        &self.ready
    }

    /// Daemons that ended by themselves.
    pub fn deaths(&self) -> &[String] {
        &self.deaths
    }

    /// Injects one fault, and sees to it that everything runs again.
    ///
    /// # Errors
    /// A daemon does not come back.
    pub async fn inject(
        &mut self,
        fleet: &mut Fleet,
        disk: Option<&Disk>,
        fault: &Fault,
    ) -> Result<(), Failure> {
        self.bury(fleet).await?;
        let mut name = fault.name();
        if fleet.is_contained() {
            // What stands beside an agent is the first process of its container: with it, all of it ends.
            name = name.replace("shim", "container");
        }
        let at = self.clock.now().0;
        self.happened.push(Happened { at, fault: *fault, whole: disk.is_some() });
        tracing::debug!(name, "a fault");
        match *fault {
            Fault::Kill(Victim::Daemon(daemon)) => self.restart(fleet, daemon).await?,
            Fault::Kill(victim @ (Victim::Agent | Victim::Shim)) => {
                match self.of_a_run(fleet, victim).await {
                    Some(process) => {
                        // It may have ended in between.
                        let _met = signal(process, Signal::KILL);
                    }
                    None => name.push_str(" (none ran)"),
                }
            }
            Fault::KillBoth(one, other) => {
                for daemon in [one, other] {
                    fleet.kill(daemon).await?;
                }
                // Both before either is waited for: nobody is ready without authd.
                for daemon in [one, other] {
                    fleet.spawn(daemon)?;
                }
                for daemon in [one, other] {
                    fleet.ready(daemon).await?;
                }
            }
            Fault::KillStarting(daemon, milliseconds) => {
                fleet.kill(daemon).await?;
                fleet.spawn(daemon)?;
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                self.restart(fleet, daemon).await?;
            }
            Fault::Stop(victim, milliseconds) => {
                let pid = match victim {
                    Victim::Daemon(daemon) => fleet.pid(daemon),
                    Victim::Agent | Victim::Shim => self.of_a_run(fleet, victim).await,
                };
                match pid {
                    Some(pid) => stopped(pid, milliseconds).await,
                    None => name.push_str(" (none ran)"),
                }
            }
            Fault::DiskFull(daemon, milliseconds) => {
                name = full_disk(fleet, disk, daemon, milliseconds).await;
            }
            Fault::Clock(seconds) => match fleet.set_clock(seconds) {
                true => tokio::time::sleep(clock::SEEN).await,
                false => name = "clock (not installed)".into(),
            },
            Fault::Platform(lie) => self.platform.lie(lie),
        }
        *self.counts.entry(name).or_default() += 1;
        self.bury(fleet).await
    }

    async fn restart(&mut self, fleet: &mut Fleet, daemon: Daemon) -> Result<(), Failure> {
        let took = fleet.restart(daemon).await?;
        self.ready.entry(daemon).or_default().push(took);
        Ok(())
    }

    /// Starts again what ended without having been asked to. That is a finding of its own.
    async fn bury(&mut self, fleet: &mut Fleet) -> Result<(), Failure> {
        for (daemon, status) in fleet.ended() {
            let after = self.happened.last().map_or_else(String::new, |last| last.fault.name());
            self.deaths.push(format!("{daemon} ended by itself ({status}), last fault {after}"));
            fleet.restart(daemon).await?;
        }
        Ok(())
    }

    /// A process of one of the runs of this moment, waited for.
    async fn of_a_run(&mut self, fleet: &Fleet, victim: Victim) -> Option<Pid> {
        let deadline = Instant::now() + AGENT_MAX;
        while Instant::now() < deadline {
            let agents = if victim == Victim::Shim { fleet.shims() } else { fleet.agents() };
            if let Some(agent) = agents.choose(&mut self.random) {
                // Not always in its first moment.
                let into = Duration::from_millis(self.random.random_range(0..60));
                tokio::time::sleep(into).await;
                return Some(*agent);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        None
    }
}

/// Has the disk be full for a while; how that was done.
async fn full_disk(
    fleet: &Fleet,
    disk: Option<&Disk>,
    daemon: Daemon,
    milliseconds: u64,
) -> String {
    let while_full = tokio::time::sleep(Duration::from_millis(milliseconds));
    if let Some(disk) = disk {
        let full = disk.fill();
        while_full.await;
        return match (full, disk.free()) {
            (true, true) => "disk-full".into(),
            _ => "disk-full (not possible here)".into(),
        };
    }
    let pid = fleet.pid(daemon);
    if !pid.is_some_and(|pid| fill_disk(pid, true)) {
        return "disk-full (not possible here)".into();
    }
    while_full.await;
    // A daemon that ended because of it is found by the next look.
    let _there = pid.is_some_and(|pid| fill_disk(pid, false));
    format!("disk-full:{daemon} (as a limit)")
}

async fn stopped(pid: Pid, milliseconds: u64) {
    if signal(pid, Signal::STOP) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        // Somebody may have ended it meanwhile.
        let _there = signal(pid, Signal::CONT);
    }
}
