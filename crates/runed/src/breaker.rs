//! The breaker of a folder: after starts that failed, no more are tried for a while.
//!
//! What counts is a start that failed for a reason that may pass: the backend did not answer, a directory could not be
//! made, the launcher hung. A refusal is an answer and does not count, nor does anything that happened after the agent
//! ran: an agent that crashes has run, and a person who cancels has not failed. Any agent that ran closes it.

use proto::Timestamp;

/// Failed starts in a row that open it.
const THRESHOLD: u32 = 3;
/// How long it stays open the first time, in milliseconds. Each failed trial doubles it.
const PAUSE_MS: i64 = 30_000;
/// The longest it stays open, in milliseconds.
const PAUSE_MAX_MS: i64 = 600_000;

/// The breaker of one folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Failed starts in a row.
    pub failures: u32,
    /// Until when no start is tried.
    pub open_until: Timestamp,
}

impl Breaker {
    /// Whether a start may be tried; else, from when on.
    pub fn admits(self, now: Timestamp) -> Result<(), Timestamp> {
        // Once the pause is over one start is tried, and no second: a folder has one run at a time.
        // A pause that would be longer than the longest was begun by a clock that has been set back since.
        let pauses = now < self.open_until && self.open_until <= now.plus(PAUSE_MAX_MS);
        if pauses { Err(self.open_until) } else { Ok(()) }
    }

    /// After a start that failed.
    #[must_use]
    pub fn failed(self, now: Timestamp) -> Self {
        let failures = self.failures.saturating_add(1);
        let Some(beyond) = failures.checked_sub(THRESHOLD) else {
            return Self { failures, ..self };
        };
        let pause = PAUSE_MS.saturating_mul(1 << beyond.min(10)).min(PAUSE_MAX_MS);
        Self { failures, open_until: now.plus(pause) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_at_the_third_failure_and_lets_one_trial_through_after_each_pause() {
        let now = Timestamp(1_000);
        let twice = Breaker::default().failed(now).failed(now);
        assert_eq!(twice.admits(now), Ok(()), "two failures are bad luck");
        let open = twice.failed(now);
        assert_eq!(open.admits(now), Err(now.plus(PAUSE_MS)));
        assert_eq!(open.admits(now.plus(-3_600_000)), Ok(()), "a clock set back holds up nobody");
        assert_eq!(open.admits(now.plus(PAUSE_MS)), Ok(()));
        let again = open.failed(now.plus(PAUSE_MS));
        assert_eq!(again.open_until, now.plus(3 * PAUSE_MS), "the second pause is twice as long");
        let long = (0..60).fold(again, |breaker, _| breaker.failed(now));
        assert_eq!(long.open_until, now.plus(PAUSE_MAX_MS), "and none is longer than the longest");
    }
}
