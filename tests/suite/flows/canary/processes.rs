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
pub(in crate::flows) struct Kept {
    /// `[heap]`, `[stack]`, a file, or empty for a mapping without a name.
    pub(in crate::flows) region: String,
    pub(in crate::flows) found: Found,
}

/// The copies in all memory that `pid` may write; an error where the system does not let us look.
pub(in crate::flows) fn memory(pid: u32, sweep: &Sweep) -> io::Result<(Vec<Kept>, usize)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    // Some programs reserve much more than they ever touch.
    let (pages, page) = (fs::File::open(format!("/proc/{pid}/pagemap")).ok(), page_size());
    let untouched = |at, room| pages.as_ref().is_some_and(|pages| untouched(pages, page, at, room));
    let (mut kept, mut read) = (Vec::new(), 0);
    let mut chunk = vec![0; SEAM + CHUNK];
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
        let mut seam = 0;
        while at < end {
            let room = (end - at).min(CHUNK as u64);
            let next = (end - at - room).min(CHUNK as u64);
            if untouched(at, room) {
                (at, seam) = (at + room, 0);
                continue;
            }
            let wanted = seam + usize::try_from(room).unwrap();
            // A mapping that went away meanwhile holds nothing.
            let Ok(length @ 1..) = memory.read_at(&mut chunk[..wanted], at - seam as u64) else {
                break;
            };
            read += length - seam.min(length);
            let bytes = &chunk[..length];
            let goes_on = length == wanted && next > 0 && !untouched(at + room, next);
            // What begins in the middle of what two readings have in common is seen whole by both, and counted by one.
            let last = if goes_on { length - SEAM / 2 } else { length };
            // Most of a thread's stack was never touched.
            if bytes.iter().any(|byte| *byte != 0) {
                let fresh = |found: &Found| (seam / 2..last).contains(&found.offset);
                for found in sweep.copies(bytes).into_iter().filter(fresh) {
                    kept.push(Kept { region: region.to_owned(), found });
                }
            }
            (at, seam) = (at + room, if goes_on { SEAM } else { 0 });
        }
    }
    Ok((kept, read))
}

/// Whether none of these pages was ever written to (Linux, admin-guide/mm/pagemap.rst): neither in memory nor swapped
/// out.
fn untouched(pages: &fs::File, size: u64, at: u64, room: u64) -> bool {
    let (first, last) = (at / size, (at + room - 1) / size);
    let mut entries = vec![0; usize::try_from(last - first + 1).unwrap() * 8];
    let known = pages.read_exact_at(&mut entries, first * 8).is_ok();
    // The highest bit: it is in memory; the one below it: it is swapped out.
    known && entries.chunks(8).all(|entry| entry[7] & 0xc0 == 0)
}

/// Bytes of a page, as the system shows it of this process.
fn page_size() -> u64 {
    let mappings = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let size = mappings.lines().find_map(|line| line.strip_prefix("KernelPageSize:"));
    let kib: Option<u64> = size.and_then(|size| size.trim().strip_suffix(" kB")?.parse().ok());
    kib.unwrap_or(4) * 1024
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
