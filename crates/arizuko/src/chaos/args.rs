//! How large a run is to be.

use super::containers::Told;
use super::disk::Mounts;
use super::rotations::{From, Wanted};
use crate::failure::{Exit, Failure};
use crate::instance::Environment;
use clap::Args;

/// Messages and faults of a run that says nothing else: a minute or two on two cores.
const SHORT: (u32, u32) = (300, 30);
/// Those of `--long`: many hours, most of them spent on starting agents.
const LONG: (u32, u32) = (200_000, 2_000);

/// With `--long`, how often each secret rotates.
const LONG_ROTATIONS: u32 = 1_000;
/// Where secrets rotate, messages for each rotation of each, unless it is said how many.
const FOR_EACH_ROTATION: u32 = 3;

/// What runs the agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AgentsIn {
    /// Processes beside their shims.
    Process,
    /// Containers of the Docker engine, of the image that CONTAINER_IMAGE names.
    Docker,
}

/// How large a run is to be.
#[derive(Args, Clone, Debug)]
pub struct Chaos {
    /// How many messages are sent [default: 300, with --long 200000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub messages: Option<u32>,
    /// How many faults are injected [default: 30, with --long 2000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub faults: Option<u32>,
    /// What the faults are chosen by; the same seed chooses the same ones [default: random]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Two thousand faults over two hundred thousand messages; where secrets rotate, each a thousand times
    #[arg(long)]
    pub long: bool,
    /// Instead of faults: how often each secret rotates while messages are sent [with --long 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rotations: Option<u32>,
    /// Where the daemons read the secrets that rotate: `dotenv`, `directory` (one for each process, as the kubelet
    /// projects it), or the URL of a server as in SECRETS_SOURCES, whose entry is then written [default: dotenv]
    #[arg(long, value_name = "WHERE", value_parser = From::parse)]
    pub from: Option<From>,
    /// What runs the agents
    #[arg(long, value_enum, value_name = "BACKEND", default_value = "process")]
    pub backend: AgentsIn,
    /// Have one adapter break its word, to see that the ledger notices: this run must fail
    #[arg(long)]
    pub prove: bool,
    /// Set before the command runs, see [`Chaos::prepare`].
    #[arg(skip)]
    mounts: Mounts,
    /// Set with it.
    #[arg(skip)]
    told: Told,
}

/// What was decided.
#[derive(Clone, Debug)]
pub struct Size {
    /// Messages to send.
    pub messages: u32,
    /// Faults to inject.
    pub faults: u32,
    /// What everything random is made from.
    pub seed: u64,
    /// Whether an adapter breaks its word.
    pub prove: bool,
    /// Whether the program has mounts of its own.
    pub mounts: Mounts,
    /// Which secrets rotate, and how often.
    pub rotations: Option<Wanted>,
    /// What runs the agents.
    pub backend: AgentsIn,
}

impl Chaos {
    /// Leaves the machine's mounts where that is possible. To be called before anything made a thread.
    pub fn prepare(&mut self, environment: &Environment) {
        self.mounts = Mounts::leave();
        self.told = Told::of(environment);
    }

    /// What the environment says of the engine.
    pub const fn told(&self) -> &Told {
        &self.told
    }

    /// The size, with its defaults.
    ///
    /// # Errors
    /// Faults and rotations are asked for at once.
    pub fn size(&self) -> Result<Size, Failure> {
        let rotations = self.rotations()?;
        let (messages, faults) = match (&rotations, self.long) {
            (Some(wanted), _) => (wanted.count.saturating_mul(FOR_EACH_ROTATION), 0),
            (None, true) => LONG,
            (None, false) => SHORT,
        };
        Ok(Size {
            messages: self.messages.unwrap_or(messages),
            faults: self.faults.unwrap_or(faults),
            // Short enough to be typed again.
            seed: self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
            prove: self.prove,
            mounts: self.mounts,
            rotations,
            backend: self.backend,
        })
    }

    fn rotations(&self) -> Result<Option<Wanted>, Failure> {
        // `--from` alone asks for them too.
        let asked = self.rotations.is_some() || self.from.is_some();
        if !asked {
            return Ok(None);
        }
        if self.faults.is_some_and(|faults| faults > 0) {
            let line = "a rotation must fail nobody's request, and a fault does: --rotations goes with --faults 0";
            return Err(Failure::new(Exit::Usage, line));
        }
        let usual = if self.long { LONG_ROTATIONS } else { 100 };
        let count = self.rotations.unwrap_or(usual);
        Ok(Some(Wanted { count, from: self.from.clone().unwrap_or(From::Dotenv) }))
    }
}
