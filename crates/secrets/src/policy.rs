//! When the keeper looks, how long it waits, and how long it remembers.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The keeper's settings.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `SECRETS_POLL_INTERVAL`: how often a source is asked without being told to, within a tenth
    /// either way.
    pub poll_interval: Duration,
    /// `SECRETS_OVERLAP`: how long a value is accepted after another replaced it.
    pub overlap: Duration,
    /// `SECRETS_MAX_STALENESS`: how long a source may be silent before that counts as degraded.
    pub max_staleness: Duration,
    /// How long one read of a source may take.
    pub read_timeout: Duration,
    /// The time of day. Only for dates that operators see and for the age of versions: whatever
    /// runs out is measured by tokio's clock.
    pub clock: WallClock,
}

impl Policy {
    /// The documented defaults: polls every 30 s, 5 min of overlap, 1 h of silence, 10 s a read.
    #[must_use]
    pub fn new(clock: WallClock) -> Self {
        Self {
            poll_interval: Duration::from_secs(30),
            overlap: Duration::from_secs(5 * 60),
            max_staleness: Duration::from_secs(60 * 60),
            read_timeout: Duration::from_secs(10),
            clock,
        }
    }
}

/// Where the time of day comes from: the owner of the process's clock, or a test.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl WallClock {
    /// A clock that asks `now` each time.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}
