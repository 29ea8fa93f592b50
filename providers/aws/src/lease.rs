//! When credentials are exchanged anew. Pure: the time and the chance are given.

use std::time::{Duration, SystemTime};

/// How long credentials count as good where neither their end nor the server's time is told.
const LIFE_UNKNOWN: Duration = Duration::from_secs(15 * 60);

/// The longest wait before another attempt.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long credentials that end at `end` live from `now` on, both in the server's time.
pub(crate) fn life(end: SystemTime, now: Option<SystemTime>) -> Duration {
    now.map_or(LIFE_UNKNOWN, |now| end.duration_since(now).unwrap_or_default())
}

/// After how much of its `life` a set is exchanged: two thirds, up to a fifth of that sooner, so that many processes
/// that began together do not ask together. `chance` is from 0 to 1.
pub(crate) fn due(life: Duration, chance: f64) -> Duration {
    life.mul_f64(2.0 / 3.0 * (1.0 - 0.2 * chance.clamp(0.0, 1.0)))
}

/// How long to wait after an exchange failed, where the credentials at hand are good for `left`; `None` where they are
/// not.
pub(crate) fn pause(left: Option<Duration>) -> Option<Duration> {
    match left {
        Some(left) if left.is_zero() => None,
        Some(left) => Some((left / 4).min(PAUSE_MAX)),
        None => Some(PAUSE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_comes_well_before_the_end_and_at_no_common_time() {
        let hour = Duration::from_secs(3600);
        let now = SystemTime::UNIX_EPOCH + hour;
        assert_eq!(life(now + hour, Some(now)), hour);
        assert_eq!(life(now - hour, Some(now)), Duration::ZERO);
        assert_eq!(life(now, None), LIFE_UNKNOWN);
        let (latest, earliest) = (due(hour, 0.0), due(hour, 1.0));
        assert!(latest <= Duration::from_secs(2400) && earliest >= Duration::from_secs(1919));
        assert!(latest.as_secs_f64() - earliest.as_secs_f64() >= latest.as_secs_f64() * 0.19);
    }

    #[test]
    fn while_they_are_good_a_failure_only_puts_it_off() {
        assert_eq!(pause(Some(Duration::from_secs(40))), Some(Duration::from_secs(10)));
        assert_eq!(pause(Some(Duration::from_secs(4000))), Some(PAUSE_MAX));
        assert_eq!(pause(None), Some(PAUSE_MAX));
        assert_eq!(pause(Some(Duration::ZERO)), None);
    }
}
