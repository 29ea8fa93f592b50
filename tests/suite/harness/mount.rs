//! A directory of secrets as the kubelet projects it (its AtomicWriter).

use std::{fs, os::unix::fs::symlink, path::PathBuf};

/// A projected volume: `NAME -> ..data/NAME`, `..data -> ..VERSION`.
pub struct Mount {
    dir: PathBuf,
    version: u32,
    values: Vec<(String, String)>,
}

impl Mount {
    /// A new volume at `dir` with these values.
    pub fn new(dir: PathBuf, values: &[(&str, &str)]) -> Self {
        fs::create_dir_all(&dir).unwrap();
        let mut mount = Self { dir, version: 0, values: Vec::new() };
        mount.set(values);
        mount
    }

    /// Where it is.
    pub fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// Changes these values, in the kubelet's steps: a new directory, a link to it under another
    /// name, the rename of that link over `..data`, and the removal of the old directory.
    pub fn set(&mut self, values: &[(&str, &str)]) {
        for (name, value) in values {
            self.values.retain(|(known, _)| known != name);
            self.values.push(((*name).into(), (*value).into()));
        }
        self.project();
    }

    /// Takes these names away, in the same steps.
    pub fn remove(&mut self, names: &[&str]) {
        self.values.retain(|(known, _)| !names.contains(&known.as_str()));
        self.project();
        for name in names {
            fs::remove_file(self.dir.join(name)).unwrap();
        }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> &str {
        let found = self.values.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap()
    }

    fn project(&mut self) {
        let old = format!("..2026_{}", self.version);
        self.version += 1;
        let new = format!("..2026_{}", self.version);
        fs::create_dir(self.dir.join(&new)).unwrap();
        for (name, value) in &self.values {
            fs::write(self.dir.join(&new).join(name), value).unwrap();
        }
        let draft = self.dir.join("..data_tmp");
        symlink(&new, &draft).unwrap();
        fs::rename(&draft, self.dir.join("..data")).unwrap();
        for (name, _) in &self.values {
            let link = self.dir.join(name);
            if fs::symlink_metadata(&link).is_err() {
                symlink(PathBuf::from("..data").join(name), link).unwrap();
            }
        }
        if self.version > 1 {
            fs::remove_dir_all(self.dir.join(old)).unwrap();
        }
    }
}
