//! How many calls may be made in an hour. Pure: the time is given.

use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// A bucket that begins with a quarter of the hour's calls and is filled with the other three
/// quarters over the hour, so that no hour has more than all of them.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    room: f64,
    per_second: f64,
    left: f64,
    /// When `left` was counted, since the beginning of this budget's time.
    counted: Duration,
}

impl Budget {
    /// At most `calls` in any hour.
    #[must_use]
    pub fn new(calls: u32) -> Self {
        let room = (f64::from(calls) / 4.0).floor().max(1.0);
        let per_second = (f64::from(calls) - room) / HOUR.as_secs_f64();
        Self { room, per_second, left: room, counted: Duration::ZERO }
    }

    /// Takes one call at `now`, counted since this budget began.
    ///
    /// # Errors
    /// How long to wait for the next, where none is left.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.counted).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.room);
        self.counted = self.counted.max(now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.left) / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hour_has_more_calls_than_it_may() {
        let mut budget = Budget::new(1_800);
        let mut made = Vec::new();
        for tenth in 0..3 * 36_000_u64 {
            let now = Duration::from_millis(tenth * 100);
            if budget.take(now).is_ok() {
                made.push(now);
            }
        }
        for (at, first) in made.iter().enumerate() {
            let within = made.iter().skip(at).take_while(|call| **call < *first + HOUR);
            assert!(within.count() <= 1_800);
        }
        assert!(made.len() > 3_900, "it is filled again: {}", made.len());
    }

    #[test]
    fn who_comes_too_early_is_told_how_long_to_wait() {
        let mut budget = Budget::new(60);
        let spent = (0..).take_while(|_| budget.take(Duration::ZERO).is_ok()).count();
        assert_eq!(spent, 15);
        let wait = budget.take(Duration::ZERO).unwrap_err();
        assert!(budget.take(wait.mul_f64(0.9)).is_err());
        assert!(budget.take(wait.mul_f64(1.01)).is_ok());
    }
}
