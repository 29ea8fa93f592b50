//! The senders: people in web chats, programs behind webhooks, people on the platform.
//!
//! Each sends one message after the other, again under the same id until it hears that the message is kept. Some
//! break their connection and send again, some send twice: that is one message.

use super::{ledger::Sent, platform::Platform};
use kit::HttpClient;
use proto::{Jid, routd::NewMessage};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(20);
/// How long a message is sent again. A suite that takes nothing for so long does not recover.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);
/// Messages that somebody sends in a row, at most, before somebody else has the word.
const IN_A_ROW: u64 = 8;
/// Senders that have the word at once.
const TALKING: usize = 6;

/// How somebody reaches the suite.
#[derive(Clone)]
pub enum Face {
    /// A web chat, by its link, with the visitor's cookie.
    Web(HttpClient, String, String),
    /// A webhook, by its link.
    Hook(HttpClient, String),
    /// The platform.
    Platform(Arc<Platform>, Jid),
}

/// Somebody who sends.
#[derive(Clone)]
pub struct Sender {
    /// Tells senders apart.
    pub index: usize,
    /// Where it writes.
    pub chat: Jid,
    /// How.
    pub face: Face,
}

/// What all senders did.
#[derive(Default)]
pub struct Record {
    /// What was accepted.
    pub sent: Vec<Sent>,
    /// What was not, and why.
    pub refused: Vec<String>,
    /// Requests beyond the first of each message.
    pub repeats: u64,
    /// Requests that were not taken although nobody broke their connection, and why. Senders go on
    /// to the end; where nothing is injured there are none.
    pub failed: Vec<String>,
}

/// The senders at work.
pub struct Load {
    pace: Arc<Pace>,
    allowed: u64,
    done: Arc<AtomicU64>,
    record: Arc<Mutex<Record>>,
    senders: JoinSet<()>,
}

/// Who may send, and how much.
struct Pace {
    /// Messages that may be sent.
    messages: Semaphore,
    /// Who has the word: people send some messages in a row, and programs too.
    word: Semaphore,
}

/// Why a message is not accepted.
enum No {
    /// Not now, or not known, and why: the same again.
    Again(String),
    /// For a reason that will not pass.
    Never(String),
}

impl Load {
    /// Senders that may send nothing yet.
    pub fn new() -> Self {
        Self {
            pace: Arc::new(Pace { messages: Semaphore::new(0), word: Semaphore::new(TALKING) }),
            allowed: 0,
            done: Arc::default(),
            record: Arc::default(),
            senders: JoinSet::new(),
        }
    }

    /// Starts them.
    pub fn begin(&mut self, senders: Vec<Sender>, seed: u64) {
        for sender in senders {
            let (pace, done, record) = (self.pace.clone(), self.done.clone(), self.record.clone());
            let random = StdRng::seed_from_u64(seed.wrapping_mul(1009) ^ sender.index as u64);
            self.senders.spawn(sender.work(random, pace, done, record));
        }
    }

    /// Lets them send so many more.
    pub fn allow(&mut self, messages: u64) {
        self.allowed += messages;
        self.pace.messages.add_permits(usize::try_from(messages).unwrap_or(usize::MAX));
    }

    /// Waits until they have sent all that they may, at most so long.
    pub async fn caught_up(&self, most: Duration) {
        let deadline = Instant::now() + most;
        while self.done.load(Ordering::SeqCst) < self.allowed && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until they have sent all that they may, and ends them.
    pub async fn finish(&mut self) {
        while self.done.load(Ordering::SeqCst) < self.allowed && !self.senders.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.pace.messages.close();
        self.pace.word.close();
        while self.senders.join_next().await.is_some() {}
    }

    /// What they did.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sender {
    async fn work(
        self,
        mut random: StdRng,
        pace: Arc<Pace>,
        done: Arc<AtomicU64>,
        record: Arc<Mutex<Record>>,
    ) {
        let (mut word, mut in_a_row) = (None, 0);
        for number in 1.. {
            if in_a_row == 0 {
                // Given back before it is asked for, so that everybody has it in turn.
                drop(word.take());
                word = pace.word.acquire().await.ok();
                in_a_row = random.random_range(1..=IN_A_ROW);
            }
            in_a_row -= 1;
            let Ok(permit) = pace.messages.acquire().await else { return };
            permit.forget();
            let id = format!("s{}n{number}", self.index);
            let text = words(&mut random, &id);
            let mut failed = Vec::new();
            let (outcome, repeats) = self.send(&mut random, &id, &text, &mut failed).await;
            let mut record = lock(&record);
            record.repeats += repeats;
            let told = failed.into_iter().map(|why| format!("{id} in {}: {why}", self.chat));
            record.failed.extend(told);
            match outcome {
                Ok(id) => {
                    let (chat, sender) = (self.chat.to_string(), self.index);
                    record.sent.push(Sent { id, chat, sender, number, text });
                }
                Err(why) => record.refused.push(format!("{id} in {}: {why}", self.chat)),
            }
            drop(record);
            done.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Sends until it is accepted; the id that the answer gives, and how often it was sent again.
    async fn send(
        &self,
        random: &mut StdRng,
        id: &str,
        text: &str,
        failed: &mut Vec<String>,
    ) -> (Result<String, String>, u64) {
        let (breaks, twice) = (random.random_ratio(1, 10), random.random_ratio(1, 10));
        let after = Duration::from_millis(random.random_range(1..40));
        let mut repeats = 0;
        if breaks {
            // The future is dropped, and with it the connection. Whether it was heard is not known.
            let _unheard = tokio::time::timeout(after, self.attempt(id, text)).await.is_err();
            repeats += 1;
        }
        let deadline = Instant::now() + PATIENCE;
        let accepted = loop {
            let attempt = tokio::time::timeout(ATTEMPT_MAX, self.attempt(id, text));
            let late = |_| Err(No::Again(format!("no answer within {ATTEMPT_MAX:?}")));
            match attempt.await.unwrap_or_else(late) {
                Ok(id) => break id,
                Err(No::Never(why)) => return (Err(why), repeats),
                Err(No::Again(why)) => failed.push(why),
            }
            if Instant::now() >= deadline {
                return (Err("nobody took it for two minutes".into()), repeats);
            }
            tokio::time::sleep(PAUSE).await;
            repeats += 1;
        };
        if twice {
            repeats += 1;
            match self.attempt(id, text).await {
                Ok(other) if other != accepted => {
                    let why = format!("sent again, {accepted} became {other}");
                    return (Err(why), repeats);
                }
                Ok(_) => {}
                // Accepted is accepted, whatever the repeat hears.
                Err(No::Again(why) | No::Never(why)) => failed.push(why),
            }
        }
        (Ok(accepted), repeats)
    }

    async fn attempt(&self, id: &str, text: &str) -> Result<String, No> {
        let (http, url, cookie, key, body) = match &self.face {
            Face::Platform(platform, chat) => return deliver(platform, chat, self, id, text).await,
            Face::Web(http, url, cookie) => {
                (http, url, cookie.as_str(), "", json!({ "id": id, "content": text }))
            }
            Face::Hook(http, url) => (http, url, "", id, json!({ "content": text })),
        };
        let mut request = http.post(url).json(&body);
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        if !cookie.is_empty() {
            request = request.header("cookie", cookie);
        }
        let broke = |error| No::Again(kit::chain(&error));
        let answer = request.send().await.map_err(broke)?;
        let status = answer.status();
        let text = answer.text().await.map_err(broke)?;
        if status.is_success() {
            let answer: Value = serde_json::from_str(&text).unwrap_or_default();
            let id = answer.get("id").and_then(Value::as_str).map(str::to_owned);
            return id.ok_or_else(|| No::Never(format!("accepted without an id: {text}")));
        }
        match status.as_u16() {
            408 | 425 | 429 | 500.. => Err(No::Again(format!("{status}: {text}"))),
            _ => Err(No::Never(format!("{status}: {text}"))),
        }
    }
}

async fn deliver(
    platform: &Platform,
    chat: &Jid,
    sender: &Sender,
    id: &str,
    text: &str,
) -> Result<String, No> {
    let opaque = id.parse().map_err(|error| No::Never(format!("{error}")))?;
    let message = NewMessage {
        id: opaque,
        chat_jid: chat.clone(),
        sender: format!("{}:user/{}", chat.platform(), sender.index),
        sender_name: None,
        content: text.to_owned(),
        timestamp: None,
        topic: None,
        verb: None,
        reply_to: None,
        is_group: true,
        attachments: Vec::new(),
    };
    match platform.deliver(&message).await {
        Ok(()) => Ok(id.to_owned()),
        Err(error) if error.is_retryable() => Err(No::Again(kit::chain(&error))),
        Err(error) => Err(No::Never(error.to_string())),
    }
}

/// What somebody says. Most of it is repeated by the agent; some has it be silent, fail, use a tool or take long.
fn words(random: &mut StdRng, id: &str) -> String {
    match random.random_range(0..100) {
        0..3 => "silent".into(),
        3..5 => "fail".into(),
        5..10 => format!("reply {id}"),
        10 => "wait 1".into(),
        _ => format!("note {id}"),
    }
}
