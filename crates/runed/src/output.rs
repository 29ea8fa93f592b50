//! What a run writes, kept within a bound: the first half, and the end.
//!
//! The head is one file. What follows goes into numbered segments of a sixteenth of the bound each, of which the last
//! eight are kept. A segment's number says which bytes it holds, so that what is missing can be counted from the
//! names alone: also while the run writes, and after its writer was killed.

use crate::backend::Log;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How many parts of the bound the tail consists of.
const TAIL_PARTS: u64 = 8;

/// The sizes that follow from a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    head: u64,
    segment: u64,
}

impl Sizes {
    fn of(bound: u64) -> Self {
        let segment = (bound / (2 * TAIL_PARTS)).max(1);
        Self { head: bound - segment * TAIL_PARTS.min(bound - 1), segment }
    }
}

/// Writes the log of one run.
#[derive(Debug)]
pub struct Output {
    dir: PathBuf,
    sizes: Sizes,
    written: u64,
    open: Option<(u64, File)>,
}

impl Output {
    /// A log of at most `bound` bytes in `dir`, which must exist. `bound` is at least 32.
    pub fn new(dir: impl Into<PathBuf>, bound: u32) -> Self {
        Self { dir: dir.into(), sizes: Sizes::of(u64::from(bound.max(32))), written: 0, open: None }
    }

    /// Appends `bytes`. What cannot be written, as on a full disk, counts as written and lost.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut outcome = Ok(());
        while !bytes.is_empty() {
            let (index, room) = self.place();
            let room = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            if let Err(error) = self.put(index, now) {
                outcome = Err(error);
            }
            self.written += room as u64;
            bytes = later;
        }
        outcome
    }

    /// The segment where the next byte belongs (0 is the head), and the room left in it.
    fn place(&self) -> (u64, u64) {
        let Sizes { head, segment } = self.sizes;
        match self.written.checked_sub(head) {
            None => (0, head - self.written),
            Some(past) => (past / segment + 1, segment - past % segment),
        }
    }

    fn put(&mut self, index: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = match self.open.take() {
            Some((open, file)) if open == index => file,
            _ => {
                if let Some(old) = index.checked_sub(TAIL_PARTS).filter(|old| *old > 0) {
                    remove(&segment_path(&self.dir, old))?;
                }
                let mut options = OpenOptions::new();
                let options = options.create(true).append(true).mode(0o600);
                options.open(segment_path(&self.dir, index))?
            }
        };
        file.write_all(bytes)?;
        self.open = Some((index, file));
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn segment_path(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("log.{index}"))
}

/// Removes the log in `dir`.
#[cfg_attr(
    not(any(feature = "docker", feature = "kubernetes")),
    expect(dead_code, reason = "a shim writes each log once")
)]
pub fn clear(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("log.")) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Reads the log in `dir`, which was written with `bound`. A log that is not there is empty.
pub fn read(dir: &Path, bound: u32) -> io::Result<Log> {
    let sizes = Sizes::of(u64::from(bound.max(32)));
    let mut segments = BTreeMap::new();
    let names = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Log::default()),
        names => names?,
    };
    for entry in names {
        let name = entry?.file_name();
        let index = name.to_str().and_then(|name| name.strip_prefix("log.")?.parse::<u64>().ok());
        let Some(index) = index else { continue };
        match fs::read(segment_path(dir, index)) {
            // The writer took it away after it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            bytes => drop(segments.insert(index, bytes?)),
        }
    }
    Ok(join(&segments, sizes))
}

fn join(segments: &BTreeMap<u64, Vec<u8>>, sizes: Sizes) -> Log {
    let mut log = Log::default();
    let mut expected = 0;
    for (index, bytes) in segments {
        let begins = index.checked_sub(1).map_or(0, |past| sizes.head + past * sizes.segment);
        let missing = begins.saturating_sub(expected);
        if missing > 0 {
            log.dropped += missing;
            log.bytes.extend_from_slice(format!("\n[{missing} bytes not kept]\n").as_bytes());
        }
        log.bytes.extend_from_slice(bytes);
        expected = begins + bytes.len() as u64;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bound: u32, total: usize, chunk: usize) -> (Vec<u8>, Log, u64) {
        let place = tempfile::tempdir().unwrap();
        let mut output = Output::new(place.path(), bound);
        let all: Vec<u8> = (0..total).map(|i| b'a' + u8::try_from(i % 23).unwrap()).collect();
        for part in all.chunks(chunk) {
            output.append(part).unwrap();
        }
        let sizes = fs::read_dir(place.path()).unwrap();
        let disk = sizes.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        (all, read(place.path(), bound).unwrap(), disk)
    }

    #[test]
    fn a_log_within_its_bound_is_kept_whole() {
        for total in [0, 1, 4095, 4096 / 2] {
            let (all, log, _) = written(4096, total, 100);
            assert_eq!(log, Log { bytes: all, dropped: 0 }, "{total} bytes");
        }
    }

    #[test]
    fn beyond_its_bound_the_beginning_and_the_end_are_kept_and_the_rest_is_counted() {
        for (bound, total, chunk) in [(4096, 100_000, 777), (4096, 4097, 1), (100, 10_000, 9_999)] {
            let (all, log, disk) = written(bound, total, chunk);
            assert!(disk <= u64::from(bound), "{disk} bytes on disk for a bound of {bound}");
            let head = usize::try_from(bound / 2).unwrap();
            assert_eq!(&log.bytes[..head], &all[..head], "the first half");
            let tail = &all[all.len() - head * 7 / 8..];
            assert!(log.bytes.ends_with(tail), "nearly as much of the end");
            let text = String::from_utf8(log.bytes.clone()).unwrap();
            let marker = format!("[{} bytes not kept]", log.dropped);
            if log.dropped > 0 {
                assert!(text.contains(&marker), "{marker}");
            }
            assert_eq!(disk + log.dropped, total as u64, "every byte is kept or counted");
        }
    }

    #[test]
    fn a_run_that_wrote_nothing_has_an_empty_log() {
        let nowhere = tempfile::tempdir().unwrap().path().join("gone");
        assert_eq!(read(&nowhere, 4096).unwrap(), Log::default());
    }
}
