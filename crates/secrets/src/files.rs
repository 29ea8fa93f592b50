//! Safe reading of secret files: what every source that has files on this machine uses.
//!
//! A file is opened once, without following a link in its last component unless the caller says so
//! and without waiting (so that a FIFO cannot hold us), and all questions are asked of the open
//! file. Only a regular file of at most 65,536 bytes (and one newline) is a secret.

use crate::{Malformed, SECRET_BYTES_MAX, Secret, Versions};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use zeroize::Zeroizing;

/// The longest `\r\n` that may follow a value.
const NEWLINE_MAX: usize = 2;

/// How often a path is tried that is being renamed at the same time.
const BENEATH_TRIES: u32 = 16;

/// What makes one state of one file differ from another: its inode, its time of change, its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    /// The time of the last change of anything about it: it moves even when a writer sets the
    /// time of modification back.
    changed: (i64, i64),
    size: i64,
}

impl FileId {
    /// Of an open file or directory.
    #[must_use]
    #[expect(
        clippy::unnecessary_cast,
        trivial_numeric_casts,
        reason = "the widths of these fields differ between platforms"
    )]
    pub fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            size: stat.st_size as i64,
        }
    }

    /// As the version id of a value: inode, time of modification, size.
    #[must_use]
    pub fn version(&self) -> String {
        let (seconds, nanoseconds) = self.modified;
        format!("{:x}-{seconds:x}.{nanoseconds:x}-{:x}", self.inode, self.size)
    }

    /// When the file was modified.
    #[must_use]
    pub fn modified_at(&self) -> Option<SystemTime> {
        let (seconds, nanoseconds) = self.modified;
        let since = Duration::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?);
        UNIX_EPOCH.checked_add(since)
    }
}

/// Why there is no secret in a file.
#[derive(Debug)]
pub enum FileError {
    /// There is no such file.
    Missing,
    /// It is not a secret.
    Malformed(Malformed),
    /// It could not be opened or read.
    Io(io::Error),
}

impl From<Malformed> for FileError {
    fn from(reason: Malformed) -> Self {
        Self::Malformed(reason)
    }
}

/// Whether a link in the last component of a path is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// It is: the operator gave the path, and where it leads is theirs to say.
    Follow,
    /// It is, as long as all of the path stays below the directory. Where the system cannot promise
    /// that (a kernel without `openat2`), links are refused.
    Beneath,
    /// It is refused.
    Refuse,
}

/// A regular file, open, and its identity.
#[derive(Debug)]
pub struct Opened {
    file: File,
    stat: Stat,
}

/// Opens the regular file `name` below `directory` ([`rustix::fs::CWD`] for any path).
///
/// # Errors
/// When it is not there, is not a regular file, or cannot be opened.
pub fn open(directory: impl AsFd, name: &Path, links: Links) -> Result<Opened, FileError> {
    let opened = open_any(directory.as_fd(), name, links).map_err(|errno| match errno {
        Errno::NOENT => FileError::Missing,
        Errno::LOOP => Malformed::because("it is a symbolic link").into(),
        Errno::XDEV => Malformed::because("it is a link that leaves the directory").into(),
        // A socket, or a device that nothing serves.
        Errno::NXIO | Errno::NODEV => Malformed::because("it is not a regular file").into(),
        Errno::ACCESS | Errno::PERM => {
            Malformed::because("this user is not allowed to read it").into()
        }
        other => FileError::Io(other.into()),
    })?;
    let stat = rustix::fs::fstat(&opened).map_err(|errno| FileError::Io(errno.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Opened { file: File::from(opened), stat }),
        FileType::Directory => Err(Malformed::because("it is a directory").into()),
        FileType::Fifo => Err(Malformed::because("it is a FIFO").into()),
        _ => Err(Malformed::because("it is not a regular file").into()),
    }
}

/// Opens whatever `name` is, without waiting for the other end of a FIFO.
fn open_any(directory: BorrowedFd<'_>, name: &Path, links: Links) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let plainly = |flags| rustix::fs::openat(directory, name, flags, Mode::empty());
    match links {
        Links::Follow => plainly(flags),
        Links::Refuse => plainly(flags | OFlags::NOFOLLOW),
        Links::Beneath => {
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            for _ in 0..BENEATH_TRIES {
                match rustix::fs::openat2(directory, name, flags, Mode::empty(), beneath) {
                    // A rename somewhere in the path, just now.
                    Err(Errno::AGAIN) => {}
                    // An old kernel, or a sandbox that does not know the call.
                    Err(Errno::NOSYS | Errno::PERM) => return plainly(flags | OFlags::NOFOLLOW),
                    other => return other,
                }
            }
            Err(Errno::AGAIN)
        }
    }
}

impl Opened {
    /// What the file is.
    #[must_use]
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Its identity when it was opened.
    #[must_use]
    pub fn id(&self) -> FileId {
        FileId::of(&self.stat)
    }

    /// All its bytes, at most `limit` of them.
    ///
    /// # Errors
    /// When there are more, or they cannot be read.
    pub fn bytes(self, limit: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
        self.at_most(limit)?.ok_or_else(|| too_long(limit))
    }

    /// All its bytes; `None` where there are more than `limit`.
    fn at_most(mut self, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
        // Room for one byte more than allowed, at once: a buffer that grew would leave parts of
        // the secret in the allocations it outgrew.
        let size = usize::try_from(self.stat.st_size).unwrap_or(usize::MAX);
        let mut bytes = Zeroizing::new(vec![0; size.min(limit) + 1]);
        let mut filled = 0;
        loop {
            let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) else {
                if filled > limit {
                    return Ok(None);
                }
                // It has grown since it was opened: begin a larger buffer, the old one is wiped.
                let mut larger = Zeroizing::new(vec![0; limit + 1]);
                for (to, from) in larger.iter_mut().zip(bytes.iter()) {
                    *to = *from;
                }
                bytes = larger;
                continue;
            };
            match self.file.read(room) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::Io(error)),
            }
        }
        bytes.truncate(filled);
        Ok(Some(bytes))
    }

    /// Its content as a secret, dated and numbered by the file.
    ///
    /// # Errors
    /// When it is not a secret, or cannot be read.
    pub fn versions(self) -> Result<Versions, FileError> {
        let id = self.id();
        let read = self.at_most(SECRET_BYTES_MAX + NEWLINE_MAX)?;
        // Of the two bytes more, an operator needs to know nothing.
        let mut bytes = read.ok_or_else(|| too_long(SECRET_BYTES_MAX))?;
        drop_newline(&mut bytes);
        let current = Secret::new(bytes)?;
        Ok(Versions { current, previous: None, id: id.version(), changed_at: id.modified_at() })
    }
}

fn too_long(limit: usize) -> FileError {
    let digits = limit.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    Malformed(format!("it is longer than {grouped} bytes").into()).into()
}

/// Drops one trailing newline (`\n` or `\r\n`), which editors and `echo` add.
pub fn drop_newline(bytes: &mut Vec<u8>) {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::fs;

    fn read(path: &Path, links: Links) -> Result<Vec<u8>, String> {
        match open(CWD, path, links).and_then(Opened::versions) {
            Ok(versions) => Ok(versions.current.expose().to_vec()),
            Err(FileError::Missing) => Err("missing".into()),
            Err(FileError::Malformed(reason)) => Err(reason.to_string()),
            Err(FileError::Io(error)) => Err(format!("{:?}", error.kind())),
        }
    }

    #[test]
    fn one_newline_is_dropped_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for (content, value) in
            [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("a\r", "a\r")]
        {
            fs::write(&path, content).unwrap();
            assert_eq!(read(&path, Links::Refuse).unwrap(), value.as_bytes(), "{content:?}");
        }
    }

    #[test]
    fn what_is_not_a_secret_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("directory")).unwrap();
        rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        fs::write(at("empty"), "").unwrap();
        fs::write(at("newline"), "\n").unwrap();
        fs::write(at("nul"), "a\0b").unwrap();
        fs::write(at("long"), vec![b'a'; 65_537]).unwrap();
        fs::write(at("longer"), vec![b'a'; 300_000]).unwrap();
        fs::write(at("target"), "t").unwrap();
        std::os::unix::fs::symlink("target", at("link")).unwrap();
        for (name, reason) in [
            ("nowhere", "missing"),
            ("directory", "it is a directory"),
            ("fifo", "it is a FIFO"),
            ("socket", "it is not a regular file"),
            ("empty", "it is empty"),
            ("newline", "it is empty"),
            ("nul", "it has a NUL byte"),
            ("long", "it is longer than 65,536 bytes"),
            ("longer", "it is longer than 65,536 bytes"),
            ("link", "it is a symbolic link"),
        ] {
            assert_eq!(read(&at(name), Links::Refuse).unwrap_err(), reason, "{name}");
        }
        assert_eq!(read(&at("link"), Links::Follow).unwrap(), b"t");
        assert_eq!(
            read(Path::new("/dev/null"), Links::Follow).unwrap_err(),
            "it is not a regular file"
        );
    }

    #[test]
    fn a_link_may_be_followed_as_long_as_it_stays_below() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        fs::create_dir(&inside).unwrap();
        fs::write(inside.join("target"), "t").unwrap();
        fs::write(dir.path().join("outside"), "o").unwrap();
        for (link, target) in
            [("stays", "target"), ("leaves", "../outside"), ("absolute", "/etc/hostname")]
        {
            std::os::unix::fs::symlink(target, inside.join(link)).unwrap();
        }
        let handle = File::open(&inside).unwrap();
        let read = |name: &str| open(&handle, Path::new(name), Links::Beneath);
        assert_eq!(read("stays").unwrap().versions().unwrap().current.expose(), b"t");
        for name in ["leaves", "absolute", "../outside"] {
            match read(name).unwrap_err() {
                FileError::Malformed(reason) => {
                    assert_eq!(reason.to_string(), "it is a link that leaves the directory");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_longest_secret_may_still_have_its_newline() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, [vec![b'a'; 65_536], b"\r\n".to_vec()].concat()).unwrap();
        assert_eq!(read(&path, Links::Refuse).unwrap().len(), 65_536);
    }

    #[test]
    fn every_state_of_a_file_has_its_own_version() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "a").unwrap();
        let first = open(CWD, &path, Links::Refuse).unwrap().id();
        assert_eq!(first, open(CWD, &path, Links::Refuse).unwrap().id());
        fs::write(dir.path().join("y"), "b").unwrap();
        fs::rename(dir.path().join("y"), &path).unwrap();
        let second = open(CWD, &path, Links::Refuse).unwrap().id();
        assert_ne!(first, second);
        assert_ne!(first.version(), second.version());
    }
}
