//! Named background work that stopping waits for.

use futures::FutureExt;
use std::{
    collections::BTreeMap,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The first wait before a supervised task starts again; it doubles up to [`RESTART_MAX`].
const RESTART_MIN: Duration = Duration::from_millis(100);
/// The longest wait before a supervised task starts again.
const RESTART_MAX: Duration = Duration::from_secs(10);

/// The background work of one daemon.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    busy: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Tasks {
    /// Work that is asked to end by `stop`.
    pub fn new(stop: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), stop, busy: Arc::default() }
    }

    /// Cancelled when the work is to end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Starts `work`. It is to end by itself, or soon after the stop it watches.
    ///
    /// A panic in it is logged under its name and ends it alone.
    #[expect(clippy::disallowed_methods, reason = "this is where tasks are tracked")]
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let guard = Busy::enter(name, self.busy.clone());
        tokio::spawn(self.tracker.track_future(async move {
            let _guard = guard;
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                tracing::error!(task = name, "a task panicked; the message is on standard error");
            }
        }));
    }

    /// Keeps `work` running until the stop: starts it again, with a growing wait, when it ends or
    /// panics.
    pub fn supervise<F, Fut>(&self, name: &'static str, work: F)
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.spawn(name, async move {
            let mut wait = RESTART_MIN;
            loop {
                let ended = AssertUnwindSafe(work()).catch_unwind().await;
                if stop.is_cancelled() {
                    return;
                }
                let why = if ended.is_err() { "panicked" } else { "ended" };
                tracing::error!(
                    task = name,
                    wait_ms = wait.as_millis(),
                    "a task {why}; starting it again"
                );
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(wait) => wait = (wait * 2).min(RESTART_MAX),
                }
            }
        });
    }

    /// Waits until all work has ended, at most `grace`. Returns the names of what had not.
    pub async fn ended(&self, grace: Duration) -> Vec<&'static str> {
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.iter().filter(|(_, count)| **count > 0).map(|(name, _)| *name).collect()
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tasks({})", self.tracker.len())
    }
}

/// Counts a task under its name for as long as it lives.
struct Busy(&'static str, Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Busy {
    fn enter(name: &'static str, all: Arc<Mutex<BTreeMap<&'static str, usize>>>) -> Self {
        *all.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        Self(name, all)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut all = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(self.0) {
            *count = count.saturating_sub(1);
        }
    }
}
