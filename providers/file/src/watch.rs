//! Noticing that files have changed: level, not edge.
//!
//! A place knows how to tell its present identity. What was there at the last read is remembered,
//! and a difference is the hint, so that none is lost, whoever drops the future, and whenever.

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::fs::{CWD, Stat};
use secrets::files::FileId;
use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};

/// `SECRETS_FILE_POLL`: how often to look without being told.
pub const POLL: Duration = Duration::from_secs(1);

/// A burst of events is one look.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// How files are watched.
#[derive(Debug, Clone, Copy)]
pub struct Watching {
    /// How often to look without being told.
    pub poll: Duration,
    /// Whether to have the system tell as well.
    pub inotify: bool,
}

impl Watching {
    /// A look that often, and inotify as well.
    #[must_use]
    pub const fn every(poll: Duration) -> Self {
        Self { poll, inotify: true }
    }
}

impl Default for Watching {
    fn default() -> Self {
        Self::every(POLL)
    }
}

/// What is at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing that can be seen.
    Absent,
    /// This state of this file or directory.
    File(FileId),
    /// A link to there.
    Link(OsString),
}

/// What is at all paths that matter to a source.
pub(crate) type Identity = Vec<Mark>;

/// A source's files.
pub(crate) trait Place: Send + Sync + 'static {
    /// The directories in which a change can happen.
    fn directories(&self) -> Vec<PathBuf>;
    /// What is there now.
    fn identity(&self) -> Identity;
}

/// Watches a place.
pub(crate) struct Watch<P> {
    place: Arc<P>,
    watching: Watching,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    hint: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: Option<Identity>,
    /// When to have the place read once more: a file that was written twice within one tick of
    /// its file system's clock looks the same after the second time.
    settle: Option<Instant>,
    watched: Vec<(PathBuf, Option<(u64, u64)>)>,
    watcher: Option<RecommendedWatcher>,
    /// inotify has failed once, which was logged.
    failed: bool,
}

impl<P: Place> Watch<P> {
    pub(crate) fn new(place: Arc<P>, watching: Watching) -> Self {
        Self { place, watching, inner: Arc::default() }
    }

    /// Remembers what was there right before a read.
    pub(crate) fn read(&self, identity: Identity) {
        let mut state = self.inner.state();
        if state.seen.as_ref() != Some(&identity) {
            state.settle = Some(Instant::now() + self.watching.poll);
        }
        state.seen = Some(identity);
    }

    /// Resolves when what is there is not what was there at the last read, or hint.
    pub(crate) async fn changed(&self) {
        loop {
            let (place, inner, watching) = (self.place.clone(), self.inner.clone(), self.watching);
            let look = move || {
                if watching.inotify {
                    inner.keep_watching(&place.directories());
                }
                place.identity()
            };
            // It fails only when the runtime stops; then nothing is worth doing.
            let Ok(now) = tokio::task::spawn_blocking(look).await else {
                return std::future::pending().await;
            };
            if self.inner.differs(now, watching.poll) {
                return;
            }
            let next = Instant::now() + watching.poll;
            let wake = self.inner.state().settle.map_or(next, |settle| settle.min(next));
            if timeout_at(wake, self.inner.hint.notified()).await.is_ok() {
                sleep(DEBOUNCE).await;
            }
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to hint. A hint counts as seen: whoever gets it reads.
    fn differs(&self, now: Identity, poll: Duration) -> bool {
        let mut state = self.state();
        if state.settle.is_some_and(|settle| settle <= Instant::now()) {
            state.settle = None;
            state.seen = Some(now);
            return true;
        }
        let differs = state.seen.as_ref().is_some_and(|seen| *seen != now);
        state.seen = Some(now);
        if differs {
            // The read that follows finds what is remembered here, and so cannot ask for this.
            state.settle = Some(Instant::now() + poll);
        }
        differs
    }

    /// Has the system tell of changes in these directories; again when one was replaced.
    fn keep_watching(&self, directories: &[PathBuf]) {
        let wanted: Vec<_> =
            directories.iter().map(|path| (path.clone(), directory_id(path))).collect();
        let mut state = self.state();
        if state.watched == wanted {
            return;
        }
        state.watched.clone_from(&wanted);
        // The old one first: there may be no more than a few in a system.
        state.watcher = None;
        let present = wanted.iter().filter(|(_, id)| id.is_some()).map(|(path, _)| path.as_path());
        match watcher(&self.hint, present) {
            Ok(watcher) => {
                state.watcher = Some(watcher);
                state.failed = false;
            }
            Err(error) if !state.failed => {
                state.failed = true;
                tracing::warn!(
                    %error,
                    "the system does not tell of changed files (see fs.inotify.max_user_instances); they are looked at every so often",
                );
            }
            Err(_) => {}
        }
    }
}

fn watcher<'a>(
    hint: &Arc<Notify>,
    directories: impl Iterator<Item = &'a Path>,
) -> notify::Result<RecommendedWatcher> {
    let hint = hint.clone();
    // Any event will do, of any file, and also one that says that events were lost. Only that we
    // read is no news: it would have us read again, without end.
    let handler = move |event: notify::Result<notify::Event>| {
        let is_access = |event: &notify::Event| matches!(event.kind, EventKind::Access(_));
        if !event.is_ok_and(|event| is_access(&event) && !event.need_rescan()) {
            hint.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(handler)?;
    for directory in directories {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

fn directory_id(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::stat(path).ok()?;
    Some(device_and_inode(&stat))
}

#[expect(
    clippy::unnecessary_cast,
    trivial_numeric_casts,
    reason = "the widths of these fields differ between platforms"
)]
fn device_and_inode(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// What is at `path`; of a link, what it leads to.
pub(crate) fn mark(path: &Path) -> Mark {
    match rustix::fs::stat(path) {
        Ok(stat) => Mark::File(FileId::of(&stat)),
        Err(_) => Mark::Absent,
    }
}

/// What is at `path`; of a link, where it points.
pub(crate) fn link(path: &Path) -> Mark {
    match rustix::fs::readlinkat(CWD, path, Vec::new()) {
        Ok(target) => Mark::Link(std::os::unix::ffi::OsStringExt::from_vec(target.into_bytes())),
        Err(_) => Mark::Absent,
    }
}

impl<P> fmt::Debug for Watch<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({:?})", self.watching)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// A file that tells a clock's tick and nothing else.
    #[derive(Default)]
    struct Ticks(AtomicI64);

    impl Place for Ticks {
        fn directories(&self) -> Vec<PathBuf> {
            Vec::new()
        }

        fn identity(&self) -> Identity {
            vec![Mark::Link(self.0.load(Ordering::SeqCst).to_string().into())]
        }
    }

    #[tokio::test]
    async fn what_was_written_twice_within_a_tick_is_read_once_more_and_then_left_alone() {
        let place = Arc::new(Ticks::default());
        let poll = Duration::from_millis(20);
        let watch = Watch::new(place.clone(), Watching { poll, inotify: false });
        let hinted = async |within| tokio::time::timeout(within, watch.changed()).await.is_ok();
        let (long, short) = (Duration::from_secs(10), Duration::from_millis(200));
        for tick in 0..3 {
            place.0.store(tick, Ordering::SeqCst);
            if tick > 0 {
                assert!(hinted(long).await, "a change is a hint");
            }
            watch.read(place.identity());
            // Here the same tick may bring another value that looks like this one.
            assert!(hinted(long).await, "tick {tick} is read once more");
            watch.read(place.identity());
            assert!(!hinted(short).await, "and then there is quiet");
        }
    }
}
