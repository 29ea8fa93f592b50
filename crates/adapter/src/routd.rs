//! What an adapter says to routd: messages, and where it is.

use kit::{Context, Peer, PeerError};
use proto::{
    Daemon, Endpoint,
    routd::{Channel, MessageAck, NewMessage, POST_MESSAGE, REGISTER_CHANNEL, RegisterChannel},
};
use secrets::{Attempt, Bundle, Malformed, Name, Need, Secret, Values, WatchError, Watched};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, sync::Arc};

/// The secret that all adapters share.
pub const CHANNEL_SECRET: Name = Name::literal("CHANNEL_SECRET");

/// What an adapter proves itself with to routd, ready to be presented.
///
/// An adapter declares its bundle itself, because the name of its own secret is in it:
///
/// ```
/// use adapter::ChannelSecret;
/// use secrets::{Bundle, Name, Need, Role};
///
/// const OWN: Name = Name::literal("CHANNEL_SECRET_TELED");
/// static CHANNEL_SECRET: Bundle<ChannelSecret> = Bundle {
///     needs: const { &[ChannelSecret::SHARED, Need::optional(OWN, "teled's own")] },
///     role: Role::Presents,
///     parse: |values| ChannelSecret::parse(values, &OWN),
/// };
/// ```
pub struct ChannelSecret(Arc<Secret>);

impl ChannelSecret {
    /// The need for the shared secret.
    pub const SHARED: Need = Need::required(CHANNEL_SECRET, "delivers messages to routd");

    /// The adapter's own secret, or else the shared one.
    ///
    /// # Errors
    /// It cannot be the value of a bearer.
    pub fn parse(values: &Values<'_>, own: &Name) -> Result<Self, Malformed> {
        let shared = values.require_shared(&CHANNEL_SECRET)?;
        let secret = values.share(own).unwrap_or(shared);
        kit::bearer_shaped(&secret)?;
        Ok(Self(secret))
    }
}

impl fmt::Debug for ChannelSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelSecret(..)")
    }
}

/// routd, as an adapter uses it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Routd {
    peer: Peer,
    secret: Watched<ChannelSecret>,
}

impl Routd {
    /// The routd of this suite, to which this adapter proves itself with `secret`.
    ///
    /// # Errors
    /// The secret is nowhere, or does not do.
    pub async fn of(
        context: &Context,
        secret: &'static Bundle<ChannelSecret>,
    ) -> Result<Self, WatchError> {
        let secret = context.secrets.watch(secret).await?;
        Ok(Self { peer: context.peers.get(Daemon::Routd), secret })
    }

    /// Delivers one message: answers once routd has committed it. Safe to repeat.
    pub(crate) async fn deliver(&self, message: &NewMessage) -> Result<MessageAck, PeerError> {
        self.present(&POST_MESSAGE, message).await
    }

    /// Says where this adapter is.
    pub(crate) async fn register(&self, channel: &RegisterChannel) -> Result<Channel, PeerError> {
        self.present(&REGISTER_CHANNEL, channel).await
    }

    pub(crate) const fn peer(&self) -> &Peer {
        &self.peer
    }

    async fn present<Req: Serialize, Res: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Req, Res>,
        request: &Req,
    ) -> Result<Res, PeerError> {
        let attempt = |secret: Arc<ChannelSecret>| async move {
            match self.peer.call_with(endpoint, request, secret.0.expose()).await {
                Ok(answer) => Attempt::Done(answer),
                Err(error) if error.is_unauthorized() => Attempt::Refused(error),
                Err(error) => Attempt::Failed(error),
            }
        };
        self.secret.present(attempt).await
    }
}
