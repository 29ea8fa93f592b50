//! What cannot be brought back is refused with its reason, and nothing is written.

use super::{elsewhere, names, text, write_secrets};
use crate::harness::Suite;
use db::rusqlite;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A backup of an instance that has answered something.
fn backup() -> (Suite, PathBuf) {
    let suite = Suite::up();
    suite.ok(&["ask", "hello"]);
    let dest = suite.scratch("backup");
    suite.ok(&["backup", text(&dest)]);
    (suite, dest)
}

fn copied(from: &Path, to: &Path) -> PathBuf {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
    to.to_owned()
}

/// Refused with this exit code and these words, and the data directory is as it was.
fn refused(suite: &Suite, from: &Path, code: i32, words: &[&str]) {
    let before = suite.data().exists().then(|| names(&suite.data()));
    for command in [&["restore", text(from)][..], &["restore", "--check", text(from)]] {
        let (found, line) = suite.fails(command);
        assert_eq!(found, code, "{line}");
        assert_eq!(line.trim().lines().count(), 1, "{line}");
        for word in words {
            assert!(line.contains(word), "`{word}` is not in: {line}");
        }
    }
    assert_eq!(
        suite.data().exists().then(|| names(&suite.data())),
        before,
        "something was written"
    );
}

#[test]
fn without_the_right_key() {
    let (first, dest) = backup();
    let manifest: Value =
        serde_json::from_slice(&fs::read(dest.join("manifest.json")).unwrap()).unwrap();
    let id = manifest["secrets_keys"][0].as_str().unwrap();
    let second = Suite::new();
    refused(
        &second,
        &dest,
        78,
        &[id, "none at hand", "nothing was written", "SECRETS_KEY_PREVIOUS"],
    );
    fs::create_dir(second.data()).unwrap();
    let wrong = format!("SECRETS_KEY={}\n", "x".repeat(40));
    write_secrets(&second, &wrong);
    refused(&second, &dest, 78, &[id, "the one at hand has the id", "nothing was written"]);
    // Beside a newer one, the right one does.
    let both = format!("{wrong}SECRETS_KEY_PREVIOUS={}\n", first.dotenv("SECRETS_KEY"));
    write_secrets(&second, &both);
    second.ok(&["restore", text(&dest)]);
}

#[test]
fn with_damage() {
    let (first, dest) = backup();
    let second = elsewhere(&first);
    let damage = |name: &str, of: &str, how: &dyn Fn(&Path)| {
        let copy = copied(&dest, &first.scratch(name));
        how(&copy.join(of));
        refused(&second, &copy, 65, &[of, "damaged: use another"]);
    };
    damage("flipped", "store/routd.db", &|path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    damage("missing", "store/onbod.db", &|path| fs::remove_file(path).unwrap());
    damage("cut", "settings.env", &|path| fs::write(path, "INSTANCE_NAME").unwrap());
    damage("edited", "manifest.json", &|path| {
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, text.replace("\"mode\": ", "\"mode\":  ")).unwrap();
    });
    let empty = first.scratch("empty");
    fs::create_dir(&empty).unwrap();
    refused(&second, &empty, 65, &["is no backup"]);
    second.ok(&["restore", text(&dest)]);
}

/// Changes a database of a backup and has its manifest fit again.
fn changed(backup: &Path, file: &str, sql: &str) {
    let path = backup.join("store").join(file);
    rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let place = backup.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
    let sum = |path: &Path| {
        let out = std::process::Command::new("sha256sum").arg(path).output().unwrap();
        String::from_utf8(out.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    for copy in manifest["databases"].as_array_mut().unwrap() {
        if copy["file"] == file {
            copy["sha256"] = json!(sum(&path));
            copy["size"] = json!(fs::metadata(&path).unwrap().len());
        }
    }
    fs::write(&place, manifest.to_string()).unwrap();
    fs::write(backup.join("manifest.json.sha256"), format!("{}  manifest.json\n", sum(&place)))
        .unwrap();
}

#[test]
fn from_a_newer_release() {
    let (first, dest) = backup();
    let second = elsewhere(&first);
    let newer = copied(&dest, &first.scratch("newer"));
    let row = "INSERT INTO schema_migrations VALUES (99, 'of tomorrow', 'x', 0)";
    changed(&newer, "routd.db", row);
    refused(&second, &newer, 65, &["routd.db", "schema version 99", "newer release"]);
    let foreign = copied(&dest, &first.scratch("foreign"));
    changed(&foreign, "onbod.db", "PRAGMA application_id = 7");
    refused(&second, &foreign, 65, &["onbod.db", "another program's"]);
    // The same database in place: refused as well, and not a byte of it is touched.
    second.ok(&["restore", text(&dest)]);
    let path = second.data().join("store/routd.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(row).unwrap();
    let before = fs::read(&path).unwrap();
    let (code, line) = second.fails(&["up", "--port-base", "0"]);
    assert_eq!(code, 65, "{line}");
    assert!(line.contains("schema version 99"), "{line}");
    assert!(fs::read(&path).unwrap() == before, "the newer database was touched");
}

#[test]
fn an_older_one_comes_forward_in_one_transaction() {
    let (first, dest) = backup();
    let mut second = elsewhere(&first);
    // As the release before the last step of this schema left it.
    changed(
        &dest,
        "routd.db",
        "DROP TABLE personas; DROP INDEX approvals_settled;
         DELETE FROM schema_migrations WHERE version >= 16; PRAGMA user_version = 15;",
    );
    second.ok(&["restore", text(&dest)]);
    second.start_up();
    second.ok(&["ask", "go on"]);
}

#[test]
fn over_what_is_there() {
    let (first, dest) = backup();
    let (code, line) = first.fails(&["backup", text(&dest)]);
    assert_eq!(code, 73, "{line}");
    assert!(line.contains("is not empty") && line.contains("new or empty"), "{line}");
    let within = first.data().join("backup");
    let (code, line) = first.fails(&["backup", text(&within)]);
    assert_eq!(code, 73, "{line}");
    assert!(line.contains("the instance's own directory"), "{line}");
    assert!(!within.exists());
    // A running instance, and one that is only made, are not empty.
    let (code, line) = first.fails(&["restore", text(&dest)]);
    assert_eq!(code, 73, "{line}");
    assert!(line.contains("is not empty") && line.contains("another --data-dir"), "{line}");
    first.ok(&["ask", "still here?"]);
    let nothing = Suite::made();
    let (code, line) = nothing.fails(&["backup", text(&nothing.scratch("backup"))]);
    assert_eq!(code, 78, "{line}");
    assert!(line.contains("nothing to back up"), "{line}");
}

#[test]
fn what_cannot_be_written_whole_is_not_there() {
    let first = Suite::up();
    first.ok(&["ask", "hello"]);
    let home = fs::read_dir(first.data().join("homes")).unwrap().next().unwrap().unwrap().path();
    // Not even root writes into a directory that is a file.
    let dest = first.scratch("taken").join("backup");
    fs::write(first.scratch("taken"), "").unwrap();
    let (code, line) = first.fails(&["backup", text(&dest)]);
    assert_eq!(code, 73, "{line}");
    // What a command that was killed left is not in the way, and is not a backup.
    let dest = first.scratch("again");
    let draft = first.scratch("again.partial");
    fs::create_dir(&draft).unwrap();
    fs::write(draft.join(".arizuko-backup-unfinished"), "").unwrap();
    fs::create_dir(draft.join("store")).unwrap();
    let mut closed = fs::metadata(draft.join("store")).unwrap().permissions();
    closed.set_mode(0o500);
    fs::set_permissions(draft.join("store"), closed).unwrap();
    fs::write(home.join("kept.txt"), "kept").unwrap();
    first.ok(&["backup", text(&dest)]);
    assert!(!draft.exists() && dest.join("manifest.json").exists());
    // Somebody else's directory of that name is.
    let other = first.scratch("other.partial");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("mine"), "").unwrap();
    let (code, line) = first.fails(&["backup", text(&first.scratch("other"))]);
    assert_eq!(code, 73, "{line}");
    assert!(other.join("mine").exists());
}

#[test]
fn a_restore_that_was_cut_short_starts_nothing_and_is_done_anew() {
    let (first, dest) = backup();
    let mut second = elsewhere(&first);
    let partial = second.data().join("restore.partial");
    fs::create_dir_all(partial.join("store")).unwrap();
    fs::create_dir(second.data().join("homes")).unwrap();
    fs::write(second.data().join("homes/half"), "half").unwrap();
    for command in [&["up", "--port-base", "0"][..], &["run", "routd"], &["create", "test"]] {
        let (code, line) = second.fails(command);
        assert_eq!(code, 65, "{line}");
        assert!(line.contains("run `arizuko restore` again"), "{line}");
    }
    second.ok(&["restore", text(&dest)]);
    second.start_up();
    second.ok(&["ask", "hello"]);
    assert!(!partial.exists() && !names(&second.data().join("homes")).contains("half"));
    assert_ne!(names(&second.data()), BTreeSet::new());
}
