//! Messages all the time, by the command line and by a webhook at the edge, while something happens.

use super::{LIMIT, Suite, eventually, reply_of};
use serde_json::Value;
use std::{
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Between two tries of whoever may try again.
const PAUSE: Duration = Duration::from_millis(100);

/// What whoever writes puts up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// Nothing: each request is made once.
    Strict,
    /// That a daemon is away: a connection that is not there, and an answer that says to come back,
    /// are tried again. A refusal of any other kind, and a message that was taken and never
    /// answered, is a failure all the same.
    Patient,
}

/// The messages. Ended, and whether all went well looked at, by [`Traffic::end`].
pub struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    temper: Temper,
    ended: AtomicBool,
    answered: AtomicU32,
    failed: Mutex<Option<String>>,
}

impl Traffic {
    /// Begins, and waits until some have been answered.
    pub fn start(suite: &Suite, temper: Temper) -> Self {
        let link = suite.json(&["token", "issue", "--kind", "hook", "--folder", "main"]);
        let hook = format!("{}{}", suite.edge(), link["path"].as_str().unwrap());
        let hook = hook.trim_end_matches('/').to_owned();
        let failed = Mutex::default();
        let (ended, answered) = (AtomicBool::new(false), AtomicU32::new(0));
        let shared = Arc::new(Shared { temper, ended, answered, failed });
        let (asking, posting) = (shared.clone(), shared.clone());
        let commands = suite.commands();
        let traffic = Self {
            shared,
            threads: vec![
                thread::spawn(move || asking.go_on(|count| asking.ask(&commands, count))),
                thread::spawn(move || {
                    let client = Client::new(&hook);
                    posting.go_on(|count| client.post(&posting, count));
                }),
            ],
        };
        traffic.more(4);
        traffic
    }

    /// Waits until so many more have been answered.
    pub fn more(&self, count: u32) {
        let before = self.shared.answered.load(Ordering::SeqCst);
        eventually("messages are answered", || {
            assert_eq!(*self.shared.failed.lock().unwrap(), None, "a request failed");
            (self.shared.answered.load(Ordering::SeqCst) >= before + count).then_some(())
        });
    }

    /// Ends it; every message must have been answered.
    pub fn end(mut self) {
        self.more(2);
        self.stop();
        assert_eq!(*self.shared.failed.lock().unwrap(), None, "a request failed");
    }

    fn stop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // What it died of is said where it died.
            let _died = thread.join().is_err();
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn go_on(&self, send: impl Fn(u32) -> Result<(), String>) {
        let mut count = 0;
        while !self.ended.load(Ordering::SeqCst) {
            count += 1;
            match send(count) {
                Ok(()) => self.answered.fetch_add(1, Ordering::SeqCst),
                Err(why) => {
                    self.failed.lock().unwrap().get_or_insert(why);
                    return;
                }
            };
        }
    }

    /// Tries until it is done, or until there is no more patience.
    fn try_on<T>(&self, mut step: impl FnMut() -> Result<T, Trouble>) -> Result<T, String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            match step() {
                Ok(done) => return Ok(done),
                Err(Trouble::Away(why)) if self.temper == Temper::Strict => return Err(why),
                Err(Trouble::Refused(why)) => return Err(why),
                Err(Trouble::Away(why)) if Instant::now() > deadline => return Err(why),
                Err(Trouble::Away(_)) => thread::sleep(PAUSE),
            }
        }
    }

    fn ask(&self, commands: &impl Fn() -> Command, count: u32) -> Result<(), String> {
        let question = format!("question {count}");
        self.try_on(|| {
            let mut command = commands();
            let out = command.args(["ask", &question]).stdin(Stdio::null()).output().unwrap();
            let (said, errors) =
                (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            match out.status.code() {
                Some(0) if said.trim() == reply_of(&question) => Ok(()),
                Some(69 | 75) => Err(Trouble::Away(format!("ask: {errors}"))),
                code => Err(Trouble::Refused(format!("ask ended with {code:?}: {said}{errors}"))),
            }
        })
    }
}

/// Why a request was not done.
enum Trouble {
    /// Who should do it is away; it may be made again.
    Away(String),
    /// It was refused.
    Refused(String),
}

struct Client {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    hook: String,
}

impl Client {
    fn new(hook: &str) -> Self {
        kit::testing::install_crypto();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
        Self { http, runtime, hook: hook.to_owned() }
    }

    fn post(&self, shared: &Shared, count: u32) -> Result<(), String> {
        let text = format!("posted {count}");
        let taken = shared.try_on(|| self.send(self.http.post(&self.hook).body(text.clone())))?;
        let id = taken["id"].as_str().ok_or_else(|| format!("no id: {taken}"))?;
        let look = format!("{}/{id}?wait=25", self.hook);
        let answer = shared.try_on(|| {
            let answer = self.send(self.http.get(&look))?;
            match answer["state"].as_str() {
                Some("answered") => Ok(answer),
                Some("failed") => Err(Trouble::Refused(format!("the turn was lost: {answer}"))),
                _ => Err(Trouble::Away(format!("no answer within the wait: {answer}"))),
            }
        })?;
        if answer.to_string().contains(&reply_of(&text)) {
            return Ok(());
        }
        Err(format!("`{text}` has another's answer: {answer}"))
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Trouble> {
        self.runtime.block_on(async {
            let away = |error: reqwest::Error| Trouble::Away(format!("{error:?}"));
            let answer = request.send().await.map_err(away)?;
            let status = answer.status().as_u16();
            let text = answer.text().await.map_err(away)?;
            match status {
                200..300 => serde_json::from_str(&text).map_err(|_| Trouble::Refused(text)),
                502..=504 => Err(Trouble::Away(format!("{status}: {text}"))),
                _ => Err(Trouble::Refused(format!("{status}: {text}"))),
            }
        })
    }
}
