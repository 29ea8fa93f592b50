//! What an instance costs when nothing happens: its start, its memory, its processor time, its conversations.

use crate::{
    Bench, Failed,
    client::Client,
    ingest::{Poster, chat, observe},
    instance::{self, Instance, Process},
    say,
    spread::Spread,
};
use std::{
    fs,
    time::{Duration, Instant},
};

/// Starts of the same instance.
const STARTS: u32 = 10;
/// How long nothing happens.
const QUIET: Duration = Duration::from_secs(10);
/// Conversations, and folders that they are in.
const CONVERSATIONS: u64 = 10_000;
const FOLDERS: u64 = 1_000;

/// The program's size, its start, and what it uses while nothing happens.
///
/// # Errors
/// It does not start.
pub async fn start(bench: &Bench) -> Result<(), Failed> {
    #[expect(clippy::cast_precision_loss, reason = "a file of some MiB")]
    let mib = fs::metadata(&bench.program)?.len() as f64 / f64::from(1 << 20);
    say("program", &format!("{mib:.1} MiB"));

    let mut dir = instance::made(bench).await?;
    let mut took = Spread::default();
    for _ in 0..STARTS {
        let instance = Instance::start(bench, dir).await?;
        took.add(instance.started_in);
        dir = instance.stop().await?;
    }
    say("start of up, an existing instance", &took.words());

    let instance = Instance::start(bench, dir).await?;
    tokio::time::sleep(QUIET).await;
    let (before, since) = (instance.process()?, Instant::now());
    tokio::time::sleep(QUIET).await;
    let after = instance.process()?;
    let share = (after.cpu - before.cpu).as_secs_f64() / since.elapsed().as_secs_f64() * 100.0;
    say("up, idle", &format!("{}; {share:.1} % of a core", memory(after)));
    Ok(())
}

/// What conversations cost that are there and silent.
///
/// # Errors
/// A message is refused.
pub async fn conversations(bench: &Bench) -> Result<(), Failed> {
    let instance = Instance::new(bench).await?;
    observe(&instance).await?;
    let token = instance.operator_token().await?;
    let poster = Poster::of(&instance).await?;
    let mut client = Client::open(&poster.routd).await?;
    for number in 0..FOLDERS {
        let body = format!(r#"{{"folder":"f{number}"}}"#);
        client.ok("POST", "/v1/groups", &token, body).await?;
    }
    tokio::time::sleep(QUIET).await;
    let before = instance.process()?;
    for number in 0..CONVERSATIONS {
        poster.one(&mut client, number, &chat(number)).await?;
    }
    tokio::time::sleep(QUIET).await;
    let (after, since) = (instance.process()?, Instant::now());
    tokio::time::sleep(QUIET).await;
    let share = (instance.process()?.cpu - after.cpu).as_secs_f64() / since.elapsed().as_secs_f64();
    let more = after.own.saturating_sub(before.own) / 1024;
    say(
        "conversations",
        &format!(
            "{CONVERSATIONS} idle ones, {FOLDERS} folders: {more} MiB more; {:.1} % of a core",
            share * 100.0
        ),
    );
    Ok(())
}

fn memory(process: Process) -> String {
    let Process { resident, own, .. } = process;
    format!("{} MiB resident, of which {} MiB are not pages of a file", resident / 1024, own / 1024)
}
