//! Who may have a daemon's token: the one whose key this is.
//!
//! A daemon's key is `AUTHD_SERVICE_KEY_<DAEMON>` where authd has one, and `AUTHD_SERVICE_KEY`, which
//! the daemons share, where it has not. Once the own key is there, the shared one no longer mints
//! that daemon's token: another daemon's key never does.

use crate::client_secret;
use kit::{AUTHD_SERVICE_KEY, StartError, bearer_shaped};
use proto::Daemon;
use secrets::{
    AnyBundle, Bundle, Malformed, Name, Need, Role, Secret, Secrets, Values, WatchError, Watched,
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// What is wrong where authd has no service key at all, although it can do without each of them.
pub const NO_SERVICE_KEY: &str = "authd has neither AUTHD_SERVICE_KEY nor any \
     AUTHD_SERVICE_KEY_<DAEMON>, so no daemon could prove itself";

/// A key as it is checked; `None` where no source has it.
pub(crate) struct Key(Option<Arc<Secret>>);

impl Key {
    fn matches(&self, presented: &[u8]) -> Option<()> {
        self.0.as_ref().is_some_and(|key| key.matches(presented)).then_some(())
    }
}

const ABOUT_OWN: &str = "mints this one daemon's token, in place of the shared key";

static SHARED: Bundle<Key> = Bundle {
    needs: &[Need::optional(
        AUTHD_SERVICE_KEY,
        "mints the tokens of daemons without a key of their own",
    )],
    role: Role::Checks,
    parse: |values| parse(values, &AUTHD_SERVICE_KEY),
};

macro_rules! own_keys {
    ($($bundle:ident $daemon:ident $name:literal)*) => {
        $(
            static $bundle: Bundle<Key> = Bundle {
                needs: &[Need::optional(Name::literal($name), ABOUT_OWN)],
                role: Role::Checks,
                parse: |values| parse(values, &Name::literal($name)),
            };
        )*

        /// All bundles of authd.
        pub(crate) const BUNDLES: &[&dyn AnyBundle] = &[
            &crate::SECRETS_KEY,
            &SHARED,
            &client_secret::OIDC_CLIENT_SECRET,
            &client_secret::GITHUB_CLIENT_SECRET,
            $(&$bundle),*
        ];

        /// The bundle of the daemon's own key.
        fn own(daemon: Daemon) -> &'static Bundle<Key> {
            match daemon {
                $(Daemon::$daemon => &$bundle,)*
            }
        }
    };
}

own_keys! {
    ROUTD Routd "AUTHD_SERVICE_KEY_ROUTD"
    AUTHD Authd "AUTHD_SERVICE_KEY_AUTHD"
    RUNED Runed "AUTHD_SERVICE_KEY_RUNED"
    TIMED Timed "AUTHD_SERVICE_KEY_TIMED"
    ONBOD Onbod "AUTHD_SERVICE_KEY_ONBOD"
    DASHD Dashd "AUTHD_SERVICE_KEY_DASHD"
    WEBD Webd "AUTHD_SERVICE_KEY_WEBD"
    TELED Teled "AUTHD_SERVICE_KEY_TELED"
    SLAKD Slakd "AUTHD_SERVICE_KEY_SLAKD"
    PROXYD Proxyd "AUTHD_SERVICE_KEY_PROXYD"
}

fn parse(values: &Values<'_>, name: &Name) -> Result<Key, Malformed> {
    let key = values.share(name);
    if let Some(key) = &key {
        bearer_shaped(key)?;
    }
    Ok(Key(key))
}

/// The name of a daemon's own key, such as `AUTHD_SERVICE_KEY_ROUTD`.
pub(crate) fn own_name(daemon: Daemon) -> String {
    format!("{AUTHD_SERVICE_KEY}_{}", daemon.name().to_ascii_uppercase())
}

/// Which key mints a daemon's token now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Minter {
    /// Its own.
    Own,
    /// The one that daemons share.
    Shared,
    /// None: authd has neither.
    Nobody,
}

/// The live service keys.
#[derive(Clone)]
pub(crate) struct ServiceKeys {
    shared: Watched<Key>,
    own: BTreeMap<Daemon, Watched<Key>>,
}

impl ServiceKeys {
    /// Watches every key there may be.
    ///
    /// # Errors
    /// One cannot be used, or there is none at all, so that no daemon could have a token.
    pub(crate) async fn watch(secrets: &Secrets) -> Result<Self, StartError> {
        let shared = secrets.watch(&SHARED).await?;
        // Together, because the keeper leaves a pause between two looks at a source, and nobody is ready before authd.
        let each = Daemon::ALL.into_iter().map(|daemon| async move {
            Ok::<_, WatchError>((daemon, secrets.watch(own(daemon)).await?))
        });
        let all = futures::future::try_join_all(each).await?;
        let keys = Self { shared, own: all.into_iter().collect() };
        if Daemon::ALL.into_iter().all(|daemon| keys.minter(daemon) == Minter::Nobody) {
            return Err(StartError::Config {
                what: NO_SERVICE_KEY.into(),
                hint: "put AUTHD_SERVICE_KEY into a source that SECRETS_SOURCES names \
                       (`arizuko create` makes one) and start again"
                    .into(),
            });
        }
        Ok(keys)
    }

    /// Which key mints the token of `daemon` now.
    pub(crate) fn minter(&self, daemon: Daemon) -> Minter {
        match self.own.get(&daemon).map(|own| own.current().0.is_some()) {
            Some(true) => Minter::Own,
            _ if self.shared.current().0.is_some() => Minter::Shared,
            _ => Minter::Nobody,
        }
    }

    /// The daemons whose token the shared key mints.
    pub(crate) fn sharing(&self) -> Vec<Daemon> {
        let shares = |daemon: &Daemon| self.minter(*daemon) != Minter::Own;
        Daemon::ALL.into_iter().filter(shares).collect()
    }

    /// Whether `presented` mints the token of `daemon`. Looks at the sources again, within the
    /// keeper's limits, before it says no.
    pub(crate) async fn check(&self, daemon: Daemon, presented: &[u8]) -> bool {
        let Some(own) = self.own.get(&daemon) else { return false };
        let accepts = |key: &Key| key.matches(presented);
        if own.current().0.is_some() {
            return own.check(accepts).await.is_some();
        }
        let by_shared = self.shared.check(accepts).await.is_some();
        // The look that the shared key's check may have begun can have brought an own key, which
        // then counts alone.
        if own.current().0.is_some() {
            own.accepted().any(|key| accepts(&key).is_some())
        } else {
            by_shared
        }
    }

    /// Whether `presented` mints the token of `daemon`, as far as is known without a look.
    pub(crate) fn knows(&self, daemon: Daemon, presented: &[u8]) -> bool {
        let Some(own) = self.own.get(&daemon) else { return false };
        let keys = if own.current().0.is_some() { own } else { &self.shared };
        keys.accepted().any(|key| key.matches(presented).is_some())
    }
}

impl fmt::Debug for ServiceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = Daemon::ALL.into_iter().filter(|d| self.minter(*d) == Minter::Own);
        f.debug_struct("ServiceKeys").field("own", &own.collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_daemon_has_an_own_key_of_its_name() {
        for daemon in Daemon::ALL {
            let needs = own(daemon).needs;
            assert_eq!(needs.len(), 1);
            assert_eq!(needs[0].name.as_str(), own_name(daemon));
            assert!(!needs[0].required, "{daemon} can share");
        }
        assert_eq!(
            BUNDLES.len(),
            Daemon::ALL.len() + 4,
            "and the shared one, SECRETS_KEY, two clients"
        );
    }
}
