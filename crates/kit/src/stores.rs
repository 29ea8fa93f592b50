//! What a daemon keeps on disk: looked at by `/ready`, missed at once when it is gone, closed last.

use crate::{StartError, Tasks};
use futures::future::BoxFuture;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// How long closing may take: a log of a few megabytes is moved into its file.
const CLOSING: Duration = Duration::from_secs(4);

/// A database, or whatever else a daemon owns and cannot work without. None of this may keep it open.
pub struct Store {
    /// Its name, as operators know it: `routd.db`.
    pub name: &'static str,
    /// What is wrong with it now; nothing when all is well.
    pub trouble: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// Ends when it can be used no more, whatever the reason.
    pub lost: BoxFuture<'static, ()>,
    /// Finishes what is queued and closes it.
    pub close: BoxFuture<'static, ()>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.name).finish()
    }
}

type Trouble = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// The stores of one daemon.
#[derive(Clone)]
pub struct Stores {
    inner: Arc<Inner>,
}

struct Inner {
    looks: Mutex<Vec<(&'static str, Trouble)>>,
    closers: Mutex<Vec<(&'static str, BoxFuture<'static, ()>)>>,
    lost: watch::Sender<Option<String>>,
}

impl Default for Stores {
    fn default() -> Self {
        let lost = watch::Sender::new(None);
        Self { inner: Arc::new(Inner { looks: Mutex::default(), closers: Mutex::default(), lost }) }
    }
}

impl Stores {
    /// Takes `store` into care. When it is lost while the daemon runs, the daemon ends with an error,
    /// so that whoever supervises it starts it again; at the end it is closed after everything else.
    pub fn keep(&self, tasks: &Tasks, store: Store) {
        let Store { name, trouble, lost, close } = store;
        self.inner.looks.lock().unwrap_or_else(PoisonError::into_inner).push((name, trouble));
        self.inner.closers.lock().unwrap_or_else(PoisonError::into_inner).push((name, close));
        let (all, stop) = (self.clone(), tasks.stop().clone());
        tasks.spawn("store", async move {
            tokio::select! {
                () = lost => all.inner.lost.send_modify(|what| {
                    what.get_or_insert(name.to_owned());
                }),
                () = stop.cancelled() => {}
            }
        });
    }

    /// What is wrong with them, as `name: trouble`.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let looks = self.inner.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let say = |(name, trouble): &(&str, Trouble)| Some(format!("{name}: {}", trouble()?));
        looks.iter().filter_map(say).collect()
    }

    /// The names of those that have trouble.
    pub(crate) fn troubled(&self) -> Vec<&'static str> {
        let looks = self.inner.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.iter().filter_map(|(name, trouble)| trouble().map(|_| *name)).collect()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.looks.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Waits until one is lost; why the daemon ends.
    pub async fn lost(&self) -> StartError {
        let mut lost = self.inner.lost.subscribe();
        // An error would mean that the sender is gone, which `self` holds.
        let name = lost.wait_for(Option::is_some).await.ok().and_then(|name| name.clone());
        let name = name.unwrap_or_default();
        let said = self.troubles();
        StartError::StoreLost {
            why: said.into_iter().find(|line| line.starts_with(&name)).unwrap_or_else(|| {
                format!("{name}: its writer stopped; the log above has the cause")
            }),
        }
    }

    /// Closes them all. Their names that were not closed in time are answered.
    pub async fn close(&self) -> Vec<&'static str> {
        let closers =
            std::mem::take(&mut *self.inner.closers.lock().unwrap_or_else(PoisonError::into_inner));
        let mut open = Vec::new();
        for (name, close) in closers {
            if tokio::time::timeout(CLOSING, close).await.is_err() {
                open.push(name);
            }
        }
        open
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stores")
    }
}
