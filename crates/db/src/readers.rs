//! A small pool of read-only connections. Each read is one snapshot.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
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
    /// Opens `size` connections, at least one, so that what would fail fails now.
    pub(crate) fn open(path: PathBuf, size: usize) -> Result<Self, OpenError> {
        let size = u32::try_from(size.clamp(1, 64)).unwrap_or(1);
        let idle = (0..size).map(|_| connect::reader(&path)).collect::<Result<Vec<_>, _>>()?;
        let permits = Arc::new(Semaphore::new(idle.len()));
        Ok(Self { path, size, idle: Arc::new(Mutex::new(idle)), permits })
    }

    /// Runs `query` on a blocking thread. `snapshot` is how it begins: none for statements that refuse a transaction.
    pub(crate) async fn run<T, E, F>(&self, begin: Option<&'static str>, query: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let permits = Arc::clone(&self.permits);
        let Ok(permit) = permits.acquire_owned().await else { return Err(E::from(Error::Closed)) };
        let (idle, path) = (Arc::clone(&self.idle), self.path.clone());
        let task = tokio::task::spawn_blocking(move || {
            let pooled = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let conn = match pooled.map_or_else(|| connect::reader(&path), Ok) {
                Ok(conn) => conn,
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "no reading connection");
                    return Err(E::from(Error::Closed));
                }
            };
            let result = within(&conn, begin, query);
            if conn.is_autocommit() {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            }
            drop(permit);
            result
        });
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

fn within<T, E, F>(conn: &Connection, begin: Option<&'static str>, query: F) -> Result<T, E>
where
    E: From<Error>,
    F: FnOnce(&Connection) -> Result<T, E>,
{
    if let Some(begin) = begin {
        conn.execute_batch(begin).map_err(Error::from)?;
    }
    let result = catch_unwind(AssertUnwindSafe(|| query(conn)))
        .unwrap_or_else(|_| Err(E::from(Error::Panicked { label: "read" })));
    if !conn.is_autocommit()
        && let Err(error) = conn.execute_batch("ROLLBACK")
    {
        tracing::warn!(%error, "a read did not end, and its connection is given up");
    }
    result
}
