//! How large a run is to be.

use super::disk::Mounts;
use clap::Args;

/// Messages and faults of a run that says nothing else: a minute or two on two cores.
const SHORT: (u32, u32) = (300, 30);
/// Those of `--long`: many hours, most of them spent on starting agents.
const LONG: (u32, u32) = (200_000, 2_000);

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
    /// Two thousand faults over two hundred thousand messages
    #[arg(long)]
    pub long: bool,
    /// Have one adapter break its word, to see that the ledger notices: this run must fail
    #[arg(long)]
    pub prove: bool,
    /// Set before the command runs, see [`Chaos::prepare`].
    #[arg(skip)]
    mounts: Mounts,
}

/// What was decided.
#[derive(Clone, Copy, Debug)]
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
}

impl Chaos {
    /// Leaves the machine's mounts where that is possible. To be called before anything made a thread.
    pub fn prepare(&mut self) {
        self.mounts = Mounts::leave();
    }

    /// The size, with its defaults.
    pub fn size(&self) -> Size {
        let (messages, faults) = if self.long { LONG } else { SHORT };
        Size {
            messages: self.messages.unwrap_or(messages),
            faults: self.faults.unwrap_or(faults),
            // Short enough to be typed again.
            seed: self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
            prove: self.prove,
            mounts: self.mounts,
        }
    }
}
