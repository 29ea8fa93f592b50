//! The command line beside an instance that does not run, or that another process has.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

mod instance;
mod running;

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// An instance of a test's own.
struct Instance {
    _dir: tempfile::TempDir,
    data: PathBuf,
}

impl Instance {
    /// One that is not made yet.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Self { _dir: dir, data }
    }

    fn made() -> Self {
        let instance = Self::new();
        let out = instance.run(&["create", "demo"]);
        assert!(out.status.success(), "{}", errors(&out));
        instance
    }

    fn run_dir(&self) -> PathBuf {
        self.data.join("run")
    }

    fn command(&self, args: &[&str]) -> Command {
        command(&self.data, args)
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The one line with which a command fails, and its exit code.
    fn refused(&self, args: &[&str]) -> (i32, String) {
        refusal(&self.run(args))
    }
}

fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arizuko"));
    command.arg("--data-dir").arg(data).args(args).env_clear().stdin(Stdio::null());
    command
}

fn errors(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn refusal(out: &Output) -> (i32, String) {
    let errors = errors(out);
    let lines: Vec<&str> = errors.lines().filter(|line| line.starts_with("arizuko: ")).collect();
    assert_eq!(lines.len(), 1, "one line says it: {errors}");
    (out.status.code().unwrap(), lines[0].to_owned())
}

fn json(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}{}", String::from_utf8_lossy(&out.stdout), errors(out))
    })
}
