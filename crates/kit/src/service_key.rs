//! What a daemon proves itself to authd with.

use proto::Daemon;
use secrets::{Bundle, Malformed, Name, Need, Role, Secret, Values};
use std::{fmt, sync::Arc};

/// The key that the daemons of an instance share, or, where it is projected under this name, the
/// daemon's own.
pub const AUTHD_SERVICE_KEY: Name = Name::literal("AUTHD_SERVICE_KEY");

/// A service key, ready to be presented.
pub struct ServiceKey(Arc<Secret>);

impl ServiceKey {
    /// The key.
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceKey(..)")
    }
}

macro_rules! bundles {
    ($($bundle:ident $daemon:ident $name:literal)*) => {
        $(
            static $bundle: Bundle<ServiceKey> = Bundle {
                needs: &[
                    Need::required(AUTHD_SERVICE_KEY, "proves this daemon to authd"),
                    Need::optional(Name::literal($name), "proves this daemon to authd, in place of the shared key"),
                ],
                role: Role::Presents,
                parse: |values| parse(values, &Name::literal($name)),
            };
        )*

        /// The bundle with which `daemon` proves itself; authd itself has none.
        pub fn service_key_bundle(daemon: Daemon) -> Option<&'static Bundle<ServiceKey>> {
            match daemon {
                $(Daemon::$daemon => Some(&$bundle),)*
                Daemon::Authd => None,
            }
        }
    };
}

bundles! {
    ROUTD Routd "AUTHD_SERVICE_KEY_ROUTD"
    RUNED Runed "AUTHD_SERVICE_KEY_RUNED"
    TIMED Timed "AUTHD_SERVICE_KEY_TIMED"
    ONBOD Onbod "AUTHD_SERVICE_KEY_ONBOD"
    DASHD Dashd "AUTHD_SERVICE_KEY_DASHD"
    WEBD Webd "AUTHD_SERVICE_KEY_WEBD"
    TELED Teled "AUTHD_SERVICE_KEY_TELED"
    SLAKD Slakd "AUTHD_SERVICE_KEY_SLAKD"
    PROXYD Proxyd "AUTHD_SERVICE_KEY_PROXYD"
}

fn parse(values: &Values<'_>, own: &Name) -> Result<ServiceKey, Malformed> {
    let key = match values.share(own) {
        Some(key) => key,
        None => values.require_shared(&AUTHD_SERVICE_KEY)?,
    };
    bearer_shaped(&key)?;
    Ok(ServiceKey(key))
}

/// Whether a secret can travel as a bearer credential (RFC 6750, section 2.1) and is long enough
/// not to be guessed.
///
/// # Errors
/// It cannot; the reason says what would do.
pub fn bearer_shaped(secret: &Secret) -> Result<(), Malformed> {
    let bytes = secret.expose();
    if bytes.len() < 16 {
        return Err(Malformed(
            "it has fewer than 16 characters; `arizuko secrets rotate` makes a random one".into(),
        ));
    }
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if !bytes.iter().all(allowed) {
        return Err(Malformed(
            "a bearer credential has only letters, digits and - . _ ~ + / =".into(),
        ));
    }
    Ok(())
}
