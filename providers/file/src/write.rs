//! Writing a secret file: whole and durable, or not at all.

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid},
    io::Errno,
};
use secrets::{SourceError, WriteError};
use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

/// Only its owner reads and writes it.
const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// What a file that is replaced hands on to the one that replaces it.
#[derive(Debug, Clone, Copy)]
struct Kept {
    mode: Mode,
    owner: (Uid, Gid),
}

/// Replaces the file at `path` by one with this content: a new file beside it, flushed, renamed
/// over it, and the rename flushed. Whoever could read the old one can read the new one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let (directory, name) = parent(path)?;
    let kept = kept(&directory, name)?;
    let temporary = format!(".{}.{:016x}", name.display(), rand::random::<u64>());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(&directory, &temporary, flags, MODE)?;
    let written = fill(file, content, kept)
        .and_then(|()| Ok(rustix::fs::renameat(&directory, &temporary, &directory, name)?));
    if let Err(error) = written {
        // The first failure is the one to tell; this only tidies up.
        rustix::fs::unlinkat(&directory, &temporary, AtFlags::empty()).ok();
        return Err(error);
    }
    Ok(rustix::fs::fsync(&directory)?)
}

/// The mode and owner of the file that is there. Where there is none, the new one is for the owner
/// of the directory alone: what root adds to a daemon's own directory is for that daemon to read.
fn kept(directory: &OwnedFd, name: &Path) -> io::Result<Kept> {
    let there = match rustix::fs::statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Some(stat),
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(errno.into()),
    };
    let is_file = |mode| FileType::from_raw_mode(mode) == FileType::RegularFile;
    let (stat, mode) = match there.filter(|stat| is_file(stat.st_mode)) {
        Some(stat) => (stat, Mode::from_raw_mode(stat.st_mode & 0o777)),
        None => (rustix::fs::fstat(directory)?, MODE),
    };
    Ok(Kept { mode, owner: (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)) })
}

fn fill(file: OwnedFd, content: &[u8], kept: Kept) -> io::Result<()> {
    let mut file = File::from(file);
    file.write_all(content)?;
    let (user, group) = kept.owner;
    match rustix::fs::fchown(&file, Some(user), Some(group)) {
        // Only root gives files away; another user's file is then ours, which it may be.
        Ok(()) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    rustix::fs::fchmod(&file, kept.mode)?;
    file.sync_all()
}

/// Removes the file at `path`, if there is one.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let (directory, name) = parent(path)?;
    match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) => Ok(rustix::fs::fsync(&directory)?),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The directory of `path`, open, and the name in it.
pub(crate) fn parent(path: &Path) -> io::Result<(OwnedFd, &Path)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok((rustix::fs::open(directory, flags, Mode::empty())?, Path::new(name)))
}

/// Does file work where it may block.
pub(crate) async fn off_thread<T: Send + 'static>(
    place: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SourceError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| SourceError::Unreachable { place: place.to_owned(), cause: error.into() })
}

/// What a write came to, for its caller.
pub(crate) fn finished(
    place: String,
    written: Result<io::Result<()>, SourceError>,
) -> Result<(), WriteError> {
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            let instead = "it is mounted read-only; change it where it comes from".into();
            Err(WriteError::ReadOnly { place, instead })
        }
        Ok(Err(error)) => Err(WriteError::Failed { place, cause: error.into() }),
        Err(error) => Err(WriteError::Failed { place, cause: error.into() }),
    }
}
