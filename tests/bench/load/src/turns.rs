//! Full turns: a message in, an agent's process, its reply out.

use crate::{
    Bench, Failed,
    client::{Client, Events},
    instance::Instance,
    say,
    spread::Spread,
};
use std::time::{Duration, Instant};

/// Folders that ask at once.
const AT_ONCE: usize = 16;
/// Questions of one folder, one after the other, when nothing else happens.
const IDLE: u32 = 50;

/// Somebody who asks in a chat of their own and waits for each answer.
struct Asker {
    path: String,
    client: Client,
    events: Events,
}

impl Asker {
    async fn of(instance: &Instance, folder: &str) -> Result<Self, Failed> {
        instance.json(&["group", "add", folder]).await?;
        let path = instance.chat(folder).await?;
        let webd = instance.url("webd").await?;
        let events = Events::follow(&webd, &format!("{path}/events")).await?;
        Ok(Self { client: Client::open(&webd).await?, path, events })
    }

    async fn ask(&mut self, text: &str) -> Result<Duration, Failed> {
        let asked = Instant::now();
        let body = format!(r#"{{"content":"{text}"}}"#);
        self.client.ok("POST", &self.path, "", body).await?;
        self.events.wait("message", &format!("You said: {text}")).await?;
        let took = asked.elapsed();
        // The next question is a turn of its own.
        self.events.wait("done", "").await?;
        Ok(took)
    }
}

/// Turns with a process each, when idle and as many as can be.
///
/// # Errors
/// A question is not answered.
pub async fn turns(bench: &Bench) -> Result<(), Failed> {
    let instance = Instance::new(bench).await?;
    let mut alone = Asker::of(&instance, "alone").await?;
    alone.ask("first").await?;
    let mut idle = Spread::default();
    for number in 0..IDLE {
        idle.add(alone.ask(&format!("q-{number}-e")).await?);
    }
    say("turn, idle", &idle.words());

    let mut asking = Vec::new();
    for number in 0..AT_ONCE {
        let mut asker = Asker::of(&instance, &format!("f{number}")).await?;
        let span = bench.span;
        asking.push(async move {
            let (started, mut took) = (Instant::now(), Spread::default());
            while started.elapsed() < span {
                let number = took.len();
                took.add(asker.ask(&format!("q-{number}-e")).await?);
            }
            Ok::<_, Failed>(took)
        });
    }
    let (started, before) = (Instant::now(), instance.process()?.cpu);
    let asking: Vec<_> = asking.into_iter().map(tokio::spawn).collect();
    let mut took = Spread::default();
    for one in asking {
        took.extend(one.await??);
    }
    let used = instance.process()?.cpu.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "a count of turns of some seconds")]
    let (rate, each) = {
        let turns = took.len() as f64;
        (turns / started.elapsed().as_secs_f64(), used.as_secs_f64() * 1e3 / turns)
    };
    let words = took.words();
    say(
        "turns",
        &format!(
            "{rate:.1} a second in {AT_ONCE} folders, a process each ({words}); {each:.1} ms of CPU each, without agents"
        ),
    );
    Ok(())
}
