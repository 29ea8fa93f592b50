//! Latency: with many routes, and beside somebody's flood.

use crate::{
    Bench, Failed,
    client::Client,
    ingest::{Poster, chat, observe},
    instance::Instance,
    say,
    spread::Spread,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Routes and chats of the measurement.
const ROUTES: u64 = 10_000;
/// Messages a second that are offered.
const RATE: u32 = 1_000;
/// Connections that the offered messages are spread over.
const CONNECTIONS: u32 = 16;
/// Messages a second of a flood, and of the folder beside it.
const FLOOD: u32 = 5_000;
const BESIDE: u32 = 100;

/// Offers `rate` messages a second, whether the last was answered or not: a latency is from the moment at which a
/// message was due.
async fn offer(
    poster: &Poster,
    next: &Arc<AtomicU64>,
    rate: u32,
    span: Duration,
    chat: impl Fn(u64) -> String + Clone + Send + 'static,
) -> Result<Spread, Failed> {
    let every = Duration::from_secs(1) * CONNECTIONS / rate;
    let started = Instant::now();
    let offering: Vec<_> = (0..CONNECTIONS)
        .map(|which| {
            let (poster, next, chat) = (poster.clone(), next.clone(), chat.clone());
            tokio::spawn(async move {
                let mut client = Client::open(&poster.routd).await?;
                let mut took = Spread::default();
                let mut due = started + every * which / CONNECTIONS;
                while due < started + span {
                    tokio::time::sleep_until(due.into()).await;
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    poster.one(&mut client, number, &chat(number)).await?;
                    took.add(due.elapsed());
                    due += every;
                }
                Ok::<_, Failed>(took)
            })
        })
        .collect();
    let mut took = Spread::default();
    for one in offering {
        took.extend(one.await??);
    }
    Ok(took)
}

/// One message after the other, to as many chats as there are routes, each of which has a route of its own.
///
/// # Errors
/// A message is refused.
pub async fn routing(bench: &Bench) -> Result<(), Failed> {
    let instance = Instance::new(bench).await?;
    instance.json(&["group", "add", "main"]).await?;
    add_routes(&instance).await?;
    let poster = Poster::of(&instance).await?;
    let next = Arc::new(AtomicU64::new(0));
    offer(&poster, &next, RATE, Duration::from_secs(2), |n| chat(n % ROUTES)).await?;
    let mut took = offer(&poster, &next, RATE, bench.span, |n| chat(n % ROUTES)).await?;
    say("routing", &format!("{RATE} a second, {ROUTES} routes and chats: {}", took.words()));
    Ok(())
}

/// Through routd, as an operator's program adds them.
async fn add_routes(instance: &Instance) -> Result<(), Failed> {
    let token = instance.operator_token().await?;
    let mut client = Client::open(&instance.url("routd").await?).await?;
    for number in 0..ROUTES {
        let chat = chat(number);
        let body =
            format!(r#"{{"match":"chat_jid={chat}","target":"main#observe","seq":{number}}}"#);
        client.ok("POST", "/v1/routes", &token, body).await?;
    }
    Ok(())
}

/// What a flood in one folder does to another.
///
/// # Errors
/// A message is refused.
pub async fn flood(bench: &Bench) -> Result<(), Failed> {
    let instance = Instance::new(bench).await?;
    observe(&instance).await?;
    instance.json(&["group", "add", "beside"]).await?;
    let rule = ["--match", "chat_jid=telegram:load/beside*", "--target", "beside#observe"];
    instance.json(&[&["route", "add", "--seq", "-1"][..], &rule[..]].concat()).await?;
    let poster = Poster::of(&instance).await?;
    let next = Arc::new(AtomicU64::new(0));
    let beside = |n: u64| format!("telegram:load/beside-{}", n % 10);
    let mut quiet = offer(&poster, &next, BESIDE, bench.span, beside).await?;
    let (flooding, count) = (poster.clone(), next.clone());
    let span = bench.span;
    let flood =
        tokio::spawn(
            async move { offer(&flooding, &count, FLOOD, span, |n| chat(n % 1_000)).await },
        );
    let mut loud = offer(&poster, &next, BESIDE, bench.span, beside).await?;
    let flood = flood.await??;
    let seconds = bench.span.as_secs();
    say(
        "flood",
        &format!(
            "another folder's messages: alone {}; beside {} messages in {seconds} s: {}",
            quiet.words(),
            flood.len(),
            loud.words()
        ),
    );
    Ok(())
}
