//! How long the work may take: the turn's deadline, on a clock that cannot be set back.

use proto::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The longest budget, in milliseconds: a year.
const LONGEST_MS: u64 = 365 * 24 * 3_600 * 1_000;

/// The two ends of a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// When the harness must have ended.
    pub work: Instant,
    /// The deadline itself: until then the result is posted.
    pub end: Instant,
}

impl Budget {
    /// The budget of a turn that ends in so many milliseconds; where a routd of an earlier release does not say, at
    /// `deadline` by the time of day here.
    pub fn of(time_left_ms: Option<u64>, deadline: Timestamp) -> Self {
        let by_the_clock = || u64::try_from(deadline.0.saturating_sub(now())).unwrap_or(0);
        // No turn lasts for years, and a moment that is too far away is no moment.
        let left = time_left_ms.unwrap_or_else(by_the_clock).min(LONGEST_MS);
        let left = Duration::from_millis(left);
        let start = Instant::now();
        Self { work: start + (left - margin(left)), end: start + left }
    }
}

/// What is kept of `left` for the result: a tenth, within reason.
fn margin(left: Duration) -> Duration {
    (left / 10).clamp(Duration::from_millis(200), Duration::from_secs(10)).min(left)
}

/// Milliseconds since 1970. The deadline is a time of day, so the time of day is asked once.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that asks the time")]
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_time_is_kept_for_the_result_and_a_past_deadline_is_no_panic() {
        assert_eq!(margin(Duration::from_secs(900)), Duration::from_secs(10));
        assert_eq!(margin(Duration::from_secs(20)), Duration::from_secs(2));
        assert_eq!(margin(Duration::from_secs(1)), Duration::from_millis(200));
        assert_eq!(margin(Duration::ZERO), Duration::ZERO);
        for past in [0, i64::MIN / 2, now() - 1] {
            let budget = Budget::of(None, Timestamp(past));
            assert!(budget.work <= budget.end && budget.end <= Instant::now());
        }
    }

    #[test]
    fn a_clock_that_is_hours_off_takes_no_time_from_a_turn() {
        let minute = Duration::from_secs(60);
        for off in [-7_200_000, 7_200_000, i64::MIN / 2, i64::MAX / 2] {
            let before = Instant::now();
            let budget = Budget::of(Some(60_000), Timestamp(now().saturating_add(off)));
            assert!(budget.end >= before + minute && budget.end <= Instant::now() + minute);
        }
        let _no_panic = Budget::of(Some(u64::MAX), Timestamp(0));
    }
}
