//! Databases that cannot be used: refused at the start, with which exit code and line, and left as they were.

use crate::harness::Suite;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
};

const OWNERS: [&str; 4] = ["authd", "routd", "runed", "onbod"];

/// An instance that has run once and was stopped, so that its databases are there.
fn stopped() -> Suite {
    let mut suite = Suite::up();
    suite.ok(&["ask", "hello"]);
    assert_eq!(suite.process("up").stop(), Some(0));
    suite
}

fn database(suite: &Suite, owner: &str) -> PathBuf {
    suite.data().join(format!("store/{owner}.db"))
}

/// Starts the suite, which must refuse; its exit code and its line.
fn refused(suite: &Suite) -> (i32, String) {
    let mut up = suite.spawn_up();
    let code = up.ended().unwrap();
    let text = up.log_text();
    let line = text.lines().last().unwrap_or_default().to_owned();
    assert!(line.starts_with("arizuko: "), "the last line is the refusal:\n{text}");
    (code, line)
}

/// The suite starts, and knows what it knew.
fn starts(suite: &mut Suite) {
    suite.start_up();
    assert_eq!(suite.ok(&["ask", "hello again"]).trim(), "You said: hello again");
    assert_eq!(suite.process("up").stop(), Some(0));
}

fn patched(whole: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut all = whole.to_vec();
    all[at..at + bytes.len()].copy_from_slice(bytes);
    all
}

#[test]
fn a_clean_stop_leaves_no_log_of_a_database_behind() {
    let mut suite = Suite::up();
    suite.ok(&["token", "issue", "--kind", "chat", "--folder", "main"]);
    assert_eq!(suite.process("up").stop(), Some(0));
    let names = fs::read_dir(suite.data().join("store")).unwrap();
    let names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for owner in OWNERS {
        assert!(names.contains(&format!("{owner}.db")), "{names:?}");
    }
    let left: Vec<&String> =
        names.iter().filter(|n| n.ends_with("-wal") || n.ends_with("-shm")).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn a_database_that_is_damaged_newer_or_somebody_elses_is_refused_and_left_as_it_was() {
    let mut suite = stopped();
    let path = database(&suite, "routd");
    let whole = fs::read(&path).unwrap();
    let page = usize::from(u16::from_be_bytes([whole[16], whole[17]]));
    assert!(page >= 512 && whole.len() > 8 * page, "the file has pages to damage");
    let middle = whole.len() / page / 2 * page;
    for (what, bytes, words) in [
        ("the header", patched(&whole, 0, b"no database!"), "is damaged or is no database"),
        (
            "a page in the middle",
            patched(&whole, middle, &vec![0xa5; page]),
            "is damaged or is no database",
        ),
        ("the end", whole[..whole.len() / 2].to_vec(), "is damaged or is no database"),
        (
            "whose it is (header, offset 68)",
            patched(&whole, 68, b"gnus"),
            "another program's database",
        ),
    ] {
        fs::write(&path, &bytes).unwrap();
        let (code, line) = refused(&suite);
        assert_eq!(code, 65, "{what}: {line}");
        assert!(line.contains("routd.db") && line.contains(words), "{what}: {line}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what}: the file was touched");
    }
    fs::write(&path, &whole).unwrap();
    let newer = db::rusqlite::Connection::open(&path).unwrap();
    newer.execute("UPDATE schema_migrations SET version = 9999 WHERE version = 1", []).unwrap();
    drop(newer);
    let bytes = fs::read(&path).unwrap();
    let (code, line) = refused(&suite);
    assert_eq!(code, 65, "{line}");
    assert!(line.contains("routd.db") && line.contains("run the newer release again"), "{line}");
    assert_eq!(fs::read(&path).unwrap(), bytes, "a newer release's file was touched");
    fs::write(&path, whole).unwrap();
    starts(&mut suite);
}

#[test]
fn a_directory_in_the_place_of_a_database_and_one_that_somebody_holds() {
    let mut suite = stopped();
    let path = database(&suite, "runed");
    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    let (code, line) = refused(&suite);
    assert!(code == 65 && line.contains("runed.db"), "{code}: {line}");
    fs::remove_dir(&path).unwrap();
    fs::rename(aside, &path).unwrap();

    let lock = fs::File::open(path.with_extension("db.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let before = fs::read(&path).unwrap();
    let (code, line) = refused(&suite);
    assert_eq!(code, 75, "{line}");
    assert!(line.contains("runed.db") && line.contains("in use by"), "{line}");
    assert_eq!(fs::read(&path).unwrap(), before, "the file was touched");
    drop(lock);
    starts(&mut suite);
}

#[test]
fn a_database_that_is_missing_is_made_anew_and_the_others_are_kept() {
    let mut suite = stopped();
    fs::remove_file(database(&suite, "runed")).unwrap();
    let before = suite.data().join("store/routd.db");
    assert!(before.exists());
    starts(&mut suite);
}

#[test]
fn a_key_that_does_not_open_the_databases_is_refused_and_no_row_is_touched() {
    let mut suite = stopped();
    let files = ["authd", "routd"].map(|owner| database(&suite, owner));
    let before = files.each_ref().map(|path| fs::read(path).unwrap());
    let good = suite.dotenv("SECRETS_KEY");
    let wrong = "0123456789abcdef0123456789abcdef0123456789abcdef";
    suite.edit_dotenv(&[("SECRETS_KEY", wrong)]);
    let (code, line) = refused(&suite);
    assert_eq!(code, 78, "{line}");
    assert!(line.contains("SECRETS_KEY") && line.contains("_PREVIOUS"), "how to supply it: {line}");
    assert!(!line.contains(wrong) && !line.contains(&good), "the line shows a value: {line}");
    assert_eq!(files.each_ref().map(|path| fs::read(path).unwrap()), before, "a file was touched");
    suite.edit_dotenv(&[("SECRETS_KEY", &good)]);
    starts(&mut suite);
}

/// Gives everything below `dir` to `user`.
fn give(dir: &Path, user: u32) {
    std::os::unix::fs::chown(dir, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            give(&entry.path(), user);
        } else {
            std::os::unix::fs::lchown(entry.path(), Some(user), Some(user)).unwrap();
        }
    }
}

#[test]
fn files_that_this_user_may_not_write_or_read() {
    const NOBODY: u32 = 65_534;
    let suite = stopped();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        // The system lets root do anything, so that the suite runs as somebody else.
        fs::set_permissions(suite.data().parent().unwrap(), PermissionsExt::from_mode(0o755))
            .unwrap();
        give(&suite.data(), NOBODY);
    }
    let up = || {
        let mut command = suite.command();
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let out = command.args(["up", "--port-base", "0"]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        (out.status.code().unwrap(), text.lines().last().unwrap_or_default().to_owned())
    };
    let mode =
        |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let path = database(&suite, "routd");
    let before = fs::read(&path).unwrap();
    for (place, bad, good) in [
        (path.clone(), 0o400, 0o600),
        (path.clone(), 0o000, 0o600),
        (suite.data().join("store"), 0o500, 0o700),
        (suite.data(), 0o000, 0o700),
        (suite.data().join("settings.env"), 0o000, 0o600),
    ] {
        mode(&place, bad);
        let (code, line) = up();
        mode(&place, good);
        assert_eq!(code, 77, "{} with mode {bad:o}: {line}", place.display());
        assert!(
            line.starts_with("arizuko: ") && line.contains(suite.data().to_str().unwrap()),
            "{line}"
        );
    }
    assert_eq!(fs::read(&path).unwrap(), before, "the file was touched");
}
