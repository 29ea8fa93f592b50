//! No secret reaches an agent, and none is where it could be read.

use crate::harness::{Suite, eventually};
use std::{collections::BTreeSet, fs, path::Path, thread};

/// Every process whose ancestor is `root`, itself among them.
fn family(root: u32) -> BTreeSet<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let all: Vec<u32> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let mut found = BTreeSet::from([root]);
    loop {
        let is_child = |pid: &&u32| parent(**pid).is_some_and(|p| found.contains(&p));
        let children: Vec<u32> = all.iter().filter(is_child).copied().collect();
        let before = found.len();
        found.extend(children);
        if found.len() == before {
            return found;
        }
    }
}

fn files_below(dir: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), found);
        } else if entry.file_type().unwrap().is_file() {
            found.push(fs::read(entry.path()).unwrap());
        }
    }
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn an_agent_has_no_secret_in_its_environment_arguments_or_files() {
    let suite = Suite::up();
    let names = ["SECRETS_KEY", "CHANNEL_SECRET", "AUTHD_SERVICE_KEY"];
    let secrets = names.map(|name| suite.dotenv(name));
    let up = suite.pids()["up"];
    thread::scope(|scope| {
        let asked = scope.spawn(|| suite.ok(&["ask", "wait 4"]));
        let is_agent = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("--socket-dir")
        };
        let agents = eventually("an agent runs", || {
            let agents: Vec<u32> = family(up).into_iter().filter(is_agent).collect();
            (!agents.is_empty()).then_some(agents)
        });
        let children: Vec<u32> = family(up).into_iter().filter(|pid| *pid != up).collect();
        assert!(agents.iter().all(|agent| children.contains(agent)));
        for pid in children {
            for file in ["environ", "cmdline"] {
                let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                for (name, secret) in names.iter().zip(&secrets) {
                    assert!(!holds(&bytes, secret), "{name} is in /proc/{pid}/{file}");
                    assert!(!holds(&bytes, name), "{name} is named in /proc/{pid}/{file}");
                }
            }
        }
        asked.join().unwrap();
    });
    for place in ["homes", "run"] {
        let mut files = Vec::new();
        files_below(&suite.data().join(place), &mut files);
        for (name, secret) in names.iter().zip(&secrets) {
            assert!(
                files.iter().all(|file| !holds(file, secret)),
                "{name} is in a file below {place}"
            );
        }
    }
    // Nor in the databases, nor in the log.
    let mut files = vec![fs::read(suite.scratch("up.log")).unwrap()];
    files_below(&suite.data().join("store"), &mut files);
    assert!(files.len() >= 4, "the databases are not where this test looks");
    for (name, secret) in names.iter().zip(&secrets) {
        assert!(files.iter().all(|file| !holds(file, secret)), "{name} is in a database or a log");
    }
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
