//! The secrets of routd: what adapters prove themselves with, and what this database's own key is wrapped under.

use crate::adapters::{self, SHARED_SUBJECT};
use async_trait::async_trait;
use auth::{Caller, Principal, Scopes};
use kit::SecretCheck;
use proto::Daemon;
use secrets::{
    AnyBundle, Bundle, Malformed, Name, Need, Role, Secret, Secrets, Values, WatchError, Watched,
    seal::{SECRETS_KEY_NEEDS, SecretsKey},
};
use std::{fmt, sync::Arc};

const SHARED: Name = Name::literal("CHANNEL_SECRET");
const WEBD: Name = Name::literal("CHANNEL_SECRET_WEBD");
const TELED: Name = Name::literal("CHANNEL_SECRET_TELED");
const SLAKD: Name = Name::literal("CHANNEL_SECRET_SLAKD");

/// What adapters prove themselves with that have nothing of their own.
///
/// A bundle for each name: they change independently, and of one bundle four values are accepted at once, so that one
/// adapter's rotations would end the overlap of another's.
static CHANNEL: Bundle<ChannelSecret> = Bundle {
    needs: const {
        &[Need::required(SHARED, "adapters prove themselves with it when they deliver messages")]
    },
    role: Role::Checks,
    parse: |values| ChannelSecret::parse(values, &SHARED),
};

static CHANNEL_WEBD: Bundle<ChannelSecret> = Bundle {
    needs: const { &[Need::optional(WEBD, "the web adapter's own, in place of CHANNEL_SECRET")] },
    role: Role::Checks,
    parse: |values| ChannelSecret::parse(values, &WEBD),
};

static CHANNEL_TELED: Bundle<ChannelSecret> = Bundle {
    needs: const { &[Need::optional(TELED, "the Telegram adapter's own, in place of CHANNEL_SECRET")] },
    role: Role::Checks,
    parse: |values| ChannelSecret::parse(values, &TELED),
};

static CHANNEL_SLAKD: Bundle<ChannelSecret> = Bundle {
    needs: const { &[Need::optional(SLAKD, "the Slack adapter's own, in place of CHANNEL_SECRET")] },
    role: Role::Checks,
    parse: |values| ChannelSecret::parse(values, &SLAKD),
};

/// What the key of this database is wrapped under.
pub(crate) static KEY: Bundle<SecretsKey> =
    Bundle { needs: SECRETS_KEY_NEEDS, role: Role::Uses, parse: SecretsKey::parse };

/// The secrets that routd declares.
pub const BUNDLES: &[&dyn AnyBundle] = const {
    let [anthropic, claude_code, openai] = crate::gateway::key::BUNDLES;
    &[&CHANNEL, &CHANNEL_WEBD, &CHANNEL_TELED, &CHANNEL_SLAKD, &KEY, anthropic, claude_code, openai]
};

/// The bundle of the adapter's own.
fn own(adapter: Daemon) -> &'static Bundle<ChannelSecret> {
    match adapter {
        Daemon::Webd => &CHANNEL_WEBD,
        Daemon::Teled => &CHANNEL_TELED,
        _ => &CHANNEL_SLAKD,
    }
}

/// One channel secret; `None` where no source has it.
pub(crate) struct ChannelSecret(Option<Arc<Secret>>);

impl ChannelSecret {
    fn parse(values: &Values<'_>, name: &Name) -> Result<Self, Malformed> {
        let secret = values.share(name);
        if let Some(secret) = &secret {
            kit::bearer_shaped(secret)?;
        }
        Ok(Self(secret))
    }

    fn matches(&self, presented: &[u8]) -> Option<()> {
        self.0.as_ref().is_some_and(|secret| secret.matches(presented)).then_some(())
    }
}

impl fmt::Debug for ChannelSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelSecret(..)")
    }
}

/// Checks what adapters present.
#[derive(Clone, Debug)]
pub(crate) struct ChannelCheck {
    /// Each adapter's own, and at the end, for nobody in particular, the shared one: where they are the same text, the
    /// narrower right counts.
    all: Vec<(Option<Daemon>, Watched<ChannelSecret>)>,
}

impl ChannelCheck {
    /// Watches the shared secret, and each that an adapter may have of its own.
    ///
    /// # Errors
    /// There is no shared one, or one cannot be used.
    pub(crate) async fn watch(secrets: &Secrets) -> Result<Self, WatchError> {
        // Together, because the keeper leaves a pause between two looks at a source.
        let shared = secrets.watch(&CHANNEL);
        let own = futures::future::try_join_all(
            adapters::all()
                .map(async |adapter| Ok((Some(adapter), secrets.watch(own(adapter)).await?))),
        );
        let (shared, own) = futures::future::try_join(shared, own).await?;
        Ok(Self { all: own.into_iter().chain([(None, shared)]).collect() })
    }

    /// The adapters that have a secret of their own now: the shared one does not speak for them.
    pub(crate) fn with_own_secret(&self) -> Vec<Daemon> {
        let has = |(adapter, watched): &(Option<Daemon>, Watched<ChannelSecret>)| {
            adapter.filter(|_| watched.current().0.is_some())
        };
        self.all.iter().filter_map(has).collect()
    }

    /// Whose secret this is, after another look at the sources where it is not known.
    async fn whose(&self, presented: &[u8]) -> Option<Option<Daemon>> {
        let accepts = |secret: &ChannelSecret| secret.matches(presented);
        let knows = |watched: &Watched<ChannelSecret>| {
            watched.accepted().any(|secret| accepts(&secret).is_some())
        };
        if let Some((whose, watched)) = self.all.iter().find(|(_, watched)| knows(watched)) {
            // Known, so that it looks at nothing; and what is an earlier value is counted as one.
            return watched.check(accepts).await.map(|()| *whose);
        }
        // Together: one look at a source serves all who wait for it.
        let checks = self.all.iter().map(|(whose, watched)| {
            let checked = watched.check(accepts);
            async move { checked.await.map(|()| *whose) }
        });
        futures::future::join_all(checks).await.into_iter().flatten().next()
    }
}

#[async_trait]
impl SecretCheck for ChannelCheck {
    async fn check(&self, presented: &[u8]) -> Option<Caller> {
        let subject = match self.whose(presented).await? {
            Some(adapter) => Principal::service(adapter),
            None => SHARED_SUBJECT.parse().ok()?,
        };
        let scopes: Scopes = "messages:write channels:write".parse().ok()?;
        Some(Caller::by_secret(subject, scopes))
    }
}
