//! How long the work may take: the turn's deadline, on a clock that cannot be set back.

use proto::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The two ends of a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// When the harness must have ended.
    pub work: Instant,
    /// The deadline itself: until then the result is posted.
    pub end: Instant,
}

impl Budget {
    /// The budget of a turn that ends at `deadline`.
    pub fn until(deadline: Timestamp) -> Self {
        let left =
            Duration::from_millis(u64::try_from(deadline.0.saturating_sub(now())).unwrap_or(0));
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
            let budget = Budget::until(Timestamp(past));
            assert!(budget.work <= budget.end && budget.end <= Instant::now());
        }
    }
}
