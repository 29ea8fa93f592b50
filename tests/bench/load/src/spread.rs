//! Many times, and what can be said of them.

use std::time::Duration;

/// Durations, in the order in which they were measured until they are asked about.
#[derive(Debug, Default)]
pub struct Spread(Vec<Duration>);

impl Spread {
    /// One more.
    pub fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// All of another.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What no more than this share of them exceeded, of a hundred.
    pub fn percentile(&mut self, share: usize) -> Duration {
        self.0.sort_unstable();
        let at = (self.0.len() * share).div_ceil(100).saturating_sub(1);
        self.0.get(at).copied().unwrap_or_default()
    }

    /// The usual three, in words.
    pub fn words(&mut self) -> String {
        let [half, most, all] = [50, 99, 100].map(|share| self.percentile(share));
        format!("p50 {half:.1?}, p99 {most:.1?}, max {all:.1?} of {}", self.len())
    }
}
