//! The agents' homes: flat directories below `homes`, made beneath one handle and without following a link.
//!
//! A home belongs to the user that its agent has on this machine. Where that is another than the last time, as after a
//! change of the backend, root gives all of it to the new one; nobody else could.

use crate::run::HomeName;
use rustix::fs::{Mode, OFlags, fstat, mkdirat, openat};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

/// A user and a group of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// Whose process this is.
    pub fn own() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }
}

/// The directory that holds the homes.
#[derive(Debug)]
pub struct Homes {
    path: PathBuf,
    handle: OwnedFd,
}

/// Why there is no home.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Something is in its place that an agent must not be given.
    #[error("{path} is {what}; a home is a directory of its agent's user: move it away", path = path.display())]
    NotOurs {
        /// The home's path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The file system did not let it be made.
    #[error("cannot make the home {path}", path = path.display())]
    Io {
        /// The home's path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Homes {
    /// Opens `path`, and makes it where it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        make_private(path)?;
        Ok(Self { path: path.to_owned(), handle: File::open(path)?.into() })
    }

    /// The home of that name, made with mode 0700 where it is not there, and given to `owner`. Returns its path. No
    /// agent may be at work in it.
    pub fn make(&self, name: &HomeName, owner: Owner) -> Result<PathBuf, HomeError> {
        let path = self.path.join(name.as_str());
        let failed =
            |source: rustix::io::Errno| HomeError::Io { path: path.clone(), source: source.into() };
        match mkdirat(&self.handle, name.as_str(), Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let home = match openat(&self.handle, name.as_str(), flags, Mode::empty()) {
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
                return Err(HomeError::NotOurs { path, what: "no directory" });
            }
            home => home.map_err(failed)?,
        };
        let has = fstat(&home).map_err(failed)?.st_uid;
        if has != owner.uid && !rustix::process::geteuid().is_root() {
            return Err(HomeError::NotOurs { path, what: "somebody else's" });
        }
        if has != owner.uid {
            give(&path, owner).map_err(|source| HomeError::Io { path: path.clone(), source })?;
        }
        Ok(path)
    }
}

/// Gives a directory and all that is in it to `owner`. Links are given, not followed. The directory itself comes last,
/// so that work which was broken off is begun again.
pub(crate) fn give(dir: &Path, owner: Owner) -> io::Result<()> {
    let mut found = vec![dir.to_owned()];
    let mut next = 0;
    while let Some(place) = found.get(next).cloned() {
        next += 1;
        if fs::symlink_metadata(&place)?.is_dir() {
            for entry in fs::read_dir(&place)? {
                found.push(entry?.path());
            }
        }
    }
    for place in found.iter().rev() {
        if fs::symlink_metadata(place)?.uid() != owner.uid {
            lchown(place, Some(owner.uid), Some(owner.gid))?;
        }
    }
    Ok(())
}

/// Makes a directory for this user alone. One that is there stays as it is.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_home_is_private_and_made_once() {
        let place = tempfile::tempdir().unwrap();
        let homes = Homes::open(&place.path().join("homes")).unwrap();
        let name: HomeName = "corp".parse().unwrap();
        let home = homes.make(&name, Owner::own()).unwrap();
        assert_eq!(home, place.path().join("homes/corp"));
        assert_eq!(home.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(home.join("kept"), "x").unwrap();
        assert_eq!(homes.make(&name, Owner::own()).unwrap(), home);
        assert!(home.join("kept").exists(), "a second run finds what the first left");
    }

    #[test]
    fn a_link_in_a_homes_place_is_refused_and_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let homes = Homes::open(&place.path().join("homes")).unwrap();
        let secret = place.path().join("store");
        fs::create_dir(&secret).unwrap();
        symlink(&secret, place.path().join("homes/corp")).unwrap();
        fs::write(place.path().join("homes/file"), "x").unwrap();
        for name in ["corp", "file"] {
            let refused = homes.make(&name.parse().unwrap(), Owner::own()).unwrap_err();
            assert!(matches!(refused, HomeError::NotOurs { .. }), "{name}: {refused}");
        }
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 0, "nothing was made behind it");
    }

    #[test]
    fn root_gives_a_home_to_another_user_with_all_that_is_in_it_and_no_link_is_followed() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let homes = Homes::open(&place.path().join("homes")).unwrap();
        let name: HomeName = "corp".parse().unwrap();
        let home = homes.make(&name, Owner::own()).unwrap();
        let outside = place.path().join("outside");
        fs::write(&outside, "x").unwrap();
        fs::create_dir(home.join("dir")).unwrap();
        fs::write(home.join("dir/file"), "x").unwrap();
        symlink(&outside, home.join("link")).unwrap();
        let other = Owner { uid: 1234, gid: 99 };
        homes.make(&name, other).unwrap();
        for path in ["", "dir", "dir/file", "link"] {
            let found = home.join(path).symlink_metadata().unwrap();
            assert_eq!((found.uid(), found.gid()), (1234, 99), "{path}");
        }
        assert_eq!(outside.metadata().unwrap().uid(), 0, "what a link leads to stays");
        homes.make(&name, Owner::own()).unwrap();
        assert_eq!(home.join("dir/file").metadata().unwrap().uid(), 0, "and back");
    }
}
