//! Whether an instance runs, and where: what a killed process left behind counts for nothing.

use crate::{Instance, LIMIT, errors, json};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    process::Stdio,
    time::Instant,
};

const LEFT_BEHIND: &str = r#"{"pid":1,"edge":"http://127.0.0.1:9","daemons":
    {"routd":"http://127.0.0.1:9","authd":"http://127.0.0.1:9"}}"#;

/// Where the command line looks for routd.
fn address_of_routd(instance: &Instance) -> String {
    let status = json(&instance.run(&["--json", "status"]));
    let daemons = status["daemons"].as_array().unwrap().clone();
    let routd = daemons.into_iter().find(|daemon| daemon["daemon"] == "routd").unwrap();
    routd["address"].as_str().unwrap().to_owned()
}

#[test]
fn addresses_count_as_long_as_whoever_wrote_them_lives() {
    let instance = Instance::made();
    let file = instance.run_dir().join("addresses.json");
    fs::write(&file, LEFT_BEHIND).unwrap();
    assert_eq!(address_of_routd(&instance), "http://127.0.0.1:8080", "it was killed");
    fs::write(&file, "not whole").unwrap();
    assert_eq!(address_of_routd(&instance), "http://127.0.0.1:8080", "a power cut is no obstacle");

    fs::write(&file, LEFT_BEHIND).unwrap();
    let lock = File::create(instance.run_dir().join("up.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(address_of_routd(&instance), "http://127.0.0.1:9", "it lives");
}

#[test]
fn a_second_up_names_the_first_and_changes_nothing() {
    let instance = Instance::made();
    let file = instance.run_dir().join("addresses.json");
    fs::write(&file, LEFT_BEHIND).unwrap();
    let path = instance.run_dir().join("up.lock");
    fs::write(&path, "4711").unwrap();
    let lock = File::open(&path).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let (code, line) = instance.refused(&["up", "--port-base", "0"]);
    assert_eq!(code, 75, "{line}");
    assert!(line.contains("process 4711") && line.contains("--instance"), "{line}");
    assert_eq!(fs::read_to_string(&file).unwrap(), LEFT_BEHIND, "the first one's addresses");
    assert_eq!(fs::read_to_string(&path).unwrap(), "4711", "the first one's lock");
}

#[test]
fn a_socket_that_nobody_answers_on_is_an_instance_that_does_not_run() {
    let instance = Instance::made();
    let socket = instance.run_dir().join("admin.sock");
    for left_behind in [false, true] {
        if left_behind {
            drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        }
        let (code, line) = instance.refused(&["ask", "--timeout", "5s", "hello"]);
        assert_eq!(code, 69, "{line}");
        for part in ["does not run", &socket.display().to_string(), "`arizuko up`"] {
            assert!(line.contains(part), "{part} is not in: {line}");
        }
    }
}

#[test]
fn a_question_outlives_the_suite_that_was_asked() {
    let instance = Instance::made();
    let first = instance.up();
    let slow = ["group", "add", "slow", "--harness", "command", "--command", "sh", "-c"];
    let out = instance.run(&[&slow[..], &["sleep 2; echo done"]].concat());
    assert!(out.status.success(), "{}", errors(&out));
    let mut ask = instance.command(&["ask", "--folder", "slow", "hello"]);
    let ask = ask.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while json(&instance.run(&["--json", "status"]))["queues"]["turns_running"] != 1 {
        assert!(begun.elapsed() < LIMIT, "the turn never begins");
    }
    // On other ports, the second time.
    drop(first);
    let _second = instance.up();
    let out = ask.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", errors(&out));
    assert_eq!(String::from_utf8_lossy(&out.stdout), "done\n", "once, and no more");
}

#[test]
fn what_is_no_command_is_refused_in_one_line() {
    let instance = Instance::new();
    for (args, says) in [
        (&["frobnicate"][..], "unrecognized subcommand 'frobnicate'"),
        (&["ask"], "required arguments were not provided: <TEXT>"),
        (&["health", "nobody"], "there is no daemon `nobody`"),
        (&["up", "--port-base", "high"], "invalid value 'high'"),
        (&["statu"], "a similar subcommand exists: 'status'"),
    ] {
        let (code, line) = instance.refused(args);
        assert_eq!(code, 64, "{line}");
        assert!(line.contains(says) && line.ends_with("see `--help`"), "{line}");
        assert!(!line.contains("For more information"), "{line}");
    }
    assert!(!instance.data.exists(), "nothing was made");
}
