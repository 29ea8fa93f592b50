//! Which adapter speaks for which chats. Pure.
//!
//! The beginnings of an adapter's chat addresses are fixed here, so that no registration and no message can take over
//! another's: a credential of one adapter cannot speak for the chats of another.

use crate::fault::Fault;
use auth::{Caller, Kind};
use proto::Daemon;

/// The platforms of each adapter.
const PLATFORMS: [(Daemon, &[&str]); 3] = [
    (Daemon::Webd, &["web", "hook", "guest"]),
    (Daemon::Teled, &["telegram"]),
    (Daemon::Slakd, &["slack"]),
];

/// The adapters that may have a `CHANNEL_SECRET_<ADAPTER>` of their own.
pub(crate) fn all() -> impl Iterator<Item = Daemon> {
    PLATFORMS.into_iter().map(|(daemon, _)| daemon)
}

/// The adapter whose platform this is.
pub(crate) fn of_platform(platform: &str) -> Option<Daemon> {
    let own = PLATFORMS.into_iter().find(|(_, platforms)| platforms.contains(&platform));
    own.map(|(daemon, _)| daemon)
}

/// For whom a caller speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    /// The operator: any chat, as itself.
    Operator,
    /// A person who logged in: the suite's own chats, as themselves.
    Person,
    /// One adapter: its own platforms.
    Adapter(Daemon),
    /// Whoever holds the shared secret: all platforms but those of these adapters, which have a secret of their own.
    Shared {
        /// Adapters that have one of their own.
        but: Vec<Daemon>,
    },
    /// Another daemon of the suite, such as the scheduler: any chat.
    Service(Daemon),
}

/// The subject of whoever holds the shared secret.
pub(crate) const SHARED_SUBJECT: &str = "service:adapters";

impl Voice {
    /// For whom the caller speaks; `own` lists the adapters with a secret of their own.
    pub(crate) fn of(caller: &Caller, own: impl FnOnce() -> Vec<Daemon>) -> Option<Self> {
        if caller.is_operator() {
            return Some(Self::Operator);
        }
        match (caller.kind(), caller.service()) {
            (Kind::Secret | Kind::Service, Some(daemon)) if all().any(|one| one == daemon) => {
                Some(Self::Adapter(daemon))
            }
            (Kind::Service, Some(daemon)) => Some(Self::Service(daemon)),
            (Kind::Secret, None) if caller.subject().as_str() == SHARED_SUBJECT => {
                Some(Self::Shared { but: own() })
            }
            (Kind::User, _) => Some(Self::Person),
            _ => None,
        }
    }

    /// Whether it may speak for chats of this platform.
    pub(crate) fn may_speak_for(&self, platform: &str) -> bool {
        let adapter = of_platform(platform);
        match self {
            Self::Operator | Self::Service(_) => true,
            Self::Person => platform == "web",
            Self::Adapter(own) => adapter == Some(*own),
            Self::Shared { but } => adapter.is_none_or(|adapter| !but.contains(&adapter)),
        }
    }

    /// Refuses to speak for chats of this platform, in the name of `caller`. Where the reason is that their adapter
    /// got a secret of its own, the answer is that of a credential that is not good any more: then the adapter looks
    /// for its new one, and delivers the same message again.
    pub(crate) fn require(&self, caller: &Caller, platform: &str) -> Result<(), Fault> {
        if self.may_speak_for(platform) {
            return Ok(());
        }
        let subject = caller.subject();
        Err(match self {
            Self::Shared { .. } => Fault::Unauthorized(format!(
                "the adapter of {platform} chats has a secret of its own; CHANNEL_SECRET is not good for them"
            )),
            _ => Fault::Forbidden(format!("{subject} does not speak for {platform} chats")),
        })
    }

    /// Whether it may say that this is who wrote. A sender of another adapter's platform is that adapter's to name.
    pub(crate) fn may_name(&self, sender: &str) -> bool {
        let scheme = sender.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref().and_then(of_platform) {
            Some(_) => scheme.is_some_and(|scheme| self.may_speak_for(&scheme)),
            None => !is_reserved(sender),
        }
    }
}

/// Senders that only routd itself gives: nobody may write in the name of the agent, the suite or the operator.
pub(crate) fn is_reserved(sender: &str) -> bool {
    let lower = sender.trim().to_ascii_lowercase();
    let scheme = lower.split(':').next().unwrap_or_default();
    matches!(
        scheme,
        "agent" | "system" | "operator" | "service" | "folder" | "schedule" | "delegation"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth::Scopes;

    fn voice(subject: &str, own: &[Daemon]) -> Voice {
        let caller = Caller::by_secret(subject.parse().unwrap(), Scopes::default());
        Voice::of(&caller, || own.to_vec()).unwrap()
    }

    #[test]
    fn a_secret_of_its_own_confines_an_adapter_and_locks_the_shared_one_out() {
        let teled = voice("service:teled", &[Daemon::Teled]);
        let shared = voice(SHARED_SUBJECT, &[Daemon::Teled]);
        for (platform, by_teled, by_shared) in [
            ("telegram", true, false),
            ("slack", false, true),
            ("web", false, true),
            ("x", false, true),
        ] {
            assert_eq!(teled.may_speak_for(platform), by_teled, "{platform}");
            assert_eq!(shared.may_speak_for(platform), by_shared, "{platform}");
        }
        assert!(voice(SHARED_SUBJECT, &[]).may_speak_for("telegram"));
    }

    #[test]
    fn nobody_writes_in_the_name_of_the_suite_or_of_another_platform() {
        let webd = voice("service:webd", &[]);
        for sender in [
            "agent",
            "Agent",
            "system",
            "operator:local",
            "SERVICE:routd",
            " agent",
            "folder:atlas",
            "Schedule:1",
        ] {
            assert!(!webd.may_name(sender), "{sender}");
        }
        for sender in ["telegram:user/1", "Slack:U1"] {
            assert!(!webd.may_name(sender), "{sender}");
        }
        for sender in ["web:visitor/1", "user:google|1", "hook:ci", "agents", "operators-club"] {
            assert!(webd.may_name(sender), "{sender}");
        }
    }

    #[test]
    fn a_stranger_has_no_voice() {
        let stranger = Caller::by_secret("role:x".parse().unwrap(), Scopes::default());
        assert_eq!(Voice::of(&stranger, Vec::new), None);
        assert_eq!(Voice::of(&Caller::anonymous(), Vec::new), None);
    }
}
