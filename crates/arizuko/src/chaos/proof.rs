//! What the chat platform's adapters prove themselves with: read as any adapter reads it, and followed as it changes.

use crate::{
    failure::Failure,
    instance::{Environment, Instance},
    sources,
};
use kit::{Clock, PeerError};
use proto::Daemon;
use secrets::{
    Attempt, Bundle, Keeper, Malformed, Name, Need, Policy, Role, Secret, SecretSource, Secrets,
    Values, WallClock, Watched,
};
use std::{fmt, sync::Arc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const SHARED: Name = Name::literal("CHANNEL_SECRET");
const TELED_OWN: Name = Name::literal("CHANNEL_SECRET_TELED");
const SLAKD_OWN: Name = Name::literal("CHANNEL_SECRET_SLAKD");

static TELED: Bundle<ChannelSecret> = Bundle {
    needs: const {
        &[
            Need::required(SHARED, "delivers messages to routd"),
            Need::optional(TELED_OWN, "the adapter's own, in place of CHANNEL_SECRET"),
        ]
    },
    role: Role::Presents,
    parse: |values| ChannelSecret::parse(values, &TELED_OWN),
};

static SLAKD: Bundle<ChannelSecret> = Bundle {
    needs: const {
        &[
            Need::required(SHARED, "delivers messages to routd"),
            Need::optional(SLAKD_OWN, "the adapter's own, in place of CHANNEL_SECRET"),
        ]
    },
    role: Role::Presents,
    parse: |values| ChannelSecret::parse(values, &SLAKD_OWN),
};

/// The secret, ready to be presented.
struct ChannelSecret(Arc<Secret>);

impl ChannelSecret {
    fn parse(values: &Values<'_>, own: &Name) -> Result<Self, Malformed> {
        let shared = values.require_shared(&SHARED)?;
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

/// The live secret of one adapter. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Proof(Watched<ChannelSecret>);

impl Proof {
    /// Follows the secret of `adapter` as `secrets` have it.
    ///
    /// # Errors
    /// No source has it.
    pub async fn watch(secrets: &Secrets, adapter: Daemon) -> Result<Self, Failure> {
        let bundle = if adapter == Daemon::Teled { &TELED } else { &SLAKD };
        secrets.watch(bundle).await.map(Self).map_err(super::stage::defect)
    }

    /// Calls with the secret, as every adapter has to: where it is refused, it looks again.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn present<R, F>(&self, call: impl Fn(Arc<Secret>) -> F) -> Result<R, PeerError>
    where
        F: Future<Output = Result<R, PeerError>>,
    {
        let attempt = |secret: Arc<ChannelSecret>| {
            let called = call(secret.0.clone());
            async move {
                match called.await {
                    Ok(answer) => Attempt::Done(answer),
                    Err(error) if error.is_unauthorized() => Attempt::Refused(error),
                    Err(error) => Attempt::Failed(error),
                }
            }
        };
        self.0.present(attempt).await
    }
}

/// Readers of secrets beside the daemons' own, each as a daemon of that name would read.
#[derive(Debug)]
pub struct Readers {
    policy: Policy,
    running: JoinSet<()>,
    stop: CancellationToken,
}

impl Readers {
    /// None yet; they keep to the policy of `instance`.
    ///
    /// # Errors
    /// A setting does not parse.
    pub fn new(instance: &Instance) -> Result<Self, Failure> {
        let clock = Clock::real();
        let policy = Policy::new(WallClock::new(move || clock.system()));
        let policy = sources::policy(&instance.settings, policy)?;
        Ok(Self { policy, running: JoinSet::new(), stop: CancellationToken::new() })
    }

    /// The secrets of `daemon`, from `chain`, for as long as this is kept.
    pub fn read(&mut self, daemon: Daemon, chain: Vec<Arc<dyn SecretSource>>) -> Secrets {
        let (keeper, handle) = Keeper::new(chain, self.policy.clone());
        self.running.spawn(keeper.run(self.stop.clone()));
        handle.for_daemon(daemon.name())
    }

    /// The secrets of `daemon`, from the sources of `instance`.
    ///
    /// # Errors
    /// The list of sources does not parse.
    pub fn read_instance(
        &mut self,
        daemon: Daemon,
        instance: &Instance,
        environment: &Environment,
    ) -> Result<Secrets, Failure> {
        Ok(self.read(daemon, sources::chain(instance, environment)?))
    }
}
