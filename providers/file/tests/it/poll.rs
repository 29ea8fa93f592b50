//! What is seen where the system tells nothing: every look is a poll. The clock is paused, and
//! stands while a file is read; the files are real.

use crate::{
    directory::{PAIR, PASSWORD, USER},
    kubelet::Kubelet,
};
use provider_file::{Directory, Dotenv, POLL, PathValues, Watching};
use secrets::{
    LOOK_SPACING, Secrets, Watched,
    testing::{ScriptedSource, keep, policy},
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

const DEAF: Watching = Watching { poll: POLL, inotify: false };

type Pair = Watched<(String, String)>;

async fn pair(source: impl secrets::SecretSource) -> (Secrets, Pair) {
    // Without the keeper's own poll, which would find the change in half a minute.
    let day = Duration::from_secs(24 * 3600);
    let policy = secrets::Policy { poll_interval: day, ..policy() };
    let secrets = keep(vec![Arc::new(source)], policy).for_daemon("routd");
    let watched = secrets.watch(&PAIR).await.unwrap();
    (secrets, watched)
}

/// Changes the pair a hundred times, each at another moment between two looks, and gives the
/// longest time until a change was in use.
async fn slowest(watched: &mut Pair, mut change: impl FnMut(&str)) -> Duration {
    let mut slowest = Duration::ZERO;
    for round in 1..=100_u32 {
        // Some come soon after the one before.
        sleep(POLL * (round * 37 % 250) / 100).await;
        let value = format!("v{round}");
        change(&value);
        let changed = Instant::now();
        let seen = async {
            while watched.current().1 != value {
                watched.changed().await;
            }
        };
        timeout(100 * POLL, seen).await.unwrap_or_else(|_| panic!("{value} is never seen"));
        assert_eq!(*watched.current(), (value.clone(), value), "and never half of it");
        slowest = slowest.max(changed.elapsed());
    }
    slowest
}

#[tokio::test(start_paused = true)]
async fn a_swap_of_a_mounted_directory_is_in_use_within_one_poll() {
    let dir = tempfile::tempdir().unwrap();
    let mut kubelet = Kubelet::mount(dir.path(), &[("USER", "v0"), ("PASSWORD", "v0")]);
    let (_secrets, mut watched) = pair(Directory::watching(dir.path(), DEAF)).await;
    let update = |value: &str| drop(kubelet.update(&[("USER", value), ("PASSWORD", value)]));
    let slowest = slowest(&mut watched, update).await;
    assert!(slowest <= POLL + LOOK_SPACING, "{slowest:?}");
    assert_eq!(watched.generation(), 101, "each change once");
}

#[tokio::test(start_paused = true)]
async fn a_swap_of_a_pair_that_is_named_by_path_is_in_use_within_one_poll() {
    let dir = tempfile::tempdir().unwrap();
    let mut kubelet = Kubelet::mount(dir.path(), &[("crt", "v0"), ("key", "v0")]);
    let names = ScriptedSource::default();
    let path = |file: &str| dir.path().join(file).to_str().unwrap().to_owned();
    names.set_silently([("USER", &path("crt")), ("PASSWORD", &path("key"))]);
    let source = PathValues::watching(Arc::new(names), [USER, PASSWORD], DEAF);
    let (_secrets, mut watched) = pair(source).await;
    let update = |value: &str| drop(kubelet.update(&[("crt", value), ("key", value)]));
    let slowest = slowest(&mut watched, update).await;
    assert!(slowest <= POLL + LOOK_SPACING, "{slowest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_dotenv_file_is_in_use_within_one_poll_or_two_where_it_looks_like_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".env");
    replace(&path, "v0");
    let (_secrets, mut watched) = pair(Dotenv::watching(&path, DEAF)).await;
    // No time passes here between two of them but that of the disk, so that a new file may have
    // the inode, the size and the times of the one before: then it is read once more.
    let slowest = slowest(&mut watched, |value| replace(&path, value)).await;
    assert!(slowest <= 2 * (POLL + LOOK_SPACING), "{slowest:?}");
}

fn replace(path: &Path, value: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, format!("USER={value}\nPASSWORD={value}\n")).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&beside, path).unwrap();
}
