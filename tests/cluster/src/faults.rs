//! What goes wrong on the way to the API and back.

use rand::Rng;
use rand::rngs::StdRng;
use rand::{SeedableRng, seq::IndexedRandom};

/// Which share of runed's calls goes wrong, each in one of the ways.
#[derive(Debug)]
pub struct Faults {
    percent: u32,
    ways: Vec<Fault>,
    random: StdRng,
}

/// One way in which a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 429, with how long to wait.
    TooMany,
    /// 500, 503 or 504.
    Broken(u16),
    /// The connection is lost before anything is done.
    LostBefore,
    /// It is done, and the connection is lost before that is said.
    LostAfter,
    /// It is done, and nobody ever says so.
    Silent,
    /// A watch breaks off; another call is refused as with 503.
    WatchEnds,
    /// A watch is told that its version is gone; another call is refused as with 503.
    WatchGone,
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self { percent: 0, ways: Vec::new(), random: StdRng::seed_from_u64(0) }
    }

    /// So many of a hundred calls go wrong, in every way but silence, which takes too long.
    pub fn some(percent: u32, seed: u64) -> Self {
        let ways = vec![
            Fault::TooMany,
            Fault::Broken(500),
            Fault::Broken(503),
            Fault::Broken(504),
            Fault::LostBefore,
            Fault::LostAfter,
            Fault::WatchEnds,
            Fault::WatchGone,
        ];
        Self { percent, ways, random: StdRng::seed_from_u64(seed) }
    }

    /// Every call goes wrong in this way.
    pub fn all(way: Fault) -> Self {
        Self { percent: 100, ways: vec![way], random: StdRng::seed_from_u64(0) }
    }

    /// What goes wrong with the next call.
    pub fn fault(&mut self) -> Option<Fault> {
        if self.random.random_range(0..100) >= self.percent {
            return None;
        }
        self.ways.choose(&mut self.random).copied()
    }
}
