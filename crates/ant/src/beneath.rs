//! Files beneath one directory: no link on the way is followed, and none is read beyond its bound.
//!
//! An agent may write its home. What is read there on its behalf must not lead out of it, and must not hang on a pipe.

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Entries of a directory that are looked at.
const ENTRIES: usize = 1_000;

/// A directory that is held open.
#[derive(Debug)]
pub(crate) struct Beneath(OwnedFd);

impl Beneath {
    /// Opens a directory by its own path.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(rustix::fs::CWD, path, flags, Mode::empty())?))
    }

    /// A directory in it, or in one of those in it; made, for this user alone, where it is not there.
    pub fn make(&self, path: &str) -> io::Result<Self> {
        let mut at = Self(self.0.try_clone()?);
        for name in names(path)? {
            match rustix::fs::mkdirat(&at.0, name, Mode::RWXU) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            at = at.below(name)?;
        }
        Ok(at)
    }

    fn below(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?))
    }

    /// The file of that path, at most `most` bytes of it. `None` where there is none.
    ///
    /// # Errors
    /// A name on the way is a link or leads up, or what is there is no ordinary file.
    pub fn read(&self, path: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
        let Some((file, _)) = self.file(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// The file of that path, open to be read, and how many bytes it has. `None` where there is none.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub fn file(&self, path: &str) -> io::Result<Option<(File, u64)>> {
        let names: Vec<&str> = names(path)?.collect();
        let Some((last, way)) = names.split_last() else { return Ok(None) };
        let there = |found: io::Result<Self>| match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        };
        let mut at = Self(self.0.try_clone()?);
        for name in way {
            let Some(next) = there(at.below(name))? else { return Ok(None) };
            at = next;
        }
        // A pipe that nobody writes would hold up whoever opens it.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match openat(&at.0, *last, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            file => File::from(file?),
        };
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file"));
        }
        Ok(Some((file, found.len())))
    }

    /// Replaces a file of this directory whole: it is complete under its name, or not there.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.begin(name)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        self.finish(name)
    }

    /// Begins a file of this directory, which is not there under its name before [`Self::finish`].
    pub fn begin(&self, name: &str) -> io::Result<File> {
        let new = new_name(name);
        self.remove(&new)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.0, new.as_str(), flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Puts what was begun in its place, whatever stands there.
    pub fn finish(&self, name: &str) -> io::Result<()> {
        Ok(renameat(&self.0, new_name(name).as_str(), &self.0, name)?)
    }

    /// Removes what was begun.
    pub fn give_up(&self, name: &str) -> io::Result<()> {
        self.remove(&new_name(name))
    }

    /// Removes the oldest files of this directory until they have no more than so many bytes together. What is no
    /// ordinary file is left as it is.
    pub fn make_room(&self, most: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in Dir::read_from(&self.0)?.take(ENTRIES) {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let found = statat(&self.0, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
                let size = u64::try_from(found.st_size).unwrap_or_default();
                files.push((found.st_mtime, found.st_mtime_nsec, name, size));
            }
        }
        files.sort();
        let mut held = files.iter().fold(0_u64, |held, (.., size)| held.saturating_add(*size));
        for (.., name, size) in files {
            if held <= most {
                break;
            }
            self.remove(&name)?;
            held = held.saturating_sub(size);
        }
        Ok(())
    }

    /// Removes a file of this directory, if it is there.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// The names of the directories in a directory of that path, in order; none where it is not there.
    pub fn directories(&self, path: &str) -> io::Result<Vec<String>> {
        let mut at = Self(self.0.try_clone()?);
        for name in names(path)? {
            at = match at.below(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                below => below?,
            };
        }
        let mut found = Vec::new();
        for entry in Dir::read_from(&at.0)?.take(ENTRIES) {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let plain = !name.starts_with('.') && at.below(&name).is_ok();
            if plain && matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                found.push(name);
            }
        }
        found.sort();
        Ok(found)
    }
}

/// What a file is called until it is whole.
fn new_name(name: &str) -> String {
    format!(".{name}.new")
}

/// The names on a path that leads down, and nowhere else.
fn names(path: &str) -> io::Result<impl Iterator<Item = &str>> {
    if path.starts_with('/') || path.split('/').any(|name| name == "..") {
        let text = "the path leads out of its directory";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(path.split('/').filter(|name| !name.is_empty() && *name != "."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_outside_is_read_whatever_lies_in_the_directory() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().join("home");
        std::fs::create_dir_all(home.join("a/b")).unwrap();
        std::fs::write(place.path().join("secret"), "theirs").unwrap();
        std::fs::write(home.join("a/b/f"), "0123456789").unwrap();
        symlink(place.path(), home.join("a/out")).unwrap();
        symlink("../secret", home.join("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, home.join("pipe"), FileType::Fifo, Mode::RWXU, 0)
            .unwrap();
        let beneath = Beneath::open(&home).unwrap();
        assert_eq!(beneath.read("a/b/f", 4).unwrap().unwrap(), b"0123");
        assert_eq!(beneath.read("a/none", 4).unwrap(), None);
        assert_eq!(beneath.read("none/f", 4).unwrap(), None);
        for outside in
            ["link", "a/out/secret", "../secret", "a/../../secret", "/etc/passwd", "pipe", "a"]
        {
            assert!(beneath.read(outside, 100).is_err(), "{outside}");
        }
        assert!(beneath.make("a/out/new").is_err());
        assert_eq!(beneath.directories("a").unwrap(), ["b"]);
        assert!(!place.path().join("new").exists());
        let made = beneath.make("x/y").unwrap();
        symlink(place.path().join("secret"), home.join("x/y/s.json")).unwrap();
        made.replace("s.json", b"ours").unwrap();
        assert_eq!(std::fs::read(place.path().join("secret")).unwrap(), b"theirs");
        assert_eq!(made.read("s.json", 9).unwrap().unwrap(), b"ours");
    }

    #[test]
    fn the_oldest_make_room_and_nothing_outside_is_touched() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("theirs"), "0123456789").unwrap();
        let inbox = place.path().join("inbox");
        std::fs::create_dir(&inbox).unwrap();
        symlink("../theirs", inbox.join("a")).unwrap();
        let beneath = Beneath::open(&inbox).unwrap();
        for (name, seconds) in [("c", 30), ("b", 10), ("d", 20)] {
            beneath.begin(name).unwrap().write_all(b"01234").unwrap();
            beneath.finish(name).unwrap();
            let file = File::options().write(true).open(inbox.join(name)).unwrap();
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.set_modified(at).unwrap();
        }
        let names = || {
            let entries = std::fs::read_dir(&inbox).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        beneath.make_room(15).unwrap();
        assert_eq!(names(), ["a", "b", "c", "d"], "they fit");
        beneath.make_room(9).unwrap();
        assert_eq!(names(), ["a", "c"], "the newest stays");
        assert_eq!(std::fs::read(place.path().join("theirs")).unwrap(), b"0123456789");
    }
}
