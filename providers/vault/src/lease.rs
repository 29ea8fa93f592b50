//! When a token is renewed, and when a fresh login is better. Pure: what is random is given.

use std::time::Duration;

/// The life of a token, as the server gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// How long it lives from now; nothing where it never ends.
    pub(crate) ttl: Duration,
    /// How long it lived when it was new.
    pub(crate) first: Duration,
    pub(crate) is_renewable: bool,
}

/// What to do with a token before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Have its life prolonged.
    Renew,
    /// Get another one.
    Login,
}

impl Lease {
    /// What to do, and how long from now: at two thirds of its life, a little earlier by `dice`,
    /// which is between 0 and 1. `None` where nothing is to be done.
    ///
    /// A server prolongs no token past its `max_ttl`: it gives less and less and says that all went
    /// well. So once it gives less than half of what it gave at first, it is time for a login.
    pub(crate) fn next(&self, can_login: bool, dice: f64) -> Option<(Duration, Step)> {
        if self.ttl.is_zero() {
            return None;
        }
        let at = self.ttl.mul_f64(2.0 / 3.0 * (1.0 - dice.clamp(0.0, 1.0) / 5.0));
        let is_capped = self.ttl * 2 < self.first;
        match (self.is_renewable && !is_capped, can_login) {
            (true, _) => Some((at, Step::Renew)),
            (false, true) => Some((at, Step::Login)),
            (false, false) if self.is_renewable => Some((at, Step::Renew)),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_token_is_renewed_at_two_thirds_until_that_gives_it_nothing() {
        let lease = Lease { ttl: HOUR, first: HOUR, is_renewable: true };
        assert_eq!(lease.next(true, 0.0), Some((HOUR.mul_f64(2.0 / 3.0), Step::Renew)));
        let (early, _) = lease.next(true, 1.0).unwrap();
        assert!(early < HOUR.mul_f64(0.54) && early > HOUR.mul_f64(0.53), "{early:?}");
        let capped = Lease { ttl: HOUR / 3, ..lease };
        assert_eq!(capped.next(true, 0.5).unwrap().1, Step::Login);
        assert_eq!(capped.next(false, 0.5).unwrap().1, Step::Renew, "there is nothing better");
        let fixed = Lease { is_renewable: false, ..lease };
        assert_eq!(fixed.next(true, 0.5).unwrap().1, Step::Login);
        assert_eq!(fixed.next(false, 0.5), None);
        let endless = Lease { ttl: Duration::ZERO, ..lease };
        assert_eq!(endless.next(true, 0.5), None, "a root token does not end");
    }
}
