//! Pub/Sub: subscriptions that are pulled (<https://cloud.google.com/pubsub/docs/reference/rest>, v1).

use super::{Call, Shared, World, refusal, reply};
use axum::response::Response;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long a message that was pulled is not given again.
const LEASE: Duration = Duration::from_secs(10);

/// A subscription, with the messages that nobody acknowledged.
pub(super) struct Subscription {
    secrets: Vec<String>,
    messages: Vec<Message>,
}

struct Message {
    id: u64,
    body: Value,
    leased_until: Option<Instant>,
}

impl Subscription {
    pub(super) const fn new(secrets: Vec<String>) -> Self {
        Self { secrets, messages: Vec::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.messages.len()
    }
}

impl World {
    /// The subscriptions to whose topics a secret publishes.
    pub(super) fn subscriptions_of(&self, secret: &str) -> Vec<String> {
        let all = self.subscriptions.iter();
        let of = all.filter(|(_, s)| s.secrets.iter().any(|publishes| publishes == secret));
        of.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn publish(&mut self, subscription: &str, attributes: Value, data: &str) {
        let id = self.next();
        let body = json!({
            "messageId": id.to_string(), "attributes": attributes, "data": STANDARD.encode(data),
        });
        let subscription = self.subscriptions.get_mut(subscription).unwrap();
        subscription.messages.push(Message { id, body, leased_until: None });
    }

    fn pull(&mut self, name: &str, most: usize) -> Result<Vec<Value>, Response> {
        let Some(subscription) = self.subscriptions.get_mut(name) else {
            return Err(refusal(404, "NOT_FOUND", "Resource not found."));
        };
        let now = Instant::now();
        let free = |message: &&mut Message| message.leased_until.is_none_or(|until| until <= now);
        let pulled = subscription.messages.iter_mut().filter(free).take(most);
        let pulled = pulled.map(|message| {
            message.leased_until = Some(now + LEASE);
            json!({"ackId": format!("ack-{}", message.id), "message": message.body})
        });
        Ok(pulled.collect())
    }
}

/// One call of the API. A pull waits for a message a while.
pub(super) async fn answer(shared: &Shared, call: &Call) -> Result<Response, Response> {
    let path = call.path.strip_prefix("/v1/").unwrap_or_default();
    let (name, verb) = path.split_once(':').unwrap_or_default();
    let wish: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let wait = {
        let world = shared.world();
        world.authenticate(call)?;
        world.allow("pubsub.subscriptions.consume", "projects/demo-project")?;
        world.pull_wait
    };
    match verb {
        "pull" => {
            let most = usize::try_from(wish["maxMessages"].as_u64().unwrap_or(0)).unwrap();
            let deadline = tokio::time::Instant::now() + wait;
            loop {
                let published = shared.published.notified();
                let pulled = shared.world().pull(name, most)?;
                if !pulled.is_empty() {
                    return Ok(reply(&json!({"receivedMessages": pulled})));
                }
                if tokio::time::timeout_at(deadline, published).await.is_err() {
                    return Ok(reply(&json!({})));
                }
            }
        }
        "acknowledge" => {
            let ids: Vec<&str> =
                wish["ackIds"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let mut world = shared.world();
            if let Some(subscription) = world.subscriptions.get_mut(name) {
                let is_open =
                    |message: &Message| !ids.contains(&format!("ack-{}", message.id).as_str());
                subscription.messages.retain(is_open);
            }
            Ok(reply(&json!({})))
        }
        _ => Err(refusal(404, "NOT_FOUND", "Not found.")),
    }
}
