//! Addresses, directories and settings with which nothing can start.

use crate::harness::Suite;
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, process::Command};

/// Runs a command that must fail at once; its exit code and its last line.
fn refused(mut command: Command, args: &[&str]) -> (i32, String) {
    let out = command.args(args).output().unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    let line = text.lines().last().unwrap_or_default().to_owned();
    assert!(line.starts_with("arizuko: "), "the last line is the refusal:\n{text}");
    (out.status.code().unwrap(), line)
}

#[test]
fn a_port_that_is_taken_and_an_address_that_is_not_ours() {
    let suite = Suite::made();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    // 192.0.2.0/24 is nobody's (RFC 5737).
    for address in [taken.as_str(), "192.0.2.1:8081"] {
        let mut one = suite.command();
        one.env("LISTEN_ADDR", address);
        let (code, line) = refused(one, &["run", "runed"]);
        assert_eq!(code, 75, "{line}");
        assert!(line.contains(address) && line.contains("LISTEN_ADDR"), "{line}");
        let mut all = suite.command();
        all.env("ROUTD_LISTEN_ADDR", address);
        let (code, line) = refused(all, &["up", "--port-base", "0"]);
        assert_eq!(code, 75, "{line}");
        assert!(line.contains(address) && line.contains("ROUTD_LISTEN_ADDR"), "{line}");
        assert!(
            !suite.data().join("run/addresses.json").exists(),
            "what did not start has no address"
        );
    }
    suite.spawn_up().line("ready ");
}

#[test]
fn every_setting_refuses_what_it_cannot_read_before_anything_starts() {
    // Any text is a value of these.
    const FREE: &[&str] = &["CONTAINER_IMAGE"];
    let suite = Suite::made();
    let listed = suite.json(&["settings"]);
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(names.len() > 30, "{names:?}");
    let mut tried = 0;
    for name in names.iter().filter(|name| !FREE.contains(name)) {
        // Of one daemon, or of all: `LISTEN_ADDR` is read by single daemons alone.
        let args: &[&str] = match *name {
            "LISTEN_ADDR" => &["run", "runed"],
            "PROXYD_ADMIN_ADDR" => &["run", "proxyd"],
            _ => &["up", "--port-base", "0"],
        };
        let bad = if *name == "ASSISTANT_NAME" { "a\u{7}b" } else { "no such \u{1} thing" };
        let mut command = suite.command();
        if *name == "DATA_DIR" {
            command = Command::new(command.get_program());
            command.env_clear();
        }
        command.env(name, bad);
        let (code, line) = refused(command, args);
        assert_eq!(code, 78, "{name}: {line}");
        assert!(line.contains(name), "{name} is not named: {line}");
        assert_eq!(line.lines().count(), 1);
        tried += 1;
    }
    assert!(tried > 30, "only {tried} settings were tried");
    // Nothing of it is remembered.
    suite.spawn_up().line("ready ");
}

#[test]
fn a_settings_file_with_a_name_that_nothing_reads_and_one_that_is_no_text() {
    let suite = Suite::made();
    let path = suite.data().join("settings.env");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{good}RUN_TIMEOT=15m\n")).unwrap();
    {
        let mut up = suite.spawn_up();
        up.line("ready ");
        let log = up.log_text();
        assert!(log.contains("RUN_TIMEOT") && log.contains("arizuko settings"), "{log}");
    }
    fs::write(&path, format!("{good}RUN_TIMEOUT\n")).unwrap();
    let (code, line) = refused(suite.command(), &["up", "--port-base", "0"]);
    assert_eq!(code, 78, "{line}");
    assert!(line.contains("line 5") || line.contains("is not NAME=value"), "{line}");
    fs::write(&path, b"RUN_TIMEOUT=\xff\xfe\n").unwrap();
    let (code, line) = refused(suite.command(), &["up", "--port-base", "0"]);
    assert!(code == 78 && line.contains("settings.env"), "{code}: {line}");
    fs::write(&path, good).unwrap();
    suite.spawn_up().line("ready ");
}

#[test]
fn a_data_directory_that_cannot_be_one() {
    let suite = Suite::new();
    let file = suite.scratch("file");
    fs::write(&file, "mine").unwrap();
    let others = suite.scratch("others");
    fs::create_dir(&others).unwrap();
    fs::write(others.join("letter"), "mine").unwrap();
    fs::set_permissions(&others, PermissionsExt::from_mode(0o755)).unwrap();
    let long = suite.scratch(&"d".repeat(120));
    for (dir, codes) in [
        (file.clone(), &[73][..]),
        (file.join("below"), &[73]),
        (others.clone(), &[73]),
        // The kernel makes no directory there, for nobody.
        ("/proc/arizuko".into(), &[73, 77]),
        // A socket in it would have too long a path.
        (long, &[78]),
    ] {
        let mut command = Command::new(suite.command().get_program());
        command.env_clear().env("INSTANCE_NAME", "test");
        command.arg("--data-dir").arg(&dir);
        let (code, line) = refused(command, &["up", "--port-base", "0"]);
        assert!(codes.contains(&code), "{}: {code}: {line}", dir.display());
        assert!(line.contains("--data-dir"), "{line}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    assert_eq!(fs::read_dir(&others).unwrap().count(), 1, "something was put beside the letter");
}
