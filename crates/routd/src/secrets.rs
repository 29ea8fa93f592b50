//! The secrets of routd: what adapters prove themselves with, and what this database's own key is wrapped under.

use crate::adapters::{self, SHARED_SUBJECT};
use async_trait::async_trait;
use auth::{Caller, Principal, Scopes};
use kit::SecretCheck;
use proto::Daemon;
use secrets::{
    AnyBundle, Bundle, Malformed, Name, Need, Role, Secret, Values, Watched,
    seal::{SECRETS_KEY_NEEDS, SecretsKey},
};
use std::{fmt, sync::Arc};

const SHARED: Name = Name::literal("CHANNEL_SECRET");
const WEBD: Name = Name::literal("CHANNEL_SECRET_WEBD");
const TELED: Name = Name::literal("CHANNEL_SECRET_TELED");
const SLAKD: Name = Name::literal("CHANNEL_SECRET_SLAKD");

/// What adapters prove themselves with.
pub(crate) static CHANNEL: Bundle<ChannelSecrets> = Bundle {
    needs: const {
        &[
            Need::required(SHARED, "adapters prove themselves with it when they deliver messages"),
            Need::optional(WEBD, "the web adapter's own, in place of CHANNEL_SECRET"),
            Need::optional(TELED, "the Telegram adapter's own, in place of CHANNEL_SECRET"),
            Need::optional(SLAKD, "the Slack adapter's own, in place of CHANNEL_SECRET"),
        ]
    },
    role: Role::Checks,
    parse: ChannelSecrets::parse,
};

/// What the key of this database is wrapped under.
pub(crate) static KEY: Bundle<SecretsKey> =
    Bundle { needs: SECRETS_KEY_NEEDS, role: Role::Uses, parse: SecretsKey::parse };

/// The secrets that routd declares.
pub const BUNDLES: &[&dyn AnyBundle] = &[&CHANNEL, &KEY];

/// The secrets of all adapters, as of one moment.
pub(crate) struct ChannelSecrets {
    shared: Arc<Secret>,
    own: Vec<(Daemon, Arc<Secret>)>,
}

impl ChannelSecrets {
    fn parse(values: &Values<'_>) -> Result<Self, Malformed> {
        let shared = values.require_shared(&SHARED)?;
        kit::bearer_shaped(&shared)?;
        let mut own = Vec::new();
        for daemon in adapters::all() {
            let name = match daemon {
                Daemon::Webd => &WEBD,
                Daemon::Teled => &TELED,
                _ => &SLAKD,
            };
            if let Some(secret) = values.share(name) {
                kit::bearer_shaped(&secret)?;
                own.push((daemon, secret));
            }
        }
        Ok(Self { shared, own })
    }

    /// Whose secret this is. An adapter's own comes first: where it is the same text, the narrower right counts.
    fn whose(&self, presented: &[u8]) -> Option<Principal> {
        let own = self.own.iter().find(|(_, secret)| secret.matches(presented));
        match own {
            Some((daemon, _)) => Some(Principal::service(*daemon)),
            None if self.shared.matches(presented) => SHARED_SUBJECT.parse().ok(),
            None => None,
        }
    }
}

impl fmt::Debug for ChannelSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelSecrets(..)")
    }
}

/// Checks what adapters present.
#[derive(Clone, Debug)]
pub(crate) struct ChannelCheck(pub(crate) Watched<ChannelSecrets>);

impl ChannelCheck {
    /// The adapters that have a secret of their own now: the shared one does not speak for them.
    pub(crate) fn with_own_secret(&self) -> Vec<Daemon> {
        self.0.current().own.iter().map(|(daemon, _)| *daemon).collect()
    }
}

#[async_trait]
impl SecretCheck for ChannelCheck {
    async fn check(&self, presented: &[u8]) -> Option<Caller> {
        let subject = self.0.check(|secrets| secrets.whose(presented)).await?;
        let scopes: Scopes = "messages:write channels:write".parse().ok()?;
        Some(Caller::by_secret(subject, scopes))
    }
}
