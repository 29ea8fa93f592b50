//! Several databases as they all were at one moment, while their owners go on.
//!
//! For an instant every file's write lock is held, by connections of this process; within it each file gets a reader,
//! whose snapshot stays as it is afterwards. Nothing was committed anywhere between the first snapshot and the last,
//! so that together they are what a power failure at that moment would have left, which is what the owners are made
//! to go on from. A writer that comes meanwhile waits, as it does for the `sqlite3` shell.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::backup::BackupError;
use crate::connect;
use crate::epoch;
use crate::error::{Error, OpenError};

/// How long the locks of one try are held at the longest: well below what a writer waits for.
const HOLD: Duration = Duration::from_secs(1);
/// Tries, one after the other. A writer that never rests is in the way for some microseconds between two transactions.
const TRIES: usize = 10;
/// Pages that are copied at a time.
const PAGES: i32 = 1024;

/// The databases, each readable as it was when they were cut. Writers go on, and their logs grow until this is dropped.
#[derive(Debug)]
pub struct Cut {
    readers: Vec<(PathBuf, Connection)>,
}

/// Why there is no cut.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// A file cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Somebody kept a write lock all the time.
    #[error("{path} was being written all the time: try again, or see who else has it open")]
    Busy {
        /// The file.
        path: PathBuf,
    },
}

impl Cut {
    /// Cuts the databases at `paths`, which must be there.
    ///
    /// # Errors
    /// One cannot be opened, or is held by somebody. None is changed.
    pub fn of(paths: &[PathBuf]) -> Result<Self, CutError> {
        let mut busy = None;
        for _ in 0..TRIES {
            match Self::once(paths)? {
                Ok(cut) => return Ok(cut),
                Err(path) => busy = Some(path),
            }
        }
        Err(CutError::Busy { path: busy.unwrap_or_default() })
    }

    /// One try; the file that could not be locked in time.
    fn once(paths: &[PathBuf]) -> Result<Result<Self, PathBuf>, CutError> {
        let until = Instant::now() + HOLD;
        let mut locks = Vec::new();
        for path in paths {
            match lock(path, until)? {
                Some(lock) => locks.push(lock),
                None => return Ok(Err(path.clone())),
            }
        }
        let mut readers = Vec::new();
        for path in paths {
            let fail = |source| OpenError::from_sqlite(path, source);
            let reader = connect::copier(path)?;
            // The first read takes the snapshot, and the transaction keeps it.
            reader.execute_batch("BEGIN").map_err(fail)?;
            let objects = "SELECT count(*) FROM sqlite_schema";
            reader.query_row(objects, [], |row| row.get::<_, i64>(0)).map_err(fail)?;
            readers.push((path.clone(), reader));
        }
        drop(locks);
        Ok(Ok(Self { readers }))
    }

    /// Copies the database at `path` into the new file `target`, flushed and checked, with the mark that it is a copy:
    /// whoever opens it goes on in a new epoch ([`epoch::begin`]). Its schema's version is answered.
    ///
    /// # Errors
    /// `target` is there already or cannot be written, or the database is damaged. `target` may be left behind.
    pub fn copy(&self, path: &Path, target: &Path, mark: &epoch::Mark) -> Result<u32, BackupError> {
        let fail = |source| BackupError::Target { path: target.to_owned(), source };
        let found = self.readers.iter().find(|(known, _)| known == path);
        let (_, reader) = found.ok_or_else(|| fail(io::ErrorKind::NotFound.into()))?;
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target);
        drop(made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists { path: target.to_owned() },
            _ => fail(error),
        })?);
        let version = fill(reader, target, mark)?;
        File::open(target).and_then(|file| file.sync_all()).map_err(fail)?;
        connect::examine(target).map_err(|error| fail(io::Error::other(error)))?;
        Ok(version)
    }
}

fn fill(reader: &Connection, target: &Path, mark: &epoch::Mark) -> Result<u32, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    {
        let mut copy = Connection::open_with_flags(target, flags)?;
        let copying = Backup::new(reader, &mut copy)?;
        while copying.step(PAGES)? != StepResult::Done {}
    }
    // Opened anew: only now it is known to be a database with a log, which a copy on a shelf should not need.
    let copy = Connection::open_with_flags(target, flags)?;
    copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    copy.pragma_update(None, "synchronous", "FULL")?;
    epoch::mark(&copy, mark)?;
    let version = copy.pragma_query_value(None, "user_version", |row| row.get(0))?;
    copy.close().map_err(|(_, error)| error)?;
    Ok(version)
}

/// The write lock of the database at `path`, for as long as the connection lives; `None` where it was not to be had
/// before `until`.
fn lock(path: &Path, until: Instant) -> Result<Option<Connection>, OpenError> {
    let fail = |source| OpenError::from_sqlite(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(fail)?;
    // SQLite's own waiting sleeps for longer than a busy writer leaves the lock alone.
    conn.busy_timeout(Duration::ZERO).map_err(fail)?;
    loop {
        match conn.execute_batch("BEGIN IMMEDIATE") {
            Ok(()) => return Ok(Some(conn)),
            Err(error) if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => {
                return Err(fail(error));
            }
            Err(_) if Instant::now() >= until => return Ok(None),
            Err(_) => std::thread::yield_now(),
        }
    }
}
