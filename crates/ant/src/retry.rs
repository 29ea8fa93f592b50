//! Waiting between tries: short at first, because a restart takes a moment, then longer.

use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const FIRST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_secs(2);

/// A series of pauses that ends at a limit.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    limit: Instant,
}

impl Pauses {
    pub fn until(limit: Instant) -> Self {
        Self { next: FIRST, limit }
    }

    /// Waits for the next try; false, at once, when the limit has been reached.
    pub async fn pause(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.limit {
            return false;
        }
        sleep_until(self.limit.min(now + self.next)).await;
        self.next = (self.next * 2).min(LONGEST);
        true
    }

    /// What is left until the limit, and at most `most`, for one try. Never nothing: a limit that
    /// has been reached still allows the one try that every call has.
    pub fn one_try(&self, most: Duration) -> Duration {
        let left = self.limit.saturating_duration_since(Instant::now());
        left.clamp(Duration::from_millis(250), most.max(Duration::from_millis(250)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_pauses_end_at_the_limit() {
        let limit = Instant::now() + Duration::from_millis(60);
        let mut pauses = Pauses::until(limit);
        let mut tries = 0;
        while pauses.pause().await {
            tries += 1;
        }
        assert!(Instant::now() >= limit);
        assert!((2..=3).contains(&tries), "25 ms, 35 ms to the limit, done: {tries}");
        assert!(pauses.one_try(Duration::from_secs(5)) > Duration::ZERO);
    }
}
