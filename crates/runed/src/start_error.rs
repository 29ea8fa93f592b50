//! What keeps runed from starting, and what to do about it.

use kit::StartError;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a directory for this user alone, unless it is there.
pub(crate) fn own_directory(path: &Path) -> Result<(), StartError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::CannotCreate { path: path.into(), source })
}
