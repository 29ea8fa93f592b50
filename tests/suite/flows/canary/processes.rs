//! What the system shows of processes: their environment, their arguments, their memory.

use super::sweep::{Found, Sweep};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{FileExt, MetadataExt},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Between two looks at the table of processes. An agent lives many times as long.
const LOOK: Duration = Duration::from_millis(4);

/// The most of a mapping that is read at once, and what two readings have in common.
const CHUNK: usize = 1 << 20;
const SEAM: usize = 512;

/// One process that lived: its arguments, and the environment beside them, through every `exec`.
pub(super) type Life = BTreeSet<(Vec<u8>, Vec<u8>)>;

/// Looks at every process that begins while it looks.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    looking: JoinHandle<BTreeMap<u32, Life>>,
}

impl Watch {
    pub(super) fn begin() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let known: BTreeSet<(u32, u64)> = processes().collect();
        let told = stop.clone();
        let looking = thread::spawn(move || {
            let mut lives: BTreeMap<u32, Life> = BTreeMap::new();
            while !told.load(Ordering::SeqCst) {
                for (pid, _) in processes().filter(|process| !known.contains(process)) {
                    look(pid, lives.entry(pid).or_default());
                }
                thread::sleep(LOOK);
            }
            lives
        });
        Self { stop, looking }
    }

    /// Ends it; every process that was seen.
    pub(super) fn end(self) -> BTreeMap<u32, Life> {
        self.stop.store(true, Ordering::SeqCst);
        self.looking.join().unwrap()
    }
}

fn look(pid: u32, life: &mut Life) {
    // It may have ended meanwhile, or be another user's.
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let (arguments, environment, again) = (read("cmdline"), read("environ"), read("cmdline"));
    // Where it became another program in between, the next look sees which.
    let seen = if arguments == again { environment } else { Vec::new() };
    if !arguments.is_empty() {
        life.insert((arguments, seen));
    }
}

/// The id of each process, and when it began.
fn processes() -> impl Iterator<Item = (u32, u64)> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let began = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        Some((pid, began))
    })
}

/// A copy in a process's memory.
#[derive(Debug)]
pub(super) struct Kept {
    /// `[heap]`, `[stack]`, a file, or empty for a mapping without a name.
    pub(super) region: String,
    pub(super) found: Found,
}

/// The copies in all memory that `pid` may write; an error where the system does not let us look.
pub(super) fn memory(pid: u32, sweep: &Sweep) -> io::Result<(Vec<Kept>, usize)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    let (mut kept, mut read) = (Vec::new(), 0);
    let mut chunk = vec![0; CHUNK];
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        let region = fields.nth(3).unwrap_or_default();
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let address = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let (mut at, end) = (address(start), address(end));
        while at < end {
            let room = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            // A mapping that went away meanwhile holds nothing.
            let Ok(length @ 1..) = memory.read_at(&mut chunk[..room], at) else { break };
            read += length;
            let bytes = &chunk[..length];
            // Most of a thread's stack was never touched.
            if bytes.iter().any(|byte| *byte != 0) {
                let fresh = |found: &Found| length < CHUNK || found.offset < CHUNK - SEAM;
                for found in sweep.copies(bytes).into_iter().filter(fresh) {
                    kept.push(Kept { region: region.to_owned(), found });
                }
            }
            let step =
                if length == CHUNK && at + (length as u64) < end { CHUNK - SEAM } else { length };
            at += step as u64;
        }
    }
    Ok((kept, read))
}

/// Asserts, from outside, that a process leaves no core dump and that its memory is root's alone, whoever runs it.
pub(super) fn assert_hardened(daemon: &str, pid: u32) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{daemon} may leave a core dump: {core}");
    for file in ["mem", "environ", "maps", "fd"] {
        let owner = fs::metadata(format!("/proc/{pid}/{file}")).unwrap().uid();
        assert_eq!(owner, 0, "{daemon}: /proc/{pid}/{file} is its user's");
    }
}
