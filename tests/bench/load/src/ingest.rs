//! Messages in: one authenticated request each, on the disk before its answer.

use crate::{Bench, Failed, ceiling, client::Client, instance::Instance, say, spread::Spread};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Connections that post at once.
pub const CONNECTIONS: usize = 64;
/// Chats that the messages are spread over.
const CHATS: u64 = 1_000;
/// Bytes of a message's text.
const TEXT: usize = 100;

/// Whoever posts messages as an adapter does.
#[derive(Clone, Debug)]
pub struct Poster {
    /// Where routd listens.
    pub routd: String,
    /// What an adapter proves itself with.
    pub secret: String,
}

impl Poster {
    /// One for this instance.
    ///
    /// # Errors
    /// The instance does not answer.
    pub async fn of(instance: &Instance) -> Result<Self, Failed> {
        let routd = instance.url("routd").await?;
        Ok(Self { routd, secret: instance.secret("CHANNEL_SECRET")? })
    }

    /// Posts messages one after the other on a connection of its own until `span` has passed, with numbers from
    /// `next`, each to the chat that `chat` gives for it.
    ///
    /// # Errors
    /// A message is refused.
    pub async fn post(
        &self,
        next: &AtomicU64,
        span: Duration,
        chat: impl Fn(u64) -> String,
    ) -> Result<Spread, Failed> {
        let mut client = Client::open(&self.routd).await?;
        let (started, mut took) = (Instant::now(), Spread::default());
        while started.elapsed() < span {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let sent = Instant::now();
            self.one(&mut client, number, &chat(number)).await?;
            took.add(sent.elapsed());
        }
        Ok(took)
    }

    /// Posts one message.
    ///
    /// # Errors
    /// It is refused.
    pub async fn one(&self, client: &mut Client, number: u64, chat: &str) -> Result<(), Failed> {
        let text = "x".repeat(TEXT);
        let body = format!(
            r#"{{"id":"m-{number}","chat_jid":"{chat}","sender":"telegram:user/{number}","content":"{text}"}}"#
        );
        client.ok("POST", "/v1/messages", &self.secret, body).await?;
        Ok(())
    }
}

/// A chat of the measured platform.
pub fn chat(number: u64) -> String {
    format!("telegram:load/{number}")
}

/// Has what comes from the platform stored in `main`, and never answered.
///
/// # Errors
/// The instance does not answer.
pub async fn observe(instance: &Instance) -> Result<(), Failed> {
    instance.json(&["group", "add", "main"]).await?;
    let rule = ["route", "add", "--match", "platform=telegram", "--target", "main#observe"];
    instance.json(&rule).await?;
    Ok(())
}

/// Durable ingest, beside what SQLite gives at best.
///
/// # Errors
/// A message is refused, or is not there afterwards.
pub async fn ingest(bench: &Bench) -> Result<(), Failed> {
    let instance = Instance::new(bench).await?;
    observe(&instance).await?;
    let poster = Poster::of(&instance).await?;
    let next = Arc::new(AtomicU64::new(0));
    let before = instance.process()?.cpu;
    let started = Instant::now();
    let posting: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (poster, next, span) = (poster.clone(), next.clone(), bench.span);
            tokio::spawn(async move { poster.post(&next, span, |n| chat(n % CHATS)).await })
        })
        .collect();
    let mut took = Spread::default();
    for one in posting {
        took.extend(one.await??);
    }
    let seconds = started.elapsed().as_secs_f64();
    let used = instance.process()?.cpu.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "a count of messages of some seconds")]
    let rate = took.len() as f64 / seconds;
    #[expect(clippy::cast_precision_loss, reason = "a count of messages of some seconds")]
    let each = used.as_secs_f64() * 1e6 / took.len() as f64;
    drop(instance);
    let ceiling = ceiling::group_commit(bench, CONNECTIONS, TEXT, bench.span / 2)?;
    let share = rate / ceiling * 100.0;
    say(
        "ingest",
        &format!(
            "{rate:.0} messages a second over {CONNECTIONS} connections ({}); {each:.0} µs of CPU each; bare SQLite, {CONNECTIONS} rows a commit: {ceiling:.0} rows a second, so {share:.0} %",
            took.words()
        ),
    );
    Ok(())
}
