//! What `/proc` says of processes (proc_pid_stat(5), proc_pid_task(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

/// The fields of `/proc/PID/stat` that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `Z` for one that is dead and not yet reaped.
    pub state: char,
    /// Its parent.
    pub parent: i32,
    /// Its session.
    pub session: i32,
    /// How many threads it has.
    pub threads: u64,
    /// When it started, in clock ticks since the boot.
    pub start_ticks: u64,
}

impl Stat {
    /// Reads the line. The name may hold anything, also blanks and brackets: the fields begin after the last bracket.
    fn parse(line: &str) -> Option<Self> {
        let (_, fields) = line.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // Field 3 of the manual page is the first here.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            state: field(3)?.chars().next()?,
            parent: field(4)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            threads: field(20)?.parse().ok()?,
            start_ticks: field(22)?.parse().ok()?,
        })
    }

    /// Whether it has ended and only waits for its parent to ask.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// What `/proc` says of `pid`; none when there is no such process.
pub fn stat(pid: i32) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The running boot's id.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Every process below `ancestor`, without it. What appears meanwhile may be missing.
pub fn descendants(ancestor: i32) -> BTreeSet<i32> {
    // Not every kernel has the `children` files; then the whole of /proc is looked through.
    if Path::new(&format!("/proc/{ancestor}/task/{ancestor}/children")).exists() {
        by_children(ancestor)
    } else {
        by_parents(ancestor)
    }
}

fn by_children(ancestor: i32) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut queue = vec![ancestor];
    while let Some(pid) = queue.pop() {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in children.split_ascii_whitespace().filter_map(|text| text.parse().ok()) {
                if found.insert(child) {
                    queue.push(child);
                }
            }
        }
    }
    found
}

fn by_parents(ancestor: i32) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in all() {
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut queue = vec![ancestor];
    while let Some(pid) = queue.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            if found.insert(child) {
                queue.push(child);
            }
        }
    }
    found
}

/// Every process that can be seen.
pub fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether the environment that `pid` was started with holds `HOME=home`. False where it cannot be read.
pub fn has_home(pid: i32, home: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let mut variables = environment.split(|byte| *byte == 0);
    variables.any(|text| text.strip_prefix(b"HOME=") == Some(home.as_os_str().as_bytes()))
}

/// What a set of processes uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory that are theirs alone: resident, without what is mapped from files.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub tasks: u64,
}

/// Adds up what `pids` use. Those that are gone count nothing.
pub fn usage(pids: &BTreeSet<i32>) -> Usage {
    let page = rustix::param::page_size() as u64;
    pids.iter().fold(Usage::default(), |sum, pid| {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let mut fields = statm.split_ascii_whitespace().map(|text| text.parse().unwrap_or(0));
        let resident: u64 = fields.nth(1).unwrap_or(0);
        let shared: u64 = fields.next().unwrap_or(0);
        let tasks = stat(*pid).map_or(0, |stat| stat.threads);
        Usage {
            memory_bytes: sum.memory_bytes + resident.saturating_sub(shared) * page,
            tasks: sum.tasks + tasks,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let line = "42 (a) b (c) R 7 42 41 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 9876 1 2";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.parent, stat.session), ('R', 7, 41));
        assert_eq!((stat.threads, stat.start_ticks), (3, 9876));
        assert_eq!(Stat::parse("42 (x) R 7"), None, "a line that ends early is no process");
    }

    #[test]
    fn this_process_is_found_by_its_number_and_below_its_parent() {
        let own = i32::try_from(std::process::id()).unwrap();
        let seen = stat(own).unwrap();
        assert!(!seen.is_dead());
        assert_eq!(stat(own).unwrap().start_ticks, seen.start_ticks);
        assert!(descendants(seen.parent).contains(&own));
        assert!(by_parents(seen.parent).contains(&own), "also without the children files");
        assert!(usage(&BTreeSet::from([own])).memory_bytes > 0);
    }
}
