//! A compact copy as of one moment, complete or not there at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::error::Error;

/// Why a copy could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already, and is left alone.
    #[error("{path} is there already: name a new file")]
    Exists {
        /// The file that was asked for.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error(
        "cannot write the copy {path}: check that its directory is there, is writable and has room"
    )]
    Target {
        /// The file that was asked for.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database could not be read.
    #[error("cannot copy the database")]
    Database(#[from] Error),
}

/// Copies into a file beside `target`, which gets its name only when it is complete and on the disk.
pub(crate) fn copy(conn: &Connection, target: &Path) -> Result<(), BackupError> {
    let fail = |source| BackupError::Target { path: target.to_owned(), source };
    if target.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path: target.to_owned() });
    }
    let partial = partial(target);
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let made = fill(conn, &partial, target)
        .and_then(|()| fs::rename(&partial, target).map_err(fail))
        .and_then(|()| sync_directory(target).map_err(fail));
    if made.is_err()
        && let Err(error) = fs::remove_file(&partial)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %partial.display(), %error, "an incomplete copy could not be removed");
    }
    made
}

fn fill(conn: &Connection, partial: &Path, target: &Path) -> Result<(), BackupError> {
    let fail = |source| BackupError::Target { path: target.to_owned(), source };
    // SQLite fills an empty file as it is, and would make one that others may read.
    let file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial).map_err(fail)?;
    let name = partial.to_str().ok_or_else(|| fail(io::ErrorKind::InvalidFilename.into()))?;
    conn.execute("VACUUM INTO ?1", [name]).map_err(Error::from)?;
    file.sync_all().map_err(fail)
}

fn partial(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn sync_directory(target: &Path) -> io::Result<()> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
