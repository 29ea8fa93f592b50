//! The loop that brings events to routd: each chat's in order, several chats at once, none twice at a time.

use crate::{
    Spool, SpoolError,
    figures::Figures,
    routd::Routd,
    spool::{Head, Settled},
    verdict::{self, Verdict},
};
use kit::{Context, PeerError};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Chats whose events are brought at a time.
const HANDS: usize = 8;
/// The waits before a chat is tried again, from the first to the longest.
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long the loop sleeps when nothing is due.
const BACKSTOP: Duration = Duration::from_secs(5);
/// How often what nobody asks for any more is forgotten.
const SWEEP: Duration = Duration::from_secs(60 * 60);

/// Part of the daemon's health.
const HEALTH: &str = "events";

/// What brings events to routd.
pub(crate) struct Delivery {
    pub(crate) context: Context,
    pub(crate) spool: Spool,
    pub(crate) routd: Routd,
    pub(crate) figures: Figures,
    pub(crate) busy: Busy,
}

/// The chats that somebody brings, or that wait to be tried again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Busy {
    chats: Arc<Mutex<HashMap<String, Chat>>>,
    freed: Arc<Notify>,
}

/// A chat that is not to be taken up.
#[derive(Clone, Copy, Debug)]
enum Chat {
    /// Somebody brings it.
    Held,
    /// It waits until then, for the nth time.
    Waits(Instant, u32),
}

impl Delivery {
    /// Runs until the daemon stops.
    pub(crate) async fn run(self: Arc<Self>) {
        let stop = self.context.stop.clone();
        let mut sweep = Instant::now();
        while !stop.is_cancelled() {
            if sweep <= Instant::now() {
                match self.spool.sweep().await {
                    Ok(more) => sweep = Instant::now() + if more { WAIT_MIN } else { SWEEP },
                    Err(error) => {
                        tracing::error!(error = %kit::chain(&error), "nothing is forgotten")
                    }
                }
            }
            let wait = match self.pass().await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::error!(error = %kit::chain(&error), "the spool cannot be read");
                    WAIT_MAX
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.spool.news.notified() => {}
                () = self.busy.freed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Takes up the chats that have something. Answers how long none more will be due.
    async fn pass(self: &Arc<Self>) -> Result<Duration, SpoolError> {
        let (names, held, due) = self.busy.now();
        let free = HANDS.saturating_sub(held);
        if free > 0 {
            for head in self.spool.heads(names, free).await? {
                let tries = self.busy.hold(head.chat.as_str());
                let this = self.clone();
                self.context.tasks.spawn("deliver", async move { this.bring(head, tries).await });
            }
        }
        let (waiting, aside) = self.spool.counts().await?;
        self.figures.waiting.set(waiting);
        self.figures.aside.set(aside);
        let trouble = (aside > 0)
            .then(|| format!("{aside} events of the last days were set aside; the log says why"));
        self.context.health.degraded("events set aside", trouble);
        Ok(due.map_or(BACKSTOP, |due| due.saturating_duration_since(Instant::now())).min(BACKSTOP))
    }

    /// Brings a chat's events until there are none, or one has to wait.
    async fn bring(&self, mut head: Head, tries: u32) {
        let chat = head.chat.clone();
        let mut tries = tries;
        loop {
            if self.context.stop.is_cancelled() {
                return;
            }
            match self.bring_one(&head).await {
                Ok(Some(wait)) => {
                    let growing = WAIT_MIN.saturating_mul(1 << tries.min(10)).min(WAIT_MAX);
                    self.busy.wait(chat.as_str(), wait.unwrap_or(growing), tries + 1);
                    return;
                }
                Ok(None) => tries = 0,
                Err(error) => {
                    tracing::error!(error = %kit::chain(&error), "an event stays in the spool");
                    self.busy.wait(chat.as_str(), WAIT_MAX, tries + 1);
                    return;
                }
            }
            head = match self.spool.head(&chat).await {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(error = %kit::chain(&error), "the spool cannot be read");
                    break;
                }
            };
        }
        self.busy.free(chat.as_str());
    }

    /// Brings one event. `Some` where it has to wait, with how long routd asked for.
    async fn bring_one(&self, head: &Head) -> Result<Option<Option<Duration>>, SpoolError> {
        let message = serde_json::from_str(&head.message).map_err(SpoolError::Row)?;
        let error = match self.routd.deliver(&message).await {
            Ok(_) => {
                self.spool.settle(head.seq, Settled::Delivered).await?;
                self.figures.delivered("delivered");
                self.context.health.degraded(HEALTH, None);
                return Ok(None);
            }
            Err(error) => error,
        };
        let why = kit::chain(&error);
        match verdict::on(error.status()) {
            Verdict::Never => {
                tracing::error!(chat = %head.chat, id = %message.id, why, "routd refuses an event");
                self.spool.settle(head.seq, Settled::Aside(why)).await?;
                self.figures.delivered("aside");
                Ok(None)
            }
            verdict => {
                let whose = match verdict {
                    Verdict::Distrusted => "routd does not let this adapter speak",
                    _ => "events wait for routd",
                };
                tracing::warn!(chat = %head.chat, id = %message.id, why, "{whose}");
                self.figures.delivered("again");
                self.context.health.degraded(HEALTH, Some(format!("{whose}: {why}")));
                Ok(Some(error_wait(&error)))
            }
        }
    }
}

fn error_wait(error: &PeerError) -> Option<Duration> {
    error.retry_after().map(|wait| wait.min(WAIT_MAX))
}

impl Busy {
    /// Tries all chats again now: routd was heard of.
    pub(crate) fn hurry(&self) {
        self.lock().retain(|_, chat| matches!(chat, Chat::Held));
        self.freed.notify_one();
    }

    /// The chats that are not to be taken up, how many somebody brings, and when the next one is due.
    fn now(&self) -> (Vec<String>, usize, Option<Instant>) {
        let (chats, now) = (self.lock(), Instant::now());
        let waits = |chat: &Chat| match chat {
            Chat::Held => None,
            Chat::Waits(until, _) => Some(*until),
        };
        let is_busy = |chat: &Chat| waits(chat).is_none_or(|until| until > now);
        let names = chats.iter().filter(|(_, chat)| is_busy(chat)).map(|(name, _)| name.clone());
        let held = chats.values().filter(|chat| matches!(chat, Chat::Held)).count();
        let due = chats.values().filter_map(waits).filter(|until| *until > now).min();
        (names.collect(), held, due)
    }

    /// Takes a chat up. How often it was tried before, in a row.
    fn hold(&self, chat: &str) -> u32 {
        match self.lock().insert(chat.to_owned(), Chat::Held) {
            Some(Chat::Waits(_, tries)) => tries,
            _ => 0,
        }
    }

    fn wait(&self, chat: &str, wait: Duration, tries: u32) {
        self.lock().insert(chat.to_owned(), Chat::Waits(Instant::now() + wait, tries));
        self.freed.notify_one();
    }

    fn free(&self, chat: &str) {
        self.lock().remove(chat);
        self.freed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Chat>> {
        self.chats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
