//! A directory of secrets as the kubelet projects it.

use rustix::fs::{Mode, OFlags};
use secrets::{Name, Secret};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A projected volume: `NAME -> ..data/NAME`, `..data -> ..VERSION`.
#[derive(Debug)]
pub struct Mount {
    dir: PathBuf,
    version: u64,
    values: BTreeMap<Name, Arc<Secret>>,
}

impl Mount {
    /// A volume at `dir` with nothing in it yet.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new(dir: PathBuf) -> io::Result<Self> {
        private_dir(&dir)?;
        Ok(Self { dir, version: 0, values: BTreeMap::new() })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Changes these values in the kubelet's steps: a new directory, a link to it under another name, the rename of
    /// that link over `..data`, and the removal of the old directory.
    ///
    /// # Errors
    /// One of the steps failed.
    pub fn set(&mut self, values: &[(Name, Arc<Secret>)]) -> io::Result<()> {
        self.values.extend(values.iter().cloned());
        let old = self.dir.join(format!("..v{}", self.version));
        self.version += 1;
        let new = format!("..v{}", self.version);
        private_dir(&self.dir.join(&new))?;
        for (name, value) in &self.values {
            write(&self.dir.join(&new).join(name.as_str()), value)?;
        }
        let draft = self.dir.join("..data_tmp");
        symlink(&new, &draft)?;
        fs::rename(&draft, self.dir.join("..data"))?;
        for name in self.values.keys() {
            let link = self.dir.join(name.as_str());
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new("..data").join(name.as_str()), link)?;
            }
        }
        if self.version > 1 { fs::remove_dir_all(old) } else { Ok(()) }
    }
}

fn private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(dir)
}

fn write(path: &Path, value: &Secret) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = fs::File::from(rustix::fs::open(path, flags, Mode::RUSR)?);
    file.write_all(value.expose())
}
