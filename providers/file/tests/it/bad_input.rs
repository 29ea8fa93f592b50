//! What is wrong with a secret's file, one test a case, each with the one answer that it gets.
//!
//! A test's name is the case; `docs/bad-input.md` has the same rows.

use crate::directory::{PAIR, PASSWORD, USER, reason, value};
use provider_file::{Directory, Dotenv, POLL, PathValues};
use rustix::{
    fs::{CWD, FileType, Mode, makedev},
    process::geteuid,
};
use secrets::{
    Answer, SecretSource, SourceError,
    testing::{ScriptedSource, keep, policy},
};
use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::timeout;

/// A user who is neither this one nor root.
const SOMEBODY: u32 = 12_345;

fn make(path: &Path, kind: FileType) {
    rustix::fs::mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// The device that never ends, if this user may make one.
#[expect(clippy::print_stdout, reason = "what is skipped is told")]
fn make_device(path: &Path) -> bool {
    let mode = Mode::RUSR | Mode::WUSR;
    let made =
        rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(1, 5)).is_ok();
    if !made {
        println!("skipped: this user may not make a device");
    }
    made
}

#[expect(clippy::print_stdout, reason = "what is skipped is told")]
fn give_away(path: &Path) -> bool {
    let given = geteuid().is_root();
    if given {
        rustix::fs::chown(path, Some(rustix::fs::Uid::from_raw(SOMEBODY)), None).unwrap();
    } else {
        println!("skipped: only root can give a file away");
    }
    given
}

/// Both names from a source that must answer, and soon.
async fn asked(source: &dyn SecretSource) -> Result<Vec<Answer>, SourceError> {
    let asked = timeout(Duration::from_secs(10), source.read(&[USER, PASSWORD])).await;
    asked.expect("whatever is there, a read is not held up")
}

/// The reason for which the whole source is refused.
async fn refusal(source: &dyn SecretSource) -> String {
    match asked(source).await.unwrap_err() {
        SourceError::Refused { place, reason } => {
            assert_eq!(place, source.place());
            reason
        }
        other => panic!("expected a refusal: {other:?}"),
    }
}

mod dotenv {
    use super::*;

    struct Env {
        _dir: TempDir,
        path: PathBuf,
    }

    /// A `.env` file of these bytes, as it should be otherwise.
    fn env(content: impl AsRef<[u8]>) -> Env {
        let env = nothing();
        fs::write(&env.path, content).unwrap();
        fs::set_permissions(&env.path, fs::Permissions::from_mode(0o600)).unwrap();
        env
    }

    fn nothing() -> Env {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        Env { _dir: dir, path }
    }

    impl Env {
        async fn refused(&self) -> String {
            refusal(&Dotenv::new(&self.path, POLL)).await
        }

        async fn answers(&self) -> Vec<Answer> {
            asked(&Dotenv::new(&self.path, POLL)).await.unwrap()
        }
    }

    async fn user(content: impl AsRef<[u8]>) -> String {
        value(&env(content).answers().await[0]).to_owned()
    }

    #[tokio::test]
    async fn a_mode_that_is_too_open() {
        for mode in [0o644, 0o640, 0o604, 0o620, 0o666, 0o700, 0o4600] {
            let env = env("USER=ada\n");
            fs::set_permissions(&env.path, fs::Permissions::from_mode(mode)).unwrap();
            let path = env.path.display();
            assert_eq!(
                env.refused().await,
                format!(
                    "its mode is {mode:04o}, which must be 0600 or 0400; run `chmod 600 {path}`"
                )
            );
        }
    }

    #[tokio::test]
    async fn an_owner_who_is_somebody_else() {
        let env = env("USER=ada\n");
        if give_away(&env.path) {
            let told = env.refused().await;
            assert!(
                told.starts_with("it belongs to user 12345, and this is user 0; run "),
                "{told}"
            );
        }
    }

    #[tokio::test]
    async fn a_name_that_stands_twice() {
        let env = env("USER=ada\n\nexport USER='ada'\n");
        assert_eq!(env.refused().await, "lines 1 and 3 both set USER; remove one");
    }

    #[tokio::test]
    async fn export_is_understood_and_nothing_else_before_a_name() {
        assert_eq!(user("export USER=ada\n").await, "ada");
        assert_eq!(
            env("set USER=ada\n").refused().await,
            "line 1: the name before the = is not one; use letters, digits and _"
        );
    }

    #[tokio::test]
    async fn quotes_are_taken_off_and_must_end() {
        assert_eq!(user("USER='a\\n$b'\n").await, "a\\n$b");
        assert_eq!(user("USER=\"a\\n\\$b\"\n").await, "a\n$b");
        assert_eq!(
            env("USER=\"ada\nPASSWORD=pw\n").refused().await,
            "line 1: the \" that begins the value of USER has no end"
        );
        assert_eq!(
            env("USER='ada\nPASSWORD='pw'\n").refused().await,
            "line 1: the ' that begins the value of USER has no end"
        );
    }

    #[tokio::test]
    async fn text_after_a_closing_quote() {
        assert_eq!(
            env("USER=\"ada\"lovelace\n").refused().await,
            "line 1: there is text after the closing quote of USER"
        );
    }

    #[tokio::test]
    async fn an_escape_that_nobody_knows() {
        let told = env("\nUSER=\"a\\d\"\n").refused().await;
        assert!(told.starts_with("line 2: the value of USER has a \\ before something"), "{told}");
    }

    #[tokio::test]
    async fn crlf_ends_a_line_and_is_no_part_of_a_value() {
        let answers = env("USER=ada\r\nPASSWORD=\"1\r\n2\"\r\n").answers().await;
        assert_eq!((value(&answers[0]), value(&answers[1])), ("ada", "1\n2"));
    }

    #[tokio::test]
    async fn a_byte_order_mark_is_passed_over_at_the_beginning_alone() {
        assert_eq!(user("\u{feff}USER=ada\n").await, "ada");
        assert_eq!(
            env("PASSWORD=pw\n\u{feff}USER=ada\n").refused().await,
            "line 2: the name before the = is not one; use letters, digits and _"
        );
    }

    #[tokio::test]
    async fn a_line_that_is_no_assignment() {
        let told = env("USER=ada\nhunter2\n").refused().await;
        assert_eq!(told, "line 2: expected NAME=value", "and the line itself is not shown");
    }

    #[tokio::test]
    async fn not_utf_8() {
        assert_eq!(env(b"USER=\xff\n").refused().await, "it is not UTF-8 text");
        assert_eq!(env(b"\xff\xfeU\0S\0").refused().await, "it is not UTF-8 text");
    }

    #[tokio::test]
    async fn a_nul() {
        let answers = env("USER=a\0da\nPASSWORD=pw\n").answers().await;
        assert_eq!(reason(&answers[0]), "it has a NUL byte");
        assert_eq!(value(&answers[1]), "pw", "its neighbour is none the worse");
    }

    #[tokio::test]
    async fn an_empty_value() {
        for line in ["USER=", "USER=\"\"", "USER=''", "USER=  # none"] {
            let answers = env(format!("{line}\nPASSWORD=pw\n")).answers().await;
            assert_eq!(reason(&answers[0]), "it is empty", "{line}");
        }
    }

    #[tokio::test]
    async fn a_value_over_65536_bytes() {
        let at_most = format!("USER={}\n", "x".repeat(65_536));
        assert_eq!(value(&env(&at_most).answers().await[0]).len(), 65_536);
        let more = env(format!("USER={}\n", "x".repeat(65_537))).answers().await;
        assert_eq!(reason(&more[0]), "it is longer than 65,536 bytes");
    }

    #[tokio::test]
    async fn a_file_over_4194304_bytes() {
        let long = env("#".repeat(4 * 1024 * 1024 + 1));
        assert_eq!(long.refused().await, "it is longer than 4,194,304 bytes");
    }

    #[tokio::test]
    async fn an_empty_file_has_nothing() {
        for content in ["", "\n", "# nothing yet\n", "\u{feff}"] {
            let answers = env(content).answers().await;
            assert!(answers.iter().all(|a| matches!(a, Answer::Missing)), "{content:?}");
        }
    }

    #[tokio::test]
    async fn no_file_has_nothing() {
        let answers = nothing().answers().await;
        assert!(answers.iter().all(|answer| matches!(answer, Answer::Missing)));
    }

    #[tokio::test]
    async fn a_link() {
        let (link, target) = (nothing(), env("USER=ada\n"));
        symlink(&target.path, &link.path).unwrap();
        assert_eq!(link.refused().await, "it is a symbolic link");
    }

    #[tokio::test]
    async fn a_directory_in_its_place() {
        let env = nothing();
        fs::create_dir(&env.path).unwrap();
        assert_eq!(env.refused().await, "it is a directory");
    }

    #[tokio::test]
    async fn a_fifo_does_not_block() {
        let env = nothing();
        make(&env.path, FileType::Fifo);
        assert_eq!(env.refused().await, "it is a FIFO");
    }

    #[tokio::test]
    async fn a_device_is_not_read() {
        let env = nothing();
        if make_device(&env.path) {
            assert_eq!(env.refused().await, "it is not a regular file");
        }
    }

    #[tokio::test]
    async fn a_socket() {
        let env = nothing();
        let _listener = UnixListener::bind(&env.path).unwrap();
        assert_eq!(env.refused().await, "it is not a regular file");
    }
}

mod directory {
    use super::*;

    /// A directory with the password, and whatever `put` makes of the user.
    fn with(put: impl FnOnce(&Path)) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("PASSWORD"), "pw").unwrap();
        put(&dir.path().join("USER"));
        dir
    }

    /// Why the user is refused. The password beside it never is.
    async fn refused(put: impl FnOnce(&Path)) -> String {
        let dir = with(put);
        let answers = asked(&Directory::new(dir.path(), POLL)).await.unwrap();
        assert_eq!(value(&answers[1]), "pw", "its neighbour is none the worse");
        reason(&answers[0])
    }

    fn holds(content: impl AsRef<[u8]>) -> impl FnOnce(&Path) {
        move |path| fs::write(path, content).unwrap()
    }

    #[tokio::test]
    async fn a_mode_is_not_looked_at_since_a_mount_sets_it() {
        let dir = with(|path| {
            fs::write(path, "ada").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        });
        let answers = asked(&Directory::new(dir.path(), POLL)).await.unwrap();
        assert_eq!(value(&answers[0]), "ada");
    }

    #[tokio::test]
    async fn a_file_that_this_user_may_not_read() {
        if geteuid().is_root() {
            println!("skipped: root may read everything");
            return;
        }
        let told = refused(|path| {
            fs::write(path, "ada").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        });
        assert_eq!(told.await, "this user is not allowed to read it");
    }

    #[tokio::test]
    async fn another_owner_is_no_matter_where_the_file_can_be_read() {
        let mut given = false;
        let dir = with(|path| {
            fs::write(path, "ada").unwrap();
            given = give_away(path);
        });
        if given {
            let answers = asked(&Directory::new(dir.path(), POLL)).await.unwrap();
            assert_eq!(value(&answers[0]), "ada");
        }
    }

    #[tokio::test]
    async fn export_quotes_and_a_byte_order_mark_are_the_value_itself() {
        for content in ["export USER=ada", "\"ada\"", "'ada'", "\u{feff}ada"] {
            let dir = with(holds(content));
            let answers = asked(&Directory::new(dir.path(), POLL)).await.unwrap();
            assert_eq!(value(&answers[0]), content);
        }
    }

    #[tokio::test]
    async fn one_newline_at_the_end_is_dropped_crlf_too() {
        for (content, expected) in
            [("ada\n", "ada"), ("ada\r\n", "ada"), ("ada\n\n", "ada\n"), ("a\r\nb", "a\r\nb")]
        {
            let dir = with(holds(content));
            let answers = asked(&Directory::new(dir.path(), POLL)).await.unwrap();
            assert_eq!(value(&answers[0]), expected, "{content:?}");
        }
    }

    #[tokio::test]
    async fn an_empty_file() {
        for content in ["", "\n", "\r\n"] {
            assert_eq!(refused(holds(content)).await, "it is empty", "{content:?}");
        }
    }

    #[tokio::test]
    async fn over_65536_bytes() {
        for length in [65_537, 65_539, 1_000_000] {
            let told = refused(holds("x".repeat(length))).await;
            assert_eq!(told, "it is longer than 65,536 bytes", "{length}");
        }
    }

    #[tokio::test]
    async fn a_nul() {
        assert_eq!(refused(holds("a\0da")).await, "it has a NUL byte");
    }

    #[tokio::test]
    async fn not_utf_8_where_text_is_needed() {
        let dir = with(holds("ada"));
        let source = Arc::new(Directory::new(dir.path(), POLL));
        let secrets = keep(vec![source], policy()).for_daemon("routd");
        let watched = secrets.watch(&PAIR).await.unwrap();
        fs::write(dir.path().join("USER"), b"a\xff").unwrap();
        secrets.refresh().await;
        let told = secrets.degraded().join("\n");
        assert!(told.contains("it is not UTF-8 text, and text is needed"), "{told}");
        assert_eq!(watched.current().0, "ada", "the last good value stays");
    }

    #[tokio::test]
    async fn a_link_out_of_the_directory() {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("target");
        fs::write(&target, "ada").unwrap();
        let leaves = "it is a link that leaves the directory";
        assert_eq!(refused(|path| symlink(&target, path).unwrap()).await, leaves);
        assert_eq!(refused(|path| symlink("/dev/zero", path).unwrap()).await, leaves);
        let up = refused(|path| symlink("../../../../etc/hostname", path).unwrap()).await;
        assert_eq!(up, leaves);
    }

    #[tokio::test]
    async fn a_link_to_itself() {
        let told = refused(|path| symlink("USER", path).unwrap());
        assert_eq!(told.await, "it is a symbolic link");
    }

    #[tokio::test]
    async fn a_link_to_nowhere_is_absent() {
        let dir = with(|path| symlink("nowhere", path).unwrap());
        let answers = asked(&Directory::new(dir.path(), POLL)).await.unwrap();
        assert!(matches!(answers[0], Answer::Missing));
    }

    #[tokio::test]
    async fn a_directory_in_place_of_a_file() {
        assert_eq!(refused(|path| fs::create_dir(path).unwrap()).await, "it is a directory");
    }

    #[tokio::test]
    async fn a_fifo_does_not_block() {
        assert_eq!(refused(|path| make(path, FileType::Fifo)).await, "it is a FIFO");
    }

    #[tokio::test]
    async fn a_device_is_not_read() {
        let mut made = false;
        let dir = with(|path| made = make_device(path));
        if made {
            let answers = asked(&Directory::new(dir.path(), POLL)).await.unwrap();
            assert_eq!(reason(&answers[0]), "it is not a regular file");
        }
    }

    #[tokio::test]
    async fn a_socket() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("PASSWORD"), "pw").unwrap();
        let _listener = UnixListener::bind(dir.path().join("USER")).unwrap();
        let answers = asked(&Directory::new(dir.path(), POLL)).await.unwrap();
        assert_eq!(reason(&answers[0]), "it is not a regular file");
    }

    #[tokio::test]
    async fn a_file_or_a_fifo_in_place_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "x").unwrap();
        make(&dir.path().join("fifo"), FileType::Fifo);
        for name in ["file", "fifo"] {
            let told = refusal(&Directory::new(dir.path().join(name), POLL)).await;
            assert_eq!(
                told,
                "it is not a directory; name the directory in which each secret is a file"
            );
        }
    }

    #[tokio::test]
    async fn a_version_link_out_of_the_directory() {
        for target in ["../elsewhere", "/etc", "..", "."] {
            let dir = tempfile::tempdir().unwrap();
            symlink(target, dir.path().join("..data")).unwrap();
            let told = refusal(&Directory::new(dir.path(), POLL)).await;
            assert_eq!(
                told, "its ..data leaves the directory; it must name a directory beside it",
                "{target}"
            );
        }
    }

    #[tokio::test]
    async fn a_version_link_to_nowhere_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        symlink("..2026", dir.path().join("..data")).unwrap();
        let error = asked(&Directory::new(dir.path(), POLL)).await.unwrap_err();
        assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
        let told = error.chain();
        assert!(told.ends_with("its ..data points at a directory that is not there"), "{told}");
    }

    #[tokio::test]
    async fn no_directory_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let error = asked(&Directory::new(dir.path().join("x"), POLL)).await.unwrap_err();
        assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
        assert!(error.chain().ends_with("it is not there"), "{}", error.chain());
    }
}

mod path {
    use super::*;

    /// What is answered where the value of a name is this path.
    async fn answer(path: &Path) -> Answer {
        let inner = ScriptedSource::default();
        inner.set_silently([("USER", path.to_str().unwrap()), ("PASSWORD", "pw")]);
        let source = PathValues::new(Arc::new(inner), [USER], POLL);
        let mut answers = asked(&source).await.unwrap();
        assert_eq!(value(&answers[1]), "pw", "its neighbour is none the worse");
        answers.remove(0)
    }

    async fn refused(put: impl FnOnce(&Path)) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tls.key");
        put(&path);
        reason(&answer(&path).await)
    }

    #[tokio::test]
    async fn a_path_to_nowhere() {
        assert_eq!(refused(|_| {}).await, "the file that it names is not there");
    }

    #[tokio::test]
    async fn a_path_to_a_directory() {
        let told = refused(|path| fs::create_dir(path).unwrap()).await;
        assert_eq!(told, "the file that it names: it is a directory");
    }

    #[tokio::test]
    async fn a_path_to_a_fifo_does_not_block() {
        let told = refused(|path| make(path, FileType::Fifo)).await;
        assert_eq!(told, "the file that it names: it is a FIFO");
    }

    #[tokio::test]
    async fn a_path_to_a_device_is_not_read() {
        for device in ["/dev/zero", "/dev/null"] {
            let told = reason(&answer(Path::new(device)).await);
            assert_eq!(told, "the file that it names: it is not a regular file", "{device}");
        }
        let told = refused(|path| symlink("/dev/zero", path).unwrap()).await;
        assert_eq!(told, "the file that it names: it is not a regular file");
    }

    #[tokio::test]
    async fn a_path_to_an_empty_file() {
        let told = refused(|path| fs::write(path, "\n").unwrap()).await;
        assert_eq!(told, "the file that it names: it is empty");
    }

    #[tokio::test]
    async fn a_path_to_a_file_over_65536_bytes() {
        let told = refused(|path| fs::write(path, vec![b'x'; 65_539]).unwrap()).await;
        assert_eq!(told, "the file that it names: it is longer than 65,536 bytes");
    }

    #[tokio::test]
    async fn a_path_to_a_file_with_a_nul() {
        let told = refused(|path| fs::write(path, "a\0").unwrap()).await;
        assert_eq!(told, "the file that it names: it has a NUL byte");
    }
}
