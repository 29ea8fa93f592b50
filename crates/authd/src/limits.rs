//! How often one address may be refused.
//!
//! The limit protects the sources of secrets, which are looked at again before a refusal. It is not what keeps guesses out: a service key has 256
//! random bits. So it never stands in the way of a key that is good, and one broken daemon cannot
//! lock out the others that share its address.

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

/// Refusals at once.
const BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// One more every so long.
const REFILL: Duration = Duration::from_secs(3);

/// The refusals of each address.
pub(crate) struct Limits(DefaultKeyedRateLimiter<IpAddr>);

impl Limits {
    pub(crate) fn new() -> Self {
        // A zero period is the one thing that is refused, and this one is not zero.
        let quota = Quota::with_period(REFILL).unwrap_or_else(|| Quota::per_minute(BURST));
        Self(RateLimiter::keyed(quota.allow_burst(BURST)))
    }

    /// Counts a refusal of `address`; the time to wait, where it has had its share.
    pub(crate) fn refuse(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        // Where the address is not known, all share one.
        let address = address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        self.0
            .check_key(&bucket(address))
            .map_err(|not_until| not_until.wait_time_from(DefaultClock::default().now()))
    }

    /// Forgets addresses that were quiet for long enough.
    pub(crate) fn tidy(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}

/// Whoever has one IPv6 address has the /64 around it.
fn bucket(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limits({} addresses)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_had_its_share_waits_and_others_do_not() {
        let limits = Limits::new();
        let address = |text: &str| Some(text.parse().unwrap());
        for _ in 0..BURST.get() {
            assert!(limits.refuse(address("10.0.0.1")).is_ok());
        }
        let wait = limits.refuse(address("10.0.0.1")).unwrap_err();
        assert!(wait <= REFILL && !wait.is_zero(), "{wait:?}");
        assert!(limits.refuse(address("::ffff:10.0.0.1")).is_err(), "the same address in IPv6");
        assert!(limits.refuse(address("10.0.0.2")).is_ok());
        for host in 0..BURST.get() {
            assert!(limits.refuse(address(&format!("2001:db8::{host:x}"))).is_ok());
        }
        assert!(limits.refuse(address("2001:db8::ffff")).is_err(), "one subnet is one caller");
    }
}
