//! What a start spent its time on.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// The steps of one start, each with how long it took. Clones are of the same start.
#[derive(Clone)]
pub struct Timeline(Arc<Mutex<Steps>>);

struct Steps {
    began: Instant,
    last: Instant,
    said: String,
}

impl Default for Timeline {
    fn default() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(Steps { began: now, last: now, said: String::new() })))
    }
}

impl Timeline {
    /// Says that `step` is done; it took the time since the one before.
    pub fn did(&self, step: &str) {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let took = now.duration_since(steps.last).as_millis();
        steps.last = now;
        steps.said.push_str(&format!("{step} {took} ms, "));
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = steps.last.duration_since(steps.began).as_millis();
        write!(f, "{}in all {all} ms", steps.said)
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timeline({self})")
    }
}
