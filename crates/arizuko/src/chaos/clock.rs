//! A clock that jumps: the daemons' time of day, by libfaketime, where that library is installed.
//!
//! All daemons have one clock, as on one machine; it is a file that is rewritten while they run, and that they read
//! once a second. Only the time of day jumps: what the kernel counts since the boot goes on, as it does on a machine
//! whose clock is set. Agents have the machine's own clock, because no variable reaches them.

use super::faults::HOUR;
use rustix::process::Pid;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where distributions put the library that is safe with threads.
const PLACES: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/libfaketimeMT.so.1",
];
/// How long a daemon may take to see that the clock was set.
pub const SEEN: Duration = Duration::from_millis(1_500);

/// The daemons' clock.
#[derive(Debug)]
pub struct FakeClock {
    library: &'static str,
    file: PathBuf,
}

impl FakeClock {
    /// A clock that agrees with the machine's, kept in `dir`; none where the library is not installed.
    pub fn find(dir: &Path) -> Option<Self> {
        let library = PLACES.into_iter().find(|place| Path::new(place).exists())?;
        let clock = Self { library, file: dir.join("clock") };
        clock.set(0).is_ok().then_some(clock)
    }

    /// What a daemon's environment needs for it.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("LD_PRELOAD", self.library.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            // The times of files stay what they are.
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }

    /// Sets it so many seconds away from the machine's.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&self, seconds: i64) -> io::Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n"))?;
        fs::rename(new, &self.file)
    }
}

/// Removes what the library keeps of a process in shared memory, which one that was killed could not.
pub fn forget(pid: Pid) {
    let pid = pid.as_raw_nonzero();
    for name in [format!("sem.faketime_sem_{pid}"), format!("faketime_shm_{pid}")] {
        // It is not there where the library is not.
        let _none = fs::remove_file(Path::new("/dev/shm").join(name)).is_err();
    }
}

/// How far it was set, for people.
pub fn words(seconds: i64) -> String {
    match seconds / HOUR {
        0 => "clock:right-again".into(),
        hours if hours < 0 => "clock:back".into(),
        _ => "clock:forward".into(),
    }
}
