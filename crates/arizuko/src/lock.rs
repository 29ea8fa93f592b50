//! Locks between processes. The kernel lets go of one when its process ends, however it ends.

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// The lock in the file at `path`, which is made if it is not there; `None` where another process
/// holds it for as long as `patience`.
///
/// # Errors
/// The file cannot be made or locked.
pub async fn take(path: &Path, patience: Duration) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(path)?;
    let mut waited = Duration::ZERO;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK) if waited >= patience => return Ok(None),
            Err(Errno::WOULDBLOCK) => {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a process holds the lock at `path` now. Looking holds it as well, for an instant.
pub fn is_held(path: &Path) -> bool {
    let share = |file: File| flock(&file, FlockOperation::NonBlockingLockShared);
    File::open(path).is_ok_and(|file| share(file) == Err(Errno::WOULDBLOCK))
}
