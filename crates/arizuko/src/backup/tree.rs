//! Copies directories of others' making: agents write in homes while they are copied. Each name is opened beneath the
//! directory it stands in and no link is followed, so that nothing from outside gets into the copy.

use super::manifest::{Entry, Kind, Name, Note};
use crate::failure::{Exit, Failure};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat},
    io::Errno,
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    ffi::{CStr, OsStr},
    fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions},
    io::{self, Read, Seek, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Directories within directories at most: each is an open descriptor while it is copied.
const DEEPEST: usize = 200;
/// How often a file is copied that changes meanwhile.
const TRIES: usize = 3;
/// The permissions that are kept. Not those that lend the owner's rights: the owner may be another afterwards.
const KEPT: u32 = 0o1777;

/// What was copied so far.
#[derive(Debug)]
pub struct Copying {
    into: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
    /// By which a file that was copied is known not to have changed since.
    seen: BTreeMap<PathBuf, Version>,
    notes: Vec<Note>,
}

/// By which a change of a file shows.
type Version = (i64, i64, i64, i64, i64);

impl Copying {
    /// Into the directory `into`, which is there and this user's alone.
    pub fn into(into: &Path) -> Self {
        let (entries, seen) = (BTreeMap::new(), BTreeMap::new());
        Self { into: into.to_owned(), entries, seen, notes: Vec::new() }
    }

    /// What was copied, directories first, and what is to be known of it.
    pub fn end(self) -> (Vec<Entry>, Vec<Note>) {
        (self.entries.into_values().collect(), self.notes)
    }

    /// Copies the directory `from/name`, if it is there. What was copied before and has not changed is left.
    ///
    /// # Errors
    /// Something cannot be read or written. What goes away meanwhile is no error.
    pub fn directory(&mut self, from: &Path, name: &str) -> Result<(), Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = openat(rustix::fs::CWD, from, flags, Mode::empty());
        let top = top.map_err(|error| Failure::io("read", from, &error.into()))?;
        let text = std::ffi::CString::new(name);
        let text = text.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
        self.below(&top, &text, &PathBuf::from(name), from, 0)
    }

    fn below(
        &mut self,
        parent: &OwnedFd,
        name: &CStr,
        path: &Path,
        from: &Path,
        depth: usize,
    ) -> Result<(), Failure> {
        let failed = |error: Errno| Failure::io("read", &from.join(path), &error.into());
        if depth > DEEPEST {
            self.note(path, format!("left out: more than {DEEPEST} directories deep"));
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match openat(parent, name, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let stat = fstat(&dir).map_err(failed)?;
        let target = self.into.join(path);
        if !target.is_dir() {
            let made = DirBuilder::new().mode(0o700).create(&target);
            made.map_err(|error| Failure::io("create", &target, &error))?;
        }
        self.entries.insert(path.to_owned(), entry(path, Kind::Directory, &stat));
        for item in Dir::read_from(&dir).map_err(failed)? {
            let item = item.map_err(failed)?;
            let name = item.file_name();
            if name != c"." && name != c".." {
                let below = path.join(OsStr::from_bytes(name.to_bytes()));
                self.one(&dir, name, &below, from, depth)?;
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        dir: &OwnedFd,
        name: &CStr,
        path: &Path,
        from: &Path,
        depth: usize,
    ) -> Result<(), Failure> {
        let failed = |error: Errno| Failure::io("read", &from.join(path), &error.into());
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.below(dir, name, path, from, depth + 1),
            FileType::RegularFile => self.file(dir, name, path, from),
            FileType::Symlink => match readlinkat(dir, name, Vec::new()) {
                Ok(target) => {
                    let target = Name::of(Path::new(OsStr::from_bytes(target.to_bytes())));
                    self.entries.insert(path.to_owned(), entry(path, Kind::Link { target }, &stat));
                    Ok(())
                }
                Err(Errno::NOENT | Errno::INVAL) => Ok(()),
                Err(error) => Err(failed(error)),
            },
            kind => {
                self.note(path, format!("left out: a {kind:?}, which is of this machine alone"));
                Ok(())
            }
        }
    }

    fn file(
        &mut self,
        dir: &OwnedFd,
        name: &CStr,
        path: &Path,
        from: &Path,
    ) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::io("read", &from.join(path), &error);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match openat(dir.as_fd(), name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(failed(error.into())),
        };
        let target = self.into.join(path);
        let mut before = fstat(&file).map_err(|error| failed(error.into()))?;
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile
            || self.seen.get(path) == Some(&version(&before))
        {
            return Ok(());
        }
        for tried in 1.. {
            let (size, sha256) =
                copy_whole(&mut file, &target, &before).map_err(|error| match error {
                    Side::Source(error) => failed(error),
                    Side::Target(error) => Failure::io("write", &target, &error),
                })?;
            let after = fstat(&file).map_err(|error| failed(error.into()))?;
            let is_still = version(&after) == version(&before);
            before = after;
            if is_still || tried >= TRIES {
                if !is_still {
                    self.note(
                        path,
                        "it changed while it was copied, and may be of two moments".into(),
                    );
                }
                self.seen.insert(path.to_owned(), version(&before));
                let kind = Kind::File { size, sha256 };
                self.entries.insert(path.to_owned(), entry(path, kind, &before));
                break;
            }
        }
        Ok(())
    }

    /// Copies one file of the instance's own, if it is there. Whether it is.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn single(&mut self, from: &Path, name: &str) -> Result<bool, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = openat(rustix::fs::CWD, from, flags, Mode::empty());
        let top = top.map_err(|error| Failure::io("read", from, &error.into()))?;
        let text = std::ffi::CString::new(name);
        let text = text.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
        self.file(&top, &text, Path::new(name), from)?;
        Ok(self.entries.contains_key(Path::new(name)))
    }

    fn note(&mut self, path: &Path, what: String) {
        self.notes.push(Note { path: Name::of(path), what });
    }
}

/// On which side a copy failed.
enum Side {
    Source(io::Error),
    Target(io::Error),
}

/// Copies `file` from its beginning into `target`, in place of what is there. Its size and its checksum.
fn copy_whole(file: &mut File, target: &Path, stat: &Stat) -> Result<(u64, String), Side> {
    file.rewind().map_err(Side::Source)?;
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut copy = options.open(target).map_err(Side::Target)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(Side::Source)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hash.update(bytes);
        size += read as u64;
        copy.write_all(bytes).map_err(Side::Target)?;
    }
    let mode = Permissions::from_mode((stat.st_mode & KEPT) | 0o600);
    copy.set_permissions(mode).map_err(Side::Target)?;
    set_time(&copy, stat.st_mtime).map_err(Side::Target)?;
    Ok((size, hex::encode(hash.finalize())))
}

fn version(stat: &Stat) -> Version {
    let nanoseconds = |of: u64| i64::try_from(of).unwrap_or_default();
    let (modified, changed) = (nanoseconds(stat.st_mtime_nsec), nanoseconds(stat.st_ctime_nsec));
    (stat.st_size, stat.st_mtime, modified, stat.st_ctime, changed)
}

fn entry(path: &Path, kind: Kind, stat: &Stat) -> Entry {
    Entry {
        path: Name::of(path),
        kind,
        mode: stat.st_mode & KEPT,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: stat.st_mtime,
    }
}

fn set_time(file: &File, seconds: i64) -> io::Result<()> {
    let at = Duration::from_secs(seconds.unsigned_abs());
    let at = if seconds < 0 { UNIX_EPOCH.checked_sub(at) } else { UNIX_EPOCH.checked_add(at) };
    file.set_times(FileTimes::new().set_modified(at.unwrap_or(SystemTime::UNIX_EPOCH)))
}

/// What bringing entries back came to.
#[derive(Debug, Default)]
pub struct Brought {
    /// Those whose owner is another now, because only root can give files away.
    pub of_others: u64,
}

/// Makes `entries` below `to` from the backup at `from`, each file checked once more as it is copied. Links come last,
/// so that no path leads over one, and the permissions of directories after what is in them.
///
/// # Errors
/// Something cannot be read or written, or is not what the manifest says.
pub fn bring_back(from: &Path, to: &Path, entries: &[Entry]) -> Result<Brought, Failure> {
    let mut brought = Brought::default();
    let is_root = rustix::process::geteuid().is_root();
    let own = rustix::process::geteuid().as_raw();
    let mut give = |entry: &Entry, target: &Path| -> Result<(), Failure> {
        if is_root {
            let given = std::os::unix::fs::lchown(target, Some(entry.uid), Some(entry.gid));
            return given.map_err(|error| Failure::io("give away", target, &error));
        }
        brought.of_others += u64::from(entry.uid != own);
        Ok(())
    };
    for entry in entries {
        let target = below(to, entry)?;
        match &entry.kind {
            Kind::Directory => {
                let made = DirBuilder::new().mode(0o700).create(&target);
                made.map_err(|error| Failure::io("create", &target, &error))?;
            }
            Kind::File { .. } => {
                file_back(from, &target, entry)?;
                give(entry, &target)?;
            }
            Kind::Link { .. } => {}
        }
    }
    for entry in entries {
        let Kind::Link { target: says } = &entry.kind else { continue };
        let target = below(to, entry)?;
        let says = says.path().ok_or_else(|| super::damaged("a link in it leads nowhere"))?;
        let made = std::os::unix::fs::symlink(says, &target);
        made.map_err(|error| Failure::io("create", &target, &error))?;
        give(entry, &target)?;
    }
    for entry in entries.iter().rev().filter(|entry| entry.kind == Kind::Directory) {
        let target = below(to, entry)?;
        give(entry, &target)?;
        let set = File::open(&target).and_then(|dir| {
            set_time(&dir, entry.modified)?;
            dir.set_permissions(Permissions::from_mode(entry.mode & KEPT))
        });
        set.map_err(|error| Failure::io("protect", &target, &error))?;
    }
    Ok(brought)
}

fn file_back(from: &Path, target: &Path, entry: &Entry) -> Result<(), Failure> {
    let source = below(from, entry)?;
    let Kind::File { sha256, .. } = &entry.kind else { return Ok(()) };
    let mut options = OpenOptions::new();
    let mut copy = options.read(true).write(true).create_new(true).mode(0o600).open(target);
    let copied = copy.as_mut().map_err(|error| io::Error::from(error.kind())).and_then(|copy| {
        io::copy(&mut File::open(&source)?, copy)?;
        copy.rewind()?;
        let (_, found) = super::manifest::digest(&mut *copy)?;
        set_time(copy, entry.modified)?;
        copy.set_permissions(Permissions::from_mode(entry.mode & KEPT))?;
        Ok(found)
    });
    match copied {
        Ok(found) if found == *sha256 => Ok(()),
        Ok(_) => Err(super::damaged(format!("{} changed while it was read", source.display()))),
        Err(error) => Err(Failure::io("write", target, &error)),
    }
}

/// Where an entry belongs below `top`.
///
/// # Errors
/// Its name leads elsewhere, which this program never writes.
pub fn below(top: &Path, entry: &Entry) -> Result<PathBuf, Failure> {
    let path = entry.path.beneath();
    let path = path.ok_or_else(|| super::damaged(format!("{:?} leads out of it", entry.path)))?;
    Ok(top.join(path))
}

/// Removes a directory that this program filled, whatever the permissions in it.
///
/// # Errors
/// Something stays.
pub fn remove(dir: &Path) -> io::Result<()> {
    fn open_up(dir: &Path) -> io::Result<()> {
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open_up(&entry.path())?;
            }
        }
        Ok(())
    }
    match fs::symlink_metadata(dir) {
        Ok(found) if found.is_dir() => open_up(dir).and_then(|()| fs::remove_dir_all(dir)),
        Ok(_) => fs::remove_file(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
