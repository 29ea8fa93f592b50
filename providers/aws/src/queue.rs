//! Hints from an SQS queue that EventBridge feeds ("Secret Label Updated"). A message says "look again", whatever it
//! says: it is taken and not read.

use crate::{
    address::Address,
    session::{Failure, Held, told, unheard},
    transport::{Line, Transport},
    trouble::Trouble,
};
use aws_sdk_sqs::{
    Client, Config,
    config::{BehaviorVersion, IdentityCache, Region, retry::RetryConfig, timeout::TimeoutConfig},
    types::DeleteMessageBatchRequestEntry,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, sleep_until},
};
use url::Url;

/// How long SQS holds a call that has nothing to tell, in seconds: the longest that there is.
const WAIT_SECONDS: i32 = 20;

/// How long such a call may take with its connection and the answer.
const PATIENCE: Duration = Duration::from_secs(25);

/// The most messages of one call.
const MESSAGES_MAX: i32 = 10;

/// After a call that failed, the first and the longest wait.
const PAUSE_FIRST: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// How often it is looked for whether there are credentials yet.
const TICK: Duration = Duration::from_secs(1);

/// A queue. What is wrong with it delays hints and nothing else, since the source is polled all the same.
pub(crate) struct Queue {
    url: String,
    address: Address,
    line: Arc<Line>,
    held: Held,
    inside: Mutex<Inside>,
    /// Whether there were messages that nobody has been told of.
    is_hinted: AtomicBool,
}

#[derive(Default)]
struct Inside {
    client: Option<Client>,
    failures: u32,
    not_before: Option<Instant>,
}

impl Queue {
    /// The queue of `address`, if it has one, for whoever has the credentials that are `held`.
    pub(crate) fn of(address: &Address, held: Held) -> Option<Self> {
        Some(Self {
            url: address.queue.clone()?,
            // A budget of its own: a queue must not use up the calls of the source.
            line: Arc::new(Line::new(address.calls_per_hour)),
            address: address.clone(),
            held,
            inside: Mutex::default(),
            is_hinted: AtomicBool::new(false),
        })
    }

    /// Resolves once there were messages. May be dropped at any time: a message that was not taken comes again.
    pub(crate) async fn hint(&self) {
        let mut inside = self.inside.lock().await;
        loop {
            if self.is_hinted.swap(false, Ordering::SeqCst) {
                return;
            }
            while self.held.get().is_none() {
                sleep(TICK).await;
            }
            if let Some(until) = inside.not_before {
                sleep_until(until).await;
            }
            match self.receive(&mut inside).await {
                Ok(()) => {
                    if inside.failures > 0 {
                        tracing::info!(queue = self.url, "hints arrive again");
                    }
                    (inside.failures, inside.not_before) = (0, None);
                }
                Err(trouble) => {
                    if inside.failures == 0 {
                        tracing::warn!(
                            queue = self.url, error = %trouble,
                            "no hints from the queue; changes are found by polling alone"
                        );
                    }
                    // The client is made anew: the file with its authorities may have changed.
                    inside.client = None;
                    let longest =
                        PAUSE_FIRST.saturating_mul(1 << inside.failures.min(6)).min(PAUSE_MAX);
                    inside.failures += 1;
                    inside.not_before =
                        Some(Instant::now() + longest.mul_f64(rand::random_range(0.5..1.0)));
                }
            }
        }
    }

    async fn receive(&self, inside: &mut Inside) -> Result<(), Trouble> {
        let client = match &inside.client {
            Some(client) => client.clone(),
            None => inside.client.insert(self.connect().await?).clone(),
        };
        let ask =
            client.receive_message().queue_url(&self.url).max_number_of_messages(MESSAGES_MAX);
        let answer = unheard(ask.wait_time_seconds(WAIT_SECONDS).send()).await;
        let answer = answer.map_err(|error| trouble(told(&error, &self.line)))?;
        let entry = |(at, handle): (usize, String)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(at.to_string())
                .receipt_handle(handle)
                .build()
                .ok()
        };
        let messages = answer.messages.unwrap_or_default();
        if messages.is_empty() {
            return Ok(());
        }
        self.is_hinted.store(true, Ordering::SeqCst);
        let handles = messages.into_iter().filter_map(|message| message.receipt_handle).enumerate();
        let entries = handles.filter_map(entry).collect();
        let done =
            client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries)).send();
        unheard(done).await.map(drop).map_err(|error| trouble(told(&error, &self.line)))
    }

    async fn connect(&self) -> Result<Client, Trouble> {
        let url = Url::parse(&self.url).map_err(|_| Trouble::Defect)?;
        let (line, ca_file) = (self.line.clone(), self.address.ca_file.clone());
        let has_tls = url.scheme() == "https";
        let made = move || Transport::new(ca_file.as_deref(), has_tls, PATIENCE, line);
        let http = tokio::task::spawn_blocking(made).await.unwrap_or(Err(Trouble::Defect))?;
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.address.region.clone()))
            .endpoint_url(url.origin().ascii_serialization())
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
            .identity_cache(IdentityCache::no_cache())
            .credentials_provider(self.held.clone());
        Ok(Client::from_conf(config.build()))
    }
}

fn trouble(failure: Failure) -> Trouble {
    failure.into_trouble("the queue")
}
