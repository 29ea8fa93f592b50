//! Secrets that cannot be used: what `secrets check`, the start, and a suite that runs already say of them.
//!
//! What a source makes of each kind of file is tested beside the source; here is what an operator sees.

use crate::harness::{LIMIT, Suite, eventually};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Instant,
};

const VALUE: &str = "planted-value-0123456789abcdef0123456789abcdef";

fn write(path: &Path, bytes: &[u8], mode: u32) {
    remove(path);
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        fs::remove_dir(path).unwrap();
    } else if fs::symlink_metadata(path).is_ok() {
        fs::remove_file(path).unwrap();
    }
}

fn fifo(path: &Path) {
    remove(path);
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Spoils the file at a path whose good content is given.
type Act = Box<dyn Fn(&Path, &str)>;
/// A way to spoil `.env`, and a word of the reason.
type Spoil = (&'static str, Act, &'static str);
/// A way to spoil a mounted secret.
type SpoilMount<'a> = (&'static str, Box<dyn Fn() + 'a>);

/// Each way that makes the whole file unusable.
fn ways() -> Vec<Spoil> {
    fn with(edit: impl Fn(&str) -> Vec<u8> + 'static) -> Act {
        Box::new(move |path, good| write(path, &edit(good), 0o600))
    }
    vec![
        (
            "others may read it",
            Box::new(|path, good| write(path, good.as_bytes(), 0o644)),
            "chmod 600",
        ),
        (
            "a group may read it",
            Box::new(|path, good| write(path, good.as_bytes(), 0o640)),
            "chmod 600",
        ),
        (
            "a name twice",
            with(|good| format!("{good}CHANNEL_SECRET={VALUE}\n").into_bytes()),
            "CHANNEL_SECRET",
        ),
        (
            "a quote that does not end",
            with(|good| format!("{good}A_NAME=\"{VALUE}\n").into_bytes()),
            "line",
        ),
        ("no assignment", with(|good| format!("{good}{VALUE}\n").into_bytes()), "line"),
        ("not UTF-8", with(|good| [good.as_bytes(), b"A_NAME=\xff\xfe\n"].concat()), ".env"),
        (
            "a link",
            Box::new(|path, good| {
                let target = path.with_extension("elsewhere");
                write(&target, good.as_bytes(), 0o600);
                remove(path);
                symlink(&target, path).unwrap();
            }),
            ".env",
        ),
        (
            "a directory",
            Box::new(|path, _| {
                remove(path);
                fs::create_dir(path).unwrap();
            }),
            ".env",
        ),
        ("a FIFO", Box::new(|path, _| fifo(path)), ".env"),
    ]
}

/// A command that must end by itself, whatever it finds.
fn bounded(suite: &Suite, args: &[&str]) -> (Option<i32>, String) {
    let began = Instant::now();
    let out = suite.run(args);
    assert!(began.elapsed() < LIMIT, "{args:?} hung");
    let text = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_file_of_secrets_that_cannot_be_used_is_refused_by_check_and_start_and_changes_nothing_that_runs()
 {
    let mut suite = Suite::made();
    let path = suite.data().join(".env");
    let good = fs::read_to_string(&path).unwrap();
    for (what, spoil, word) in ways() {
        spoil(&path, &good);
        let (code, said) = bounded(&suite, &["secrets", "check"]);
        assert!(
            code.is_some_and(|code| code == 78 || code == 77),
            "{what}: check ended with {code:?}: {said}"
        );
        assert!(said.contains(word), "{what}: {said}");
        let mut up = suite.spawn_up();
        let code = up.ended();
        let log = up.log_text();
        let line = log.lines().last().unwrap_or_default();
        assert!(code.is_some_and(|code| code == 78 || code == 77), "{what}: {code:?}: {line}");
        assert!(line.starts_with("arizuko: ") && line.contains(word), "{what}: {line}");
        assert!(!said.contains(VALUE) && !log.contains(VALUE), "{what}: a value is shown");
    }
    write(&path, good.as_bytes(), 0o600);
    suite.start_up();
    for (what, spoil, word) in ways() {
        spoil(&path, &good);
        // It is asked to look, and says what it found; what it has is good.
        suite.run(&["secrets", "refresh"]);
        eventually(&format!("{what}: the status shows it"), || {
            let status = suite.ok(&["--json", "secrets", "status"]);
            assert!(!status.contains(VALUE), "{what}: a value is shown");
            status.contains(word).then_some(())
        });
        assert_eq!(suite.ok(&["ask", what]).trim(), format!("You said: {what}"));
        write(&path, good.as_bytes(), 0o600);
    }
    eventually("the trouble is over", || {
        suite.run(&["secrets", "refresh"]);
        let status = suite.json(&["secrets", "status"]);
        let daemons = status["daemons"].as_array().unwrap().iter();
        let all: Vec<_> = daemons.flat_map(|of| of["secrets"].as_array().unwrap()).collect();
        all.iter().all(|secret| secret["error"].is_null()).then_some(())
    });
}

#[test]
fn what_editors_and_shells_leave_in_a_file_is_understood() {
    let suite = Suite::made();
    let path = suite.data().join(".env");
    let good = fs::read_to_string(&path).unwrap();
    let plain: String =
        good.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
    for (what, text) in [
        ("a byte order mark", format!("\u{feff}{good}")),
        ("Windows line ends", good.replace('\n', "\r\n")),
        ("export", plain.lines().map(|line| format!("export {line}\n")).collect()),
        ("comments and empty lines", format!("# a comment\n\n{good}\n\n")),
        ("no newline at the end", good.trim_end().to_owned()),
    ] {
        write(&path, text.as_bytes(), 0o600);
        let (code, said) = bounded(&suite, &["secrets", "check"]);
        assert_eq!(code, Some(0), "{what}: {said}");
    }
    suite.spawn_up().line("ready ");
}

/// The secrets of an instance as files of a directory that is read in place of `.env`.
fn directory(suite: &mut Suite) -> PathBuf {
    let dir = suite.scratch("secrets");
    fs::create_dir(&dir).unwrap();
    for name in ["SECRETS_KEY", "CHANNEL_SECRET", "AUTHD_SERVICE_KEY"] {
        fs::write(dir.join(name), suite.dotenv(name)).unwrap();
    }
    fs::remove_file(suite.data().join(".env")).unwrap();
    suite.set("SECRETS_SOURCES", &format!("file://{}", dir.display()));
    dir
}

#[test]
fn a_mounted_secret_that_cannot_be_used_is_refused_by_check_and_start_and_changes_nothing_that_runs()
 {
    let mut suite = Suite::made();
    let dir = directory(&mut suite);
    let outside = suite.scratch("outside");
    fs::write(&outside, VALUE).unwrap();
    let path = dir.join("CHANNEL_SECRET");
    let good = fs::read(&path).unwrap();
    let ways: Vec<SpoilMount<'_>> = vec![
        (
            "a link out of the directory",
            Box::new(|| {
                remove(&path);
                symlink(&outside, &path).unwrap();
            }),
        ),
        ("a FIFO", Box::new(|| fifo(&path))),
        (
            "a directory",
            Box::new(|| {
                remove(&path);
                fs::create_dir(&path).unwrap();
            }),
        ),
        ("nothing in it", Box::new(|| write(&path, b"", 0o600))),
        ("too long", Box::new(|| write(&path, &vec![b'x'; 65_537], 0o600))),
        ("a NUL", Box::new(|| write(&path, b"abc\0def-0123456789abcdef0123456789", 0o600))),
    ];
    for (what, spoil) in &ways {
        spoil();
        let (code, said) = bounded(&suite, &["secrets", "check"]);
        assert_eq!(code, Some(78), "{what}: {said}");
        assert!(said.contains("CHANNEL_SECRET"), "{what}: {said}");
        let mut up = suite.spawn_up();
        let code = up.ended();
        let log = up.log_text();
        let line = log.lines().last().unwrap_or_default();
        assert_eq!(code, Some(78), "{what}: {line}");
        assert!(line.contains("CHANNEL_SECRET") && line.contains("file"), "{what}: {line}");
        assert!(!said.contains(VALUE) && !log.contains(VALUE), "{what}: a value is shown");
    }
    write(&path, &good, 0o600);
    suite.start_up();
    for (what, spoil) in &ways {
        spoil();
        suite.run(&["secrets", "refresh"]);
        eventually(&format!("{what}: the status shows it"), || {
            let status = suite.json(&["secrets", "status"]);
            let daemons = status["daemons"].as_array().unwrap().iter();
            let mut all = daemons.flat_map(|of| of["secrets"].as_array().unwrap());
            all.any(|s| s["name"] == "CHANNEL_SECRET" && !s["error"].is_null()).then_some(())
        });
        assert_eq!(suite.ok(&["ask", what]).trim(), format!("You said: {what}"));
        write(&path, &good, 0o600);
    }
}
