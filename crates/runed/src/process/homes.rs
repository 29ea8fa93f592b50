//! The agents' homes: flat directories below `homes`, made beneath one handle and without following a link.

use crate::run::HomeName;
use rustix::fs::{Mode, OFlags, fstat, mkdirat, openat};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

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
    #[error("{path} is {what}; a home is a directory of this daemon's own user: move it away", path = path.display())]
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

    /// The home of that name, made with mode 0700 where it is not there. Returns its path.
    pub fn make(&self, name: &HomeName) -> Result<PathBuf, HomeError> {
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
        let owner = fstat(&home).map_err(failed)?.st_uid;
        if owner != rustix::process::geteuid().as_raw() {
            return Err(HomeError::NotOurs { path, what: "somebody else's" });
        }
        Ok(path)
    }
}

/// Makes a directory for this user alone. One that is there stays as it is.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
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
        let home = homes.make(&name).unwrap();
        assert_eq!(home, place.path().join("homes/corp"));
        assert_eq!(home.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(home.join("kept"), "x").unwrap();
        assert_eq!(homes.make(&name).unwrap(), home);
        assert!(home.join("kept").exists(), "a second run finds what the first left");
    }

    #[test]
    fn a_link_in_a_homes_place_is_refused_and_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let homes = Homes::open(&place.path().join("homes")).unwrap();
        let secret = place.path().join("store");
        std::fs::create_dir(&secret).unwrap();
        symlink(&secret, place.path().join("homes/corp")).unwrap();
        std::fs::write(place.path().join("homes/file"), "x").unwrap();
        for name in ["corp", "file"] {
            let refused = homes.make(&name.parse().unwrap()).unwrap_err();
            assert!(matches!(refused, HomeError::NotOurs { .. }), "{name}: {refused}");
        }
        assert_eq!(std::fs::read_dir(&secret).unwrap().count(), 0, "nothing was made behind it");
    }
}
