//! A small pool of read-only connections. Each read is one snapshot.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::connect;
use crate::error::{Error, OpenError};

#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    size: u32,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// Room for `size` connections, at least one. One is opened, so that what would fail fails now; each of the others
    /// when it is needed, as each reads the whole schema.
    pub(crate) fn open(path: PathBuf, size: usize) -> Result<Self, OpenError> {
        let size = size.clamp(1, 64);
        let idle = vec![connect::reader(&path)?];
        let permits = Arc::new(Semaphore::new(size));
        let size = u32::try_from(size).unwrap_or(1);
        Ok(Self { path, size, idle: Arc::new(Mutex::new(idle)), permits })
    }

    /// Runs `query` on a blocking thread, inside a snapshot.
    pub(crate) async fn run<T, E, F>(&self, query: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let idle = Arc::clone(&self.idle);
        self.in_turn(move |path| {
            let pooled = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let conn = pooled.map_or_else(|| opened(path, connect::reader(path)), Ok)?;
            let result = within(&conn, query);
            if conn.is_autocommit() {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            }
            result
        })
        .await
    }

    /// Runs `copy` on a connection of its own, outside a transaction: what `VACUUM INTO` needs.
    pub(crate) async fn run_alone<T, E, F>(&self, copy: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        self.in_turn(move |path| copy(&opened(path, connect::copier(path))?)).await
    }

    /// Waits for one of the places, and does `work` on a blocking thread; the place is held until that ends, also when
    /// the caller has gone away.
    async fn in_turn<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&Path) -> Result<T, E> + Send + 'static,
    {
        let permits = Arc::clone(&self.permits);
        let Ok(permit) = permits.acquire_owned().await else { return Err(E::from(Error::Closed)) };
        let path = self.path.clone();
        let task = tokio::task::spawn_blocking(move || {
            let result = work(&path);
            drop(permit);
            result
        });
        // Fails only where the runtime is being shut down.
        task.await.unwrap_or_else(|_| Err(E::from(Error::Closed)))
    }

    /// Waits for the reads that are running, and closes every connection.
    pub(crate) async fn close(&self) {
        let all = self.permits.acquire_many(self.size).await;
        self.permits.close();
        drop(all);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn opened<E: From<Error>>(
    path: &Path,
    conn: Result<Connection, OpenError>,
) -> Result<Connection, E> {
    conn.map_err(|error| {
        tracing::error!(path = %path.display(), %error, "no reading connection");
        E::from(Error::Closed)
    })
}

fn within<T, E, F>(conn: &Connection, query: F) -> Result<T, E>
where
    E: From<Error>,
    F: FnOnce(&Connection) -> Result<T, E>,
{
    conn.execute_batch("BEGIN DEFERRED").map_err(Error::from)?;
    let result = catch_unwind(AssertUnwindSafe(|| query(conn)))
        .unwrap_or_else(|_| Err(E::from(Error::Panicked { label: "read" })));
    if !conn.is_autocommit()
        && let Err(error) = conn.execute_batch("ROLLBACK")
    {
        tracing::warn!(%error, "a read did not end, and its connection is given up");
    }
    result
}
