//! The manifest of a backup: written last, read first.

use super::{MANIFEST, MANIFEST_SUM, damaged};
use crate::failure::{Exit, Failure};
use proto::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

/// The only layout that there is so far.
pub const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Its layout: [`FORMAT`].
    pub format: u32,
    /// Its random name, which the audit logs of what is made from it will show.
    pub id: String,
    /// The instance's name.
    pub instance: String,
    /// The program that made it.
    pub version: String,
    /// The moment that the databases show.
    pub taken_at: Timestamp,
    /// The ids of the values of `SECRETS_KEY` that open it, any one of them. They tell nothing about the values.
    pub secrets_keys: Vec<String>,
    /// Whether `.env` is in it.
    pub holds_secrets: bool,
    /// The databases.
    pub databases: Vec<DatabaseCopy>,
    /// Everything else: directories before what is in them.
    pub entries: Vec<Entry>,
    /// What whoever uses it should know: what is not in it, or may be of two moments.
    pub notes: Vec<Note>,
}

/// A database in a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DatabaseCopy {
    /// Its name below `store/`.
    pub file: String,
    /// Its schema's version.
    pub schema_version: u32,
    /// In bytes.
    pub size: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
    /// The ids of the values of `SECRETS_KEY` that open what is sealed in it; none where nothing is.
    pub secrets_keys: Vec<String>,
}

/// A directory, a file or a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is, from the top of the backup and of the instance alike.
    pub path: Name,
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
    /// Its permissions. The copy in the backup can be read by its owner in any case.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When its content changed last, in seconds since 1970.
    pub modified: i64,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// In bytes.
        size: u64,
        /// SHA-256, in hexadecimal.
        sha256: String,
    },
    /// A symbolic link, which is kept as it is and never followed.
    Link {
        /// What it says.
        target: Name,
    },
}

/// Something that whoever uses the backup should know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Note {
    /// About what.
    pub path: Name,
    /// What.
    pub what: String,
}

/// A path as the file system has it, which need not be text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Name {
    /// In UTF-8, as nearly all are.
    Text(String),
    /// Any other, in hexadecimal.
    Bytes {
        /// The bytes.
        hex: String,
    },
}

impl Name {
    /// This path.
    pub fn of(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes { hex: hex::encode(path.as_os_str().as_bytes()) },
        }
    }

    /// As a path; `None` where it is none.
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Text(text) => Some(PathBuf::from(text)),
            Self::Bytes { hex } => {
                hex::decode(hex).ok().map(|bytes| PathBuf::from(OsStr::from_bytes(&bytes)))
            }
        }
    }

    /// As a path that leads down and nowhere else.
    pub fn beneath(&self) -> Option<PathBuf> {
        let path = self.path()?;
        let is_down = path.components().all(|part| matches!(part, Component::Normal(_)));
        (is_down && path.components().next().is_some()).then_some(path)
    }
}

impl Manifest {
    /// Reads the manifest of the backup at `dir`, and checks it against its own checksum.
    ///
    /// # Errors
    /// There is no backup, it is damaged, or a newer program made it.
    pub fn read(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(MANIFEST);
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                let line = format!(
                    "{} is no backup: it has no {MANIFEST}; name the directory that `arizuko backup` made",
                    dir.display()
                );
                Failure::new(Exit::Data, line)
            }
            _ => Failure::io("read", &path, &error),
        })?;
        let sum = dir.join(MANIFEST_SUM);
        let said = fs::read_to_string(&sum).map_err(|error| Failure::io("read", &sum, &error))?;
        if said.split_whitespace().next() != Some(hex::encode(Sha256::digest(&bytes)).as_str()) {
            return Err(damaged(format!("{} is not what was written", path.display())));
        }
        #[derive(Deserialize)]
        struct Layout {
            format: u32,
        }
        let unreadable = |error: serde_json::Error| damaged(format!("{}: {error}", path.display()));
        let Layout { format } = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if format > FORMAT {
            let line = format!(
                "{} was made by a newer arizuko (layout {format}, and this program knows {FORMAT}); use that one",
                dir.display()
            );
            return Err(Failure::new(Exit::Data, line));
        }
        serde_json::from_slice(&bytes).map_err(unreadable)
    }

    /// Writes the manifest and its checksum into `dir`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), Failure> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
        bytes.push(b'\n');
        let sum = format!("{}  {MANIFEST}\n", hex::encode(Sha256::digest(&bytes)));
        crate::instance::write_new(&dir.join(MANIFEST), &bytes)?;
        crate::instance::write_new(&dir.join(MANIFEST_SUM), sum.as_bytes())
    }

    /// The bytes of everything in it.
    pub fn size(&self) -> u64 {
        let of = |entry: &Entry| match entry.kind {
            Kind::File { size, .. } => size,
            _ => 0,
        };
        let databases: u64 = self.databases.iter().map(|database| database.size).sum();
        databases + self.entries.iter().map(of).sum::<u64>()
    }
}

/// The size and the SHA-256 of what `file` holds from here on.
///
/// # Errors
/// It cannot be read.
pub fn digest(mut file: impl Read) -> io::Result<(u64, String)> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok((size, hex::encode(hash.finalize())));
        };
        hash.update(bytes);
        size += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_down_and_nowhere_else() {
        for good in ["homes", "homes/h-1/notes.txt", "homes/..x"] {
            assert!(Name::Text(good.into()).beneath().is_some(), "{good}");
        }
        for bad in ["", "/etc/passwd", "..", "homes/../../x", "./x", "."] {
            assert!(Name::Text(bad.into()).beneath().is_none(), "{bad}");
        }
        let odd = Path::new(OsStr::from_bytes(b"homes/\xff"));
        let name = Name::of(odd);
        assert_eq!(name, Name::Bytes { hex: "686f6d65732fff".into() });
        assert_eq!(name.beneath().as_deref(), Some(odd));
        let json = serde_json::to_string(&name).unwrap();
        assert_eq!(serde_json::from_str::<Name>(&json).unwrap(), name);
    }
}
