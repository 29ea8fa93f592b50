//! Which faults, in which order. Pure: the same seed is the same plan.

use proto::Daemon;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// The daemons that are injured. `routd` owns the messages, so that it is met twice as often.
const VICTIMS: [Daemon; 6] =
    [Daemon::Routd, Daemon::Routd, Daemon::Runed, Daemon::Webd, Daemon::Proxyd, Daemon::Authd];
/// Those that write to a disk.
const WRITERS: [Daemon; 4] = [Daemon::Routd, Daemon::Routd, Daemon::Runed, Daemon::Authd];
/// The longest that a process is stopped, or a disk is full, in milliseconds.
const LONGEST: u64 = 3_000;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, then a restart.
    Kill(Victim),
    /// SIGKILL of two at once, then a restart of both.
    KillBoth(Daemon, Daemon),
    /// SIGKILL, a restart, and SIGKILL again so many milliseconds into that start.
    KillStarting(Daemon, u64),
    /// SIGSTOP, and SIGCONT after so many milliseconds.
    Stop(Victim, u64),
    /// For so many milliseconds, files grow no more.
    DiskFull(Daemon, u64),
    /// The chat platform answers its next request with this.
    Platform(Lie),
}

/// Who is injured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// A daemon.
    Daemon(Daemon),
    /// One process of an agent that runs at that moment.
    Agent,
}

/// What a platform does instead of sending and saying so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It sends, and drops the connection.
    SentThenDropped,
    /// It drops the connection without having sent.
    Dropped,
    /// It answers 429 with Retry-After, and sends nothing.
    Limited,
    /// It answers 503, and sends nothing.
    Broken,
    /// It sends, and answers after so many milliseconds.
    Slow(u64),
}

impl Lie {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SentThenDropped => "platform:sent-then-dropped",
            Self::Dropped => "platform:dropped",
            Self::Limited => "platform:429",
            Self::Broken => "platform:503",
            Self::Slow(_) => "platform:slow",
        }
    }

    /// Whether it leaves the caller not knowing.
    pub const fn leaves_doubt(self) -> bool {
        matches!(self, Self::SentThenDropped | Self::Dropped)
    }
}

impl Fault {
    /// Its name in reports.
    pub fn name(self) -> String {
        let of = |victim| match victim {
            Victim::Daemon(daemon) => daemon.name(),
            Victim::Agent => "agent",
        };
        match self {
            Self::Kill(victim) => format!("kill:{}", of(victim)),
            Self::KillBoth(..) => "kill:two".into(),
            Self::KillStarting(daemon, _) => format!("kill-starting:{daemon}"),
            Self::Stop(victim, _) => format!("stop:{}", of(victim)),
            Self::DiskFull(daemon, _) => format!("disk-full:{daemon}"),
            Self::Platform(lie) => lie.name().into(),
        }
    }
}

/// The faults of a run.
pub fn plan(seed: u64, count: u32) -> Vec<Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|_| one(&mut random)).collect()
}

fn one(random: &mut StdRng) -> Fault {
    let daemon = |random: &mut StdRng, of: &[Daemon]| *of.choose(random).unwrap_or(&Daemon::Routd);
    match random.random_range(0..100) {
        0..32 => Fault::Kill(Victim::Daemon(daemon(random, &VICTIMS))),
        32..42 => Fault::Kill(Victim::Agent),
        42..48 => {
            let first = daemon(random, &VICTIMS);
            // Another one: the list has others after every entry.
            let mut second = daemon(random, &VICTIMS);
            while second == first {
                second = daemon(random, &VICTIMS);
            }
            Fault::KillBoth(first, second)
        }
        48..56 => Fault::KillStarting(daemon(random, &VICTIMS), random.random_range(0..400)),
        56..68 => {
            let victim = Victim::Daemon(daemon(random, &VICTIMS));
            Fault::Stop(victim, random.random_range(100..LONGEST))
        }
        68..72 => Fault::Stop(Victim::Agent, random.random_range(100..LONGEST)),
        72..80 => Fault::DiskFull(daemon(random, &WRITERS), random.random_range(100..LONGEST)),
        _ => Fault::Platform(lie(random)),
    }
}

fn lie(random: &mut StdRng) -> Lie {
    match random.random_range(0..6) {
        0 | 1 => Lie::SentThenDropped,
        2 => Lie::Dropped,
        3 => Lie::Limited,
        4 => Lie::Broken,
        _ => Lie::Slow(random.random_range(500..4_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(plan(7, 500), plan(7, 500));
        assert_eq!(plan(7, 500)[..30], plan(7, 30)[..], "a longer run begins alike");
        assert_ne!(plan(7, 30), plan(8, 30));
    }

    #[test]
    fn a_long_plan_has_every_kind_of_fault() {
        let kinds: BTreeSet<String> = plan(1, 2_000).into_iter().map(Fault::name).collect();
        for daemon in ["routd", "runed", "webd", "proxyd", "authd"] {
            for kind in ["kill", "kill-starting", "stop"] {
                assert!(kinds.contains(&format!("{kind}:{daemon}")), "{kind}:{daemon}");
            }
        }
        for kind in ["kill:agent", "stop:agent", "kill:two", "disk-full:routd"] {
            assert!(kinds.contains(kind), "{kind}");
        }
        for lie in ["sent-then-dropped", "dropped", "429", "503", "slow"] {
            assert!(kinds.contains(&format!("platform:{lie}")), "{lie}");
        }
        let same = |fault: &Fault| matches!(fault, Fault::KillBoth(one, other) if one == other);
        assert!(!plan(1, 2_000).iter().any(same));
    }
}
