//! The handle that daemons hold.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::backup::{self, BackupError};
use crate::connect;
use crate::error::{Error, OpenError};
use crate::lock::OwnerLock;
use crate::migrate::{self, Migration};
use crate::readers::Readers;
use crate::stats::Stats;
use crate::watcher::Watcher;
use crate::writer::{Command, Job, Shown, Tx, Writer};

/// Jobs that may wait for the writer; who comes later waits for room.
const QUEUE: usize = 1024;

/// How to open a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file. Its directory must exist.
    pub path: PathBuf,
    /// The daemon's schema, from the first step to the newest.
    pub migrations: &'static [Migration],
    /// Reading connections, 1 to 64.
    pub readers: usize,
    /// A number of the daemon's own, not 0, written into the file; a file with another one is refused.
    pub application_id: i32,
    /// Whether a file that is not there is made.
    pub create: bool,
}

impl Options {
    /// Four readers, and a file that is not there is made.
    pub fn new(
        path: impl Into<PathBuf>,
        application_id: i32,
        migrations: &'static [Migration],
    ) -> Self {
        Self { path: path.into(), migrations, readers: 4, application_id, create: true }
    }

    /// For tools that look at an existing instance: a file that is not there is an error.
    #[must_use]
    pub fn existing(self) -> Self {
        Self { create: false, ..self }
    }
}

/// Whether a database does its work, for a readiness check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The file.
    pub path: PathBuf,
    /// The schema's version.
    pub schema_version: u32,
    /// False once it was closed or its writer had to stop.
    pub open: bool,
    /// Jobs that wait for the writer.
    pub waiting: usize,
    /// Why the last transaction failed; none when it did not.
    pub trouble: Option<String>,
}

impl Health {
    /// Whether writes work, as far as the last one tells.
    pub fn is_good(&self) -> bool {
        self.open && self.trouble.is_none()
    }
}

/// One SQLite file and the threads that use it. Clones share them; the last one to go closes the file.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    path: PathBuf,
    schema_version: u32,
    /// Before the queue, whose end has the writer close the file: only the last connection takes the log with it, and a
    /// reading one cannot.
    readers: Readers,
    queue: mpsc::Sender<Command>,
    shown: Arc<Shown>,
    /// Its sender is the writer's, and goes when the file is closed and given up.
    given_up: watch::Receiver<()>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

/// A [`Database`], without keeping it open.
#[derive(Clone)]
pub struct WeakDatabase {
    inner: std::sync::Weak<Inner>,
}

impl WeakDatabase {
    /// The database, while somebody has it open.
    pub fn upgrade(&self) -> Option<Database> {
        self.inner.upgrade().map(|inner| Database { inner })
    }
}

impl std::fmt::Debug for WeakDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakDatabase")
    }
}

impl Database {
    /// Opens the file, on a blocking thread: see [`Database::open_blocking`].
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let path = options.path.clone();
        tokio::task::spawn_blocking(move || Self::open_blocking(&options))
            .await
            .unwrap_or_else(|error| Err(OpenError::Failed { path, source: error.into() }))
    }

    /// Takes the owner's lock, refuses a file that is not this daemon's or is too new, applies the pending migrations,
    /// and starts the writer. A file that is refused is left as it was.
    pub fn open_blocking(options: &Options) -> Result<Self, OpenError> {
        let Options { path, migrations, readers, application_id, create } = options;
        connect::check_sqlite()?;
        migrate::check_list(migrations)?;
        if *application_id == 0 {
            let what = format!("the application id of {} is 0", path.display());
            return Err(OpenError::Defect { what });
        }
        if !*create && !path.exists() {
            return Err(OpenError::Missing { path: path.clone() });
        }
        let lock = OwnerLock::take(path)?;
        connect::check_file(path, *create)?;
        let looking = connect::inspect(path, *application_id, migrations)?;
        let mut conn = connect::writer(path)?;
        // Only now: the index of the log goes with the last connection, and would be made twice, each time by reading
        // all of the log that a killed process has left.
        drop(looking);
        let schema_version = migrate::apply(path, &mut conn, migrations, *application_id)?;
        let readers = Readers::open(path.clone(), *readers)?;

        let (queue, jobs) = mpsc::channel(QUEUE);
        let shown = Arc::new(Shown::default());
        let (holds, given_up) = watch::channel(());
        let writer = Writer::new(path.clone(), jobs, Arc::clone(&shown), conn, lock);
        std::thread::Builder::new()
            .name("db-writer".to_owned())
            .spawn(move || {
                writer.run();
                drop(holds);
            })
            .map_err(|source| OpenError::from_io(path, source))?;
        let inner = Inner { path: path.clone(), schema_version, queue, shown, readers, given_up };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The same database, for somebody who is not to keep it open.
    pub fn downgrade(&self) -> WeakDatabase {
        WeakDatabase { inner: Arc::downgrade(&self.inner) }
    }

    /// Runs `job` in the write transaction, and answers once it is on the disk. `label` names it in logs.
    ///
    /// The job runs even when the caller stops waiting. See [`Tx::after_commit`] for what must follow it.
    pub async fn write<T, F>(&self, label: &'static str, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.try_write(label, move |tx| job(tx).map_err(Error::from)).await
    }

    /// [`Database::write`] for a job with an error of its own: returning one undoes the job alone.
    pub async fn try_write<T, E, F>(&self, label: &'static str, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let (job, answer) = Job::new(label, job);
        if self.inner.queue.send(Command::Write(job)).await.is_err() {
            return Err(E::from(Error::Closed));
        }
        answer.await.unwrap_or_else(|_| Err(E::from(Error::Closed)))
    }

    /// Runs `query` on a reading connection: one snapshot, which holds all that was acknowledged before this call.
    pub async fn read<T, F>(&self, query: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.try_read(move |conn| query(conn).map_err(Error::from)).await
    }

    /// [`Database::read`] for a query with an error of its own.
    pub async fn try_read<T, E, F>(&self, query: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        self.inner.readers.run(query).await
    }

    /// Writes a compact copy as of one moment to `target`, which must not exist: complete and on the disk, or not there.
    pub async fn backup_to(&self, target: impl Into<PathBuf>) -> Result<(), BackupError> {
        let target = target.into();
        self.inner.readers.run_alone(move |conn| backup::copy(conn, &target)).await
    }

    /// Reads the whole file and says what is damaged. Takes as long as reading it does.
    pub async fn integrity(&self) -> Result<(), Error> {
        self.try_read(|conn| {
            let mut check = conn.prepare("PRAGMA integrity_check(20)")?;
            let found = check
                .query_map([], |row| row.get::<_, String>(0))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            if found != ["ok"] {
                return Err(Error::Corrupt { detail: found.join("; ") });
            }
            let orphans: i64 =
                conn.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
                    row.get(0)
                })?;
            if orphans > 0 {
                let detail = format!("{orphans} rows point to rows that are not there");
                return Err(Error::Corrupt { detail });
            }
            Ok(())
        })
        .await
    }

    /// Moves the log into the file and empties it, so that nothing deleted lives on in it. `Busy` while a read that
    /// began earlier goes on.
    pub async fn empty_log(&self) -> Result<(), Error> {
        let (asked, emptied) = oneshot::channel();
        if self.inner.queue.send(Command::EmptyLog(asked)).await.is_err() {
            return Err(Error::Closed);
        }
        emptied.await.unwrap_or(Err(Error::Closed))
    }

    /// Finishes what is queued, empties the log, closes the file and gives up the lock, for all clones.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        let (done, closed) = oneshot::channel();
        if self.inner.queue.send(Command::Close(done)).await.is_ok() {
            // An error means that the writer is gone already, which is what was asked for.
            closed.await.ok();
        }
        // Also where it had to stop by itself: it may still be closing the file.
        self.watcher().closed().await;
    }

    /// Looks at this database, and may close it, without keeping it open.
    pub fn watcher(&self) -> Watcher {
        Watcher::new(Arc::downgrade(&self.inner), self.inner.shown.clone(), &self.inner.given_up)
    }

    pub(crate) fn of(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Whether it works, without touching the disk.
    pub fn health(&self) -> Health {
        let Inner { path, schema_version, queue, shown, .. } = &*self.inner;
        let trouble = shown.trouble();
        Health {
            path: path.clone(),
            schema_version: *schema_version,
            open: !queue.is_closed(),
            waiting: queue.max_capacity() - queue.capacity(),
            trouble,
        }
    }

    /// The writer's counters.
    pub fn stats(&self) -> Stats {
        self.inner.shown.counters.read()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }
}
