//! Hints from a Pub/Sub subscription: which secret changed, and at best to which version. Nothing that
//! a message says is believed before Secret Manager says it too.
//!
//! Messages are pulled (<https://cloud.google.com/pubsub/docs/reference/rest>, v1) and acknowledged,
//! also those about secrets of somebody else: the subscription is this process's own.

use crate::{
    address::{Address, Subscription},
    answers::{self, Event},
    line::Line,
    session::Session,
    transport::Request,
    trouble::Trouble,
};
use secrets::{Zeroizing, remote::Silence};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// Calls to Pub/Sub in any hour: a pull waits a minute or so where there is nothing.
const CALLS_PER_HOUR: u32 = 720;

/// How long one pull may take.
const PULL_TIMEOUT: Duration = Duration::from_secs(100);

/// The shortest time between two pulls that found nothing.
const SPACING: Duration = Duration::from_secs(5);

/// The longest wait after a pull that failed.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Most messages of one pull.
const MESSAGES: u32 = 100;

const JSON: &str = "application/json";

/// A subscription that is listened to.
pub(crate) struct Push {
    subscription: Subscription,
    session: Arc<Session>,
    line: Line,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether something changed that nobody was told of yet.
    is_news: bool,
    /// The newest version of each secret that a message named, until it was looked for.
    versions: BTreeMap<String, u64>,
    /// Failures in a row.
    failures: u32,
    /// When the next pull may be made.
    next: Option<Instant>,
}

impl Push {
    pub(crate) fn new(
        address: Arc<Address>,
        subscription: Subscription,
        session: Arc<Session>,
    ) -> Self {
        let line = Line::new(address, CALLS_PER_HOUR);
        Self { subscription, session, line, state: Mutex::default() }
    }

    /// The version of that secret to look for.
    pub(crate) fn version(&self, id: &str) -> Option<u64> {
        self.state().versions.get(id).copied()
    }

    /// It was looked for.
    pub(crate) fn seen(&self, id: &str) {
        self.state().versions.remove(id);
    }

    /// Resolves when a message was about one of our secrets. May be dropped at any time: what was
    /// acknowledged is remembered.
    pub(crate) async fn wait(&self, is_ours: impl Fn(&str) -> bool + Send + Sync) {
        loop {
            if std::mem::take(&mut self.state().is_news) {
                return;
            }
            let next = self.state().next;
            if let Some(next) = next {
                sleep_until(next).await;
            }
            // Also where this is dropped in the middle, the next pull is not at once.
            self.state().next = Some(Instant::now() + SPACING);
            let pulled = self.pull(&is_ours).await;
            self.plan(pulled);
        }
    }

    async fn pull(&self, is_ours: &(impl Fn(&str) -> bool + Sync)) -> Result<usize, Trouble> {
        let wish = serde_json::json!({ "maxMessages": MESSAGES });
        let body = match self.call("pull", &wish, PULL_TIMEOUT).await {
            // Nothing came, and the server went on waiting.
            Err(Trouble::Silent(Silence::Late(_))) => return Ok(0),
            body => body?,
        };
        let events = answers::pulled(&body)?;
        self.take(&events, is_ours);
        if !events.is_empty() {
            let ids: Vec<&str> = events.iter().map(|event| event.ack_id.as_str()).collect();
            self.call("acknowledge", &serde_json::json!({ "ackIds": ids }), PULL_TIMEOUT).await?;
        }
        Ok(events.len())
    }

    fn take(&self, events: &[Event], is_ours: impl Fn(&str) -> bool) {
        let mut state = self.state();
        for event in events {
            let Some(id) = event.secret.as_deref().filter(|id| is_ours(id)) else { continue };
            state.is_news = true;
            if let Some(number) = event.version {
                let known = state.versions.entry(id.to_owned()).or_default();
                *known = number.max(*known);
            }
        }
    }

    async fn call(
        &self,
        verb: &str,
        body: &serde_json::Value,
        timeout: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        let Subscription { name, endpoint } = &self.subscription;
        let body = Zeroizing::new(body.to_string().into_bytes());
        let mut request = Request::post(format!("{endpoint}/v1/{name}:{verb}"), JSON, body);
        request.timeout = timeout;
        let reply = self.session.call_on(&self.line, &request).await?;
        match reply.status {
            200 => Ok(reply.body),
            403 => Err(Trouble::Forbidden {
                permission: "pubsub.subscriptions.consume",
                on: name.clone(),
            }),
            status => Err(Trouble::Status(status)),
        }
    }

    /// When the next pull may be made, after this one.
    fn plan(&self, pulled: Result<usize, Trouble>) {
        let mut state = self.state();
        let now = Instant::now();
        match pulled {
            Ok(found) => {
                if state.failures > 0 {
                    tracing::info!(subscription = self.subscription.name, "hints arrive again");
                }
                state.failures = 0;
                if found > 0 {
                    state.next = None;
                }
            }
            Err(trouble) => {
                if state.failures == 0 {
                    tracing::warn!(
                        subscription = self.subscription.name,
                        %trouble,
                        "no hints; changes are found by looking at the interval"
                    );
                }
                state.failures = state.failures.saturating_add(1);
                let pause = SPACING * 2_u32.saturating_pow(state.failures.min(10));
                let pause = match trouble {
                    Trouble::Waiting(wait) | Trouble::Spent(wait) => wait,
                    _ => pause.min(PAUSE_MAX).mul_f64(rand::random_range(0.5..1.0)),
                };
                state.next = Some(now + pause);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
