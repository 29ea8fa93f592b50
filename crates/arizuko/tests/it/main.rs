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
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);

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

    /// The suite, once it is ready; killed when it is dropped.
    fn up(&self) -> Up {
        let log = File::options().create(true).append(true).open(self.data.with_extension("log"));
        let mut command = self.command(&["up", "--port-base", "0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(log.unwrap()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("ready "), "{line:?}");
        Up(child)
    }

    /// The one line with which a command fails, and its exit code.
    fn refused(&self, args: &[&str]) -> (i32, String) {
        refusal(&self.run(args))
    }
}

struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
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
