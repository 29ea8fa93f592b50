//! What cannot work is refused at the start, with what, where and what to do.

use crate::harness::{Suite, Tls, eventually};
use std::{fs, os::unix::fs::PermissionsExt};

/// Starts the suite, which must refuse; its exit code and its last line.
fn refused(suite: &Suite) -> (i32, String) {
    let mut up = suite.spawn_up();
    let code = up.ended().unwrap();
    let text = up.log_text();
    let line = text.lines().last().unwrap_or_default().to_owned();
    assert!(line.starts_with("arizuko: "), "the last line is the refusal:\n{text}");
    assert!(!suite.data().join("run/addresses.json").exists(), "what did not start has no address");
    (code, line)
}

#[test]
fn an_env_file_that_others_may_read() {
    let suite = Suite::made();
    let path = suite.data().join(".env");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let (code, line) = refused(&suite);
    assert_eq!(code, 78, "{line}");
    assert!(line.contains("chmod 600") && line.contains(".env"), "{line}");
    // Mended, it starts.
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    suite.spawn_up().line("ready ");
}

#[test]
fn a_required_secret_that_no_source_has() {
    let mut suite = Suite::made();
    let empty = suite.scratch("empty");
    fs::create_dir(&empty).unwrap();
    suite.set("SECRETS_SOURCES", &format!("file://{},env:", empty.display()));
    let (code, line) = refused(&suite);
    assert_eq!(code, 78, "{line}");
    assert!(
        line.contains(&empty.display().to_string()) && line.contains("environment"),
        "every source is named: {line}"
    );
    assert!(
        ["SECRETS_KEY", "CHANNEL_SECRET", "AUTHD_SERVICE_KEY"]
            .iter()
            .any(|name| line.contains(name)),
        "{line}"
    );
    let (code, _) = suite.fails(&["secrets", "check"]);
    assert_eq!(code, 78);
    // `create` generates nothing where the operator named other sources.
    fs::remove_file(suite.data().join(".env")).unwrap();
    suite.ok(&["create", "test"]);
    assert!(!suite.data().join(".env").exists(), "a secret was generated beside the named sources");
}

#[test]
fn a_value_that_is_empty_or_will_not_do() {
    let suite = Suite::made();
    let good = suite.dotenv("SECRETS_KEY");
    for bad in ["", "too-short"] {
        suite.edit_dotenv(&[("SECRETS_KEY", bad)]);
        let (code, line) = refused(&suite);
        assert_eq!(code, 78, "{bad:?}: {line}");
        assert!(line.contains("SECRETS_KEY"), "{line}");
        assert!(bad.is_empty() || !line.contains(bad), "the line shows the value: {line}");
    }
    suite.edit_dotenv(&[("SECRETS_KEY", &good)]);
    suite.spawn_up().line("ready ");
}

#[test]
fn a_certificate_that_does_not_match_its_key() {
    let suite = Suite::made();
    let (one, other) = (Tls::new(), Tls::new());
    suite.edit_dotenv(&[("PROXYD_TLS_CERT", &one.cert), ("PROXYD_TLS_KEY", &other.key)]);
    let (_, line) = suite.fails(&["secrets", "check"]);
    assert!(line.contains("would not do"), "{line}");
    let (code, line) = refused(&suite);
    assert_eq!(code, 78, "{line}");
    assert!(line.contains("PROXYD_TLS"), "{line}");
    assert!(!line.contains("BEGIN"), "the line shows the value");
}

#[test]
fn a_setting_that_does_not_parse_and_an_instance_that_is_not_there() {
    let mut suite = Suite::made();
    suite.set("RUN_TIMEOUT", "soon");
    let (code, line) = refused(&suite);
    assert_eq!(code, 78, "{line}");
    assert!(
        line.contains("RUN_TIMEOUT") && line.contains("soon") && line.contains("15m"),
        "{line}"
    );

    let nowhere = Suite::new();
    let (code, line) = nowhere.fails(&["run", "routd"]);
    assert_eq!(code, 78, "{line}");
    assert!(line.contains("arizuko create"), "{line}");
    let (code, _) = nowhere.fails(&["frobnicate"]);
    assert_eq!(code, 64);
}

#[test]
fn the_same_instance_twice_and_a_database_that_is_damaged() {
    let mut suite = Suite::up();
    let (code, line) = {
        let mut second = suite.spawn_up();
        let code = second.ended().unwrap();
        (code, second.log_text().lines().last().unwrap_or_default().to_owned())
    };
    assert_eq!(code, 75, "{line}");
    assert_eq!(
        suite.ok(&["ask", "hello"]).trim(),
        "You said: hello",
        "the first one was disturbed"
    );
    assert_eq!(suite.process("up").stop(), Some(0));

    let database = suite.data().join("store/routd.db");
    let whole = fs::read(&database).unwrap();
    for extra in ["routd.db-wal", "routd.db-shm"] {
        let _gone = fs::remove_file(suite.data().join("store").join(extra)).is_err();
    }
    fs::write(&database, b"this is not a database, it is a letter to my aunt").unwrap();
    let (code, line) = refused(&suite);
    assert_eq!(code, 65, "{line}");
    assert!(line.contains("routd.db"), "{line}");
    let (code, line) = suite.fails(&["create", "test"]);
    assert_eq!((code, line.contains("routd.db")), (65, true), "create says it too: {line}");
    fs::write(&database, whole).unwrap();
    eventually("it starts again", || Some(suite.spawn_up().line("ready ")));
}
