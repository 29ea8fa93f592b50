//! What the system shows of the processes of one turn: their environment and arguments, what they may write, and
//! their memory.

use super::super::canary::{processes, sweep::Sweep};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Bytes of the largest file that is looked into.
const FILE_MAX: u64 = 64 << 20;

/// The processes of a turn.
pub(super) struct Agents {
    /// The CLI and what it started: they were told the turn's id.
    told: Vec<u32>,
    /// And all others that share their network: what carries their calls, and what started them.
    all: Vec<u32>,
}

impl Agents {
    pub(super) fn of_turn(turn: &str) -> Self {
        let told = format!("ARIZUKO_TURN_ID={turn}\0").into_bytes();
        let holds = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(told.len()).any(|piece| piece == told)
        };
        let all: Vec<u32> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let network = |pid: &u32| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let told: Vec<u32> = all.iter().copied().filter(holds).collect();
        let theirs = told.first().and_then(network).expect("a program of the turn runs");
        assert_ne!(Some(&theirs), network(&std::process::id()).as_ref(), "a network of its own");
        let all = all.into_iter().filter(|pid| network(pid).as_ref() == Some(&theirs)).collect();
        Self { told, all }
    }

    /// Their environments, their arguments, and every file that they may write.
    pub(super) fn seen(&self) -> Vec<(String, Vec<u8>)> {
        let mut places = Vec::new();
        for pid in &self.all {
            for file in ["environ", "cmdline"] {
                // One that has ended meanwhile holds nothing.
                let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                places.push((format!("/proc/{pid}/{file}"), bytes));
            }
        }
        for pid in &self.told {
            let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            let at = |place: &str| PathBuf::from(format!("/proc/{pid}/root{place}"));
            let all: Vec<PathBuf> =
                mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(at).collect();
            for mount in mounts.lines().filter_map(writable).map(at) {
                // A file that is shown to it by itself is a program, there before there was a key.
                if mount.is_dir() {
                    let files = files(&mount, &all).into_iter();
                    let named = |(name, bytes)| (format!("a file of its own {name}"), bytes);
                    places.extend(files.map(named));
                }
            }
        }
        places.sort();
        places.dedup();
        places
    }

    /// Asserts that nothing of the keys is in their memory, where what the CLI was told is.
    pub(super) fn memory_holds_no(&self, keys: &Sweep, told: &Sweep) {
        let (mut read, mut held) = (0, 0);
        for pid in &self.all {
            let (Ok((kept, size)), Ok((control, _))) =
                (processes::memory(*pid, keys), processes::memory(*pid, told))
            else {
                eprintln!("claude: the memory of {pid} may not be read here");
                continue;
            };
            let where_they_are: Vec<_> =
                kept.iter().map(|copy| format!("{} {}", copy.region, copy.found)).collect();
            assert!(kept.is_empty(), "{pid} keeps {where_they_are:?}");
            (read, held) = (read + size, held + control.len());
        }
        let count = self.all.len();
        eprintln!(
            "claude: {read} bytes of memory of {count} processes, {held} copies of what it was told"
        );
        assert!(read == 0 || held > 0, "the search does not find what the CLI was told");
    }
}

/// Where a mount is, if whoever sees it may write files there.
fn writable(line: &str) -> Option<&str> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(4);
    let (place, options) = (fields.next()?, fields.next()?);
    let kind = after.split(' ').next()?;
    let files = ["proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts"];
    (options.split(',').any(|option| option == "rw") && !files.contains(&kind)).then_some(place)
}

/// The files below a directory, whatever is in them, but for what is mounted there at other places.
pub(super) fn files(place: &Path, others: &[PathBuf]) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut left) = (Vec::new(), vec![PathBuf::from(place)]);
    while let Some(path) = left.pop() {
        if path != place && others.contains(&path) {
            continue;
        }
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            // One that went away meanwhile holds nothing.
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| entry.path()));
        } else if meta.is_file() {
            assert!(meta.len() < FILE_MAX, "{} is too large to be looked into", path.display());
            found.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
        }
    }
    found
}
