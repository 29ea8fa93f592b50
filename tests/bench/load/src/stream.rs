//! What a browser sees: frames of many open streams.

use crate::{
    Bench, Failed,
    client::{Client, Events},
    instance::{self, Instance},
    say,
    spread::Spread,
};
use std::time::Instant;

/// Streams that are open, and folders that they are of.
const STREAMS: usize = 5_000;
const FOLDERS: usize = 50;
/// Messages whose frames are waited for.
const MESSAGES: u32 = 200;

/// From a message's commit to its frame at each stream of its chat, while many are open.
///
/// # Errors
/// A stream is refused, or ends.
pub async fn stream(bench: &Bench) -> Result<(), Failed> {
    let dir = instance::made(bench).await?;
    let room = [("WEBD_MAX_STREAMS", "10000")];
    let instance = Instance::start_as(bench, dir, &room, &[]).await?;
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
