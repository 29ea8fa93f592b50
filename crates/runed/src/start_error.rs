//! What keeps runed from starting, and what to do about it.

use db::OpenError;
use kit::StartError;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a directory for this user alone, unless it is there.
pub(crate) fn own_directory(path: &Path) -> Result<(), StartError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::CannotCreate { path: path.into(), source })
}

/// Why the database could not be opened.
pub(crate) fn not_opened(error: OpenError) -> StartError {
    let what = error.to_string();
    let hint = String::from("then start again");
    match error {
        OpenError::Missing { path } => {
            StartError::CannotCreate { path, source: io::ErrorKind::NotFound.into() }
        }
        OpenError::Permission { path, source } => StartError::Permission {
            path,
            hint: "let this daemon's user read and write the file and its directory".into(),
            source: Some(source),
        },
        OpenError::ReadOnly { path, source } => StartError::Permission {
            path,
            hint: "mount its directory writable".into(),
            source: Some(source),
        },
        OpenError::Locked { .. } | OpenError::DiskFull { .. } => StartError::Busy { what, hint },
        OpenError::Corrupt { .. }
        | OpenError::Foreign { .. }
        | OpenError::Newer { .. }
        | OpenError::MigrationChanged { .. }
        | OpenError::Migration { .. } => {
            StartError::Data { what, hint, source: Some(error.into()) }
        }
        OpenError::Defect { .. } | OpenError::Failed { .. } => {
            StartError::Other(what, Some(error.into()))
        }
    }
}
