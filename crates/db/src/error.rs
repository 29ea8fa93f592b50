//! What can go wrong, told apart by what the reader should do.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;
use rusqlite::ffi;

type Cause = Box<dyn StdError + Send + Sync>;

/// Why a database could not be opened. Each message names the file and the next step.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no database, and none was to be created.
    #[error("no database at {path}: create the instance first, or check the data directory")]
    Missing {
        /// The database, or the directory that should hold it.
        path: PathBuf,
    },
    /// The file system does not let this user have it.
    #[error(
        "no permission to use the database {path}: let this daemon's user read and write the file and its directory"
    )]
    Permission {
        /// The file or directory that was refused.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// The file system, or the file, cannot be written.
    #[error("the database {path} is on a read-only file system: mount its directory writable")]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// Another process, or another part of this one, has it open.
    #[error("the database {path} is in use by {}: stop that daemon first, or use another data directory", owner(*pid))]
    Locked {
        /// The file.
        path: PathBuf,
        /// The process that holds it, where it could be read.
        pid: Option<u32>,
    },
    /// It is not a SQLite database, or a damaged one.
    #[error("the database {path} is damaged or is no database: restore it from a backup")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Cause,
    },
    /// It is a SQLite database of another program or another daemon.
    #[error(
        "{path} is another program's database (application id {found}, this daemon's is {expected}): check the data directory"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The id in the file.
        found: i32,
        /// The id this daemon gives its own.
        expected: i32,
    },
    /// A newer release wrote it.
    #[error(
        "the database {path} has schema version {found}, and this release knows {known}: run the newer release again, or restore a backup of this one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// A migration that was applied to it reads differently now.
    #[error(
        "migration {version} ({name}) of {path} is not the one that was applied: an applied migration must never change; use the release that made this database"
    )]
    MigrationChanged {
        /// The file.
        path: PathBuf,
        /// The migration's version.
        version: u32,
        /// The migration's name, as recorded.
        name: String,
    },
    /// A migration failed; nothing of it, nor of the ones that ran with it, was kept.
    #[error("migration {version} ({name}) of {path} failed, and the file is as it was: report it")]
    Migration {
        /// The file.
        path: PathBuf,
        /// The migration's version.
        version: u32,
        /// The migration's name.
        name: &'static str,
        /// What failed.
        #[source]
        source: Cause,
    },
    /// There is no room left.
    #[error("no room left for the database {path}: free some disk space and start again")]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// The program itself is wrong: its migrations are out of order, or its SQLite is not the one it was built for.
    #[error("{what}: this is a defect of the program, report it")]
    Defect {
        /// What is wrong.
        what: String,
    },
    /// Anything else the system or SQLite refused.
    #[error("cannot open the database {path}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was said.
        #[source]
        source: Cause,
    },
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl OpenError {
    /// The exit code of sysexits.h that goes with it.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Missing { .. } => 73,
            Self::Permission { .. } | Self::ReadOnly { .. } => 77,
            Self::Locked { .. } | Self::DiskFull { .. } => 75,
            Self::Corrupt { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::MigrationChanged { .. }
            | Self::Migration { .. } => 65,
            Self::Defect { .. } | Self::Failed { .. } => 70,
        }
    }

    /// Sorts a file system's error.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::PermissionDenied => Self::Permission { path, source: source.into() },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path, source: source.into() },
            io::ErrorKind::IsADirectory => Self::Corrupt { path, source: source.into() },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source: source.into() }
            }
            _ => Self::Failed { path, source: source.into() },
        }
    }

    /// Sorts an error of SQLite's.
    pub(crate) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let code = source.sqlite_error_code();
        let (path, source) = (path.to_owned(), Cause::from(source));
        match code {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Corrupt { path, source }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Locked { path, pid: None }
            }
            Some(ErrorCode::DiskFull) => Self::DiskFull { path, source },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path, source },
            Some(ErrorCode::PermissionDenied) => Self::Permission { path, source },
            _ => Self::Failed { path, source },
        }
    }
}

/// Which rule of the schema a statement broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// A `UNIQUE` index, or a primary key: the row is already there.
    Unique,
    /// A foreign key: the row it points to is not there, or one that points to it still is.
    ForeignKey,
    /// A `CHECK`.
    Check,
    /// A `NOT NULL`.
    NotNull,
    /// A trigger's `RAISE`.
    Trigger,
    /// Another, such as a value of the wrong type in a STRICT table.
    Other,
}

/// Why a read or a write failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Something outside this program holds the file. Try again.
    #[error("the database is busy: another program is using the file; try again")]
    Busy(#[source] Arc<rusqlite::Error>),
    /// No room left; nothing was kept. Try again when there is.
    #[error("no room left for the database: free some disk space, then try again")]
    DiskFull(#[source] Arc<rusqlite::Error>),
    /// The transaction that this job shared with others was not committed; nothing was kept. Try again.
    #[error("the write was not committed, and nothing of it was kept: try again")]
    NotCommitted(#[source] Arc<rusqlite::Error>),
    /// A rule of the schema was broken. `rule` is SQLite's sentence: it names the columns, and no value.
    #[error("{rule}")]
    Constraint {
        /// Which kind of rule.
        kind: Constraint,
        /// SQLite's sentence, such as `UNIQUE constraint failed: messages.id`.
        rule: String,
    },
    /// A query that expects one row found none.
    #[error("no such row")]
    NoRow,
    /// The file is damaged.
    #[error("the database is damaged: stop the daemon and restore a backup ({detail})")]
    Corrupt {
        /// What SQLite found.
        detail: String,
    },
    /// The disk failed, or the file cannot be written any more.
    #[error("the disk under the database failed: check the disk and the mount")]
    Disk(#[source] Arc<rusqlite::Error>),
    /// The database was closed, or its writer had to stop.
    #[error("the database is closed")]
    Closed,
    /// The job panicked; it alone was undone. A defect of the program.
    #[error("the database job `{label}` panicked: this is a defect, report it")]
    Panicked {
        /// The job's name.
        label: &'static str,
    },
    /// The statement is wrong, or a value has another type than the code expects. A defect of the program.
    #[error("a statement failed")]
    Statement(#[source] Arc<rusqlite::Error>),
}

impl Error {
    /// Whether the same write may well succeed when it is tried again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::DiskFull(_) | Self::NotCommitted(_))
    }

    /// Whether it says something about this daemon's disk and nothing about the request: the same request may well go
    /// well later, once somebody has made room, mended the disk, or started the daemon again.
    pub fn is_ours(&self) -> bool {
        self.is_retryable() || matches!(self, Self::Disk(_) | Self::Closed)
    }

    /// Whether the row is already there.
    pub fn is_unique(&self) -> bool {
        matches!(self, Self::Constraint { kind: Constraint::Unique, .. })
    }

    /// What the jobs of a batch are told when their transaction could not be begun or committed. A broken rule is
    /// some other job's doing there, so it is never reported as this one's.
    pub(crate) fn of_batch(source: rusqlite::Error) -> Self {
        match Self::from(source) {
            Self::Constraint { kind, rule } => {
                let code = match kind {
                    Constraint::ForeignKey => ffi::SQLITE_CONSTRAINT_FOREIGNKEY,
                    _ => ffi::SQLITE_CONSTRAINT,
                };
                let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(rule));
                Self::NotCommitted(Arc::new(source))
            }
            Self::Statement(source) => Self::NotCommitted(source),
            other => other,
        }
    }

    /// The transaction was ended under a job's feet: by SQLite on a grave error, or by a job that said `COMMIT`.
    pub(crate) fn transaction_lost() -> Self {
        Self::NotCommitted(Arc::new(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_ABORT),
            Some("the transaction had ended before its jobs had".to_owned()),
        )))
    }
}

impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        if matches!(source, rusqlite::Error::QueryReturnedNoRows) {
            return Self::NoRow;
        }
        let Some(code) = source.sqlite_error() else { return Self::Statement(Arc::new(source)) };
        match code.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy(Arc::new(source)),
            ErrorCode::DiskFull => Self::DiskFull(Arc::new(source)),
            ErrorCode::ConstraintViolation => {
                Self::Constraint { kind: constraint(code.extended_code), rule: sentence(&source) }
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                Self::Corrupt { detail: sentence(&source) }
            }
            ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed => Self::Disk(Arc::new(source)),
            _ => Self::Statement(Arc::new(source)),
        }
    }
}

fn constraint(extended: i32) -> Constraint {
    match extended {
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID => Constraint::Unique,
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Constraint::ForeignKey,
        ffi::SQLITE_CONSTRAINT_CHECK => Constraint::Check,
        ffi::SQLITE_CONSTRAINT_NOTNULL => Constraint::NotNull,
        ffi::SQLITE_CONSTRAINT_TRIGGER => Constraint::Trigger,
        _ => Constraint::Other,
    }
}

/// SQLite's own sentence, without the statement that rusqlite adds.
fn sentence(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}
