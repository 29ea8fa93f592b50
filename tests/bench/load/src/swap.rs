//! A secret changes: from the swap of a mounted directory until the last daemon uses the new value, and what one use
//! costs.

use crate::{Bench, Failed, instance, instance::Instance, say, spread::Spread};
use provider_file::Directory;
use secrets::{Bundle, Keeper, Name, Need, Policy, Role, WallClock};
use std::{
    collections::BTreeSet,
    fs,
    hint::black_box,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_util::sync::CancellationToken;

const NAME: &str = "CHANNEL_SECRET";
const SECRET: Name = Name::literal(NAME);
/// Swaps of each kind, and how long nothing happens between two: nobody swaps a file every few milliseconds.
const SWAPS: u32 = 100;
const SWAPS_UNTOLD: u32 = 30;
const BETWEEN: Duration = Duration::from_millis(300);
/// Threads that are busy with nothing meanwhile.
const BUSY: usize = 8;
/// Uses of one value.
const USES: u32 = 50_000_000;
/// How long a swap may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// From the swap to the last of the daemons that use the secret: idle, beside busy threads, and with no word from inotify.
///
/// # Errors
/// A daemon does not take a value.
pub async fn swap(bench: &Bench) -> Result<(), Failed> {
    let quiet = swaps(bench, SWAPS, true).await?;
    say("a swapped file, idle", &quiet);
    let over = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..BUSY)
        .map(|_| {
            let over = over.clone();
            thread::spawn(move || while !over.load(Ordering::Relaxed) {})
        })
        .collect();
    let beside = swaps(bench, SWAPS, true).await;
    over.store(true, Ordering::Relaxed);
    for one in busy {
        one.join().map_err(|_| "a busy thread failed")?;
    }
    say(&format!("a swapped file, {BUSY} busy threads beside it"), &beside?);
    let untold = swaps(bench, SWAPS_UNTOLD, false).await?;
    say("a swapped file, without inotify", &untold);
    Ok(())
}

async fn swaps(bench: &Bench, count: u32, is_told: bool) -> Result<String, Failed> {
    let dir = instance::made(bench).await?;
    let mut mount = Mount::new(dir.path())?;
    let from = format!("file://{}", mount.at.display());
    let settings = [("SECRETS_SOURCES", from.as_str()), ("LOG_LEVEL", "info")];
    // In a user namespace of its own nothing can be watched.
    let deaf = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
    let through: &[&str] = if is_told { &[] } else { &["unshare", "-r", "sh", "-c", deaf] };
    let instance = Instance::start_as(bench, dir, &settings, through).await?;
    let log = instance.log();
    let users: BTreeSet<String> = told(&log, 1)?.into_iter().map(|one| one.daemon).collect();
    if !is_told && !fs::read_to_string(&log)?.contains("max_user_instances") {
        return Err("inotify works, though it should not".into());
    }
    let mut took = Spread::default();
    for generation in 2..count + 2 {
        tokio::time::sleep(BETWEEN).await;
        let swapped = mount.swap()?;
        let since = Instant::now();
        let last = loop {
            let told = told(&log, generation)?;
            let have: BTreeSet<_> = told.iter().map(|one| one.daemon.clone()).collect();
            if have == users {
                break told.into_iter().map(|one| one.at).max().ok_or("nobody uses it")?;
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("after {PATIENCE:?} only {have:?} have it").into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        took.add(last.duration_since(swapped).unwrap_or_default());
    }
    Ok(format!("{}; {} daemons use it", took.words(), users.len()))
}

/// A daemon has a value.
struct Told {
    daemon: String,
    at: SystemTime,
}

/// Which daemons took this generation, and when, as they say themselves.
fn told(log: &Path, generation: u32) -> Result<Vec<Told>, Failed> {
    let mut all = Vec::new();
    for line in fs::read_to_string(log)?.lines().rev() {
        // The last line may be half written.
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        if line["name"] != NAME {
            continue;
        }
        if line["generation"].as_u64().is_some_and(|is| is < u64::from(generation)) {
            break;
        }
        let at = line["timestamp"].as_str().ok_or("a line without a time")?;
        let at = SystemTime::from(OffsetDateTime::parse(at, &Rfc3339)?);
        all.push(Told { daemon: line["daemon"].to_string(), at });
    }
    Ok(all)
}

/// A directory as the kubelet makes it, with the secrets of an instance that has them in its `.env`.
struct Mount {
    at: PathBuf,
    version: u32,
}

impl Mount {
    fn new(dir: &Path) -> Result<Self, Failed> {
        let at = dir.join("mount");
        let first = at.join("..1");
        fs::create_dir_all(&first)?;
        for line in fs::read_to_string(dir.join("d/.env"))?.lines() {
            if let Some((name, value)) = line.split_once('=') {
                fs::write(first.join(name), value)?;
                symlink(Path::new("..data").join(name), at.join(name))?;
            }
        }
        symlink("..1", at.join("..data"))?;
        Ok(Self { at, version: 1 })
    }

    /// Puts a new value in the place of the old one; when that was done.
    fn swap(&mut self) -> Result<SystemTime, Failed> {
        let old = self.at.join(format!("..{}", self.version));
        self.version += 1;
        let new = self.at.join(format!("..{}", self.version));
        fs::create_dir(&new)?;
        for file in fs::read_dir(&old)? {
            let file = file?;
            fs::copy(file.path(), new.join(file.file_name()))?;
        }
        fs::write(new.join(NAME), format!("a-secret-that-is-number-{:032}", self.version))?;
        let link = self.at.join("..data_tmp");
        symlink(format!("..{}", self.version), &link)?;
        let now = SystemTime::now();
        fs::rename(link, self.at.join("..data"))?;
        fs::remove_dir_all(old)?;
        Ok(now)
    }
}

static ONE: Bundle<String> = Bundle {
    needs: &[Need::required(SECRET, "it is read again and again")],
    role: Role::Checks,
    parse: |values| Ok(values.require(&SECRET)?.text()?.to_owned()),
};

/// What it costs to take a secret from its handle.
///
/// # Errors
/// The secret cannot be read.
pub async fn handle(bench: &Bench) -> Result<(), Failed> {
    let dir = tempfile::tempdir_in(&bench.on)?;
    fs::write(dir.path().join(NAME), "a-secret-that-is-read-again")?;
    let source = Directory::new(dir.path(), Duration::from_secs(1));
    let policy = Policy::new(WallClock::new(SystemTime::now));
    let (keeper, handle) = Keeper::new(vec![Arc::new(source)], policy);
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(keeper.run(stop.clone()));
    let watched = handle.for_daemon("load").watch(&ONE).await?;
    let started = Instant::now();
    for _ in 0..USES {
        black_box(watched.current().len());
    }
    let each = started.elapsed().as_secs_f64() * 1e9 / f64::from(USES);
    stop.cancel();
    keeping.await?;
    say("a secret, from its handle", &format!("mean {each:.1} ns of {USES} uses"));
    Ok(())
}
