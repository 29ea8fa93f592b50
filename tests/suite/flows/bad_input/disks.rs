//! A disk that is full while everything runs.

use super::wire::{addresses, problem, request, send};
use crate::harness::{Suite, eventually};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::{fs, process::Command};

/// Sets how large a file of this process may grow, as a full disk would.
fn limit_files(pid: u32, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

#[test]
fn a_full_disk_refuses_messages_loses_none_and_is_over_when_there_is_room() {
    let mut suite = Suite::made();
    // Messages are stored, and nothing else writes.
    suite.set("CONTAINER_BACKEND", "none").start_up();
    let secret = suite.dotenv("CHANNEL_SECRET");
    let (_, routd) = addresses(&suite).into_iter().find(|(name, _)| name == "routd").unwrap();
    let content = "x".repeat(60_000);
    let post = |id: &str| {
        let lines = format!("authorization: Bearer {secret}\r\n");
        let body = serde_json::json!({
            "id": id, "chat_jid": "telegram:1", "sender": "telegram:2", "content": content,
        });
        send(&routd, &request("POST /v1/messages", &lines, body.to_string().as_bytes()))
    };
    let up = suite.pids()["up"];
    assert_eq!(post("m0").status, 200);
    // Room for a few messages more, however large the files are to begin with.
    let store = fs::read_dir(suite.data().join("store")).unwrap();
    let largest = store.map(|file| file.unwrap().metadata().unwrap().len()).max().unwrap();
    limit_files(up, Some(largest + 300_000));
    let mut acknowledged = vec!["m0".to_owned()];
    let mut refused = Vec::new();
    for n in 1..60 {
        let id = format!("m{n}");
        let answer = post(&id);
        if answer.status == 200 {
            assert!(refused.is_empty(), "{id} was taken after {refused:?} were refused");
            acknowledged.push(id);
            continue;
        }
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert_eq!(problem(&answer)["code"], "unavailable", "{}", answer.text);
        assert!(answer.text.to_lowercase().contains("retry-after"), "{}", answer.text);
        refused.push(id);
        if refused.len() == 3 {
            break;
        }
    }
    assert!(acknowledged.len() > 1 && refused.len() == 3, "{acknowledged:?} {refused:?}");
    // The daemon lives, says what is wrong, and reads.
    assert_eq!(send(&routd, &request("GET /health", "", b"")).status, 200);
    let ready = send(&routd, &request("GET /ready", "", b""));
    assert!(ready.text.contains("routd.db: "), "degraded, with the reason: {}", ready.text);

    limit_files(up, None);
    for id in &refused {
        assert_eq!(post(id).status, 200, "{id} after there was room");
    }
    eventually("the trouble is over", || {
        let ready = send(&routd, &request("GET /ready", "", b""));
        (!ready.text.contains("routd.db: ")).then_some(())
    });
    // Whoever was told that it is stored finds it, once, after a kill too.
    suite.kill("up");
    suite.start_up();
    for id in acknowledged.iter().chain(&refused) {
        let (_, routd) = addresses(&suite).into_iter().find(|(name, _)| name == "routd").unwrap();
        let lines = format!("authorization: Bearer {secret}\r\n");
        let body = serde_json::json!({
            "id": id, "chat_jid": "telegram:1", "sender": "telegram:2", "content": content,
        });
        let answer =
            send(&routd, &request("POST /v1/messages", &lines, body.to_string().as_bytes()));
        assert_eq!(
            (answer.status, &problem(&answer)["duplicate"]),
            (200, &true.into()),
            "{id} is gone"
        );
    }
}

#[test]
fn a_data_directory_on_a_file_system_that_cannot_be_written() {
    let mut suite = Suite::up();
    assert_eq!(suite.process("up").stop(), Some(0));
    let data = suite.data();
    let before = fs::read(data.join("store/routd.db")).unwrap();
    // Mounts of its own, which go with the process.
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let read_only = |args: &[&str]| {
        let program = suite.command();
        let mut command = Command::new("unshare");
        command.arg("--mount").args(["sh", "-c", script]).arg(&data);
        command.arg(program.get_program()).args(program.get_args()).args(args);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("INSTANCE_NAME", "test").env("LISTEN_ADDR", "127.0.0.1:0");
        let out = command.output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        (out.status.code(), text.lines().last().unwrap_or_default().to_owned())
    };
    for args in [&["up", "--port-base", "0"][..], &["run", "authd"], &["create", "test"]] {
        let (code, line) = read_only(args);
        if !line.starts_with("arizuko: ") {
            eprintln!("not tried: this user may not mount anything here: {line}");
            return;
        }
        assert!([Some(73), Some(77)].contains(&code), "{args:?}: {code:?}: {line}");
        assert!(line.contains(data.to_str().unwrap()), "{args:?}: {line}");
    }
    assert_eq!(fs::read(data.join("store/routd.db")).unwrap(), before);
    suite.start_up();
}
