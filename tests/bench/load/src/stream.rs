//! What a browser sees: frames of many open streams, and what the edge adds to a request.

use crate::{
    Bench, Failed,
    client::{Client, Events},
    instance::Instance,
    say,
    spread::Spread,
};
use std::time::{Duration, Instant};

/// Streams that are open, and folders that they are of.
const STREAMS: usize = 5_000;
const FOLDERS: usize = 50;
/// Messages whose frames are waited for.
const MESSAGES: u32 = 200;
/// Requests to the edge and past it, in turn.
const REQUESTS: u32 = 2_000;

/// From a message's commit to its frame at each stream of its chat, while many are open.
///
/// # Errors
/// A stream is refused, or ends.
pub async fn stream(bench: &Bench) -> Result<(), Failed> {
    let instance = Instance::new(bench).await?;
    let webd = instance.url("webd").await?;
    let mut chats = Vec::new();
    for number in 0..FOLDERS {
        let folder = format!("f{number}");
        instance.json(&["group", "add", &folder]).await?;
        chats.push(instance.chat(&folder).await?);
    }
    let before = instance.process()?;
    let mut open = Vec::new();
    for number in 0..STREAMS - 1 {
        let path = format!("{}/events", chats[1 + number % (FOLDERS - 1)]);
        open.push(Events::follow(&webd, &path).await?);
    }
    let mut watched = Events::follow(&webd, &format!("{}/events", chats[0])).await?;
    let mut client = Client::open(&webd).await?;
    let mut took = Spread::default();
    for number in 0..MESSAGES {
        let sent = Instant::now();
        let body = format!(r#"{{"content":"q-{number}-e"}}"#);
        client.ok("POST", &chats[0], "", body).await?;
        watched.wait("message", &format!("q-{number}-e")).await?;
        took.add(sent.elapsed());
        watched.wait("done", "").await?;
    }
    let after = instance.process()?;
    let kib = after.own.saturating_sub(before.own) / u64::try_from(STREAMS)?;
    say(
        "stream",
        &format!(
            "from the post of a message to its own frame, {} streams open: {}; {kib} KiB for each stream",
            open.len() + 1,
            took.words()
        ),
    );
    Ok(())
}

/// The same request to webd, and through the edge.
///
/// # Errors
/// It is refused.
pub async fn edge(bench: &Bench) -> Result<(), Failed> {
    let instance = Instance::new(bench).await?;
    instance.json(&["group", "add", "main"]).await?;
    let path = format!("{}/", instance.chat("main").await?);
    let mut direct = Client::open(&instance.url("webd").await?).await?;
    let mut through = Client::open(&instance.edge).await?;
    let (mut without, mut with) = (Spread::default(), Spread::default());
    for number in 0..REQUESTS + REQUESTS / 10 {
        let first = one(&mut direct, &path).await?;
        let second = one(&mut through, &path).await?;
        if number >= REQUESTS / 10 {
            without.add(first);
            with.add(second);
        }
    }
    let added = with.percentile(50).saturating_sub(without.percentile(50));
    say(
        "edge",
        &format!(
            "a chat's page at webd: {}; through proxyd: {}; the edge adds {added:.0?} at p50",
            without.words(),
            with.words()
        ),
    );
    Ok(())
}

async fn one(client: &mut Client, path: &str) -> Result<Duration, Failed> {
    let sent = Instant::now();
    client.ok("GET", path, "", String::new()).await?;
    Ok(sent.elapsed())
}
