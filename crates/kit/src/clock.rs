//! The time, as an argument.

use proto::Timestamp;
use std::{
    fmt,
    sync::{Arc, atomic::AtomicI64, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Tells the wall-clock time. A test sets it.
#[derive(Clone)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's clock.
    pub const fn real() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is told to move.
    pub fn manual(start: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(start.0))))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(milliseconds) => Timestamp(milliseconds.load(Ordering::SeqCst)),
            None => Timestamp(from_system(system_now())),
        }
    }

    /// The time now, as the operating system's type.
    pub fn system(&self) -> SystemTime {
        let milliseconds = self.now().0;
        UNIX_EPOCH + Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default())
    }

    /// Moves a manual clock forward. The machine's clock does not listen.
    pub fn advance(&self, by: Duration) {
        if let Some(milliseconds) = &self.0 {
            let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            milliseconds.fetch_add(by, Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one clock")]
fn system_now() -> SystemTime {
    SystemTime::now()
}

fn from_system(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}
