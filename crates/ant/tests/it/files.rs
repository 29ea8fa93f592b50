//! Files of messages come into the home, and files of the home go to whoever a tool sends them to.

use crate::routd::{Routd, input};
use ant::Options;
use proto::turn::{Harness, Outcome::Replied, TurnFile};
use std::fs;
use std::os::unix::fs::symlink;

fn file(id: &str, name: &str, size: Option<u64>) -> TurnFile {
    TurnFile { id: id.parse().unwrap(), path: format!("inbox/{name}"), size }
}

/// Bytes that differ from place to place.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
}

#[tokio::test]
async fn what_came_is_in_the_home_before_the_harness_begins_and_what_cannot_be_had_is_said() {
    let routd = Routd::start();
    fs::create_dir(routd.home.path().join("inbox")).unwrap();
    fs::write(routd.home.path().join("theirs"), "theirs").unwrap();
    symlink("../theirs", routd.home.path().join("inbox/2-0-b.txt")).unwrap();
    let whole = bytes(700_000);
    {
        let mut book = routd.book();
        book.files.insert("1-0".into(), Some(whole.clone()));
        book.files.insert("2-0".into(), Some(b"ours".to_vec()));
        // It says less than it has.
        book.files.insert("4-0".into(), Some(bytes(1_100_000)));
        let mut asked = input(Harness::Offline, &[]);
        asked.files = vec![
            file("1-0", "1-0-a.bin", Some(700_000)),
            file("2-0", "2-0-b.txt", None),
            file("3-0", "3-0-gone.txt", None),
            file("4-0", "4-0-grown.bin", Some(10)),
            file("5-0", "5-0-vast.bin", Some(1 << 40)),
            file("1-0", "../outside.bin", None),
        ];
        book.next(asked);
    }
    let result = routd.serve().await;
    let home = |name: &str| fs::read(routd.home.path().join(name));
    assert!(home("inbox/1-0-a.bin").unwrap() == whole);
    assert_eq!(home("inbox/2-0-b.txt").unwrap(), b"ours");
    assert_eq!(home("theirs").unwrap(), b"theirs", "a link in its place is not followed");
    let text = result.text.unwrap();
    let missing = "You said: the prompt<missing-files>\n\
         inbox/3-0-gone.txt: it is there no more\n\
         inbox/4-0-grown.bin: it has more than 1048576 bytes\n\
         inbox/5-0-vast.bin: it has more than 1048576 bytes\n\
         inbox/../outside.bin: it could not be written into the home\n</missing-files>";
    assert_eq!(text, missing);
    let left: Vec<_> = fs::read_dir(routd.home.path().join("inbox")).unwrap().collect();
    assert_eq!(left.len(), 2, "nothing is left of what did not come whole: {left:?}");
    assert!(home("outside.bin").is_err());
}

#[tokio::test]
async fn an_inbox_that_leads_elsewhere_is_not_written_and_the_oldest_make_room() {
    let routd = Routd::start();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), routd.home.path().join("inbox")).unwrap();
    let ask = |names: &[&str]| {
        let mut asked = input(Harness::Offline, &[]);
        asked.files_max_bytes = 1_000_000;
        asked.files = names.iter().map(|name| file("1-0", name, None)).collect();
        routd.book().next(asked);
    };
    routd.book().files.insert("1-0".into(), Some(bytes(400_000)));
    ask(&["a"]);
    assert!(routd.serve().await.text.unwrap().contains("inbox/a: it could not be written"));
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    fs::remove_file(routd.home.path().join("inbox")).unwrap();
    ask(&["a", "b", "c"]);
    assert_eq!(routd.serve().await.text.unwrap(), "You said: the prompt");
    let names = || {
        let entries = fs::read_dir(routd.home.path().join("inbox")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names().len(), 2, "two of them fit");
    assert!(names().contains(&"c".into()), "the newest is there");
}

#[tokio::test]
async fn a_file_of_the_home_is_brought_and_nothing_else_is_whatever_the_agent_says() {
    let routd = Routd::start();
    let home = routd.home.path();
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "theirs").unwrap();
    fs::create_dir(home.join("out")).unwrap();
    let whole = bytes(900_000);
    fs::write(home.join("out/a.bin"), &whole).unwrap();
    fs::write(home.join("vast.bin"), bytes(1_100_000)).unwrap();
    symlink(secret.path(), home.join("link.txt")).unwrap();
    symlink("/", home.join("root")).unwrap();
    let within = home.join("out/a.bin");
    for path in ["out/a.bin", "./out/a.bin", within.to_str().unwrap()] {
        let result = routd.answer(&[&format!("file {path}")]).await;
        assert_eq!((result.outcome, result.text), (Replied, None), "{path}");
    }
    let outside = secret.path().to_str().unwrap();
    for path in [
        "link.txt",
        "root/etc/passwd",
        "../x.txt",
        "/etc/passwd",
        outside,
        "none.txt",
        "vast.bin",
        "out/",
        "out/../../x.txt",
    ] {
        let result = routd.answer(&[&format!("file {path}")]).await;
        let text = result.text.unwrap_or_default();
        assert!(text.starts_with("I could not use `send_file`"), "{path}: {text}");
    }
    let brought = std::mem::take(&mut routd.book().brought);
    let sent: Vec<_> = brought.into_iter().filter_map(|(_, brought)| brought.ok()).collect();
    assert!(sent == [whole.clone(), whole.clone(), whole], "and no byte of anything else");
}

#[tokio::test]
async fn what_came_is_sent_back_and_a_routd_that_wants_no_files_is_left_alone() {
    let routd = Routd::start();
    routd.book().files.insert("7-0".into(), Some(bytes(300_000)));
    let mut asked = input(Harness::Offline, &["back"]);
    asked.files = vec![file("7-0", "7-0-a.bin", None)];
    routd.book().next(asked);
    assert_eq!(routd.serve().await.text.unwrap(), "I sent back what came: 1.");
    assert!(routd.book().brought == [(1, Ok(bytes(300_000)))]);
    let key = routd.book().calls[0].1.clone();
    assert_eq!(key.as_deref(), Some("turn-1/2/1"), "under a key, as every change");
    assert_eq!(routd.answer(&["back"]).await.text.unwrap(), "No file came with that.");
    assert_eq!(routd.book().brought.len(), 1);
    // No options of its own are needed for any of it.
    assert_eq!(routd.options().bridge, Options::new("/t", "/h").bridge);
}
