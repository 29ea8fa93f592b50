//! A million messages: what they leave behind in the process, and how long a start takes above them.

use crate::{
    Bench, Failed,
    client::Client,
    ingest::{CONNECTIONS, Poster, chat, observe},
    instance::Instance,
    say,
    spread::Spread,
};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Messages, those of them after which memory counts, and after how many the process is looked at.
const MESSAGES: u64 = 1_000_000;
const WARM: u64 = 200_000;
const STEP: u64 = 20_000;
/// Chats that they are spread over.
const CHATS: u64 = 1_000;
/// How long nothing happens before the process is looked at for the last time.
const QUIET: Duration = Duration::from_secs(10);
/// Starts above the messages.
const STARTS: u32 = 10;

/// What grows.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// KiB of the process's own.
    memory: u64,
    /// Open descriptors.
    descriptors: usize,
    /// Bytes of the write-ahead log.
    log: u64,
}

impl Size {
    fn of(instance: &Instance) -> Result<Self, Failed> {
        let log = instance.data().join("store/routd.db-wal");
        Ok(Self {
            memory: instance.process()?.own,
            descriptors: instance.descriptors()?,
            log: fs::metadata(log)?.len(),
        })
    }

    fn most(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
            log: self.log.max(other.log),
        }
    }
}

/// Sends them all, looks at the process meanwhile, and starts it again.
///
/// # Errors
/// A message is refused, or the instance does not start.
pub async fn soak(bench: &Bench) -> Result<(), Failed> {
    let instance = Instance::new(bench).await?;
    observe(&instance).await?;
    let poster = Poster::of(&instance).await?;
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    fill(&poster, &next, WARM).await?;
    tokio::time::sleep(QUIET).await;
    let (warm, mut most) = (Size::of(&instance)?, Size::default());
    for target in (WARM + STEP..=MESSAGES).step_by(usize::try_from(STEP)?) {
        fill(&poster, &next, target).await?;
        most = most.most(Size::of(&instance)?);
    }
    let took = started.elapsed().saturating_sub(QUIET);
    tokio::time::sleep(QUIET).await;
    let end = Size::of(&instance)?;
    say(
        "soak",
        &format!(
            "{MESSAGES} messages in {took:.0?}: {} MiB of its own after {WARM}, {} at the end, {} at most; {}, {} and {} descriptors; a log of {} MiB at most",
            warm.memory / 1024,
            end.memory / 1024,
            most.memory / 1024,
            warm.descriptors,
            end.descriptors,
            most.descriptors,
            most.log >> 20
        ),
    );
    let mut dir = instance.stop().await?;
    let mut starts = Spread::default();
    for _ in 0..STARTS {
        let instance = Instance::start(bench, dir).await?;
        starts.add(instance.started_in);
        dir = instance.stop().await?;
    }
    say(&format!("start of up, {MESSAGES} messages"), &starts.words());
    Ok(())
}

/// Posts messages until there are `target`.
async fn fill(poster: &Poster, next: &Arc<AtomicU64>, target: u64) -> Result<(), Failed> {
    let posting: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (poster, next) = (poster.clone(), next.clone());
            tokio::spawn(async move {
                let mut client = Client::open(&poster.routd).await?;
                while next.load(Ordering::Relaxed) < target {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    poster.one(&mut client, number, &chat(number % CHATS)).await?;
                }
                Ok::<_, Failed>(())
            })
        })
        .collect();
    for one in posting {
        one.await??;
    }
    Ok(())
}
