//! One directory of secret files, open: everything read through it is of one version.

use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags},
    io::Errno,
};
use secrets::{
    Answer, SourceError, Versions,
    files::{self, FileError, Links},
};
use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

/// The link that the kubelet turns to a new version.
pub(crate) const DATA: &str = "..data";

/// How often a read begins anew because the version it was reading was removed.
const TRIES: u32 = 16;

/// A directory, open.
#[derive(Debug)]
pub(crate) struct Mount {
    path: PathBuf,
    outer: OwnedFd,
    /// The version that `..data` pointed at, and its name.
    version: Option<(String, OwnedFd)>,
}

impl Mount {
    /// Opens the directory, and the version in it, where it has versions.
    pub(crate) fn open(path: &Path) -> Result<Self, SourceError> {
        let fail = |errno| unreadable(path, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let outer = rustix::fs::open(path, flags, Mode::empty()).map_err(fail)?;
        for _ in 0..TRIES {
            let Some(target) = data_target(&outer).map_err(fail)? else {
                return Ok(Self { path: path.to_owned(), outer, version: None });
            };
            // By the name that was read, so that the name and the handle are of one version.
            match rustix::fs::openat(&outer, target.as_str(), flags, Mode::empty()) {
                Ok(inner) => {
                    let version = Some((target, inner));
                    return Ok(Self { path: path.to_owned(), outer, version });
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(fail(errno)),
            }
        }
        Err(SourceError::Unreachable {
            place: path.display().to_string(),
            cause: "its ..data points at a directory that is not there".into(),
        })
    }

    /// Whether this is written by the kubelet, and so not by us.
    pub(crate) fn is_versioned(&self) -> bool {
        self.version.is_some()
    }

    /// One file, by its name in the directory.
    pub(crate) fn read(&self, file: &Path, links: Links) -> Result<Answer, SourceError> {
        let (directory, links) = match &self.version {
            Some((_, inner)) => (inner.as_fd(), Links::Beneath),
            None => (self.outer.as_fd(), links),
        };
        match files::open(directory, file, links).and_then(files::Opened::versions) {
            Ok(versions) => Ok(Answer::Found(self.numbered(versions))),
            Err(FileError::Missing) => Ok(Answer::Missing),
            Err(FileError::Malformed(reason)) => Ok(Answer::Rejected(reason)),
            Err(FileError::Io(cause)) => Err(SourceError::Unreachable {
                place: self.path.join(file).display().to_string(),
                cause: cause.into(),
            }),
        }
    }

    fn numbered(&self, versions: Versions) -> Versions {
        match &self.version {
            Some((name, _)) => Versions { id: name.clone(), ..versions },
            None => versions,
        }
    }

    /// Whether `..data` still points at what this has open.
    fn is_current(&self) -> bool {
        match (&self.version, data_target(&self.outer)) {
            (Some((name, _)), Ok(Some(target))) => *name == target,
            (None, Ok(None)) => true,
            _ => false,
        }
    }
}

/// Reads with `read` from the directory at `path`, anew where the version that was being read was
/// removed meanwhile. All answers are of one version.
pub(crate) fn read_whole<T>(
    path: &Path,
    read: impl Fn(&Mount) -> Result<Vec<T>, SourceError>,
    is_gap: impl Fn(&T) -> bool,
) -> Result<Vec<T>, SourceError> {
    for _ in 0..TRIES {
        let mount = Mount::open(path)?;
        let answers = read(&mount);
        let whole = answers.as_ref().is_ok_and(|answers| !answers.iter().any(&is_gap));
        // Nothing is missing, so nothing was removed under our hands; or it is really not there.
        if whole || mount.is_current() {
            return answers;
        }
    }
    Err(SourceError::Unreachable {
        place: path.display().to_string(),
        cause: "it changes faster than it can be read".into(),
    })
}

/// Where `..data` points, if it is there: a name in the same directory.
fn data_target(outer: &OwnedFd) -> Result<Option<String>, Errno> {
    match rustix::fs::readlinkat(outer, DATA, Vec::new()) {
        Ok(target) => match target.into_string() {
            Ok(target) if !target.contains('/') && target != ".." && target != "." => {
                Ok(Some(target))
            }
            // Not the kubelet's work, and not to be followed out of the directory.
            _ => Err(Errno::XDEV),
        },
        // There is none, or it is no link.
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn unreadable(path: &Path, errno: Errno) -> SourceError {
    let place = path.display().to_string();
    match errno {
        Errno::ACCESS | Errno::PERM => {
            SourceError::Denied { place, cause: io::Error::from(errno).into() }
        }
        Errno::NOTDIR => SourceError::Refused {
            place,
            reason: "it is not a directory; name the directory in which each secret is a file"
                .into(),
        },
        Errno::XDEV => SourceError::Refused {
            place,
            reason: "its ..data leaves the directory; it must name a directory beside it".into(),
        },
        Errno::NOENT => SourceError::Unreachable { place, cause: "it is not there".into() },
        other => SourceError::Unreachable { place, cause: io::Error::from(other).into() },
    }
}
