//! What webd asks of routd.

use kit::{Fetched, Peer, PeerError};
use proto::Jid;
use proto::routd::{
    FEED, FILE, FeedPage, FeedQuery, Link, LinkKind, MessageAck, MessageOutcome, NewMessage,
    OUTCOME, OutcomeQuery, POST_MESSAGE, RESOLVE_LINK, ResolveLink, VERIFY_DELIVERY, Verified,
    VerifyDelivery,
};
use secrets::{Attempt, Bundle, Malformed, Name, Need, Role, Secret, Values, Watched};
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

const SHARED: Name = Name::literal("CHANNEL_SECRET");
const OWN: Name = Name::literal("CHANNEL_SECRET_WEBD");

/// How long a message is sent again to a routd that is away, before its sender is told.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(8);
/// How long a link is asked for again. A restart takes less.
const QUESTION_PATIENCE: Duration = Duration::from_secs(3);
/// The wait before each repeat, where routd does not say how long.
const PAUSE: Duration = Duration::from_millis(200);

/// What webd proves itself with when it delivers a message.
pub static CHANNEL_SECRET: Bundle<ChannelSecret> = Bundle {
    needs: const {
        &[
            Need::required(SHARED, "delivers messages to routd"),
            Need::optional(OWN, "webd's own, presented in place of CHANNEL_SECRET"),
        ]
    },
    role: Role::Presents,
    parse: ChannelSecret::parse,
};

/// The secret, ready to be presented.
pub struct ChannelSecret(Arc<Secret>);

impl ChannelSecret {
    fn parse(values: &Values<'_>) -> Result<Self, Malformed> {
        let shared = values.require_shared(&SHARED)?;
        let secret = values.share(&OWN).unwrap_or(shared);
        kit::bearer_shaped(&secret)?;
        Ok(Self(secret))
    }
}

impl fmt::Debug for ChannelSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelSecret(..)")
    }
}

/// routd, as webd uses it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Routd {
    peer: Peer,
    secret: Watched<ChannelSecret>,
}

impl Routd {
    /// The routd behind `peer`, to which messages are delivered under `secret`.
    pub fn new(peer: Peer, secret: Watched<ChannelSecret>) -> Self {
        Self { peer, secret }
    }

    /// What a token opens; `None` where there is no such link of that kind.
    pub async fn resolve(&self, kind: LinkKind, token: &str) -> Result<Option<Link>, PeerError> {
        let request = ResolveLink { token: token.to_owned(), kind };
        let ask = || self.peer.call(&RESOLVE_LINK, &request);
        match patiently(QUESTION_PATIENCE, "a link waits for routd", ask).await {
            Ok(link) => Ok(Some(link).filter(|link| link.kind == kind)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Delivers one message: answers once routd has committed it. Safe to repeat, and repeated
    /// while routd is away, because the message has an id.
    pub async fn deliver(&self, message: &NewMessage) -> Result<MessageAck, PeerError> {
        patiently(DELIVERY_PATIENCE, "a message waits for routd", || self.present(message)).await
    }

    async fn present(&self, message: &NewMessage) -> Result<MessageAck, PeerError> {
        let attempt = |secret: Arc<ChannelSecret>| async move {
            match self.peer.call_with(&POST_MESSAGE, message, secret.0.expose()).await {
                Ok(ack) => Attempt::Done(ack),
                Err(error) if error.is_unauthorized() => Attempt::Refused(error),
                Err(error) => Attempt::Failed(error),
            }
        };
        self.secret.present(attempt).await
    }

    /// Whether a delivery was signed with the secret of this link.
    pub async fn verify(&self, delivery: &VerifyDelivery) -> Result<Verified, PeerError> {
        let ask = || self.peer.call(&VERIFY_DELIVERY, delivery);
        patiently(QUESTION_PATIENCE, "a signature waits for routd", ask).await
    }

    /// What happened in a chat; waits as long as `query` says.
    pub async fn feed(&self, query: &FeedQuery) -> Result<FeedPage, PeerError> {
        let wait = Duration::from_secs(query.wait_seconds.into());
        self.peer.call_waiting(&FEED, query, wait).await
    }

    /// Whether anything was ever said in a chat.
    pub async fn is_begun(&self, chat: &Jid) -> Result<bool, PeerError> {
        let query =
            FeedQuery { chat_jid: chat.clone(), after: None, limit: Some(1), wait_seconds: 0 };
        let page = patiently(QUESTION_PATIENCE, "a guest waits for routd", || self.feed(&query));
        Ok(!page.await?.events.is_empty())
    }

    /// A file that the agent sent in a chat; `None` where there is none in that chat. The id is one plain part of an
    /// address.
    pub async fn file(&self, chat: &Jid, id: &str) -> Result<Option<Fetched>, PeerError> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("chat_jid", chat.as_str())
            .finish();
        let path = format!("{}?{query}", FILE.path.replace("{id}", id));
        let ask = || self.peer.fetch(&path);
        match patiently(QUESTION_PATIENCE, "a file waits for routd", ask).await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where a message stands; `None` where there is no such message in that chat.
    pub async fn outcome(&self, query: &OutcomeQuery) -> Result<Option<MessageOutcome>, PeerError> {
        let wait = Duration::from_secs(query.wait_seconds.into());
        match self.peer.call_waiting(&OUTCOME, query, wait).await {
            Ok(outcome) => Ok(Some(outcome)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Repeats a call that is safe to repeat while routd is away, for as long as `patience` lasts.
async fn patiently<R, F>(
    patience: Duration,
    what: &'static str,
    call: impl Fn() -> F,
) -> Result<R, PeerError>
where
    F: Future<Output = Result<R, PeerError>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match call().await {
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                tracing::warn!(error = %kit::chain(&error), what);
                sleep(error.retry_after().unwrap_or(PAUSE).min(patience)).await;
            }
            other => return other,
        }
    }
}
