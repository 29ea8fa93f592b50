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

/// Seconds.
pub const HOUR: i64 = 3_600;

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
    /// For so many milliseconds the disk is full; where it cannot be, this daemon's files grow no more.
    DiskFull(Daemon, u64),
    /// The daemons' clock is set to so many seconds from the machine's, and stays there until the next of these.
    Clock(i64),
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
    /// The process that runed has put beside an agent.
    Shim,
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
            Victim::Shim => "shim",
        };
        match self {
            Self::Kill(victim) => format!("kill:{}", of(victim)),
            Self::KillBoth(..) => "kill:two".into(),
            Self::KillStarting(daemon, _) => format!("kill-starting:{daemon}"),
            Self::Stop(victim, _) => format!("stop:{}", of(victim)),
            Self::DiskFull(daemon, _) => format!("disk-full:{daemon}"),
            Self::Clock(seconds) => super::clock::words(seconds),
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
        0..28 => Fault::Kill(Victim::Daemon(daemon(random, &VICTIMS))),
        28..36 => Fault::Kill(Victim::Agent),
        36..40 => Fault::Kill(Victim::Shim),
        40..46 => {
            let first = daemon(random, &VICTIMS);
            // Another one: the list has others after every entry.
            let mut second = daemon(random, &VICTIMS);
            while second == first {
                second = daemon(random, &VICTIMS);
            }
            Fault::KillBoth(first, second)
        }
        46..54 => Fault::KillStarting(daemon(random, &VICTIMS), random.random_range(0..400)),
        54..64 => {
            let victim = Victim::Daemon(daemon(random, &VICTIMS));
            Fault::Stop(victim, random.random_range(100..LONGEST))
        }
        64..67 => Fault::Stop(Victim::Agent, random.random_range(100..LONGEST)),
        67..68 => Fault::Stop(Victim::Shim, random.random_range(100..LONGEST)),
        68..76 => Fault::DiskFull(daemon(random, &WRITERS), random.random_range(100..LONGEST)),
        76..82 => Fault::Clock(hours(random) * HOUR),
        _ => Fault::Platform(lie(random)),
    }
}

/// Where the clock is set to: right again as often as back, or forward.
fn hours(random: &mut StdRng) -> i64 {
    match random.random_range(0..3) {
        0 => 0,
        1 => -random.random_range(1..6),
        _ => random.random_range(1..6),
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
        for kind in ["kill:agent", "stop:agent", "kill:shim", "stop:shim", "kill:two"] {
            assert!(kinds.contains(kind), "{kind}");
        }
        for kind in ["disk-full:routd", "clock:back", "clock:forward", "clock:right-again"] {
            assert!(kinds.contains(kind), "{kind}");
        }
        for lie in ["sent-then-dropped", "dropped", "429", "503", "slow"] {
            assert!(kinds.contains(&format!("platform:{lie}")), "{lie}");
        }
        let same = |fault: &Fault| matches!(fault, Fault::KillBoth(one, other) if one == other);
        assert!(!plan(1, 2_000).iter().any(same));
    }
}
