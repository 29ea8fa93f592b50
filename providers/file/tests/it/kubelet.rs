//! What the kubelet does to a mounted Secret, step by step (its AtomicWriter): write a new
//! directory, point `..data_tmp` at it, rename that over `..data`, remove the old directory.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

pub struct Kubelet {
    root: PathBuf,
    version: u32,
}

impl Kubelet {
    /// A mount with these files.
    pub fn mount(root: &Path, files: &[(&str, &str)]) -> Self {
        let mut kubelet = Self { root: root.to_owned(), version: 0 };
        kubelet.update(files);
        kubelet
    }

    /// The next version, whole. Answers its name.
    pub fn update(&mut self, files: &[(&str, &str)]) -> String {
        self.version += 1;
        let name = format!("..2026_11_23_12_00_00.{}", self.version);
        let directory = self.root.join(&name);
        fs::create_dir(&directory).unwrap();
        for (file, content) in files {
            fs::write(directory.join(file), content).unwrap();
            let visible = self.root.join(file);
            if !visible.is_symlink() {
                symlink(format!("..data/{file}"), visible).unwrap();
            }
        }
        let old = fs::read_link(self.root.join("..data")).ok();
        symlink(&name, self.root.join("..data_tmp")).unwrap();
        fs::rename(self.root.join("..data_tmp"), self.root.join("..data")).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(self.root.join(old)).unwrap();
        }
        name
    }
}
