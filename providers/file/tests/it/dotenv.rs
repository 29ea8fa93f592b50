//! A `.env` file.

use crate::directory::{PAIR, PASSWORD, USER, reason, value, ways};
use provider_file::{Dotenv, POLL, Watching};
use secrets::{
    Answer, Name, Secret, SecretSource, SourceError,
    testing::{conforms, keep, policy},
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;

const ABSENT: Name = Name::literal("ABSENT");

fn write(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&beside, path).unwrap();
}

fn with(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".env");
    write(&path, text);
    (dir, path)
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

async fn refused(path: &Path) -> String {
    match Dotenv::new(path, POLL).read(&[USER]).await.unwrap_err() {
        SourceError::Refused { place, reason } => {
            assert_eq!(place, path.display().to_string());
            reason
        }
        other => panic!("expected a refusal: {other:?}"),
    }
}

#[tokio::test]
async fn it_conforms() {
    let (_dir, path) = with("# secrets\nexport USER=ada-the-user\nPASSWORD=\"hunter2\"\n");
    let source = Dotenv::new(&path, POLL);
    conforms(&source, (&USER, b"ada-the-user"), (&PASSWORD, b"hunter2"), &ABSENT).await;
}

#[tokio::test]
async fn a_file_that_is_not_there_has_nothing_and_may_come() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".env");
    let watching = Watching { poll: Duration::from_millis(20), inotify: true };
    let source = Arc::new(Dotenv::watching(&path, watching));
    assert!(matches!(source.read(&[USER]).await.unwrap()[0], Answer::Missing));
    let secrets = keep(vec![source], policy()).for_daemon("routd");
    let mut watched = secrets.watch_optional(&PAIR).await.unwrap();
    write(&path, "USER=a\nPASSWORD=b\n");
    timeout(Duration::from_secs(10), watched.reached(2)).await.expect("it came");
}

#[tokio::test]
async fn a_file_that_others_may_read_is_refused_with_the_command_that_helps() {
    let (_dir, path) = with("USER=a\n");
    for mode in [0o644, 0o640, 0o604, 0o660, 0o700, 0o000] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if mode == 0 && !rustix::process::geteuid().is_root() {
            continue;
        }
        let reason = refused(&path).await;
        assert!(reason.contains(&format!("{mode:04o}")), "{reason}");
        assert!(reason.contains(&format!("chmod 600 {}", path.display())), "{reason}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(value(&Dotenv::new(&path, POLL).read(&[USER]).await.unwrap()[0]), "a");
    }
}

#[tokio::test]
async fn a_file_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give a file away; then the file is another's and not root's.
        return;
    }
    let (_dir, path) = with("USER=a\n");
    let other = rustix::fs::Uid::from_raw(12_345);
    rustix::fs::chown(&path, Some(other), None).unwrap();
    let reason = refused(&path).await;
    assert!(reason.contains("belongs to user 12345"), "{reason}");
    assert!(reason.contains("sudo -u '#12345'"), "the daemon's own file stays its own: {reason}");
}

#[tokio::test]
async fn what_is_no_regular_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_elsewhere, target) = with("USER=a\n");
    let path = dir.path().join(".env");
    symlink(&target, &path).unwrap();
    assert_eq!(refused(&path).await, "it is a symbolic link");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(refused(&path).await, "it is a directory");
    fs::remove_dir(&path).unwrap();
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    let answer = timeout(Duration::from_secs(10), refused(&path)).await.expect("it does not block");
    assert_eq!(answer, "it is a FIFO");
}

#[tokio::test]
async fn a_file_that_does_not_parse_is_refused_by_line() {
    let (_dir, path) = with("USER=a\nPASSWORD=b\n\nUSER=c\n");
    assert_eq!(refused(&path).await, "lines 1 and 4 both set USER; remove one");
    write(&path, "USER=a\nhunter2\n");
    let reason = refused(&path).await;
    assert_eq!(reason, "line 2: expected NAME=value");
    fs::write(&path, b"USER=\xff\n").unwrap();
    assert_eq!(refused(&path).await, "it is not UTF-8 text");
}

#[tokio::test]
async fn values_have_the_limits_of_all_secrets() {
    let long = "x".repeat(65_537);
    let (_dir, path) = with(&format!("USER=\nPASSWORD={long}\n"));
    let answers = Dotenv::new(&path, POLL).read(&[USER, PASSWORD]).await.unwrap();
    assert_eq!(reason(&answers[0]), "it is empty");
    assert_eq!(reason(&answers[1]), "it is longer than 65,536 bytes");
}

#[tokio::test]
async fn every_change_is_noticed_either_way_and_changes_beside_it_are_not() {
    for watching in ways() {
        let (dir, path) = with("USER=u1\nPASSWORD=p1\n");
        let source = Arc::new(Dotenv::watching(&path, watching));
        let secrets = keep(vec![source], policy()).for_daemon("routd");
        let mut watched = secrets.watch(&PAIR).await.unwrap();
        for round in 2..6 {
            fs::write(dir.path().join("routd.db"), format!("{round}")).unwrap();
            write(&path, &format!("USER=u{round}\nPASSWORD=p{round}\n"));
            let noticed = timeout(Duration::from_secs(10), watched.reached(round)).await;
            noticed.unwrap_or_else(|_| panic!("change {round} is not noticed: {watching:?}"));
            assert_eq!(watched.current().0, format!("u{round}"));
        }
        assert_eq!(watched.generation(), 5);
    }
}

#[tokio::test]
async fn a_file_that_becomes_too_open_changes_nothing_but_the_status() {
    let (_dir, path) = with("USER=u1\nPASSWORD=p1\n");
    let secrets = keep(vec![Arc::new(Dotenv::new(&path, POLL))], policy()).for_daemon("routd");
    let watched = secrets.watch(&PAIR).await.unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    secrets.refresh().await;
    assert_eq!(watched.current().0, "u1");
    assert!(secrets.status()[0].error.as_deref().unwrap().contains("chmod 600"));
    let degraded = secrets.degraded();
    assert!(degraded.len() == 1 && degraded[0].contains("chmod 600"), "{degraded:?}");
}

#[tokio::test]
async fn writing_is_whole_keeps_the_rest_and_is_for_the_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".env");
    let source = Dotenv::new(&path, POLL);
    let writer = source.writer().unwrap();
    writer.write(&USER, &secret("ada")).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    write(&path, "# keep me\nUSER=ada # and me\nLOG_LEVEL=debug\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let pem = "-----BEGIN\nx\n-----END\n";
    writer.write(&PASSWORD, &secret(pem)).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        "# keep me\nUSER=ada # and me\nLOG_LEVEL=debug\nPASSWORD=\"-----BEGIN\\nx\\n-----END\\n\"\n"
    );
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    assert_eq!(value(&source.read(&[PASSWORD]).await.unwrap()[0]), pem);

    writer.remove(&PASSWORD).await.unwrap();
    writer.remove(&ABSENT).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "# keep me\nUSER=ada # and me\nLOG_LEVEL=debug\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary is left");

    let binary = Secret::new(vec![0xff, 0xfe]).unwrap();
    let error = writer.write(&USER, &binary).await.unwrap_err();
    assert!(error.to_string().contains("USER"), "{error}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(writer.write(&USER, &secret("x")).await.is_err(), "what is not read is not written");
    assert!(fs::read_to_string(&path).unwrap().contains("USER=ada"));
}

#[tokio::test]
async fn writers_at_the_same_time_lose_nothing() {
    let (_dir, path) = with("");
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..12 {
        let source = Dotenv::new(&path, POLL);
        writers.spawn(async move {
            let name: Name = format!("NAME_{number}").parse().unwrap();
            source.writer().unwrap().write(&name, &secret("value")).await.unwrap();
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 12, "{text}");
}
