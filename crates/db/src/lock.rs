//! The lock beside a database file: one owner at a time.
//!
//! It is an `flock`, which the kernel releases when the holder dies, however it dies. The file itself stays: removing
//! it would let two processes hold locks on two files of one name.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::OpenError;

/// Held for as long as the database is open.
#[derive(Debug)]
pub(crate) struct OwnerLock {
    file: File,
}

impl OwnerLock {
    /// Takes the lock of the database at `path`, or says who has it.
    pub(crate) fn take(path: &Path) -> Result<Self, OpenError> {
        let beside = beside(path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&beside)
            .map_err(|source| OpenError::from_io(&beside, source))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OpenError::Locked { path: path.to_owned(), pid: read_pid(&mut file) });
            }
            Err(source) => return Err(OpenError::from_io(&beside, source.into())),
        }
        write_pid(&mut file).map_err(|source| OpenError::from_io(&beside, source))?;
        Ok(Self { file })
    }
}

impl Drop for OwnerLock {
    /// Closing the file would not do: a process that another thread is just starting shares it until its `exec`.
    fn drop(&mut self) {
        if let Err(error) = flock(&self.file, FlockOperation::Unlock) {
            tracing::warn!(%error, "the lock of a database goes with its file");
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// The number is for the message of whoever comes second; nothing else relies on it.
fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_up_though_a_process_being_started_still_shares_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.db");
        let first = OwnerLock::take(&path).unwrap();
        let shared = first.file.try_clone().unwrap();
        assert!(matches!(OwnerLock::take(&path), Err(OpenError::Locked { .. })));
        drop(first);
        let next = OwnerLock::take(&path).unwrap();
        drop(shared);
        // What the first shared is nobody's any more.
        assert!(matches!(OwnerLock::take(&path), Err(OpenError::Locked { .. })));
        drop(next);
    }
}
