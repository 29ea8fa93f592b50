//! A look at a database from outside, which does not keep it open.

use std::sync::{Arc, Weak};

use tokio::sync::watch;

use crate::database::{Database, Inner};
use crate::writer::Shown;

/// For whoever answers for a database and does not use it: what is wrong with it, when it is gone, and how to close it.
#[derive(Clone)]
pub struct Watcher {
    inner: Weak<Inner>,
    shown: Arc<Shown>,
    given_up: watch::Receiver<()>,
}

impl Watcher {
    pub(crate) fn new(
        inner: Weak<Inner>,
        shown: Arc<Shown>,
        given_up: &watch::Receiver<()>,
    ) -> Self {
        Self { inner, shown, given_up: given_up.clone() }
    }

    /// Why the last transaction failed; none when it did not.
    pub fn trouble(&self) -> Option<String> {
        self.shown.trouble()
    }

    /// Returns when the file is closed and its lock given up, whatever the reason.
    pub async fn closed(&self) {
        let mut given_up = self.given_up.clone();
        // Nothing is ever sent: an error, that the writer has gone, is what is waited for.
        while given_up.changed().await.is_ok() {}
    }

    /// [`Database::close`], and when it is closed already, nothing.
    pub async fn close(&self) {
        if let Some(inner) = self.inner.upgrade() {
            Database::of(inner).close().await;
        }
        self.closed().await;
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}
