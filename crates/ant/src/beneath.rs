//! Files beneath one directory: no link on the way is followed, and none is read beyond its bound.
//!
//! An agent may write its home. What is read there on its behalf must not lead out of it, and must not hang on a pipe.

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, unlinkat};
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
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file"));
        }
        let mut bytes = Vec::new();
        file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Replaces a file of this directory whole: it is complete under its name, or not there.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = format!(".{name}.new");
        self.remove(&new)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.0, new.as_str(), flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(bytes)?;
        file.sync_data()?;
        Ok(renameat(&self.0, new.as_str(), &self.0, name)?)
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
}
