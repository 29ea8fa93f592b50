//! What an agent, and a neighbour of the daemons' own user, cannot read. The search for secrets is in `canary`.

use crate::harness::{Suite, eventually};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::MetadataExt, process::CommandExt},
    process::{Child, Command, Stdio},
};

/// Nobody's user, for a test that root runs.
const NOBODY: u32 = 65_534;

/// Ended when it is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ended = self.0.kill().is_err();
        let _waited = self.0.wait().is_err();
    }
}

/// The same command, as the user who is to run all of it.
fn by(user: u32, mut command: Command) -> Command {
    if rustix::process::geteuid().is_root() {
        command.uid(user).gid(user);
    }
    command
}

#[test]
fn a_neighbour_of_the_same_user_reads_nothing_of_a_daemon() {
    let own = rustix::process::geteuid();
    let user = if own.is_root() { NOBODY } else { own.as_raw() };
    let mut suite = Suite::new();
    suite.set("CONTAINER_BACKEND", "none");
    if own.is_root() {
        std::os::unix::fs::chown(suite.scratch(""), Some(user), Some(user)).unwrap();
    }
    let arizuko = |args: &[&str]| {
        let mut command = by(user, suite.command());
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    match arizuko(&["version"]).status() {
        Ok(status) if status.success() => {}
        other => {
            // Below a directory that is its owner's alone.
            eprintln!("not looked at as user {user}, who may not start the program: {other:?}");
            return;
        }
    }
    assert!(arizuko(&["create", "test"]).status().unwrap().success());
    let mut up = Ended(arizuko(&["up", "--port-base", "0"]).spawn().unwrap());
    let lines = BufReader::new(up.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!({ lines }.any(|line| line.starts_with("ready ")), "it did not start");
    let mut plain = by(user, Command::new("sleep"));
    let plain = Ended(plain.arg("60").stdin(Stdio::null()).spawn().unwrap());

    let reads = |pid: u32, file: &str| {
        let mut cat = by(user, Command::new("cat"));
        let cat = cat.arg(format!("/proc/{pid}/{file}")).stderr(Stdio::null());
        cat.stdout(Stdio::null()).status().unwrap().success()
    };
    let owner = |pid: u32| fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();
    eventually("a process without this care can be read", || {
        (owner(plain.0.id()) == user && reads(plain.0.id(), "environ")).then_some(())
    });
    for file in ["environ", "maps", "auxv"] {
        assert!(!reads(up.0.id(), file), "/proc/PID/{file} is read by its user's other processes");
    }
    assert_eq!(owner(up.0.id()), 0, "a process that is not dumpable is root's");
}

#[test]
fn a_command_agent_cannot_read_what_is_not_its_own() {
    let suite = Suite::up();
    let data = suite.data();
    let targets = [
        data.join(".env"),
        data.join("store/routd.db"),
        data.join("run/admin.sock"),
        data.join("settings.env"),
    ];
    let looks: Vec<String> = targets
        .iter()
        .map(|p| format!("cat {0} 2>/dev/null && echo READ {0}", p.display()))
        .collect();
    let script =
        format!("{}; ls {}/homes 2>/dev/null; env; echo done", looks.join("; "), data.display());
    let added = suite.run(&[
        "group",
        "add",
        "tools",
        "--harness",
        "command",
        "--command",
        "/bin/sh",
        "-c",
        &script,
    ]);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let out = suite.run(&["ask", "--folder", "tools", "look around"]);
    let said =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    // Where the host cannot hide the data directory, the run is refused and says so.
    if out.status.success() {
        assert!(said.contains("done"), "{said}");
    } else {
        assert!(said.contains("command"), "the refusal names what it refuses: {said}");
    }
    assert!(!said.contains("READ"), "the agent read what is not its own: {said}");
    for name in ["SECRETS_KEY", "CHANNEL_SECRET", "AUTHD_SERVICE_KEY"] {
        assert!(!said.contains(&suite.dotenv(name)), "{name} reached the agent");
    }
}
