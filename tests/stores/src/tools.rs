//! Programs that tests run and the project does not build: from a variable, the `PATH`, or where `.ci/run` installs them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ci-tools")
}

/// The program that the variable names, or that a Python package has at `within` (below `site-packages`), or that is called
/// `name` on the `PATH` or among the scripts of the tools. The package comes before its script on the `PATH`, which is
/// another process than the program: a test that kills one means the server. `None`, with a word about it, where there is none.
#[must_use]
pub fn program(variable: &str, name: &str, within: &str) -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = env::var_os(variable).map(PathBuf::from).into_iter().collect();
    if !within.is_empty() {
        for python in fs::read_dir(installed().join("lib")).into_iter().flatten().flatten() {
            places.push(python.path().join("site-packages").join(within));
        }
    }
    let path = env::var_os("PATH").unwrap_or_default();
    places.extend(env::split_paths(&path).map(|dir| dir.join(name)));
    places.push(installed().join("bin").join(name));
    let found = places.into_iter().find(|place| place.is_file());
    if found.is_none() {
        eprintln!("{name}: not verified (no such program)");
    }
    found
}

/// The Python whose packages `.ci/run` installs, where it has all of `modules`. `None`, with a word about it, where not.
#[must_use]
pub fn python(modules: &[&str]) -> Option<PathBuf> {
    let places =
        [env::var_os("TOOLS_PYTHON").map(PathBuf::from), Some(installed().join("bin/python3"))];
    let imports = modules.iter().map(|module| format!("import {module}\n")).collect::<String>();
    let has_all = |python: &PathBuf| {
        let mut run = std::process::Command::new(python);
        run.args(["-c", &imports]).output().is_ok_and(|out| out.status.success())
    };
    let found = places.into_iter().flatten().find(has_all);
    if found.is_none() {
        eprintln!("Python with {}: not verified (not installed)", modules.join(", "));
    }
    found
}
