//! The Python whose packages `.ci/run` installs.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// It, where it has all of `modules`. `None`, with a word about it, where not.
#[must_use]
pub fn python(modules: &[&str]) -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ci-tools/bin/python3");
    let places = [env::var_os("TOOLS_PYTHON").map(PathBuf::from), Some(installed)];
    let imports = modules.iter().map(|module| format!("import {module}\n")).collect::<String>();
    let has_all = |python: &PathBuf| {
        let mut run = Command::new(python);
        run.args(["-c", &imports]).output().is_ok_and(|out| out.status.success())
    };
    let found = places.into_iter().flatten().find(has_all);
    if found.is_none() {
        eprintln!("Python with {}: not verified (not installed)", modules.join(", "));
    }
    found
}
