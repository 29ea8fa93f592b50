//! A directory of secrets.

use crate::kubelet::Kubelet;
use provider_file::{Directory, POLL, Watching};
use secrets::{
    Answer, Bundle, Malformed, Name, Need, Role, Secret, SecretSource, SourceError, WriteError,
    testing::{conforms, keep, policy},
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;

pub const USER: Name = Name::literal("USER");
pub const PASSWORD: Name = Name::literal("PASSWORD");
const ABSENT: Name = Name::literal("ABSENT");

pub static PAIR: Bundle<(String, String)> = Bundle {
    needs: &[Need::required(USER, "who"), Need::required(PASSWORD, "the proof")],
    role: Role::Checks,
    parse: |values| {
        let text = |name| Ok::<_, Malformed>(values.require(name)?.text()?.to_owned());
        Ok((text(&USER)?, text(&PASSWORD)?))
    },
};

/// Both ways of noticing, each alone.
pub fn ways() -> [Watching; 2] {
    let inotify = Watching { poll: Duration::from_secs(3600), inotify: true };
    let poll = Watching { poll: Duration::from_millis(20), inotify: false };
    [inotify, poll]
}

async fn read(source: &Directory, names: &[Name]) -> Vec<Answer> {
    source.read(names).await.unwrap()
}

pub fn value(answer: &Answer) -> &str {
    match answer {
        Answer::Found(versions) => versions.current.text().unwrap(),
        other => panic!("expected a value: {other:?}"),
    }
}

pub fn reason(answer: &Answer) -> String {
    match answer {
        Answer::Rejected(reason) => reason.to_string(),
        other => panic!("expected a rejection: {other:?}"),
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_plain_directory_conforms() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("USER"), "ada-the-user\n").unwrap();
    fs::write(dir.path().join("PASSWORD"), "hunter2").unwrap();
    let source = Directory::new(dir.path(), POLL);
    conforms(&source, (&USER, b"ada-the-user"), (&PASSWORD, b"hunter2"), &ABSENT).await;
}

#[tokio::test]
async fn a_mounted_secret_conforms_and_is_numbered_by_its_version() {
    let dir = tempfile::tempdir().unwrap();
    let files = [("USER", "ada-the-user"), ("PASSWORD", "hunter2")];
    let mut kubelet = Kubelet::mount(dir.path(), &files);
    let source = Directory::new(dir.path(), POLL);
    conforms(&source, (&USER, b"ada-the-user"), (&PASSWORD, b"hunter2"), &ABSENT).await;
    let version = kubelet.update(&files);
    for answer in read(&source, &[USER, PASSWORD]).await {
        let Answer::Found(versions) = answer else { panic!("{answer:?}") };
        assert_eq!(versions.id, version);
        assert!(versions.changed_at.is_some());
    }
}

#[tokio::test]
async fn what_is_not_a_secret_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("inside");
    fs::create_dir(&inside).unwrap();
    fs::write(dir.path().join("outside"), "o").unwrap();
    fs::write(inside.join("TARGET"), "t").unwrap();
    fs::create_dir(inside.join("DIRECTORY")).unwrap();
    fs::write(inside.join("EMPTY"), "\n").unwrap();
    fs::write(inside.join("NUL"), "a\0").unwrap();
    fs::write(inside.join("LONG"), vec![b'a'; 65_537]).unwrap();
    symlink("TARGET", inside.join("STAYS")).unwrap();
    symlink("../outside", inside.join("LEAVES")).unwrap();
    symlink("/etc/hostname", inside.join("ABSOLUTE")).unwrap();
    let fifo = inside.join("FIFO");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();

    let source = Directory::new(&inside, POLL);
    let cases = [
        ("DIRECTORY", "it is a directory"),
        ("FIFO", "it is a FIFO"),
        ("EMPTY", "it is empty"),
        ("NUL", "it has a NUL byte"),
        ("LONG", "it is longer than 65,536 bytes"),
        ("LEAVES", "it is a link that leaves the directory"),
        ("ABSOLUTE", "it is a link that leaves the directory"),
    ];
    let names: Vec<Name> = cases.iter().map(|(name, _)| name.parse().unwrap()).collect();
    let reading = timeout(Duration::from_secs(10), read(&source, &names)).await;
    let answers = reading.expect("nothing blocks a read, a FIFO least of all");
    for ((name, expected), answer) in cases.iter().zip(&answers) {
        assert_eq!(&reason(answer), expected, "{name}");
    }
    assert_eq!(value(&read(&source, &["STAYS".parse().unwrap()]).await[0]), "t");
}

#[tokio::test]
async fn a_place_that_is_no_directory_says_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    let error = Directory::new(dir.path().join("file"), POLL).read(&[USER]).await.unwrap_err();
    assert!(matches!(error, SourceError::Refused { .. }), "{error:?}");
    let error = Directory::new(dir.path().join("nowhere"), POLL).read(&[USER]).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
    assert!(error.chain().contains("nowhere"), "{}", error.chain());

    symlink("../../etc", dir.path().join("..data")).unwrap();
    let error = Directory::new(dir.path(), POLL).read(&[USER]).await.unwrap_err();
    assert!(error.chain().contains("leaves the directory"), "{}", error.chain());
}

#[tokio::test]
async fn every_update_of_the_kubelet_is_noticed_either_way() {
    for watching in ways() {
        let dir = tempfile::tempdir().unwrap();
        let mut kubelet = Kubelet::mount(dir.path(), &[("USER", "u1"), ("PASSWORD", "p1")]);
        let source = Arc::new(Directory::watching(dir.path(), watching));
        let secrets = keep(vec![source], policy()).for_daemon("routd");
        let mut watched = secrets.watch(&PAIR).await.unwrap();
        for round in 2..6 {
            let (user, password) = (format!("u{round}"), format!("p{round}"));
            kubelet.update(&[("USER", &user), ("PASSWORD", &password)]);
            let noticed = timeout(Duration::from_secs(10), watched.reached(round)).await;
            noticed.unwrap_or_else(|_| panic!("update {round} is not noticed: {watching:?}"));
            assert_eq!(*watched.current(), (user, password));
        }
        assert_eq!(watched.generation(), 5, "and nothing else is taken for one");
    }
}

#[tokio::test]
async fn every_way_of_changing_a_plain_file_is_noticed_either_way() {
    type Change = fn(&Path, &str);
    let rename: Change = |path, text| {
        fs::write(path.with_extension("new"), text).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    let in_place: Change = |path, text| fs::write(path, text).unwrap();
    let anew: Change = |path, text| {
        fs::remove_file(path).unwrap();
        fs::write(path, text).unwrap();
    };
    for watching in ways() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("USER"), "u1").unwrap();
        fs::write(dir.path().join("PASSWORD"), "p1").unwrap();
        let source = Arc::new(Directory::watching(dir.path(), watching));
        let secrets = keep(vec![source], policy()).for_daemon("routd");
        let mut watched = secrets.watch(&PAIR).await.unwrap();
        for (generation, change) in (2..).zip([rename, in_place, anew]) {
            let text = format!("p{generation}");
            change(&dir.path().join("PASSWORD"), &text);
            let changed = async {
                // An in-place writer may be seen half done; what counts is where it ends.
                while watched.current().1 != text {
                    watched.changed().await;
                }
            };
            let noticed = timeout(Duration::from_secs(10), changed).await;
            noticed.unwrap_or_else(|_| panic!("change {generation} is not noticed: {watching:?}"));
        }
    }
}

#[tokio::test]
async fn a_directory_that_appears_later_is_read_and_watched_then() {
    for inotify in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("later");
        let watching = Watching { poll: Duration::from_millis(20), inotify };
        let source = Arc::new(Directory::watching(&root, watching));
        let secrets = keep(vec![source], policy()).for_daemon("routd");
        let waiting = tokio::spawn({
            let secrets = secrets.clone();
            async move { secrets.watch(&PAIR).await }
        });
        let told = async {
            while !secrets.waiting().iter().any(|line| line.contains("it is not there")) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), told).await.expect("it says what it waits for");
        fs::create_dir(&root).unwrap();
        let mut kubelet = Kubelet::mount(&root, &[("USER", "u1"), ("PASSWORD", "p1")]);
        let watched = timeout(Duration::from_secs(10), waiting).await.expect("it appeared");
        let mut watched = watched.unwrap().unwrap();
        kubelet.update(&[("USER", "u2"), ("PASSWORD", "p2")]);
        timeout(Duration::from_secs(10), watched.reached(2)).await.expect("and is watched");

        // Taken away and mounted again.
        fs::remove_dir_all(&root).unwrap();
        secrets.refresh().await;
        assert_eq!(watched.current().0, "u2");
        fs::create_dir(&root).unwrap();
        let mut kubelet = Kubelet::mount(&root, &[("USER", "u3"), ("PASSWORD", "p3")]);
        timeout(Duration::from_secs(10), watched.reached(3)).await.expect("mounted again");
        kubelet.update(&[("USER", "u4"), ("PASSWORD", "p4")]);
        timeout(Duration::from_secs(10), watched.reached(4)).await.expect("and watched again");
    }
}

#[tokio::test]
async fn a_quiet_directory_gives_no_hints_and_reading_it_gives_none() {
    let dir = tempfile::tempdir().unwrap();
    Kubelet::mount(dir.path(), &[("USER", "u1"), ("PASSWORD", "p1")]);
    let watching = Watching { poll: Duration::from_millis(20), inotify: true };
    let source = Directory::watching(dir.path(), watching);
    read(&source, &[USER, PASSWORD]).await;
    timeout(Duration::from_secs(5), source.changed()).await.expect("the first read is settled");
    for _ in 0..20 {
        read(&source, &[USER, PASSWORD]).await;
        fs::read_dir(dir.path()).unwrap().count();
    }
    let hint = timeout(Duration::from_millis(300), source.changed()).await;
    assert!(hint.is_err(), "nothing has changed");
}

#[tokio::test]
async fn a_plain_directory_is_written_whole_and_a_mounted_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let source = Directory::new(dir.path(), POLL);
    let writer = source.writer().unwrap();
    for text in ["one", "two\n", "three\r\n", " \"four\" "] {
        writer.write(&USER, &secret(text)).await.unwrap();
        assert_eq!(value(&read(&source, &[USER]).await[0]), text);
    }
    let mode = rustix::fs::stat(dir.path().join("USER")).unwrap().st_mode & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary is left");
    writer.remove(&USER).await.unwrap();
    writer.remove(&USER).await.unwrap();
    assert!(matches!(read(&source, &[USER]).await[0], Answer::Missing));

    Kubelet::mount(dir.path(), &[("USER", "mounted")]);
    let error = writer.write(&USER, &secret("x")).await.unwrap_err();
    assert!(matches!(error, WriteError::ReadOnly { .. }), "{error:?}");
    assert!(error.to_string().contains("Secret that is mounted there"), "{error}");
    assert!(writer.remove(&USER).await.is_err());
    assert_eq!(value(&read(&source, &[USER]).await[0]), "mounted");
}

#[tokio::test]
async fn whoever_could_read_a_file_can_read_the_one_that_replaces_it() {
    if !rustix::process::geteuid().is_root() {
        // Only root can make a file another's, and give one away.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (user, group) = (rustix::fs::Uid::from_raw(12_345), rustix::fs::Gid::from_raw(23_456));
    rustix::fs::chown(dir.path(), Some(user), Some(group)).unwrap();
    let path = dir.path().join("USER");
    fs::write(&path, "ada").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    rustix::fs::chown(&path, Some(user), Some(group)).unwrap();

    let source = Directory::new(dir.path(), POLL);
    let writer = source.writer().unwrap();
    for (name, mode) in [("USER", 0o640), ("PASSWORD", 0o600)] {
        writer.write(&name.parse().unwrap(), &secret("new")).await.unwrap();
        let stat = rustix::fs::stat(dir.path().join(name)).unwrap();
        assert_eq!((stat.st_uid, stat.st_gid), (12_345, 23_456), "{name}");
        assert_eq!(stat.st_mode & 0o777, mode, "{name}");
    }

    // A file of one's own making, for its owner alone, whatever a link's mode says.
    symlink("USER", dir.path().join("LINK")).unwrap();
    writer.write(&"LINK".parse().unwrap(), &secret("new")).await.unwrap();
    assert_eq!(rustix::fs::stat(dir.path().join("LINK")).unwrap().st_mode & 0o777, 0o600);
}

#[tokio::test]
async fn what_systemd_copied_is_static_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("USER"), "somebody").unwrap();
    let source = Directory::copied(dir.path(), POLL);
    match &read(&source, &[USER, ABSENT]).await[..] {
        [Answer::Found(versions), Answer::Missing] => {
            assert_eq!(versions.id, "static");
            assert_eq!(versions.current.text().unwrap(), "somebody");
        }
        other => panic!("expected a value and nothing: {other:?}"),
    }
    let refused = source.writer().unwrap().write(&USER, &secret("another")).await.unwrap_err();
    assert!(
        matches!(&refused, WriteError::ReadOnly { instead, .. } if instead.contains("LoadCredential="))
    );
    assert_eq!(fs::read_to_string(dir.path().join("USER")).unwrap(), "somebody");
}
