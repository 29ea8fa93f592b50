//! Counters of one database, for whoever publishes metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What the writer has done since the database was opened. All of it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions that were committed.
    pub commits: u64,
    /// Transactions that could not be begun or committed.
    pub commit_failures: u64,
    /// Jobs that were committed.
    pub jobs: u64,
    /// Jobs that failed or panicked, and were undone alone.
    pub jobs_failed: u64,
    /// The most jobs that one transaction carried.
    pub largest_batch: u64,
    /// Time spent in `COMMIT`, together.
    pub commit_time: Duration,
    /// The longest `COMMIT`.
    pub slowest_commit: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    commit_failures: AtomicU64,
    jobs: AtomicU64,
    jobs_failed: AtomicU64,
    largest_batch: AtomicU64,
    commit_micros: AtomicU64,
    slowest_micros: AtomicU64,
}

impl Counters {
    pub(crate) fn committed(&self, kept: usize, undone: usize, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Relaxed);
        self.jobs.fetch_add(kept as u64, Relaxed);
        self.jobs_failed.fetch_add(undone as u64, Relaxed);
        self.largest_batch.fetch_max((kept + undone) as u64, Relaxed);
        self.commit_micros.fetch_add(micros, Relaxed);
        self.slowest_micros.fetch_max(micros, Relaxed);
    }

    pub(crate) fn not_committed(&self) {
        self.commit_failures.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        Stats {
            commits: self.commits.load(Relaxed),
            commit_failures: self.commit_failures.load(Relaxed),
            jobs: self.jobs.load(Relaxed),
            jobs_failed: self.jobs_failed.load(Relaxed),
            largest_batch: self.largest_batch.load(Relaxed),
            commit_time: Duration::from_micros(self.commit_micros.load(Relaxed)),
            slowest_commit: Duration::from_micros(self.slowest_micros.load(Relaxed)),
        }
    }
}
