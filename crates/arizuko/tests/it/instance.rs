//! Making an instance.

use crate::{Instance, command, errors, json, refusal};
use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Child, Stdio},
};

#[test]
fn created_by_many_at_once_it_is_one_and_whole() {
    for _ in 0..5 {
        let instance = Instance::new();
        let create = |_| {
            let mut create = instance.command(&["create", "demo"]);
            create.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let all: Vec<Child> = (0..8).map(create).collect();
        let mut said = BTreeSet::new();
        for child in all {
            let out = child.wait_with_output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            said.insert(String::from_utf8_lossy(&out.stdout).contains("CHANNEL_SECRET"));
        }
        assert_eq!(said.len(), 2, "one generated the secrets, and the others did not");
        let text = fs::read_to_string(instance.data.join(".env")).unwrap();
        assert_eq!(text.matches("CHANNEL_SECRET=").count(), 1);
    }
}

#[test]
fn a_directory_that_holds_other_things_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(dir.path(), open.clone()).unwrap();
    fs::write(dir.path().join("precious"), "mine").unwrap();
    let (code, line) = refusal(&command(dir.path(), &["create", "demo"]).output().unwrap());
    assert_eq!(code, 73, "{line}");
    assert!(line.contains("--data-dir"), "{line}");
    let mode = fs::metadata(dir.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "others may still enter it");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was put there");

    // An empty one, as an operator or a volume makes it, becomes the instance's, and its alone.
    fs::remove_file(dir.path().join("precious")).unwrap();
    assert!(command(dir.path(), &["create", "demo"]).status().unwrap().success());
    let mode = fs::metadata(dir.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // And so it stays, when somebody opens it.
    fs::set_permissions(dir.path(), open).unwrap();
    assert!(command(dir.path(), &["create", "demo"]).status().unwrap().success());
    let mode = fs::metadata(dir.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_directory_is_one_instances() {
    let instance = Instance::made();
    let before = fs::read_to_string(instance.data.join("settings.env")).unwrap();
    let (code, line) = instance.refused(&["create", "other"]);
    assert_eq!(code, 73, "{line}");
    assert!(line.contains("the instance demo") && line.contains("--data-dir"), "{line}");
    assert_eq!(fs::read_to_string(instance.data.join("settings.env")).unwrap(), before);
    assert!(instance.run(&["create", "demo"]).status.success(), "its own name is good");
}

/// Runs `secrets set` with this value on standard input.
fn set(instance: &Instance, name: &str, value: &[u8]) -> std::process::Output {
    let mut set = instance.command(&["secrets", "set", name]);
    let set = set.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = set.spawn().unwrap();
    child.stdin.take().unwrap().write_all(value).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn what_a_daemon_would_refuse_is_not_written() {
    let instance = Instance::made();
    let dotenv = instance.data.join(".env");
    let before = fs::read_to_string(&dotenv).unwrap();
    let long = "k".repeat(70_000);
    let bad: [(&str, &[u8]); 9] = [
        ("SECRETS_KEY", b"too-short-by-far"),
        ("SECRETS_KEY", b"\xff\xfe is not text, however long it is, nor is it a key"),
        ("SECRETS_KEY_PREVIOUS", b"too-short-by-far"),
        ("CHANNEL_SECRET", b"with a space in it, and long enough"),
        ("AUTHD_SERVICE_KEY", b""),
        ("AUTHD_SERVICE_KEY_WEBD", b"short"),
        ("CHANNEL_SECRET_SLAKD", long.as_bytes()),
        ("PROXYD_TLS_CERT", b"-----BEGIN CERTIFICATE-----\nMIIBszCCAVmg"),
        ("PROXYD_TLS_KEY", b"this is no key"),
    ];
    for (name, value) in bad {
        let (code, line) = refusal(&set(&instance, name, value));
        assert_eq!(code, 65, "{name}: {line}");
        assert!(line.contains(name), "{line}");
        let shown = String::from_utf8_lossy(value);
        assert!(shown.is_empty() || !line.contains(&*shown), "the line shows the value: {line}");
        assert_eq!(fs::read_to_string(&dotenv).unwrap(), before, "{name}: it was written");
    }
    let out = instance.run(&["secrets", "check"]);
    assert!(out.status.success(), "{}", errors(&out));

    // Without any service key no daemon could prove itself, although each of them is optional.
    let without = before.lines().filter(|line| !line.starts_with("AUTHD_SERVICE_KEY="));
    let without: Vec<&str> = without.collect();
    fs::write(&dotenv, without.join("\n") + "\n").unwrap();
    let out = instance.run(&["--json", "secrets", "check"]);
    assert_eq!(out.status.code(), Some(78));
    let findings = json(&out)["findings"].as_array().unwrap().clone();
    let of_authd =
        findings.iter().filter(|of| of["daemon"] == "authd" && of["problem"].is_string());
    let of_authd: Vec<_> = of_authd.collect();
    assert_eq!(of_authd.len(), 1, "{of_authd:?}");
    assert!(of_authd[0]["problem"].as_str().unwrap().contains("AUTHD_SERVICE_KEY_<DAEMON>"));
}

#[test]
fn a_secret_is_set_while_nothing_runs_and_one_that_nothing_uses_is_told() {
    let instance = Instance::made();
    for (name, is_used) in [("CHANNEL_SECRET", true), ("CHANEL_SECRET", false)] {
        for is_json in [false, true] {
            let mut set = instance.command(if is_json { &["--json"] } else { &[] });
            set.args(["secrets", "set", name]);
            let mut child = set
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(b"0123456789abcdef0123456789abcdef").unwrap();
            let out = child.wait_with_output().unwrap();
            assert!(out.status.success(), "{}", errors(&out));
            if is_json {
                assert_eq!(json(&out)["daemons"], serde_json::json!([]));
            } else {
                assert_eq!(errors(&out).contains("nothing in this build uses"), !is_used);
            }
        }
        let text = fs::read_to_string(instance.data.join(".env")).unwrap();
        assert!(text.contains(&format!("\n{name}=0123456789abcdef")), "it is written all the same");
    }
}
